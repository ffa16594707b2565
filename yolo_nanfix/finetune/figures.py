"""The figures of a dataset that advices rest on, counted once from its columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from yolo_nanfix.dataset.classification import class_of
from yolo_nanfix.dataset.fates import DEDUPLICATED, DROPPED
from yolo_nanfix.dataset.table import Table

QUANTILES = (0.01, 0.1, 0.5, 0.9)
"""The quantiles of sizes that are shown."""


@dataclass(frozen=True)
class SplitFigures:
    """The images of one split that Ultralytics keeps, those listed twice counted twice.

    Attributes:
        images: how many there are.
        distinct: how many of them differ in content.
        background: how many have no object.
        objects: label rows; of images that are classified, the images.
        most_objects: label rows of the fullest image.
        classes: objects of each class, in the order of the numbers.
    """

    images: int = 0
    distinct: int = 0
    background: int = 0
    objects: int = 0
    most_objects: int = 0
    classes: tuple[int, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """A JSON-ready dict."""
        return {**vars(self), "classes": list(self.classes)}


@dataclass(frozen=True, eq=False)
class Figures:
    """What is counted of a dataset.

    Attributes:
        task: detect, segment, pose, obb or classify.
        names: class names, in the order of their numbers.
        splits: by name `train`, `val` and, if it exists, `test`.
        shared: val images whose content is that of a train image.
        sides: (R,) float64, for each object of train the shorter side of its box over the longer side of its image,
            both in pixels: times imgsz, the side in pixels that the model sees. Objects without a finite size, and
            those of images of unknown size, are left out.
        longer: (N,) int64, the longer sides of the train images in pixels.
        fill: (N,) float64, the shorter over the longer sides of the train images: the share of the square that is not
            padding.
        keypoints: how many keypoints an object has; 0 for none.
        keypoint_names: their names, if data.yaml has one for each.
        flip_idx: the keypoint that each becomes in a mirrored image; None if data.yaml does not say.
    """

    task: str
    names: tuple[str, ...]
    splits: Mapping[str, SplitFigures]
    shared: int
    sides: NDArray[np.float64]
    longer: NDArray[np.int64]
    fill: NDArray[np.float64]
    keypoints: int = 0
    keypoint_names: tuple[str, ...] = ()
    flip_idx: tuple[int, ...] | None = None

    @property
    def train(self) -> SplitFigures:
        """The split that is trained on."""
        return self.splits["train"]

    @property
    def val(self) -> SplitFigures:
        """The split that validates; empty if there is none."""
        return self.splits.get("val", SplitFigures())

    @property
    def imbalance(self) -> float:
        """Objects of the most frequent class of train over those of the rarest that has any; 1 for one class."""
        counts = [count for count in self.train.classes if count]
        return max(counts) / min(counts) if counts else 1.0

    @property
    def padding(self) -> float:
        """The mean share of the square input that is padding; 0 if no size is known."""
        return float(1 - self.fill.mean()) if len(self.fill) else 0.0

    def below(self, stride: float, imgsz: int) -> float:
        """The share of train objects whose shorter side is less than `stride` pixels at this image size."""
        return float((self.sides * imgsz < stride).mean()) if len(self.sides) else 0.0

    @property
    def fingerprint(self) -> dict[str, Any]:
        """What tells this dataset from others: task, class names in order, images and objects of train and val."""
        held = {name: self.splits[name] for name in ("train", "val") if name in self.splits}
        images = {name: split.images for name, split in held.items()}
        objects = {name: split.objects for name, split in held.items()}
        return {"task": self.task, "names": list(self.names), "images": images, "objects": objects}

    def as_dict(self) -> dict[str, Any]:
        """A JSON-ready dict; of sizes the quantiles."""
        return {
            "task": self.task,
            "names": list(self.names),
            "splits": {name: split.as_dict() for name, split in self.splits.items()},
            "shared": self.shared,
            "imbalance": self.imbalance,
            "padding": self.padding,
            "relative_sides": _quantiles(self.sides),
            "longer_sides": _quantiles(self.longer),
            "keypoints": self.keypoints,
            "flip_idx": None if self.flip_idx is None else list(self.flip_idx),
        }


def _quantiles(values: NDArray[Any]) -> dict[str, float]:
    if not len(values):
        return {}
    return {f"{level:g}": float(value) for level, value in zip(QUANTILES, np.quantile(values, QUANTILES), strict=True)}


class Rows(NamedTuple):
    """The label rows that Ultralytics trains on, R of them.

    Attributes:
        image: (R,) int64, the index of the image.
        classes: (R,) int64.
        box: (R, 4) float64, x, y, w, h normalised.
    """

    image: NDArray[np.int64]
    classes: NDArray[np.int64]
    box: NDArray[np.float64]


def _trained(table: Table, *, pose: bool) -> Rows:
    """The rows of images that are kept, without those that repeat another row: Ultralytics leaves them out.

    Of poses, which repeat each other only if all keypoints do, all rows are taken.
    """
    some = np.flatnonzero(table.of_rows((table.fate & DROPPED) == 0))
    repeating = table.of_rows((table.fate & DEDUPLICATED) != 0)[some]
    if repeating.any() and not pose:
        odd = some[repeating]
        keys = np.column_stack((table.row_image[odd], table.row_cls[odd], table.row_box[odd]))
        first = np.unique(keys, axis=0, return_index=True)[1]
        some = np.sort(np.concatenate((some[~repeating], odd[first])))
    return Rows(
        np.asarray(table.row_image[some], np.int64),
        np.asarray(table.row_cls[some], np.int64),
        np.asarray(table.row_box[some], np.float64),
    )


def count(table: Table) -> Figures:
    """The figures of a dataset that was read."""
    config, task = table.config, table.task
    names = tuple(config.numbered.values())
    rows = _trained(table, pose=task == "pose")
    kept = {split: listed[(table.fate[listed] & DROPPED) == 0] for split, listed in table.splits.items()}
    splits = {}
    for split, listed in kept.items():
        if task == "classify":
            classes = _folders(table, listed, config.splits[split][0], names)
            kept[split] = listed[classes >= 0]
            splits[split] = _classified(table, kept[split], classes[classes >= 0], len(names))
        else:
            splits[split] = _labelled(table, rows, listed, list(config.names))
    train, val = kept["train"], kept.get("val", np.zeros(0, np.int32))
    longer = np.maximum(table.width, table.height)
    sized, held = train[longer[train] > 0], table.content[train]
    return Figures(
        task=task,
        names=names,
        splits=splits,
        shared=int(np.isin(table.content[val], held[held != 0]).sum()),
        sides=_sides(table, rows, sized, longer),
        longer=np.asarray(longer[sized], np.int64),
        fill=np.minimum(table.width, table.height)[sized] / longer[sized],
        keypoints=config.kpt_shape[0] if task == "pose" and config.kpt_shape else 0,
        keypoint_names=_keypoint_names(config.raw.get("kpt_names"), config.kpt_shape),
        flip_idx=_flip_idx(config.raw.get("flip_idx")),
    )


def _labelled(table: Table, rows: Rows, listed: NDArray[np.int32], numbers: list[int]) -> SplitFigures:
    """The figures of a split whose objects are label rows."""
    times = np.bincount(listed, minlength=len(table.files))[rows.image]
    each = np.bincount(rows.image, minlength=len(table.files))[listed]
    held = rows.classes[times > 0]
    known, place = np.unique(held, return_inverse=True)
    counts = dict(zip(known.tolist(), np.bincount(place, times[times > 0]).tolist(), strict=True))
    return SplitFigures(
        images=len(listed),
        distinct=_distinct(table, listed),
        background=int((each == 0).sum()),
        objects=int(each.sum()),
        most_objects=int(each.max(initial=0)),
        classes=tuple(int(counts.get(number, 0)) for number in numbers),
    )


def _classified(table: Table, listed: NDArray[np.int32], classes: NDArray[np.int64], number: int) -> SplitFigures:
    """The figures of a split whose objects are its images."""
    counts = np.bincount(classes, minlength=number)
    return SplitFigures(
        images=len(listed),
        distinct=_distinct(table, listed),
        objects=len(listed),
        most_objects=1 if len(listed) else 0,
        classes=tuple(counts.tolist()),
    )


def _folders(table: Table, listed: NDArray[np.int32], top: Any, names: tuple[str, ...]) -> NDArray[np.int64]:
    """The number of the class of each image by its folder; -1 if it is none of the names."""
    place = {name: number for number, name in enumerate(names)}
    return np.array([place.get(class_of(table.files[i], top), -1) for i in listed.tolist()], np.int64)


def _distinct(table: Table, listed: NDArray[np.int32]) -> int:
    """How many images differ in content; each that cannot be read is one."""
    content = table.content[listed]
    return len(np.unique(content[content != 0])) + int((content == 0).sum())


def _sides(table: Table, rows: Rows, images: NDArray[np.int32], longer: NDArray[np.int32]) -> NDArray[np.float64]:
    """See `Figures.sides`."""
    times = np.bincount(images, minlength=len(table.files))[rows.image]
    of, box = rows.image[times > 0], rows.box[times > 0]
    sides = np.minimum(box[:, 2] * table.width[of], box[:, 3] * table.height[of]) / longer[of]
    every = np.repeat(sides, times[times > 0])
    return every[np.isfinite(every)]


def _keypoint_names(held: Any, shape: tuple[int, int] | None) -> tuple[str, ...]:
    """The names of keypoints in data.yaml: a list, or by class a list that all classes share; else none."""
    if isinstance(held, dict):
        lists = list(held.values())
        held = lists[0] if lists and all(one == lists[0] for one in lists) else None
    if shape is None or not isinstance(held, list) or len(held) != shape[0]:
        return ()
    return tuple(map(str, held))


def _flip_idx(held: Any) -> tuple[int, ...] | None:
    """`flip_idx` of data.yaml, if it is a list of numbers."""
    return tuple(held) if isinstance(held, list) and held and all(type(one) is int for one in held) else None
