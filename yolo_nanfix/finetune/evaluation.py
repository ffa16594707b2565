"""What a model finds in one split, kept image by image, so that its metric can be taken of any selection of images.

Ultralytics validates, and its function computes every mAP here, also those of bootstrap samples, so that the figure
of all images is the one that `model.val()` prints.
"""

from __future__ import annotations

import json
import logging
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from xxhash import xxh3_128_digest

from yolo_nanfix import files, training, upstream
from yolo_nanfix.errors import DataError

TASKS = ("detect", "segment", "pose", "obb")
"""What has a mAP."""
ARRAYS = ("matched", "confidence", "found", "of", "labels", "labels_of")
"""The columns of an evaluation."""
MOST_KEPT = 4000
"""Selections of images whose AP is kept."""
COLUMNS = {"B": "tp", "M": "tp_m", "P": "tp_p"}
"""Suffix of Ultralytics' metric names (box, mask, pose) -> the statistic with its true positives."""


@dataclass(frozen=True)
class Evaluation:
    """Predictions of one model on one split, matched to the labels by Ultralytics.

    Attributes:
        images: path of each image, in the order of validation.
        names: class number -> name.
        kind: B, M or P: boxes, masks or keypoints; the last that the task has.
        matched: (predictions, 10) bool, whether a prediction is right at each IoU threshold from 0.5 to 0.95.
        confidence: (predictions,) float.
        found: (predictions,) class of each prediction.
        of: (predictions,) position of its image; ascending.
        labels: (labels,) class of each label.
        labels_of: (labels,) position of its image; ascending.
    """

    images: tuple[str, ...]
    names: Mapping[int, str]
    kind: str
    matched: np.ndarray
    confidence: np.ndarray
    found: np.ndarray
    of: np.ndarray
    labels: np.ndarray
    labels_of: np.ndarray
    _known: dict[bytes, dict[int, np.ndarray]] = field(default_factory=dict, repr=False, compare=False)
    """What was computed: each metric of a bootstrap asks for the same selections of images."""

    def per_class(self, images: np.ndarray | None = None) -> dict[int, np.ndarray]:
        """AP of each class that is labelled in these images.

        Args:
            images: (n,) positions of images, repeats allowed; by default all.

        Returns:
            Class number -> (10,) AP at the IoU thresholds from 0.5 to 0.95.
        """
        key = b"" if images is None else xxh3_128_digest(images.astype(np.int64).tobytes())
        if key not in self._known:
            if len(self._known) >= MOST_KEPT:
                self._known.clear()
            self._known[key] = self._per_class(images)
        return self._known[key]

    def _per_class(self, images: np.ndarray | None) -> dict[int, np.ndarray]:
        rows, labels = (
            slice(None) if images is None else _rows(column, images, len(self.images))
            for column in (self.of, self.labels_of)
        )
        if not len(self.labels[labels]):
            return {}
        return upstream.average_precision(
            self.matched[rows], self.confidence[rows], self.found[rows], self.labels[labels]
        )

    def map(self, images: np.ndarray | None = None, *, classes: frozenset[int] | None = None, iou: int = -1) -> float:
        """Mean AP over the classes that are labelled in these images; 0 if there is none, as in Ultralytics.

        Args:
            images: as for `per_class`.
            classes: only these classes.
            iou: 0 for mAP50; -1 for mAP50-95.
        """
        ap = [v for c, v in self.per_class(images).items() if classes is None or c in classes]
        if not ap:
            return 0.0
        return float(np.mean(ap) if iou < 0 else np.mean([row[iou] for row in ap]))

    def write(self, path: Path) -> None:
        """Save as .npz, whole or not at all."""
        columns = {name: getattr(self, name) for name in ARRAYS}
        named = json.dumps(
            {"images": self.images, "names": {str(k): v for k, v in self.names.items()}, "kind": self.kind}
        )
        with files.file(path) as temporary, temporary.open("wb") as out:
            np.savez_compressed(out, facts=np.frombuffer(named.encode(), np.uint8), **columns)

    @classmethod
    def read(cls, path: Path) -> Evaluation:
        """What `write` saved.

        Raises:
            DataError: the file is not one of these.
        """
        try:
            with np.load(path, allow_pickle=False) as held:
                facts = json.loads(held["facts"].tobytes())
                names = {int(k): str(v) for k, v in facts["names"].items()}
                columns = {name: held[name] for name in ARRAYS}
                return cls(tuple(map(str, facts["images"])), names, str(facts["kind"]), **columns)
        except (OSError, KeyError, ValueError, TypeError, zipfile.BadZipFile) as error:
            raise DataError(f"{path} is not a saved evaluation: {error}") from error


