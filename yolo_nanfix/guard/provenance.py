"""Remembers which image files went into a sample: with mosaic and mix-up it holds several.

Ultralytics keeps the name of one only. The others travel as an attribute of that name, which stays a `str`, so that
batches look to everybody as they always do; it also crosses from dataloader workers by their own pickling.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import wrapt

from yolo_nanfix import upstream

DATASET = "ultralytics.data.base:BaseDataset"
CLASSIFY = "ultralytics.data.dataset:ClassificationDataset.__getitem__"
_loaded: ContextVar[list[str] | None] = ContextVar("loaded", default=None)


class Composed(str):
    """A file name that knows the other files which were mixed into its sample."""

    parents: tuple[str, ...] = ()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle with the parents."""
        return _composed, (str(self), self.parents)


def _composed(name: str, parents: tuple[str, ...]) -> Composed:
    made = Composed(name)
    made.parents = parents
    return made


def parents(name: Any) -> tuple[str, ...]:
    """The other files of a sample."""
    return name.parents if isinstance(name, Composed) else ()


def install() -> Callable[[], None]:
    """Wrap the datasets of this process and of workers forked from it; call the result to take it back."""
    undo = []
    wrappers = {f"{DATASET}.__getitem__": _sample, f"{DATASET}.get_image_and_label": _load, CLASSIFY: _classified}
    for path, wrapper in wrappers.items():
        try:
            target = upstream.resolve(path)
        except LookupError:  # a release that loads differently: samples keep one name
            continue
        setattr(target.owner, target.attribute, wrapt.FunctionWrapper(target.raw, wrapper))
        undo.append(target)

    def take_back() -> None:
        for target in undo:
            setattr(target.owner, target.attribute, target.raw)

    return take_back


def _sample(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    files: list[str] = []
    token = _loaded.set(files)
    try:
        sample = wrapped(*args, **kwargs)
    finally:
        _loaded.reset(token)
    if len(files) > 1 and isinstance(sample, dict) and "im_file" in sample:
        own = str(sample["im_file"])
        sample["im_file"] = _composed(own, tuple(dict.fromkeys(f for f in files if f != own)))
    return sample


def _classified(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Samples of image classification come without a name; give them theirs, as those of all other tasks have it."""
    sample = wrapped(*args, **kwargs)
    index = args[0] if args else kwargs.get("i")
    if isinstance(sample, dict) and isinstance(index, int):
        sample.setdefault("im_file", str(instance.samples[index][0]))
    return sample


def _load(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    label = wrapped(*args, **kwargs)
    files = _loaded.get()
    if files is not None:
        files.append(str(label.get("im_file", "")))
    return label
