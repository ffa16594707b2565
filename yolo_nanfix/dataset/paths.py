"""Paths as text, image suffixes, and stamps that show whether a file has changed; called for every file.

There are no `Path` objects here: they cost as much as a system call.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

NO_LABELS = ("classes.txt", "labels.txt", "train.txt", "val.txt", "test.txt")
"""Text files beside labels that are none: lists of classes or images."""


def label_path(image: str) -> str:
    """Where Ultralytics looks for labels: the last folder `images` becomes `labels`, the suffix .txt."""
    head, found, tail = image.rpartition(f"{os.sep}images{os.sep}")
    path = f"{head}{os.sep}labels{os.sep}{tail}" if found else image
    return path.rpartition(".")[0] + ".txt"


def by_folder(paths: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Consecutive paths of one folder together: the folder with its separator, and the names."""
    start = 0
    for head, same in groupby([path[: path.rfind(os.sep) + 1] for path in paths]):
        stop = start + len(list(same))
        yield head, [path[len(head) :] for path in paths[start:stop]]
        start = stop


def folder_of(path: str) -> str:
    """The folder part of a path."""
    return path.rpartition(os.sep)[0] or (os.sep if path.startswith(os.sep) else os.curdir)


def folders_of(paths: Sequence[str]) -> set[str]:
    """The folder parts of many paths."""
    return {folder_of(head) for head, _ in by_folder(paths)}


def labels_beside(folder: str) -> str:
    """The folder in which Ultralytics looks for the labels of the images in a folder."""
    return folder_of(label_path(f"{folder}{os.sep}x.jpg"))


SUFFIX_FORMATS: dict[str, tuple[str, ...]] = {
    "avif": ("AVIF",),
    "bmp": ("BMP", "DIB"),
    "dng": ("TIFF",),
    "heic": ("HEIF",),
    "heif": ("HEIF",),
    "jp2": ("JPEG2000",),
    "jpeg": ("JPEG", "MPO"),
    "jpg": ("JPEG", "MPO"),
    "mpo": ("MPO", "JPEG"),
    "png": ("PNG",),
    "tif": ("TIFF",),
    "tiff": ("TIFF",),
    "webp": ("WEBP",),
}
"""The suffixes of images for Ultralytics, each with Pillow's names of the formats that it stands for."""


_COMMON = frozenset((".jpg", ".png", ".JPG"))


def images_among(names: Iterable[str]) -> list[str]:
    """Those of some file names that `is_image` takes."""
    return [name for name in names if name[-4:] in _COMMON or is_image(name)]


def is_image(name: str) -> bool:
    """Whether a file name has the suffix of an image."""
    return "." in name and name.rpartition(".")[2].lower() in SUFFIX_FORMATS


Stamp = tuple[int, int, int, int, int]
"""What the file system says of a file: size, time of change, device, inode and time of status change.

Both times are in nanoseconds. Programs may set the time of change (unpacked files get the times in the archive), so a
changed file of the same size may have the old one, and a file that is written again may get the old inode; the time of
status change they cannot set.
"""
NO_FILE: Stamp = (0, 0, 0, 0, 0)
"""The stamp of a file that does not exist, or is not a regular one."""


def stamp_of(status: os.stat_result) -> Stamp:
    """The stamp of a file; device and inode as signed 64-bit numbers, for columns."""
    return status.st_size, status.st_mtime_ns, _signed(status.st_dev), _signed(status.st_ino), status.st_ctime_ns


def _signed(number: int) -> int:
    """Some file systems have inodes above 2^63."""
    return number - (number >> 63 << 64)
