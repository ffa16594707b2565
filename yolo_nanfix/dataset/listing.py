"""The files of a dataset: each folder is listed once, with the size and times of every file in it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING

from xxhash import xxh3_128

from yolo_nanfix.dataset import bounded
from yolo_nanfix.dataset.bounded import LIST_BYTES
from yolo_nanfix.dataset.config import DataConfig
from yolo_nanfix.dataset.paths import NO_FILE, folder_of, images_among, is_image, labels_beside
from yolo_nanfix.dataset.scanning import STAMP, Scan, scan, scanned, unpack_folders, unpack_names
from yolo_nanfix.dataset.split_paths import Moved, read_moved
from yolo_nanfix.dataset.unlisted import siblings, state_below
from yolo_nanfix.errors import DataError
from yolo_nanfix.wording import cut

if TYPE_CHECKING:
    import subprocess

    import numpy as np
    from numpy.typing import NDArray

LONGEST_LINE = 8192
"""Characters of a line of a list at most: no system has longer paths."""
LOOPS = 41
"""A folder is met so often when a link in it leads back to it: the system then reports a cycle."""


class Folders:
    """Folders that were listed, each once.

    Attributes:
        count: how many stamps there are.
    """

    def __init__(self, ahead: Mapping[str, subprocess.Popen[bytes] | Scan] | None = None) -> None:
        """Start with none; `ahead` are those that were listed already, or that other processes are listing."""
        self._listed: dict[str, Scan] = {}
        self._names: dict[str, list[str]] = {}
        self._folders: dict[str, list[tuple[str, tuple[int, int]]]] = {}
        self._starts: dict[str, int] = {}  # where the stamps of a folder begin among all
        self._places: dict[str, dict[str, int]] = {}
        self._stamps = [STAMP.pack(*NO_FILE)]  # of all folders; those of nothing come first
        self.count = 1
        self._lists: dict[str, bytes] = {}
        self._ahead = dict(ahead or {})
        self._labels: dict[str, None] = {}

    @property
    def homes_of_labels(self) -> list[str]:
        """The folders in which the labels of the images in the visited ones are looked for."""
        return list(self._labels)

    def names(self, folder: str) -> list[str]:
        """The names of the files in a folder, in the order of the system; none if it cannot be listed."""
        if folder not in self._names:
            self._names[folder] = unpack_names(self._list(folder)[0])
        return self._names[folder]

    def _below(self, folder: str) -> list[tuple[str, tuple[int, int]]]:
        """The folders in a folder, except hidden ones: name, and device and inode."""
        if folder not in self._folders:
            self._folders[folder] = unpack_folders(self._list(folder)[2])
        return self._folders[folder]

    def entries(self, folder: str) -> list[str]:
        """The names of all that is in a folder, folders too; none if it was not listed, or could not be."""
        if folder not in self._listed:
            return []
        hidden = (line.partition(":")[2] for line in unpack_names(self._listed[folder][3]))
        return [*self.names(folder), *(name for name, _ in self._below(folder)), *hidden]

    def stamps(self) -> NDArray[np.int64]:
        """(M, 5) int64, the stamps of all files that were listed, in the order of listing; the first is of nothing."""
        import numpy as np  # where nothing has changed, this is not asked

        return np.frombuffer(b"".join(self._stamps), np.int64).reshape(-1, 5)

    def rows(self, folder: str, names: Sequence[str]) -> list[int]:
        """The rows of `stamps` of files by name in a folder; 0 for what does not exist."""
        if folder not in self._places:
            names_there, start = self.names(folder), self._starts[folder]
            self._places[folder] = dict(zip(names_there, range(start, start + len(names_there)), strict=True))
        return list(map(self._places[folder].get, names, repeat(0)))

    def visit(self, config: DataConfig) -> None:
        """List all folders on which the result of a lint depends, and read the lists of images."""
        tops = [path for paths in config.splits.values() for path in paths]
        for path in tops:
            if path.is_dir():
                homes = list(self._walk(str(path)))
            else:
                try:
                    if (more := bounded.excess(path)) is not None:
                        self._lists[str(path)] = more.encode()
                        continue
                    self._lists[str(path)] = bounded.read_bytes(path, LIST_BYTES)
                except OSError:
                    continue
                text = self._lists[str(path)].decode("utf-8-sig", "replace")
                named = _listed_paths(path, text, config.lists.get(str(path)))
                homes = sorted(set(map(folder_of, named)))
            for home in homes:
                self._list(home)
                labels = labels_beside(home)
                self._labels[labels] = None
                self._list(labels)
                self._list(folder_of(labels))
        for folder in siblings(config):
            self._lists[folder] = state_below(folder)

    def images(self, folder: str) -> list[str]:
        """All paths under a folder that have the suffix of an image, as `glob("**/*.*", recursive=True)` finds them.

        Links to folders are followed, cycles of links as far as the system does; several cycles in one folder, which
        Ultralytics would follow forever, `LOOPS` times.
        """
        found: list[str] = []
        for here in self._walk(folder):
            head = here if here.endswith(os.sep) else here + os.sep
            found += [head + name for name in images_among(self.names(here)) if name[0] != "."]
            found += [head + name for name, _ in self._below(here) if is_image(name)]
        return found

    def _walk(self, folder: str) -> Iterator[str]:
        """A folder and all below it."""
        waiting = [folder]
        met: Counter[tuple[int, int]] = Counter()
        while waiting:
            here = waiting.pop()
            yield here
            for name, identity in self._below(here):
                met[identity] += 1
                if met[identity] <= LOOPS:
                    waiting.append(here + name if here.endswith(os.sep) else f"{here}{os.sep}{name}")

    @cached_property
    def digests(self) -> tuple[str, str]:
        """Two hashes of all that was listed so far: equal if no file came or went, and if none changed either."""
        state = xxh3_128()
        for folder, (names, odd, _, hidden, _) in self._listed.items():
            below = "\0".join((folder, *(name for name, _ in self._below(folder))))
            state.update(b"\0\0".join((os.fsencode(below), names, odd, hidden)))
        for name, content in self._lists.items():
            state.update(os.fsencode(name) + b"\0" + content)
        names_alone = state.hexdigest()
        for stamps in self._stamps:
            state.update(stamps)
        return names_alone, state.hexdigest()

    def _list(self, folder: str) -> Scan:
        if folder in self._listed:
            return self._listed[folder]
        ahead = self._ahead.pop(folder, None)
        found = (ahead if ahead is None or isinstance(ahead, tuple) else scanned(ahead)) or scan(folder)
        self._listed[folder], self._starts[folder] = found, self.count
        stamps = found[-1]
        self._stamps.append(stamps)
        self.count += len(stamps) // STAMP.size
        return found


def list_images(paths: Sequence[Path], folders: Folders, lists: Mapping[str, Moved]) -> list[str]:
    """The image paths that folders and .txt lists name, sorted; repeated where they are named twice.

    Lists of too many lines name none; a finding says so.

    Raises:
        DataError: if a list cannot be read as UTF-8 text.
    """
    found: list[str] = []
    for path in paths:
        if path.is_dir():
            found += folders.images(str(path))
            continue
        try:
            if bounded.excess(path) is not None:
                continue
            text = bounded.read_bytes(path, LIST_BYTES).decode("utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{path} is not a folder and cannot be read as a list of images: {error}") from error
        found += images_among(_listed_paths(path, text, lists.get(str(path))))
    return sorted(found)


def _listed_paths(path: Path, text: str, how: Moved | None) -> list[str]:
    """The paths in a list of images; `./` is the folder of the list."""
    text = text if how is None else read_moved(text, how)
    lines = text.strip().splitlines()
    if len(text) > LONGEST_LINE and max(map(len, lines)) > LONGEST_LINE:
        lines = [cut(line, LONGEST_LINE) for line in lines]
    listed = (f"{path.parent}{os.sep}{line[2:]}" if line.startswith("./") else line for line in lines)
    return [line.replace("/", os.sep) for line in listed]
