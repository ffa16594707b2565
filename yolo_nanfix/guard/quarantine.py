"""Leaves named images out of the datasets that are built from now on; nothing on disk changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from yolo_nanfix import upstream
from yolo_nanfix.errors import DataError

TARGET = "ultralytics.data.base:BaseDataset.get_img_files"
CLASSIFY = "ultralytics.data.dataset:ClassificationDataset"
UNSPLIT = "_split"
"""End of the name of the folder into which Ultralytics copies class folders that have no `train`."""

_out: set[str] = set()


def left_out() -> list[str]:
    """The image files that are left out now, for a process that this one starts."""
    return sorted(_out)


def leave_out_here(images: Iterable[str]) -> None:
    """Leave images out for the rest of this process, as the one that started it does."""
    if out := {_absolute(image) for image in images}:
        _wrap(out)
        _out.update(out)


@contextmanager
def leave_out(images: Iterable[str]) -> Iterator[None]:
    """While this is active, datasets that are built leave out the given image files.

    Raises:
        DataError: (when a dataset is built) no image of a split remains.
    """
    out = {_absolute(image) for image in images}
    undo = _wrap(out) if out else None
    _out.update(out)
    try:
        yield
    finally:
        _out.difference_update(out)
        if undo is not None:
            undo()


def _wrap(out: set[str]) -> Callable[[], None]:
    def get_img_files(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[str]:
        found: list[str] = wrapped(*args, **kwargs)
        return _without(found, [_absolute(file) in out for file in found], instance.img_path)

    def samples_of(found: list[Any], instance: Any) -> list[Any]:
        return _without(found, [not out.isdisjoint(_origins(file)) for file, *_ in found], instance.root)

    def verify_images(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
        return samples_of(wrapped(*args, **kwargs), instance)  # file and class of each image that opens

    def built(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        wrapped(*args, **kwargs)
        instance.samples = samples_of(instance.samples, instance)

    undo = [upstream.put_around(TARGET, get_img_files)]
    try:
        undo.append(upstream.put_around(f"{CLASSIFY}.verify_images", verify_images))
    except LookupError:  # the oldest releases take what is in the folder
        undo.append(upstream.put_around(f"{CLASSIFY}.__init__", built))

    def restore() -> None:
        for back in undo:
            back()

    return restore


def _without(found: list[Any], leave: list[bool], where: object) -> list[Any]:
    if found and all(leave):
        raise DataError(f"all {len(found)} images of {where} have fatal findings; correct them first")
    return [one for one, gone in zip(found, leave, strict=True) if not gone]


def _origins(file: str) -> tuple[str, ...]:
    """Where an image of a class folder lies, and where it was copied from if Ultralytics has split the folder."""
    path = Path(file).absolute()
    top = path.parents[2] if len(path.parents) > 2 else path.parent
    if not top.name.endswith(UNSPLIT):
        return (str(path),)
    source = top.with_name(top.name.removesuffix(UNSPLIT))
    return str(path), str(source / path.parent.name / path.name)


def _absolute(file: str) -> str:
    return str(Path(file).absolute())
