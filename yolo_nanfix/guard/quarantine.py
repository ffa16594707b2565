"""Leaves named images out of the datasets that are built from now on; nothing on disk changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import wrapt

from yolo_nanfix import upstream
from yolo_nanfix.errors import DataError

TARGET = "ultralytics.data.base:BaseDataset.get_img_files"


_out: set[str] = set()


def left_out() -> list[str]:
    """The image files that are left out now, for a process that this one starts."""
    return sorted(_out)


def leave_out_here(images: Iterable[str]) -> None:
    """Leave images out for the rest of this process, as the one that started it does."""
    if out := {_key(image) for image in images}:
        _wrap(out)
        _out.update(out)


@contextmanager
def leave_out(images: Iterable[str]) -> Iterator[None]:
    """While this is active, `BaseDataset` does not see the given image files.

    Raises:
        DataError: (when a dataset is built) no image of a split is left.
    """
    out = {_key(image) for image in images}
    undo = _wrap(out) if out else None
    _out.update(out)
    try:
        yield
    finally:
        _out.difference_update(out)
        if undo is not None:
            undo()


def _wrap(out: set[str]) -> Callable[[], None]:
    target = upstream.resolve(TARGET)

    def get_img_files(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[str]:
        found: list[str] = wrapped(*args, **kwargs)
        kept = [file for file in found if _key(file) not in out]
        if found and not kept:
            raise DataError(f"all {len(found)} images of {instance.img_path} have fatal findings; mend them first")
        return kept

    setattr(target.owner, target.attribute, wrapt.FunctionWrapper(target.raw, get_img_files))
    return lambda: setattr(target.owner, target.attribute, target.raw)


def _key(file: str) -> str:
    return str(Path(file).absolute())
