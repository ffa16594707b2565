"""Reads image and label files of the run again: what is wrong with a sample is a file's fault only if it is there, too.

An image is read by the dataset's own reader, past its memory, and nothing is kept of it. Labels that are no good in the
dataset's memory are looked up in their file: code of the dataset may have changed them since.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from yolo_nanfix.events import OnDisk, Source
from yolo_nanfix.guard import randomness, sample_sources
from yolo_nanfix.guard.incident_writer import label_file
from yolo_nanfix.guard.target_checks import bad_classes, classes_of, outside

KEPT = 1000
"""So many answers are remembered, as long as the image file does not change."""


class Rereading:
    """Reads files of one dataset again."""

    def __init__(self, dataset: Any) -> None:
        """Nothing was read yet."""
        self.dataset = dataset
        self._places: dict[str, tuple[Any, int]] | None = None
        self._answers: dict[tuple[str, Any], OnDisk] = {}

    def judged(self, sources: tuple[Source, ...]) -> tuple[Source, ...]:
        """Sources with what the files are of those that look suspect."""
        if not any(s.suspect for s in sources):
            return sources
        with randomness.untouched():
            return tuple(self._judged(s) if s.suspect else s for s in sources)

    def _judged(self, source: Source) -> Source:
        answers = {file: self.file(file) for file in (source.file, *source.parents)}
        blamed = tuple(file for file, answer in answers.items() if answer is OnDisk.NOT_FINITE)
        for answer in (OnDisk.NOT_FINITE, OnDisk.UNREADABLE, OnDisk.UNKNOWN):
            if answer in answers.values():
                return replace(source, on_disk=answer, blamed=blamed)
        return replace(source, on_disk=OnDisk.FINITE)

    def file(self, file: str) -> OnDisk:
        """What an image file and its labels are on disk."""
        key = file, _stamp(file)
        if key not in self._answers:
            if len(self._answers) >= KEPT:
                self._answers.clear()
            self._answers[key] = self._read(file)
        return self._answers[key]

    def _read(self, file: str) -> OnDisk:
        if self._places is None:
            try:
                self._places = dict(_places(self.dataset))
            except (LookupError, TypeError, RecursionError):  # a user's dataset may keep other things there
                self._places = {}
        if file not in self._places:
            return OnDisk.UNKNOWN
        dataset, index = self._places[file]
        try:
            pixels = _pixels(dataset, index)
        except Exception:  # a reader may raise anything
            return OnDisk.UNREADABLE
        if pixels is None:
            return OnDisk.UNKNOWN
        if not _finite(pixels):
            return OnDisk.NOT_FINITE
        try:
            return _labels(dataset, index, file)
        except (LookupError, TypeError, ValueError, AttributeError):  # labels in a form of the user's own
            return OnDisk.UNKNOWN


def _stamp(file: str) -> Any:
    """Changes when the image or an array that is read in its place does."""
    found: list[tuple[int, int] | None] = []
    for path in (Path(file), Path(file).with_suffix(".npy")):
        try:
            status = path.stat()
        except OSError:
            found.append(None)
        else:
            found.append((status.st_mtime_ns, status.st_size))
    return tuple(found)


def _places(dataset: Any) -> list[tuple[str, tuple[Any, int]]]:
    """The dataset and the number of each file, also where several sets are one."""
    if parts := sample_sources.parts(dataset):
        return [pair for part in parts for pair in _places(part)]
    if (files := getattr(dataset, "im_files", None)) is not None:
        return [(str(file), (dataset, i)) for i, file in enumerate(files)]
    return [(str(entry[0]), (dataset, i)) for i, entry in enumerate(getattr(dataset, "samples", ()))]


class _Forgetful:
    """In place of the images that a dataset keeps in memory: holds none, and keeps none."""

    def __getitem__(self, index: int) -> None:
        return None

    def __setitem__(self, index: int, value: Any) -> None:
        return None


def _pixels(dataset: Any, index: int) -> Any:
    """The pixels as the dataset's own reader gives them, or None where it has none that is known.

    Raises:
        Exception: they cannot be read.
    """
    if hasattr(dataset, "load_image"):
        twin = copy.copy(dataset)
        vars(twin).update(ims=_Forgetful(), im_hw0=_Forgetful(), im_hw=_Forgetful(), buffer=[], augment=False)
        return twin.load_image(index)[0]
    if hasattr(dataset, "samples") and hasattr(dataset, "imread"):
        file, _, array, *_ = dataset.samples[index]
        pixels = np.load(array) if getattr(dataset, "cache_disk", False) else dataset.imread(file)
        if pixels is None:
            raise FileNotFoundError(file)
        return pixels
    return None


def _finite(values: Any) -> bool:
    array = np.asarray(values)
    return array.dtype.kind not in "fc" or bool(np.isfinite(array).all())


def _labels(dataset: Any, index: int, file: str) -> OnDisk:
    """What the labels of an image are on disk: its rows finite and of known classes, its mask of known classes."""
    nc = classes_of(dataset)
    if getattr(dataset, "labels", None) is not None and not _held_sound(dataset.labels[index], nc):
        return _rows(label_file(dataset, file), nc)
    if hasattr(dataset, "_load_depth"):
        try:
            return _sound(bool((np.asarray(dataset._load_depth(index)) < np.inf).all()))
        except Exception:
            return OnDisk.NOT_FINITE
    if hasattr(dataset, "load_mask"):
        try:
            shape = dataset.load_image(index)[0].shape[:2]
            return _sound(not bad_classes(dataset.load_mask(index, image_shape=shape), nc))
        except Exception:
            return OnDisk.NOT_FINITE
    listed = getattr(dataset, "samples", None)
    return _sound(listed is None or not nc or 0 <= int(listed[index][1]) < nc or _folder(Path(file)) < nc)


def _sound(sound: bool) -> OnDisk:
    return OnDisk.FINITE if sound else OnDisk.NOT_FINITE


def _held_sound(own: Any, nc: int | None) -> bool:
    """Whether the label rows of an image that a dataset keeps in memory are finite and of known classes."""
    parts = [own.get(k) for k in ("cls", "bboxes", "keypoints")] + list(own.get("segments") or ())
    if not all(_finite(part) for part in parts if part is not None):
        return False
    cls = own.get("cls")
    return cls is None or "texts" in own or not nc or not bool(outside(np.asarray(cls), nc).any())


def _rows(file: Path | None, nc: int | None) -> OnDisk:
    """What a label file holds; none at all is an image without objects. Unknown where it is of another kind."""
    if file is None:
        return OnDisk.UNKNOWN
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
        rows = [[float(word) for word in line.split()] for line in lines if line.strip()]
    except FileNotFoundError:
        return OnDisk.FINITE
    except (OSError, ValueError):
        return OnDisk.UNKNOWN
    finite = all(np.isfinite(row).all() for row in rows)
    return _sound(finite and not (nc and outside(np.array([row[0] for row in rows]), nc).any()))


def _folder(file: Path) -> int:
    """The class that the folder of an image stands for: its number among its siblings."""
    return sum(other.is_dir() and other.name < file.parent.name for other in file.parent.parent.iterdir())
