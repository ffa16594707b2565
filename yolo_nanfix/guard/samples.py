"""Keeps training going when samples cannot be read: wraps the datasets of a guarded run, in this process and workers.

A sample that raises is tried again; if that does not help, a neighbour stands in for it, so that its batch has the
usual form, and its name says so (`sample_sources.Composed`): the main process takes it out (`intake`). A mosaic or
mix-up whose other image cannot be read gets the next one that can.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import wrapt
from torch import Tensor

from yolo_nanfix import upstream
from yolo_nanfix.errors import DataError
from yolo_nanfix.events import Defect
from yolo_nanfix.guard import randomness, sample_checks, sample_sources
from yolo_nanfix.guard.sample_sources import Composed, Failure

Method = tuple[type, str]
"""A class that defines a method, and its name."""

BASE = "ultralytics.data.base:BaseDataset"
CLASSIFY = "ultralytics.data.dataset:ClassificationDataset"
MARK, UNCACHED = "_nanfix_watched", "_nanfix_uncached"
"""Attributes of a dataset: its `Watch`; and the files that could not be read into its cache, with the errors."""
PAUSES = (0.05, 0.5)
"""Seconds before each further try at a sample that failed: a file was being written, or a network share stalled.
Only at the first failure of a file in a process; later ones are not tried again."""
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
NEIGHBOURS = 8
"""So many other samples are tried as a stand-in."""
WORDS = 200
"""Most characters of an error that are kept."""


@dataclass
class Draw:
    """One sample while it is made: the dataset, the files loaded so far, and those that failed."""

    dataset: Any
    watched: Watch | None
    files: list[str] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    loading: bool = False


class Watch:
    """Marks a dataset whose samples are watched. Unpickled in a spawned worker, it wraps the methods there, too."""

    def __init__(self, methods: tuple[Method, ...], names: bool = False) -> None:
        """Nothing has failed yet; `names`: samples without a name may be given one."""
        self.methods, self.names = methods, names
        self.failed: set[str] = set()

    def __reduce__(self) -> tuple[Any, ...]:
        return _revived, (self.methods, self.names)


def _revived(methods: tuple[Method, ...], names: bool) -> Watch:
    for owner, name in methods:
        _cover(owner, name)
    return Watch(methods, names)


_draw: ContextVar[Draw | None] = ContextVar("draw", default=None)
_building: ContextVar[bool] = ContextVar("building", default=False)
_covered: dict[Method, tuple[Any, Any]] = {}
"""For each method the original object, and the wrapper."""


def install() -> Callable[[], None]:
    """Wrap Ultralytics' datasets; call the result to restore everything that this module wrapped."""
    for path in (BASE, CLASSIFY):
        for name in WRAPPERS:
            try:
                target = upstream.resolve(f"{path}.{name}")
            except LookupError:  # a release that loads differently
                continue
            if isinstance(target.owner, type):
                _cover(target.owner, name)

    def take_back() -> None:
        for (owner, name), (raw, wrapper) in _covered.items():
            if vars(owner).get(name) is wrapper:
                setattr(owner, name, raw)
        _covered.clear()

    return take_back


def _cover(owner: type, name: str) -> None:
    if (owner, name) in _covered or name not in vars(owner):
        return
    raw = vars(owner)[name]
    wrapper = wrapt.FunctionWrapper(raw, WRAPPERS[name])
    _covered[owner, name] = raw, wrapper
    setattr(owner, name, wrapper)


@contextmanager
def building() -> Iterator[None]:
    """While a guarded trainer builds a dataset: images that cannot be read into its cache do not end the run."""
    token = _building.set(True)
    try:
        yield
    finally:
        _building.reset(token)


