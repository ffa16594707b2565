"""Defects of a sample: of its targets as the loader gives them, and of its files when they are read again.

Classes and image numbers outside of their range end a run: on the CPU they are indices that do not exist, on a GPU a
device-side assertion after which nothing works any more. They are checked on the host, so nothing is read from a GPU.

A defect is a file's fault only if the file has it, too. An image is read by the dataset's own reader, bypassing its
cache, and not kept. Labels that are bad in the dataset's memory are looked up in their file: code of the dataset may
have changed them since.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from yolo_nanfix.events import OnDisk, Source
from yolo_nanfix.guard import randomness, sample_sources
from yolo_nanfix.guard.incident_writer import label_file

IGNORE = 255
"""The class of unlabelled pixels in a semantic mask."""
STRAYS = "label row {row} belongs to image {image:g} of {images}"
"""Text of an event about label rows that belong to no image of their batch."""


def valid(batch: Mapping[str, Any], nc: int | None) -> bool:
    """Whether all classes are from 0 to `nc` - 1 (if that is known) and all rows of a batch belong to an image.

    Tensors on a GPU count as valid.
    """
    index, cls = batch.get("batch_idx"), batch.get("cls")
    if not _within(index, len(batch["img"])):
        return False
    return not nc or "texts" in batch or _within(cls, nc)


def _within(values: Any, count: int) -> bool:
    """Whether all numbers of a tensor on the host are from 0 to below `count`; NaN is not."""
    if not isinstance(values, Tensor) or not on_host(values) or values.dtype is torch.bfloat16:
        return True
    array = values.detach().numpy()
    return not array.size or 0 <= array.min().item() <= array.max().item() < count


def on_host(tensor: Tensor) -> bool:
    """Whether a tensor's values can be read without a transfer: a dense one of real numbers on the CPU."""
    plain = tensor.device.type == "cpu" and tensor.layout is torch.strided and not tensor.is_nested
    return plain and not tensor.is_complex() and not tensor.is_quantized


def faults(batch: Mapping[str, Any], nc: int | None) -> tuple[dict[int, str], dict[str, Any]]:
    """The defects of targets that are not valid.

    Returns:
        For each image (by its place in the batch) what is wrong with its first bad row; and, if rows belong to no
        image, the values of `STRAYS` for the first of them; else none.
    """
    index, cls = batch.get("batch_idx"), batch.get("cls")
    owners = index.reshape(-1).float() if isinstance(index, Tensor) else torch.arange(len(batch["img"])).float()
    strays = ~((owners >= 0) & (owners < len(batch["img"])))
    first: dict[str, Any] = {}
    if bool(strays.any()):
        row = int(strays.nonzero()[0])
        first = {"row": row, "image": float(owners[row]), "images": len(batch["img"])}
    found: dict[int, str] = {}
    if nc and isinstance(cls, Tensor) and len(cls.reshape(-1)) == len(owners) and "texts" not in batch:
        flat = cls.reshape(-1)
        for row in np.flatnonzero(outside(flat.detach().numpy(), nc)).tolist():
            if not bool(strays[row]):
                image = int(owners[row])
                number = int((owners[:row] == image).sum())
                found.setdefault(image, f"class {float(flat[row]):g} outside of 0 to {nc - 1} in its row {number + 1}")
    return found, first


def outside(classes: NDArray[Any], nc: int) -> NDArray[np.bool_]:
    """Which classes are no number from 0 to `nc` - 1."""
    return ~((classes >= 0) & (classes < nc))


def bad_classes(mask: Any, nc: int | None) -> str:
    """What is wrong with the classes of a semantic mask (integers), or empty; with one class 0 and 1 are allowed."""
    if not nc:
        return ""
    limit = max(nc, 2)
    array = mask.numpy() if isinstance(mask, Tensor) else np.asarray(mask)
    if array.dtype.kind not in "iu":
        return ""
    bad = (array.view(f"u{array.itemsize}") >= limit) & (array != IGNORE)  # a negative number is a large one
    return f"class {array[bad][0]} outside of 0 to {limit - 1} in its mask" if bad.any() else ""


def classes_of(dataset: Any) -> int | None:
    """The number of classes of a dataset, if known."""
    data = getattr(dataset, "data", None)
    held = data.get("nc") if isinstance(data, Mapping) else None
    return held if isinstance(held, int) else None