def _rows(of: np.ndarray, images: np.ndarray, count: int) -> np.ndarray:
    """The rows of a selection of images, each as often as its image is selected."""
    begin = np.searchsorted(of, np.arange(count + 1))
    size = np.diff(begin)[images]
    shift = np.repeat(begin[images] - np.concatenate([[0], np.cumsum(size)[:-1]]), size)
    rows: np.ndarray = np.arange(size.sum()) + shift
    return rows


class Collector:
    """Takes what each image of one validation adds to Ultralytics' metrics; wraps one method of one validator."""

    def __init__(self) -> None:
        """Nothing is collected yet."""
        self.images: list[str] = []
        self.statistics: list[dict[str, np.ndarray]] = []
        self.names: dict[int, str] = {}

    def __call__(self, validator: Any) -> None:
        """A callback for `on_val_start`."""
        init_metrics, update_metrics = validator.init_metrics, validator.update_metrics

        def begun(model: Any) -> None:
            init_metrics(model)
            if not hasattr(validator.metrics, "update_stats"):
                raise DataError(f"ultralytics {upstream.version()} keeps no metrics by image; a newer release does")
            self.names = {int(k): str(v) for k, v in validator.names.items()}
            validator.metrics.update_stats = self._kept(validator.metrics.update_stats)

        def updated(preds: Any, batch: Any) -> None:
            self.images += map(str, batch["im_file"])
            update_metrics(preds, batch)

        validator.init_metrics, validator.update_metrics = begun, updated

    def _kept(self, update_stats: Callable[[dict[str, Any]], None]) -> Callable[[dict[str, Any]], None]:
        def keeping(stat: dict[str, Any]) -> None:
            self.statistics.append({key: np.asarray(value) for key, value in stat.items() if key != "im_name"})
            update_stats(stat)

        return keeping

    def evaluation(self) -> Evaluation:
        """What was collected.

        Raises:
            DataError: nothing was.
        """
        if not self.statistics:
            raise DataError("no image was validated")
        kind = next(k for k in ("P", "M", "B") if COLUMNS[k] in self.statistics[0])
        predictions = [len(one["conf"]) for one in self.statistics]
        labels = [len(one["target_cls"]) for one in self.statistics]
        positions = np.arange(len(self.statistics))

        def joined(key: str) -> np.ndarray:
            return np.concatenate([one[key] for one in self.statistics])

        return Evaluation(
            images=tuple(self.images),
            names=self.names,
            kind=kind,
            matched=joined(COLUMNS[kind]),
            confidence=joined("conf"),
            found=joined("pred_cls"),
            of=np.repeat(positions, predictions),
            labels=joined("target_cls"),
            labels_of=np.repeat(positions, labels),
        )


def evaluate(model: str | Path, data: str | Path, **arguments: Any) -> Evaluation:
    """Validate a model with Ultralytics, and keep what it found in each image.

    Args:
        model: weights.
        data: data.yaml.
        arguments: of Ultralytics' validation: `split`, `imgsz`, `batch`, `device`, ...

    Raises:
        UsageError: the model cannot be loaded.
        DataError: the task has no mAP, weights are not finite, or the release counts no metrics image by image.
    """
    yolo = training.load_model(str(model), None)
    if yolo.task not in TASKS:
        raise DataError(f"{model} is a model for {yolo.task}; intervals of mAP are for {', '.join(TASKS)}")
    if bad := _not_finite(yolo.model):
        raise DataError(f"{model}: {bad} weights or BatchNorm statistics are not finite: its mAP would say nothing")
    collector = Collector()
    yolo.add_callback("on_val_start", collector)
    quiet = {"plots": False, "verbose": False, "save_json": False}
    with TemporaryDirectory() as folder, redirect_stdout(sys.stderr), _silent():
        yolo.val(data=str(data), project=folder, **quiet, **arguments)
    return collector.evaluation()


def _not_finite(model: Any) -> int:
    """How many weights and BatchNorm statistics are NaN or infinite; NMS would drop what they yield without a word."""
    state = model.state_dict()
    names = {name for name, _ in model.named_parameters()} | {name for name in state if ".running_" in name}
    return sum(int((~state[name].isfinite()).sum()) for name in names)


@contextmanager
def _silent() -> Iterator[None]:
    """Ultralytics logs warnings only, and draws no bar."""
    log = logging.getLogger("ultralytics")
    level = log.level
    log.setLevel(logging.WARNING)
    try:
        yield
    finally:
        log.setLevel(level)