def watch(dataset: Any, *, names: bool = False, above: tuple[int, ...] = ()) -> None:
    """Watch the samples of a dataset, or of those that it concatenates or takes a part of.

    `names`: whoever puts batches together takes names in samples that have none (image classification). `above` are
    ids of the datasets that this one is a part of.
    """
    for part in dataset if isinstance(dataset, (list, tuple)) else sample_sources.parts(dataset):
        if id(part) not in above:
            watch(part, names=names, above=(*above, id(dataset)))
    if not isinstance(getattr(dataset, "__dict__", None), dict) or not hasattr(type(dataset), "__getitem__"):
        return
    names = names and not callable(getattr(dataset, "collate_fn", None))
    if isinstance(held := vars(dataset).get(MARK), Watch):
        held.names = held.names or names
    if held is not None or type(dataset).__module__.startswith("torch."):
        return
    methods = []
    for name in ("__getitem__", "get_image_and_label"):
        owner = next((c for c in type(dataset).__mro__ if name in vars(c)), None)
        if owner is not None and not owner.__module__.startswith("torch."):
            _cover(owner, name)
            methods.append((owner, name))
    vars(dataset)[MARK] = Watch(tuple(methods), names)


def file_of(dataset: Any, index: int) -> str:
    """The image file of a sample."""
    try:
        if (files := getattr(dataset, "im_files", None)) is not None:
            return str(files[index])
        if (listed := getattr(dataset, "samples", None)) is not None:
            return str(listed[index][0])
    except (LookupError, TypeError):  # a user's dataset may keep other things under these names
        pass
    return f"sample {index}"


