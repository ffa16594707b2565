"""The dataset in which files are mended, and how its files are called and kept together."""

from __future__ import annotations

import os
from collections.abc import Callable, Container
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from yolo_nanfix.fixing.limits import Whole
from yolo_nanfix.fixing.rows import Left
from yolo_nanfix.fixing.texts import is_background

_SUFFIXES = ("avif", "bmp", "dng", "heic", "heif", "jp2", "jpeg", "jpg", "mpo", "png", "tif", "tiff", "webp")


@dataclass(frozen=True)
class Ground:
    """The dataset in which files are mended.

    Attributes:
        data: path of its data.yaml, which names its journals.
        task: the task whose label format it has.
        classes: its class numbers; what is none of these is no row that may be written.
        root: its folder; the quarantine stands beside it.
        lists: the .txt files that list images.
        label_of: the path of the label file of an image; empty for the task classify.
        whole: gives what is known of the whole set; asked only where it is to be rewritten, or rows are to be dropped.
        since_ns: when it was linted; files that changed later are left alone. None: do not ask.
        unsafe: whether unsafe fixes are allowed.
    """

    data: str
    task: str
    classes: Container[int]
    root: str
    lists: tuple[str, ...]
    label_of: Callable[[str], str] = field(repr=False)
    whole: Callable[[], Whole] = field(repr=False)
    since_ns: int | None
    unsafe: bool

    @property
    def quarantine(self) -> str:
        """The folder for unusable files: beside the dataset, named after it."""
        return f"{self.root.rstrip(os.sep)}-quarantine"


def canonical(path: str) -> str:
    """The path with links among its folders resolved, not the file itself: one name for one file."""
    folder, name = os.path.split(path)
    return os.path.join(_real(folder), name)  # noqa: PTH118


@lru_cache(maxsize=1024)
def _real(folder: str) -> str:
    """A folder with all links resolved; remembered for one plan."""
    return os.path.realpath(folder)


def forget() -> None:
    """Look at folders anew: a plan begins."""
    _real.cache_clear()


def away(path: str, ground: Ground, taken: set[str]) -> str:
    """A free place for a file in the quarantine, which repeats the folders of the dataset."""
    root = os.path.realpath(ground.root)
    inside = path.startswith(root + os.sep)
    part = path[len(root) + 1 :] if inside else f"outside{os.sep}{path.lstrip(os.sep).replace(':', '')}"
    wanted = f"{ground.quarantine}{os.sep}{part}"
    head, dot, suffix = wanted.rpartition(".")
    number = 0
    while os.path.lexists(wanted) or wanted in taken:
        number += 1
        wanted = f"{head}~{number}{dot}{suffix}"
    folder = Path(wanted).parent
    while not folder.exists():
        folder = folder.parent
    if not os.access(folder, os.W_OK | os.X_OK):
        raise Left(f"the quarantine {ground.quarantine} cannot be made: {folder} is read-only")
    return wanted


def siblings(image: str) -> list[str]:
    """Other images in the folder that have the same label file."""
    stem = image.rpartition(".")[0]
    names = (f"{stem}.{s}" for suffix in _SUFFIXES for s in (suffix, suffix.upper()))
    return [name for name in names if name != image and os.path.exists(name)]  # noqa: PTH110


def unlabelled(image: str, ground: Ground) -> bool:
    """Whether an image, once it can be read, would count as background: it has no label row, or no label file."""
    named = ground.label_of(image)
    if not named:
        return False
    try:
        return is_background(Path(canonical(named)).read_bytes())
    except OSError:
        return True
