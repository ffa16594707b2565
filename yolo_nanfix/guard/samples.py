"""Makes samples although some cannot be made: wraps the datasets of a guarded run, in this process and in workers.

A sample that raises is tried again; if that does not help, a neighbour stands in for it, so that its batch has the
usual form, and says so in its name (`provenance.Composed`): the main process takes it out (`intake`). A mosaic or
mix-up whose other image cannot be read gets the next one that can.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
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
from yolo_nanfix.guard import provenance, randomness, targets
from yolo_nanfix.guard.provenance import Failure

Method = tuple[type, str]
"""A class that defines a method, and its name."""

BASE = "ultralytics.data.base:BaseDataset"
CLASSIFY = "ultralytics.data.dataset:ClassificationDataset"
MARK, UNCACHED = "_nanfix_watched", "_nanfix_uncached"
"""Attributes of a dataset: that its samples are watched; and what could not be read into its cache, with the error."""
PAUSES = (0.05, 0.5)
"""Seconds before each further try at a sample that failed: a file being written or a share that stalls is there then.
Only at the first failure of a file in a process; later ones are believed at once."""
NEIGHBOURS = 8
"""So many other samples are tried as a stand-in."""
WORDS = 200
"""At most so many characters of an error are kept."""


@dataclass
class Draw:
    """One sample while it is made: the dataset, the files loaded so far, and those that could not be."""

    dataset: Any
    watched: Watch | None
    files: list[str] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    loading: bool = False


class Watch:
    """Says that a dataset's samples are watched. Unpickled in a spawned worker, it wraps the methods there, too."""

    def __init__(self, methods: tuple[Method, ...]) -> None:
        """Nothing has failed yet."""
        self.methods = methods
        self.failed: set[str] = set()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by the methods to wrap."""
        return _revived, (self.methods,)


def _revived(methods: tuple[Method, ...]) -> Watch:
    for owner, name in methods:
        _cover(owner, name)
    return Watch(methods)


_draw: ContextVar[Draw | None] = ContextVar("draw", default=None)
_building: ContextVar[bool] = ContextVar("building", default=False)
_covered: dict[Method, tuple[Any, Any]] = {}
"""Upstream's (or the user's) own object at each place, and the wrapper."""


def install() -> Callable[[], None]:
    """Wrap Ultralytics' datasets; call the result to take everything back that this module wrapped."""
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
    """Put a wrapper on a method that a class defines itself."""
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


def watch(dataset: Any) -> None:
    """Watch the samples of a dataset, or of those that it concatenates or takes a part of."""
    inner = getattr(dataset, "datasets", None) or ([d] if (d := getattr(dataset, "dataset", None)) is not None else [])
    for part in dataset if isinstance(dataset, (list, tuple)) else inner:
        watch(part)
    if not hasattr(dataset, "__dict__") or MARK in vars(dataset) or type(dataset).__module__.startswith("torch."):
        return
    methods = []
    for name in ("__getitem__", "get_image_and_label"):
        owner = next((c for c in type(dataset).__mro__ if name in vars(c)), None)
        if owner is not None and not owner.__module__.startswith("torch."):
            _cover(owner, name)
            methods.append((owner, name))
    vars(dataset)[MARK] = Watch(tuple(methods))


def file_of(dataset: Any, index: int) -> str:
    """The image file of a sample."""
    if (files := getattr(dataset, "im_files", None)) is not None:
        return str(files[index])
    if (listed := getattr(dataset, "samples", None)) is not None:
        return str(listed[index][0])
    return f"sample {index}"


