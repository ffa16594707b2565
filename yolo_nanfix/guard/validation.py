"""Keeps one sick validation image from turning the mean of all val losses into NaN.

Upstream adds the loss terms of every val batch and divides by the number of batches, so one NaN is all. Here the
sick images of such a batch are left out and its loss is taken over the others; a batch that is not finite even
then is left out whole, and the mean is taken over the rest. Every image left out is reported.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from yolo_nanfix.guard import sensors
from yolo_nanfix.guard.events import Point, Source

Report = Callable[[str, str, tuple[Source, ...]], None]
"""Called with (detail, action, sources)."""
Note = Callable[[Point, str, str, str], None]
"""Called with (point, check, detail, action)."""


class ValidationGuard:
    """Watches the val batches inside training; `adapter` connects it to the validator."""

    def __init__(self, trainer: Any, report: Report) -> None:
        """Nothing is left out yet."""
        self.trainer, self.report = trainer, report
        self.left_out = 0
        self._before: dict[str, Tensor] = {}
        self._batch: Mapping[str, Any] = {}

    def remember(self, batch: Mapping[str, Any]) -> None:
        """Keep the preprocessed batch until its loss is known."""
        self._batch = batch

    def batch_start(self, validator: Any) -> None:
        """Copy the sums so far."""
        if _watched(validator):
            self._before = {k: v.clone() for k, v in validator.loss.items()}

    def batch_end(self, validator: Any) -> None:
        """If this batch made a sum not finite, put the sums back and add the loss of its healthy images only."""
        if not _watched(validator) or _finite(validator.loss):
            return
        sources = sensors.sources(self._batch)
        items = self._healthy_loss(validator, sources)
        validator.loss = {k: v + items[k] if items else v for k, v in self._before.items()}
        self.left_out += not items
        sick = tuple(s for s in sources if s.suspect)
        number = validator.batch_i + 1
        action = f"its val loss is taken over the other {len(sources) - len(sick)} images" if items else "left out"
        self.report(f"loss of val batch {number} not finite", action, sick if items else sources)

    def rescale(self, metrics: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
        """Make the val losses the mean over the batches that were not left out; then start counting anew."""
        left_out, self.left_out = self.left_out, 0
        batches = len(self.trainer.test_loader)
        if not left_out or metrics is None:
            return metrics
        factor = batches / (batches - left_out) if left_out < batches else float("nan")
        losses = {f"val/{name}" for name in self._before}
        return {k: v * factor if k in losses else v for k, v in metrics.items()}

    def judge(self, metrics: Mapping[str, Any] | None, fitness: Any, note: Note) -> Mapping[str, Any] | None:
        """The metrics, with val losses over the healthy images; what is still not finite is reported."""
        metrics = self.rescale(metrics)
        named = {**(metrics or {}), **({} if fitness is None else {"fitness": fitness})}
        if bad := [k for k, v in named.items() if not math.isfinite(float(v))]:
            note(Point.VALIDATION, "val-loss", f"{', '.join(bad)} not finite", "reported as it is")
        return metrics

    def _healthy_loss(self, validator: Any, sources: tuple[Source, ...]) -> dict[str, Tensor]:
        """The loss terms of the batch without its sick images; empty if there are none to take it over."""
        dataset = validator.dataloader.dataset
        number = {str(file): i for i, file in enumerate(getattr(dataset, "im_files", ()))}
        healthy = [number.get(s.file) for s in sources if not s.suspect]
        if not healthy or len(healthy) == len(sources) or None in healthy:
            return {}
        batch = validator.preprocess(dataset.collate_fn([dataset[i] for i in healthy]))
        model = self.trainer.ema.ema if self.trainer.ema else self.trainer.model
        half = bool(self.trainer.amp) and self.trainer.device.type != "cpu"
        with torch.autocast(self.trainer.device.type, dtype=torch.float16, enabled=half):
            items = model.loss(batch, model(batch["img"]))[1]
        return dict(items) if _finite(items) else {}


def _watched(validator: Any) -> bool:
    """Only validation inside training sums losses; releases before 8.4.104 keep them in a tensor."""
    return bool(validator.training) and isinstance(validator.loss, Mapping)


def _finite(items: Mapping[str, Tensor]) -> bool:
    return bool(torch.stack([v.isfinite().all() for v in items.values()]).all())
