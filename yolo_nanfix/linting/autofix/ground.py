"""The dataset in which files are fixed: its folders, labels, lists and quarantine."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import NamedTuple

from yolo_nanfix.dataset.paths import SUFFIX_FORMATS
from yolo_nanfix.files import ANYWHERE, Within, is_inside
from yolo_nanfix.linting.autofix.file_changes import look
from yolo_nanfix.linting.autofix.label_edits import is_background, listed
from yolo_nanfix.linting.autofix.reasons import Left, Reason, Why


class LabelFile(NamedTuple):
    """One label file of the dataset, and the image that it belongs to.

    Attributes:
        path: the label file.
        splits: the splits in which its image is.
        width, height: of the image in pixels, as lint's table has them; 0 if unknown.
        turn: the orientation by which EXIF rotates the image; 0 if several do.
    """

    path: str
    splits: tuple[str, ...]
    width: int
    height: int
    turn: int = 1


@dataclass(frozen=True)
class Whole:
    """What is known of the whole set.

    Attributes:
        labels: the label files that exist, each once.
        splits: the image files of each split.
        rows: how many rows they have, with unreadable ones.
        classes: for each split how many rows have each class.
        nc: the number of classes in data.yaml.
        held: the classes of the rows of an image.
    """

    labels: tuple[LabelFile, ...]
    splits: Mapping[str, Sequence[str]]
    rows: int
    classes: Mapping[str, Mapping[float, int]]
    nc: int
    held: Callable[[str], Iterable[float]]

    def has(self, split: str, number: float) -> int:
        """How many rows of a split have this class."""
        return self.classes.get(split, {}).get(number, 0)


@dataclass(frozen=True)
class Home:
    """Where the files of a dataset are: where fixes and undo may write.

    Attributes:
        data: path of its data.yaml, or of its folder; journals name it by this.
        root: its folder; the quarantine is beside it.
        within: the folders that it consists of.
        outside: whether files outside of these may be changed, too.
    """

    data: str
    root: str
    within: Within
    outside: bool = False

    @cached_property
    def quarantine(self) -> str:
        """The folder for unusable files: beside the dataset, named after it; if it is a link, its target."""
        return os.path.realpath(aside(self.root))

    def holds(self, path: str) -> bool:
        """Whether a file lies in the dataset, or in its quarantine if that is no link; folders are resolved."""
        real = canonical(path)
        beside = aside(self.root)
        places = (*self.within.folders, *([beside] if os.path.realpath(beside) == beside else []))
        return any(is_inside(real, folder) for folder in places)

    def check(self, *paths: str) -> None:
        """Raise `Left` if a file lies outside of the dataset, unless these may be changed."""
        if not self.outside and not all(map(self.holds, paths)):
            raise Left(Why.OUTSIDE)


def aside(root: str) -> str:
    """The path of the quarantine of a dataset."""
    return f"{root.rstrip(os.sep)}-quarantine"


@dataclass(frozen=True)
class Ground:
    """The dataset in which files are fixed.

    Attributes:
        home: where its files are.
        task: the task of its label format.
        classes: its class numbers; rows with other numbers are not written.
        lists: the .txt files that list images.
        label_of: the path of the label file of an image; empty for the task classify.
        whole: returns what is known of the whole set; called only to rewrite it, or to drop rows.
        since_ns: when it was linted; files that changed later are not changed. None: not checked.
        unsafe: whether unsafe fixes are allowed.
    """

    home: Home
    task: str
    classes: Container[int]
    lists: tuple[str, ...]
    label_of: Callable[[str], str] = field(repr=False)
    whole: Callable[[], Whole] = field(repr=False)
    since_ns: int | None
    unsafe: bool

    @cached_property
    def pinned(self) -> Mapping[str, Reason]:
        """The images in lists that cannot be changed, by the paths that lint uses, each with the reason."""
        found: dict[str, Reason] = {}
        for path in self.lists:
            real = canonical(path)
            try:
                self.home.check(real)
                look(real, self.since_ns, rewrite=True)
            except Left as why:
                with contextlib.suppress(OSError):
                    names = listed(ANYWHERE.read(path), os.path.dirname(path), os.sep)  # noqa: PTH120
                    values = {"list": path, "because": why.reason}
                    found |= dict.fromkeys(names, Reason(Why.IN_FIXED_LIST, values))
        return found

    def check_names(self, images: Iterable[str]) -> None:
        """Raise `Left` if a list that cannot be changed names one of the images: they may not be moved or renamed."""
        for image in images:
            if image in self.pinned:
                reason = self.pinned[image]
                raise Left(reason.why, **reason.values)

    def is_aside(self, path: str) -> bool:
        """Whether a file is in the quarantine, or is to go there."""
        return path.startswith(self.home.quarantine + os.sep)


def canonical(path: str) -> str:
    """The path with links among its folders resolved, but not a link of the file itself: one name for one file."""
    folder, name = os.path.split(path)
    return os.path.join(_real(folder), name)  # noqa: PTH118


@lru_cache(maxsize=1024)
def _real(folder: str) -> str:
    """A folder with all links resolved; cached for one plan."""
    return os.path.realpath(folder)


def forget() -> None:
    """Clear the cache of resolved folders: a plan begins."""
    _real.cache_clear()


def away(path: str, ground: Ground, taken: set[str]) -> str:
    """A free path for a file in the quarantine, which repeats the folders of the dataset.

    Raises:
        Left: the quarantine cannot be made, or is elsewhere.
    """
    beside, quarantine = aside(ground.home.root), ground.home.quarantine
    if quarantine != beside and not ground.home.outside:
        raise Left(Why.QUARANTINE_LINK, quarantine=beside, target=quarantine)
    root = os.path.realpath(ground.home.root)
    held = path.startswith(root + os.sep)
    part = path[len(root) + 1 :] if held else f"outside{os.sep}{path.lstrip(os.sep).replace(':', '')}"
    wanted = f"{quarantine}{os.sep}{part}"
    head, suffix = os.path.splitext(wanted)  # noqa: PTH122
    number = 0
    while os.path.lexists(wanted) or wanted in taken:
        number += 1
        wanted = f"{head}~{number}{suffix}"
    folder = os.path.dirname(wanted)  # noqa: PTH120
    while not os.path.lexists(folder):
        folder = os.path.dirname(folder)  # noqa: PTH120
    why = None
    if os.path.realpath(folder) != folder:
        why = Why.QUARANTINE_BEHIND_LINK
    elif not os.path.isdir(folder):  # noqa: PTH112
        why = Why.QUARANTINE_NO_FOLDER
    elif not os.access(folder, os.W_OK | os.X_OK):
        why = Why.QUARANTINE_READ_ONLY
    if why is not None:
        raise Left(why, quarantine=quarantine, folder=folder)
    return wanted


def siblings(image: str) -> list[str]:
    """Other images in the folder that have the same label file."""
    stem = image.rpartition(".")[0]
    names = (f"{stem}.{s}" for suffix in SUFFIX_FORMATS for s in (suffix, suffix.upper()))
    return [name for name in names if name != image and os.path.exists(name)]  # noqa: PTH110


def unlabelled(image: str, ground: Ground) -> bool:
    """Whether an image, if it were readable, would be background: it has no label row, or no label file."""
    named = ground.label_of(image)
    if not named:
        return False
    try:
        return is_background(ANYWHERE.read(canonical(named)))
    except OSError:
        return True
