"""Checkpoints that are written whole or not at all.

Upstream writes `last.pt` in place; a process killed in that moment leaves a torn file and no checkpoint. While the
trainer saves, `Path.write_bytes` and `torch.save` put its own checkpoints (last.pt, best.pt, epochN.pt) into a hidden
folder beside their places, and only what can be read again takes the old file's place, at once. Every other file, and
every other thread, is as ever: a `save_model` of the user's own sees its folder as it is without the guard.

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
"""How the names of these folders begin, behind a dot."""
PERIODIC = re.compile(r"epoch\d+\.pt")
ARCHIVE = b"PK"

Call = Callable[..., Any]


class Checkpoints:
    """The checkpoints of one trainer while it saves."""

    def __init__(self, trainer: Any) -> None:
        """Nothing is written yet."""
        self.trainer = trainer
        self.torn: list[tuple[str, str]] = []

    def owns(self, file: Any) -> bool:
        """Whether this is one of the files that upstream itself writes."""
        if not isinstance(file, (str, Path)):
            return False
        path = Path(file).absolute()
        named = [Path(own).absolute() for own in (self.trainer.last, self.trainer.best) if own]
        periodic = path.parent == Path(self.trainer.wdir).absolute() and PERIODIC.fullmatch(path.name)
        return path in named or bool(periodic)

    def write(self, file: Any, write: Call, archive: bool | None = None) -> Any:
        """Let `write` write the file aside, check it, and move it to its place; links are followed, modes stay.

        Args:
            file: where it belongs.
            write: called with the path to write to.
            archive: whether it is to be a zip archive; None to look at its first bytes.

        Returns:
            What `write` returned. What is wrong with a file that was not moved is in `torn`.

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
            if defect := _torn(aside, archive):
                self.torn.append((aside.name, defect))
            else:
                _sync(aside)
                if place.exists():
                    shutil.copymode(place, aside)
                aside.replace(place)
        return result


_saving: ContextVar[Checkpoints | None] = ContextVar("saving", default=None)
_lock = Lock()
_saves = 0
_undo: list[Callable[[], None]] = []


def whole(trainer: Any, write: Callable[[], Any]) -> tuple[Any, list[tuple[str, str]]]:
    """Let the trainer save, its checkpoints written aside, checked, and moved to their places.

    Returns:
        What `write` returned, and the names of those files that were not moved, with what is wrong with each.
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
    """While any trainer saves, stand in the place of the functions that write; they are shared by all threads."""
    global _saves
    with _lock:
        _saves += 1
        if _saves == 1:
            _undo.extend((_swap(Path, "write_bytes", _write_bytes), _swap(torch, "save", _save)))
    try:
        yield
    finally:
        with _lock:
            _saves -= 1
            while _saves == 0 and _undo:
                _undo.pop()()


def _swap(holder: Any, name: str, stand_in: Callable[[Call], Call]) -> Callable[[], None]:
    """Put a stand-in for a function; what is returned puts the very function back, unless another was put since."""
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


def _write_bytes(original: Call) -> Call:
    def write_bytes(self: Path, data: Any) -> Any:
        checkpoints = _saving.get()
        if checkpoints is None or not checkpoints.owns(self):
            return original(self, data)
        return checkpoints.write(
            self, lambda path: original(path, data), bytes(memoryview(data)[: len(ARCHIVE)]) == ARCHIVE
        )

    return write_bytes


def _save(original: Call) -> Call:
    def save(obj: Any, f: Any, *args: Any, **kwargs: Any) -> Any:
        checkpoints = _saving.get()
        if checkpoints is None or not checkpoints.owns(f):
            return original(obj, f, *args, **kwargs)
        return checkpoints.write(f, lambda path: original(obj, path, *args, **kwargs))

    return save


def _torn(file: Path, archive: bool | None) -> str | None:
    """Why a file cannot be read back, or None; of what is no archive that cannot be said."""
    if archive is None:
        with open(file, "rb") as stream:
            archive = stream.read(len(ARCHIVE)) == ARCHIVE
    return unreadable(file) if archive else None


def unreadable(file: Path) -> str | None:
    """Why a checkpoint file cannot be read back (its zip directory or a checksum is wrong), or None."""
    try:
        with zipfile.ZipFile(file) as archive:
            damaged = archive.testzip()
    except (zipfile.BadZipFile, OSError) as error:
        return str(error)
    return f"{damaged} is damaged" if damaged else None


def _sync(file: Path) -> None:
    with open(file, "rb") as stream:
        os.fsync(stream.fileno())
