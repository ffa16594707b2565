"""Repeated trainings and what can be said of them: one arm with its interval, or two arms and whether they differ.

Seeds repeat one split; folds validate each image once. Two arms train with the same seeds or folds, alternating, and
are compared pair by pair. Only an interval that leaves 0 out is a difference.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from yolo_nanfix import api
from yolo_nanfix.finetune.repeats import Repeat, Trained, train_once
from yolo_nanfix.finetune.statistics import RESAMPLES, Interval, over_both, over_folds, over_images, over_seeds


@dataclass(frozen=True)
class Arm:
    """The repeats of one setting.

    Attributes:
        name: of the setting.
        trained: its repeats, in order.
        groups: image -> its group; images that are not in it are groups of their own.
    """

    name: str
    trained: tuple[Trained, ...]
    groups: Mapping[str, int]

    @cached_property
    def images(self) -> tuple[str, ...]:
        """All images that any repeat validates, each once, in order."""
        return tuple(dict.fromkeys(image for one in self.trained for image in one.evaluation.images))

    @cached_property
    def _positions(self) -> list[np.ndarray]:
        """For each repeat: (images of the arm,) position of each in the repeat, -1 if it does not validate it."""
        found = []
        for one in self.trained:
            where = {image: i for i, image in enumerate(one.evaluation.images)}
            found.append(np.array([where.get(image, -1) for image in self.images], np.int64))
        return found

    def metric(
        self, images: np.ndarray | None = None, *, iou: int = -1, classes: frozenset[int] | None = None
    ) -> float:
        """Mean over the repeats of the mAP on a selection of images; arguments as of `Evaluation.map`."""
        values = []
        for one, position in zip(self.trained, self._positions, strict=True):
            rows = None if images is None else position[images]
            rows = rows if rows is None else rows[rows >= 0]
            values.append(one.evaluation.map(rows, iou=iou, classes=classes))
        return float(np.mean(values))

    def each(self, *, iou: int = -1, classes: frozenset[int] | None = None) -> list[float]:
        """The mAP of each repeat."""
        return [one.evaluation.map(iou=iou, classes=classes) for one in self.trained]

    @property
    def seconds(self) -> float:
        """CPU seconds of all its trainings."""
        return sum(one.seconds for one in self.trained)


@dataclass(frozen=True)
class Row:
    """One metric of a bench.

    Attributes:
        metric: mAP50-95, mAP50, or the name of a class (its AP50-95).
        arms: its interval in each arm.
        difference: second arm minus first; None with one arm.
    """

    metric: str
    arms: tuple[Interval, ...]
    difference: Interval | None

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        difference = None if self.difference is None else self.difference.as_dict()
        return {"metric": self.metric, "arms": [one.as_dict() for one in self.arms], "difference": difference}


@dataclass(frozen=True)
class Bench:
    """The result of `bench`.

    Attributes:
        arms: one or two.
        rows: metrics, mAP50-95 first.
        folds: whether the repeats are folds; else they are seeds.
        out: the folder with all runs.
    """

    arms: tuple[Arm, ...]
    rows: tuple[Row, ...]
    folds: bool
    out: Path

    @property
    def differs(self) -> bool | None:
        """Whether the arms differ in mAP50-95; None with one arm."""
        difference = self.rows[0].difference
        return None if difference is None else difference.differs

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        arms = [
            {
                "name": arm.name,
                "repeats": [
                    {
                        "name": one.repeat.name,
                        "map": value,
                        "cpu_seconds": one.seconds,
                        "folder": str(one.folder),
                        "reasons": list(one.reasons),
                    }
                    for one, value in zip(arm.trained, arm.each(), strict=True)
                ],
                "cpu_seconds": arm.seconds,
                "images": len(arm.images),
            }
            for arm in self.arms
        ]
        rows = [row.as_dict() for row in self.rows]
        repeats = "folds" if self.folds else "seeds"
        return {"repeats": repeats, "arms": arms, "metrics": rows, "differs": self.differs, "out": str(self.out)}


def train_all(repeats: Sequence[Repeat], out: Path, progress: api.Progress | None = None) -> list[Trained]:
    """Run a series in order; what is finished is kept and not run again.

    Raises:
        NanfixError: a training failed.
        KeyboardInterrupt: a signal ended the series; calling it again goes on.
    """
    done = []
    for number, repeat in enumerate(repeats):
        if progress is not None:
            progress(number, len(repeats), f"{repeat.arm} {repeat.name}")
        done.append(train_once(repeat, out))
    if progress is not None:
        progress(len(repeats), len(repeats), "")
    return done


def judge(arms: Sequence[Arm], out: Path, *, folds: bool, resamples: int = RESAMPLES) -> Bench:
    """Intervals of all metrics, and of the difference of two arms, from so many samples of the bootstrap."""
    names = arms[0].trained[0].evaluation.names
    labelled = {c for arm in arms for one in arm.trained for c in np.unique(one.evaluation.labels).astype(int).tolist()}
    metrics: list[tuple[str, dict[str, Any]]] = [("mAP50-95", {}), ("mAP50", {"iou": 0})]
    if len(labelled) > 1:
        metrics += [(names.get(c, str(c)), {"classes": frozenset({c})}) for c in sorted(labelled)]
    rows = tuple(_row(name, how, arms, resamples, folds=folds) for name, how in metrics)
    return Bench(tuple(arms), rows, folds, out)


def _row(name: str, how: Mapping[str, Any], arms: Sequence[Arm], resamples: int, *, folds: bool) -> Row:
    each = [np.array(arm.each(**how)) for arm in arms]
    of_arms = tuple(
        _interval(partial(arm.metric, **how), values, arm, resamples, folds=folds).within(0.0, 1.0)
        for arm, values in zip(arms, each, strict=True)
    )
    if len(arms) == 1:
        return Row(name, of_arms, None)
    first, second = arms

    def difference(images: np.ndarray) -> float:
        return second.metric(images, **how) - first.metric(images, **how)

    return Row(name, of_arms, _interval(difference, each[1] - each[0], first, resamples, folds=folds))


def _interval(
    metric: Callable[[np.ndarray], float], values: np.ndarray, arm: Arm, resamples: int, *, folds: bool
) -> Interval:
    """Over folds, which differ in images and training; else over images and seeds, or images alone for one seed."""
    if folds:
        return over_folds(values.tolist())
    ungrouped = max(arm.groups.values(), default=-1) + 1
    groups = [arm.groups.get(image, ungrouped + i) for i, image in enumerate(arm.images)]
    images = over_images(metric, len(arm.images), groups, resamples=resamples)
    return images if len(values) == 1 else over_both(images, over_seeds(values.tolist()))


def write_fold(folder: Path, data: Mapping[str, Any], train: Sequence[str], val: Sequence[str]) -> Path:
    """Write a data.yaml with lists of the images that train and that validate; the images stay where they are."""
    import yaml

    from yolo_nanfix import files

    folder.mkdir(parents=True, exist_ok=True)
    for name, images in (("train.txt", train), ("val.txt", val)):
        files.write_text(folder / name, "".join(f"{image}\n" for image in images))
    lists = {"path": str(folder.resolve()), "train": "train.txt", "val": "val.txt"}
    kept = {key: value for key, value in data.items() if key not in ("path", "train", "val", "test", "minival")}
    files.write_text(folder / "data.yaml", yaml.safe_dump({**lists, **kept}, sort_keys=False))
    return folder / "data.yaml"