def _sample(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Around `__getitem__`."""
    if _draw.get() is not None:  # a user's `__getitem__` that calls the one it overrides
        return wrapped(*args, **kwargs)
    watched = vars(instance).get(MARK) if hasattr(instance, "__dict__") else None
    if len(args) + len(kwargs) != 1:  # a user's own way to ask for a sample
        return wrapped(*args, **kwargs)
    index = args[0] if args else next(iter(kwargs.values()))
    count = sample_sources.length(instance) if watched is not None else 0
    if isinstance(index, (int, np.integer)) and watched is not None and -count <= index < count:
        return _made_or_replaced(lambda i, w: _made(wrapped, instance, i, w), instance, int(index), watched)
    return _made(wrapped, instance, index, None)


Make = Callable[[int, "Watch | None"], Any]


def _made_or_replaced(make: Make, dataset: Any, index: int, watched: Watch) -> Any:
    """A sample, or after its retries a stand-in; one that is not a mapping with a file name raises."""
    try:
        return make(index, watched)
    except Exception as raised:
        first = raised
    file = file_of(dataset, index)
    saved = randomness.states()
    for pause in () if file in watched.failed else PAUSES:
        time.sleep(pause)
        try:
            return _renamed(make(index, watched), failures=(Failure(file, describe(first), overcome=True),))
        except Exception:  # the first error says more: a later one may be of what it left half done
            randomness.restore(saved)
    watched.failed.add(file)
    with randomness.untouched():
        other = _stand_in(make, dataset, index, first)
    return _renamed(other, file=file, failures=(Failure(file, describe(first)),), stands_in=True)


def _stand_in(make: Make, dataset: Any, index: int, error: Exception) -> Any:
    """The next sample that can be made; under `rect` of the same shape, else this one with blank pixels.

    Raises:
        DataError: none of them can be made.
    """
    for other in _neighbours(dataset, index):
        try:
            return make(other, None)
        except Exception:
            continue
    try:
        with _blank(dataset):
            return make(index, None)
    except Exception:
        raise DataError(
            f"{file_of(dataset, index)} cannot be read, nor the images after it: {describe(error)}"
        ) from error


def _neighbours(dataset: Any, index: int) -> list[int]:
    count = len(dataset)
    nearby = [(index + step) % count for step in range(1, min(NEIGHBOURS + 1, count))]
    shapes = getattr(dataset, "batch", None) if getattr(dataset, "rect", False) else None
    return nearby if shapes is None else [i for i in nearby if shapes[i] == shapes[index]]


@contextmanager
def _blank(dataset: Any) -> Iterator[None]:
    """Read gray pixels of the right size in place of images."""
    pixels, *sizes = _gray(dataset)
    with _reading(dataset, "load_image", lambda *_, **__: (pixels.copy(), *sizes)):
        yield


def _gray(dataset: Any) -> tuple[Any, tuple[int, int], tuple[int, int]]:
    """What `load_image` gives for a gray image: pixels (H, W, C), and twice the size."""
    size = dataset.imgsz
    high, wide = (size, size) if isinstance(size, int) else size
    return np.full((high, wide, getattr(dataset, "channels", 3)), 114, np.uint8), (high, wide), (high, wide)


@contextmanager
def _reading(dataset: Any, name: str, reader: Callable[..., Any]) -> Iterator[None]:
    vars(dataset)[name] = reader
    try:
        yield
    finally:
        del vars(dataset)[name]


def _made(wrapped: Any, dataset: Any, index: Any, watched: Watch | None) -> Any:
    """One sample, with the names of all files in it, and of those that could not be read."""
    draw = Draw(dataset, watched)
    token = _draw.set(draw)
    try:
        if watched is not None:
            _refuse_uncached(dataset, index)
        sample = wrapped(index)
    finally:
        _draw.reset(token)
    if not isinstance(sample, dict):
        return sample
    added = "im_file" not in sample and isinstance(index, (int, np.integer)) and _may_name(dataset)
    if added:
        sample["im_file"] = file_of(dataset, int(index))
    if not sample_sources.may_say(sample.get("im_file")):
        _log(draw.failures)
        return sample
    own = str(sample["im_file"])
    others = tuple(dict.fromkeys(f for f in draw.files if f != own))
    suspect, defect = _defect_of(sample, dataset) if watched is not None else ("", None)
    if others or draw.failures or suspect or added:
        facts = {"parents": others, "failures": tuple(draw.failures), "suspect": suspect, "added": added}
        sample["im_file"] = Composed(own, **facts, defect=defect)
    return sample


def _may_name(dataset: Any) -> bool:
    """Whether samples of Ultralytics' image classification, which have no name, may be given one."""
    watched = vars(dataset).get(MARK) if hasattr(dataset, "__dict__") else None
    known = any(kind.__module__.startswith("ultralytics.") for kind in type(dataset).__mro__)
    return (
        isinstance(watched, Watch) and watched.names and known and isinstance(getattr(dataset, "samples", None), list)
    )


def _log(failures: Iterable[Failure]) -> None:
    for failure in failures:
        what = "tried again, and read" if failure.overcome else "another image has its place"
        upstream.log(f"yolo-nanfix guard: {failure.file} could not be read: {failure.error}: {what}")


def _defect_of(sample: dict[str, Any], dataset: Any) -> tuple[str, Defect | None]:
    """What is not finite in float pixels, or out of range in a semantic mask, and its kind; empty and None if nothing.

    Ultralytics' own pixels are integers until the trainer divides them.
    """
    pixels, mask = sample.get("img"), sample.get("semantic_mask")
    readable = isinstance(mask, Tensor) and sample_checks.on_host(mask)
    if readable and (said := sample_checks.bad_classes(mask, sample_checks.classes_of(dataset))):
        return said, Defect.CLASS
    if not isinstance(pixels, Tensor) or not pixels.is_floating_point() or not sample_checks.on_host(pixels):
        return "", None
    if pixels.dtype not in FLOATS or math.isfinite(pixels.detach().sum(dtype=torch.float32).numpy().item()):
        return "", None  # a finite sum has only finite terms, unless they are far larger than pixels
    count = int((~pixels.isfinite()).sum())
    return (f"{count} pixel values not finite", Defect.VALUES) if count else ("", None)


def _renamed(
    sample: Any, *, file: str | None = None, failures: tuple[Failure, ...] = (), stands_in: bool = False
) -> Any:
    """A sample whose name has more facts; a sample without a name, or with one that is no `str`, stays as it is.

    Raises:
        DataError: it cannot have them, and another must not stand in for it silently.
    """
    if not isinstance(sample, dict) or not sample_sources.may_say(sample.get("im_file")):
        if stands_in:
            raise DataError(f"{failures[0].file}: {failures[0].error}")
        _log(failures)
        return sample
    old = sample["im_file"]
    known = vars(old) if isinstance(old, Composed) else {}
    kept = {"added": known.get("added", False)} if stands_in else known
    told = (*failures, *kept.get("failures", ()))
    sample["im_file"] = Composed(file or str(old), **{**kept, "failures": told, "stands_in": stands_in})
    return sample


def _load(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Around `get_image_and_label`, which mosaic and mix-up call for each further image."""
    draw = _draw.get()
    if draw is None or draw.loading or len(args) + len(kwargs) != 1:
        return wrapped(*args, **kwargs)
    index = args[0] if args else next(iter(kwargs.values()))
    draw.loading = True
    try:
        label = _loaded(wrapped, instance, index, draw)
    finally:
        draw.loading = False
    draw.files.append(str(label["im_file"]) if isinstance(label, dict) and "im_file" in label else "")
    return label


def _loaded(wrapped: Any, dataset: Any, index: int, draw: Draw) -> Any:
    """The label and pixels of a file; where it is not the first of its sample, of another if that cannot be read."""
    try:
        if draw.watched is not None:
            _refuse_uncached(dataset, index)
        return wrapped(index)
    except Exception as error:
        if draw.watched is None or not draw.files:
            raise
        first = error
    file = file_of(dataset, index)
    with randomness.untouched():
        for pause in () if file in draw.watched.failed else PAUSES:
            time.sleep(pause)
            try:
                label = wrapped(index)
            except Exception:
                continue
            draw.failures.append(Failure(file, describe(first), overcome=True))
            return label
        draw.watched.failed.add(file)
        for other in _neighbours(dataset, index):
            try:
                _refuse_uncached(dataset, other)
                label = wrapped(other)
            except Exception:
                continue
            draw.failures.append(Failure(file, describe(first)))
            return label
    raise first


def _caching(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Around what fills a dataset's cache when it is built: what cannot be read leaves a gap, and is reported later."""
    if not _building.get():
        return wrapped(*args, **kwargs)
    missing: dict[Any, str] = vars(instance).setdefault(UNCACHED, {})

    def lenient(reader: Callable[..., Any], gap: Any, key: Callable[[Any], Any]) -> Callable[..., Any]:
        def read(what: Any, *rest: Any, **named: Any) -> Any:
            for pause in (0.0, *PAUSES):
                time.sleep(pause)
                try:
                    found = reader(what, *rest, **named)
                    if found is None and gap is not None:
                        raise FileNotFoundError(f"Image Not Found {what}")
                except Exception as error:
                    said = describe(error)
                else:
                    return found
            if gap is not None:
                missing[key(what)] = said
            return gap

        return read

    if hasattr(instance, "samples"):  # image classification reads by name
        gray = np.full((32, 32, 3), 114, np.uint8)
        with _reading(instance, "imread", lenient(instance.imread, gray, str)):
            return wrapped(*args, **kwargs)
    gap = _gray(instance)
    with (
        _reading(instance, "load_image", lenient(instance.load_image, gap, lambda i: file_of(instance, i))),
        _reading(instance, "cache_images_to_disk", lenient(instance.cache_images_to_disk, None, str)),
    ):
        return wrapped(*args, **kwargs)


def _refuse_uncached(dataset: Any, index: int) -> None:
    """Raise the error with which an image failed to get into the cache: the cache holds a gray one."""
    missing = vars(dataset).get(UNCACHED)
    if missing and (said := missing.get(file_of(dataset, index))):
        raise FileNotFoundError(f"not in the cache: {said}")


def describe(error: Exception) -> str:
    """An error's type and first line."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0].strip() if lines else ''}"[:WORDS]


WRAPPERS: dict[str, Any] = {
    "__getitem__": _sample,
    "get_image_and_label": _load,
    "cache_images": _caching,
    "check_cache_ram": _caching,
}