def classes_of_model(model: nn.Module) -> int | None:
    """The number of classes of a model's head, if known."""
    layers = getattr(model, "model", None)
    head = layers[-1] if isinstance(layers, (nn.Sequential, nn.ModuleList, list)) and len(layers) else None
    held = getattr(head, "nc", None)
    if held is None and (linear := getattr(head, "linear", None)) is not None:
        held = getattr(linear, "out_features", None)
    return held if isinstance(held, int) else None


ANSWERS_KEPT = 1000
"""So many answers are cached, as long as the image file does not change."""


class Rereading:
    """Reads files of one dataset again to see whether they have the defect of a sample."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset
        self._places: dict[str, tuple[Any, int]] | None = None
        self._answers: dict[tuple[str, Any], OnDisk] = {}

    def judged(self, sources: tuple[Source, ...]) -> tuple[Source, ...]:
        """The sources, with the state of the files of suspect ones."""
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
        """The state of an image file and its labels on disk."""
        key = file, _stamp(file)
        if key not in self._answers:
            if len(self._answers) >= ANSWERS_KEPT:
                self._answers.clear()
            self._answers[key] = self._read(file)
        return self._answers[key]

    def _read(self, file: str) -> OnDisk:
        if self._places is None:
            try:
                self._places = dict(_file_places(self.dataset))
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
        if not _is_finite_array(pixels):
            return OnDisk.NOT_FINITE
        try:
            return _labels(dataset, index, file)
        except (LookupError, TypeError, ValueError, AttributeError):  # labels in a form of the user's own
            return OnDisk.UNKNOWN


def _stamp(file: str) -> Any:
    """Modification time and size of an image, and of an array that is read in its place."""
    found: list[tuple[int, int] | None] = []
    for path in (Path(file), Path(file).with_suffix(".npy")):
        try:
            status = path.stat()
        except OSError:
            found.append(None)
        else:
            found.append((status.st_mtime_ns, status.st_size))
    return tuple(found)


def _file_places(dataset: Any) -> list[tuple[str, tuple[Any, int]]]:
    """The dataset and the number of each file, also where several sets are one."""
    if parts := sample_sources.parts(dataset):
        return [pair for part in parts for pair in _file_places(part)]
    if (files := getattr(dataset, "im_files", None)) is not None:
        return [(str(file), (dataset, i)) for i, file in enumerate(files)]
    return [(str(entry[0]), (dataset, i)) for i, entry in enumerate(getattr(dataset, "samples", ()))]


class _Forgetful:
    """Takes the place of the images that a dataset caches in memory: has none, and keeps none."""

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


def _is_finite_array(values: Any) -> bool:
    array = np.asarray(values)
    return array.dtype.kind not in "fc" or bool(np.isfinite(array).all())


def _labels(dataset: Any, index: int, file: str) -> OnDisk:
    nc = classes_of(dataset)
    if getattr(dataset, "labels", None) is not None and not _held_valid(dataset.labels[index], nc):
        return _label_file_on_disk(label_file(dataset, file), nc)
    if hasattr(dataset, "_load_depth"):
        try:
            return _on_disk(bool((np.asarray(dataset._load_depth(index)) < np.inf).all()))
        except Exception:
            return OnDisk.NOT_FINITE
    if hasattr(dataset, "load_mask"):
        try:
            shape = dataset.load_image(index)[0].shape[:2]
            return _on_disk(not bad_classes(dataset.load_mask(index, image_shape=shape), nc))
        except Exception:
            return OnDisk.NOT_FINITE
    listed = getattr(dataset, "samples", None)
    return _on_disk(listed is None or not nc or 0 <= int(listed[index][1]) < nc or _folder(Path(file)) < nc)


def _on_disk(valid: bool) -> OnDisk:
    return OnDisk.FINITE if valid else OnDisk.NOT_FINITE


def _held_valid(own: Any, nc: int | None) -> bool:
    parts = [own.get(k) for k in ("cls", "bboxes", "keypoints")] + list(own.get("segments") or ())
    if not all(_is_finite_array(part) for part in parts if part is not None):
        return False
    cls = own.get("cls")
    return cls is None or "texts" in own or not nc or not bool(outside(np.asarray(cls), nc).any())


def _label_file_on_disk(file: Path | None, nc: int | None) -> OnDisk:
    """The state of a label file; a missing one is an image without objects."""
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
    return _on_disk(finite and not (nc and outside(np.array([row[0] for row in rows]), nc).any()))


def _folder(file: Path) -> int:
    """The class of an image by its folder: the number of that among its siblings."""
    return sum(other.is_dir() and other.name < file.parent.name for other in file.parent.parent.iterdir())
