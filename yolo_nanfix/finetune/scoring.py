"""The score of one model: mAP with its interval, and the honest one, without images that training has seen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from yolo_nanfix.finetune.evaluation import Evaluation
from yolo_nanfix.finetune.statistics import FEWEST_IMAGES, RESAMPLES, Interval, over_images

FEW_IMAGES = 30
"""With fewer independent images the bootstrap interval holds the truth in less than 90 % of cases; it is said."""


@dataclass(frozen=True)
class Figure:
    """One mAP of a score.

    Attributes:
        map: mAP50-95, over images or groups of them; None if there are too few.
        map50: mAP50.
        images: how many images it is of.
        objects: labels in them.
    """

    map: Interval | None
    map50: Interval | None
    images: int
    objects: int

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        intervals = {"map": self.map, "map50": self.map50}
        told = {key: None if one is None else one.as_dict() for key, one in intervals.items()}
        return {**told, "images": self.images, "objects": self.objects}


@dataclass(frozen=True)
class Score:
    """The score of one model on one split.

    Attributes:
        kind: B, M or P: boxes, masks or keypoints.
        whole: on all images; the figure that Ultralytics prints.
        honest: without the images in `seen`; None if there are none of them.
        old: of the classes that an earlier model has; None if none was given.
        per_class: class name -> AP50-95 on all images.
        seen: image of this split -> an image that trained and that belongs together with it.
        old_classes: names of the classes of the earlier model.
        left_out: images of the split that Ultralytics did not validate, since it cannot read them or their labels.
    """

    kind: str
    whole: Figure
    honest: Figure | None
    old: Figure | None
    per_class: Mapping[str, float]
    seen: Mapping[str, str]
    old_classes: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        figures = {"whole": self.whole, "honest": self.honest, "old": self.old}
        return {
            "kind": self.kind,
            **{key: None if one is None else one.as_dict() for key, one in figures.items()},
            "per_class": dict(self.per_class),
            "seen": dict(self.seen),
            "old_classes": list(self.old_classes),
            "left_out": list(self.left_out),
        }


def score(
    evaluation: Evaluation,
    groups: Mapping[str, int],
    trained: Iterable[str],
    old_names: Iterable[str] = (),
    *,
    resamples: int = RESAMPLES,
) -> Score:
    """Score a model.

    Args:
        evaluation: of the split that judges it.
        groups: image -> group, of this split and of the images that trained.
        trained: the images that trained.
        old_names: names of the classes that an earlier model has.
        resamples: samples of the bootstrap.
    """
    of_group: dict[int, str] = {}
    for image in trained:
        of_group.setdefault(groups[image], image)
    numbers = [groups.get(image, -1 - i) for i, image in enumerate(evaluation.images)]
    seen = {image: of_group[n] for image, n in zip(evaluation.images, numbers, strict=True) if n in of_group}
    rows = np.array([i for i, image in enumerate(evaluation.images) if image not in seen], np.int64)
    everything = np.arange(len(evaluation.images))
    old_classes = tuple(name for name in evaluation.names.values() if name in set(old_names))
    old = frozenset(number for number, name in evaluation.names.items() if name in old_classes)

    def figure(images: np.ndarray, classes: frozenset[int] | None = None) -> Figure:
        of = [numbers[i] for i in images.tolist()]
        few = len(set(of)) < FEWEST_IMAGES

        def interval(iou: int) -> Interval | None:
            def metric(drawn: np.ndarray) -> float:
                return evaluation.map(images[drawn], iou=iou, classes=classes)

            return None if few else over_images(metric, len(images), of, resamples=resamples)

        labels = evaluation.labels[np.isin(evaluation.labels_of, images)]
        objects = len(labels) if classes is None else int(np.isin(labels, list(classes)).sum())
        return Figure(interval(-1), interval(0), len(images), objects)

    per_class = {evaluation.names[c]: float(ap.mean()) for c, ap in evaluation.per_class().items()}
    return Score(
        kind=evaluation.kind,
        whole=figure(everything),
        honest=figure(rows) if seen else None,
        old=figure(everything, old) if old_classes else None,
        per_class=per_class,
        seen=seen,
        old_classes=old_classes,
    )
