"""Checkpoints that are written atomically and checked.

Upstream writes `last.pt` in place; a process killed in that moment leaves a torn file and no checkpoint. While the
trainer saves, `Path.write_bytes` and `torch.save` write its own checkpoints (last.pt, best.pt, epochN.pt) to a hidden
folder beside them, and only a file that can be read back replaces the old one. Every other file, and every other
thread, is not affected: a `save_model` of the user's own sees its folder as without the guard.

Cost: one pass over the file's checksum, 2 ms for YOLOv8n, at each save.
"""

from __future__ import annotations

import os
import re
import shutil
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from functools import wraps
from pathlib import Path
from threading import Lock
from typing import Any

import torch

from yolo_nanfix import files

FOLDER = "saving"
"""Start of the names of these folders, after a dot."""
PERIODIC = re.compile(r"epoch\d+\.pt")
ARCHIVE = b"PK"

Writer = Callable[..., Any]


class Checkpoints:
    """The checkpoints of one trainer while it saves."""

    def __init__(self, trainer: Any) -> None:
        self.trainer = trainer
        self.torn: list[tuple[str, str]] = []

    def owns(self, file: Any) -> bool:
        """Whether this is one of the checkpoints that upstream itself writes."""
        if not isinstance(file, (str, Path)):
            return False
        path = Path(file).absolute()
        named = [Path(own).absolute() for own in (self.trainer.last, self.trainer.best) if own]
        periodic = path.parent == Path(self.trainer.wdir).absolute() and PERIODIC.fullmatch(path.name)
        return path in named or bool(periodic)

    def write(self, file: Any, write: Writer, archive: bool | None = None) -> Any:
        """Let `write` write a temporary file, check it, and move it to its place; links are followed, modes kept.

        `archive`: whether it is to be a zip archive; None to look at its first bytes. `torn` has what is wrong with a
        file that was not moved.

        Raises:
            Exception: whatever `write` raised; the old file stays.
        """
        place = Path(os.path.realpath(file))
        with ExitStack() as stack:
            try:
                if place.exists() and not place.is_file():
                    return write(file)
                folder = stack.enter_context(files.folder(place.parent / FOLDER))
            except OSError:
                return write(file)
            aside = folder / Path(file).name  # torch.save puts the name into the file
            result = write(aside)
            if archive is None:
                with open(aside, "rb") as stream:
                    archive = stream.read(len(ARCHIVE)) == ARCHIVE
            if archive and (defect := unreadable(aside)):  # whether other files are whole cannot be told
                self.torn.append((aside.name, defect))
            else:
                with open(aside, "rb") as stream:
                    os.fsync(stream.fileno())
                if place.exists():
                    shutil.copymode(place, aside)
                aside.replace(place)
        return result


_saving: ContextVar[Checkpoints | None] = ContextVar("saving", default=None)
_lock = Lock()
_saves = 0
_swaps: list[Callable[[], None]] = []


def whole(trainer: Any, write: Callable[[], Any]) -> tuple[Any, list[tuple[str, str]]]:
    """Let the trainer save; its checkpoints are checked before they replace the old ones.

    Returns:
        What `write` returned, and the names of files that were not moved, with what is wrong with each.
    """
    checkpoints = Checkpoints(trainer)
    with _listening():
        token = _saving.set(checkpoints)
        try:
            return write(), checkpoints.torn
        finally:
            _saving.reset(token)


@contextmanager
def _listening() -> Iterator[None]:
    """While any trainer saves, replace the functions that write, which all threads share."""
    global _saves
    with _lock:
        _saves += 1
        if _saves == 1:
            _swaps.extend((_swap(Path, "write_bytes", _write_bytes), _swap(torch, "save", _torch_save)))
    try:
        yield
    finally:
        with _lock:
            _saves -= 1
            while _saves == 0 and _swaps:
                _swaps.pop()()


def _swap(holder: Any, name: str, stand_in: Callable[[Writer], Writer]) -> Callable[[], None]:
    """Replace a function; the result restores it, unless it was replaced again since."""
    original, own = getattr(holder, name), name in vars(holder)
    put = wraps(original)(stand_in(original))
    setattr(holder, name, put)

    def back() -> None:
        if vars(holder).get(name) is put:
            if own:
                setattr(holder, name, original)
            else:
                delattr(holder, name)

    return back


def _write_bytes(original: Writer) -> Writer:
    def write_bytes(self: Path, data: Any) -> Any:
        checkpoints = _saving.get()
        if checkpoints is None or not checkpoints.owns(self):
            return original(self, data)
        return checkpoints.write(
            self, lambda path: original(path, data), bytes(memoryview(data)[: len(ARCHIVE)]) == ARCHIVE
        )

    return write_bytes


def _torch_save(original: Writer) -> Writer:
    def save(obj: Any, f: Any, *args: Any, **kwargs: Any) -> Any:
        checkpoints = _saving.get()
        if checkpoints is None or not checkpoints.owns(f):
            return original(obj, f, *args, **kwargs)
        return checkpoints.write(f, lambda path: original(obj, path, *args, **kwargs))

    return save


def unreadable(file: Path) -> str | None:
    """Why a checkpoint file cannot be read back (its zip directory or a checksum is wrong), or None."""
    try:
        with zipfile.ZipFile(file) as archive:
            damaged = archive.testzip()
    except (zipfile.BadZipFile, OSError) as error:
        return str(error)
    return f"{damaged} is damaged" if damaged else None