def _sample(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Around `__getitem__`."""
    if _draw.get() is not None:  # a user's `__getitem__` that calls the one it overrides
        return wrapped(*args, **kwargs)
    watched = vars(instance).get(MARK) if hasattr(instance, "__dict__") else None
    index = args[0] if args else next(iter(kwargs.values()), None)
    if isinstance(index, (int, np.integer)) and watched is not None and -len(instance) <= index < len(instance):
        index = int(index) % len(instance)
        return _kept(lambda i, w: _made(wrapped, instance, i, w), instance, index, watched)
    return _made(wrapped, instance, index, None)


Make = Callable[[int, "Watch | None"], Any]


def _kept(make: Make, dataset: Any, index: int, watched: Watch) -> Any:
    """A sample, whatever is raised; one that is not a mapping with a file name cannot say so, and raises."""
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
    size = dataset.imgsz
    high, wide = (size, size) if isinstance(size, int) else size
    pixels = np.full((high, wide, getattr(dataset, "channels", 3)), 114, np.uint8)
    with _reading(dataset, "load_image", lambda *_, **__: (pixels.copy(), (high, wide), (high, wide))):
        yield


@contextmanager
def _reading(dataset: Any, name: str, reader: Callable[..., Any]) -> Iterator[None]:
    vars(dataset)[name] = reader
    try:
        yield
    finally:
        del vars(dataset)[name]


def _made(wrapped: Any, dataset: Any, index: Any, watched: Watch | None) -> Any:
    """One sample, with the names of all files in it, and of those that were not to be had."""
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
    if "im_file" not in sample and isinstance(index, int) and hasattr(dataset, "samples"):
        sample["im_file"] = file_of(dataset, index)  # image classification: samples come without
    if "im_file" not in sample:
        return sample
    own = str(sample["im_file"])
    others = tuple(dict.fromkeys(f for f in draw.files if f != own))
    sick = _sick(sample, dataset) if watched is not None else ""
    if others or draw.failures or sick:
        sample["im_file"] = provenance.named(own, others, tuple(draw.failures), sick=sick)
    return sample


def _sick(sample: dict[str, Any], dataset: Any) -> str:
    """What is not finite in float pixels, or out of range in a semantic mask, or empty.

    Ultralytics' own pixels are integers until the trainer divides them.
    """
    pixels, mask = sample.get("img"), sample.get("semantic_mask")
    if isinstance(mask, Tensor) and (said := targets.bad_classes(mask, targets.classes_of(dataset))):
        return said
    if not isinstance(pixels, Tensor) or not pixels.is_floating_point() or _sums_up(pixels):
        return ""
    count = int((~pixels.isfinite()).sum())
    return f"{count} pixel values not finite" if count else ""


def _sums_up(pixels: Tensor) -> bool:
    """Whether the sum is finite, as it is if all values are and they are no larger than pixels should be."""
    return math.isfinite(pixels.sum(dtype=torch.float32).numpy().item())


def _renamed(
    sample: Any, *, file: str | None = None, failures: tuple[Failure, ...] = (), stands_in: bool = False
) -> Any:
    """A sample whose name says more; one without a name cannot say it.

    Raises:
        DataError: it has none.
    """
    if not isinstance(sample, dict) or "im_file" not in sample:
        raise DataError(f"{failures[0].file}: {failures[0].error}")
    old = sample["im_file"]
    known, sick = (old.failures, old.sick) if isinstance(old, provenance.Composed) and not stands_in else ((), "")
    mixed = () if stands_in else provenance.parents(old)
    sample["im_file"] = provenance.named(file or str(old), mixed, (*failures, *known), stands_in, sick)
    return sample


def _load(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Around `get_image_and_label`, which mosaic and mix-up call for each further image."""
    draw = _draw.get()
    if draw is None or draw.loading:
        return wrapped(*args, **kwargs)
    index = args[0] if args else next(iter(kwargs.values()))
    draw.loading = True
    try:
        label = _loaded(wrapped, instance, index, draw)
    finally:
        draw.loading = False
    draw.files.append(str(label.get("im_file", "")))
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
    """Around what fills a dataset's cache when it is built: what cannot be read leaves a gap, and is said later."""
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
    size = instance.imgsz
    high, wide = (size, size) if isinstance(size, int) else size
    gray = np.full((high, wide, getattr(instance, "channels", 3)), 114, np.uint8)
    gap = gray, (high, wide), (high, wide)
    with (
        _reading(instance, "load_image", lenient(instance.load_image, gap, lambda i: file_of(instance, i))),
        _reading(instance, "cache_images_to_disk", lenient(instance.cache_images_to_disk, None, str)),
    ):
        return wrapped(*args, **kwargs)


def _refuse_uncached(dataset: Any, index: int) -> None:
    """Raise what was raised when the image should have gone into the cache: what is there is no image."""
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
