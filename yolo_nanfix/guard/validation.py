"""Keeps sick validation images, and predictions that are not finite, out of val losses and metrics.

Upstream adds the loss terms of every val batch and divides by the number of batches, so one NaN is all. Here the
sick images of such a batch are left out and its loss is taken over the others; a batch that is not finite even
then is left out whole, and the mean is taken over the rest. Every image left out is reported, and so is every image
that cannot be read (`unreadable`), whose targets would end validation (`val_targets`), or whose predictions are not
finite (`predictions`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from yolo_nanfix import batches
from yolo_nanfix.events import Action, Check, Did, Point, Source
from yolo_nanfix.guard import distributed, ownership, predictions, randomness, sensors
from yolo_nanfix.guard.fault_handling import Faults
from yolo_nanfix.guard.sample_sources import Composed
from yolo_nanfix.guard.unreadable import Unreadable
from yolo_nanfix.guard.val_targets import ValTargets

Call = Callable[..., Any]


class ValidationGuard:
    """Watches the val batches inside training and in the evaluation after it; `adapter` connects it."""

    def __init__(self, faults: Faults) -> None:
        """Nothing is left out yet."""
        self.faults = faults
        self.trainer = trainer = faults.run.trainer
        self.unreadable = Unreadable(Point.VALIDATION, getattr(trainer, "test_loader", None), faults)
        self.targets = ValTargets(faults)
        self._stock = ownership.stock(
            getattr(trainer, "validator", None), "preprocess"
        )  # the guard is not around it yet
        self.left_out = 0
        self._before: dict[str, Tensor] = {}
        self._batch: Mapping[str, Any] = {}
        self._finite = True
        self._bad: dict[int, int] = {}
        self._empty = False

    def preprocess(self, call: Call, validator: Any, batch: Any) -> Any:
        """Take stand-ins out of a batch, and keep it until its loss is known; where nothing else is in it, keep them.

        What is not in Ultralytics' form is looked at when the validator's own code has given it that.

        Raises:
            GuardStop: too many samples cannot be read.
        """
        self._empty, self._batch = False, {}
        self.faults.run.recorder.processes.val_batches += 1
        looked, added = batches.collated(batch), None
        judged = looked and self._stock  # on the host, where nothing comes between
        if looked:
            batch = self._readable(validator, batch)
            batch = self._harmless(validator, batch) if judged else batch
            names = batches.names(batch)
            if names and all(isinstance(name, Composed) and name.added for name in names):
                added = names
                batch = {key: value for key, value in batch.items() if key != "im_file"}
        made = call(batch)
        if batches.collated(made):
            self._batch = made if looked else self._readable(validator, made)
            if added and len(added) == len(made["img"]):
                self._batch = {"im_file": added, **self._batch}
            if not judged:
                self._batch = self._harmless(validator, self._batch)
            return self._batch
        return made

    def _readable(self, validator: Any, batch: Mapping[str, Any]) -> Mapping[str, Any]:
        """A batch without the samples that could not be read, unless nothing is left then."""
        names = batches.names(batch)
        out = set(self.unreadable.look(names, int(self.trainer.epoch)))
        keep = [i for i in range(len(names)) if i not in out]
        self._empty = bool(names) and not keep
        if not out or not keep:
            return batch
        _forget_ids(validator, out)
        return batches.with_images(batch, keep)

    def _harmless(self, validator: Any, batch: Mapping[str, Any]) -> Mapping[str, Any]:
        """A batch without the images whose targets would end validation, unless nothing is left then."""
        batch, out, none_left = self.targets.part(batch)
        self._empty = self._empty or none_left
        _forget_ids(validator, out)
        return batch

    def batch_start(self, validator: Any) -> None:
        """Copy the sums so far."""
        self._finite, self._bad = True, {}
        if _watched(validator):
            self._before = {k: v.clone() for k, v in validator.loss.items()}

    def postprocess(self, call: Call, validator: Any, raw: Any) -> Any:
        """Look at the predictions and at the loss, with one host read; give on what is finite."""
        losses = validator.loss.values() if _watched(validator) else ()
        self._finite, sound = predictions.both_finite(losses, raw)
        if sound:
            return call(raw)
        self._bad = predictions.bad_images(raw, batches.size(self._batch)) if self._batch else {}
        made, gone = predictions.finite_rows(call(raw), self._bad)
        number = validator.batch_i + 1
        says = "{bad} raw predictions of {images:image|images} not finite in val batch {batch}"
        values = {"bad": sum(self._bad.values()), "images": len(self._bad), "batch": number}
        if not self._explained:
            files = predictions.sources(self._batch, self._bad)
            done = Action(Did.PREDICTIONS_LEFT_OUT, count=None if isinstance(made, Tensor) else gone)
            self.faults.note(Point.VALIDATION, Check.VAL_PREDICTIONS, says, values, done, files=files, val_batch=number)
        return made

    def update_metrics(self, call: Call, made: Any, batch: Mapping[str, Any]) -> Any:
        """Let metrics see what is finite."""
        if self._empty:
            return None
        if self._bad and isinstance(made, Tensor):
            made, batch = predictions.without_images(made, batch, self._bad)
            if not len(made):
                return None
        return call(made, batch)

    def batch_end(self, validator: Any) -> None:
        """If this batch made a sum not finite, put the sums back and add the loss of its healthy images only."""
        if _watched(validator) and not (self._finite and not self._empty) and not self._explained:
            self._mend(validator)
        last = _watched(validator) and validator.batch_i + 1 == len(validator.dataloader)
        if last and self.left_out and distributed.running():  # the ranks' sums are averaged next
            factor = _factor(len(validator.dataloader), self.left_out)
            self.left_out = 0
            validator.loss = {k: v * factor for k, v in validator.loss.items()}

    def _mend(self, validator: Any) -> None:
        if self._empty:
            validator.loss = dict(self._before)
            self.left_out += 1
            return
        sources = sensors.sources(self._batch)
        items = self._healthy_loss(sources)
        validator.loss = {k: v + items[k] if items else v for k, v in self._before.items()}
        self.left_out += not items
        bad = tuple(s for s in sources if s.suspect)
        done = Action(Did.VAL_BATCH_LEFT_OUT)
        if items:
            done, sources = Action(Did.VAL_LOSS_OF_OTHERS, count=len(sources) - len(bad)), bad
        says, values = "loss of val batch {batch} not finite", {"batch": validator.batch_i + 1}
        self.faults.note(
            Point.VALIDATION, Check.VAL_BATCH, says, values, done, files=sources, val_batch=values["batch"]
        )

    def rescale(self, metrics: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
        """Make the val losses the mean over the batches that were not left out; then start counting anew."""
        left_out, self.left_out = self.left_out, 0
        if not left_out or metrics is None:
            return metrics
        factor = _factor(len(self.trainer.test_loader), left_out)
        losses = {f"val/{name}" for name in self._before}
        return {k: v * factor if k in losses else v for k, v in metrics.items()}

    def judge(self, metrics: Mapping[str, Any] | None, fitness: Any) -> Mapping[str, Any] | None:
        """The metrics, with val losses over the healthy images; what is still not finite is reported."""
        metrics = self.rescale(metrics)
        named = {**(metrics or {}), **({} if fitness is None else {"fitness": fitness})}
        bad = [k for k, v in named.items() if _number(v) and not math.isfinite(float(v))]
        if bad and not self._explained:
            values = {"names": tuple(bad)}
            self.faults.note(Point.VALIDATION, Check.VAL_LOSS, "{names:,} not finite", values, Action(Did.REPORTED))
        return metrics

    @property
    def _explained(self) -> bool:
        """Whether it is said already that the averaged model itself gives NaN, so that no image is to blame."""
        return bool(self.faults.run.recorder.ema_nan)

    def _healthy_loss(self, sources: tuple[Source, ...]) -> dict[str, Tensor]:
        """The loss terms of the batch without its sick images; empty if there are none to take it over."""
        healthy = [i for i, s in enumerate(sources) if not s.suspect]
        if not healthy or len(healthy) == len(sources):
            return {}
        batch = batches.with_images(self._batch, healthy)
        model = self.trainer.ema.ema if self.trainer.ema else self.trainer.model
        half = bool(self.trainer.amp) and self.trainer.device.type != "cpu"
        autocast = torch.autocast(self.trainer.device.type, dtype=torch.float16, enabled=half)
        with randomness.untouched(), autocast:
            items = model.loss(batch, model(batch["img"]))[1]
        return dict(items) if _all_finite(items) else {}


def _factor(batches: int, left_out: int) -> float:
    """What a mean over all batches is multiplied by, so that it is one over those that were not left out."""
    return batches / (batches - left_out) if left_out < batches else float("nan")


def _forget_ids(validator: Any, out: set[int]) -> None:
    """Where predictions are written with the numbers of their images, take those of a batch's stand-ins out, too."""
    ids, seen = getattr(validator, "eval_ids", None), getattr(validator, "seen", None)
    if isinstance(ids, list) and isinstance(seen, int):
        for place in sorted(out, reverse=True):
            del ids[seen + place]


def _number(value: Any) -> bool:
    """Whether a metric is one number; a trainer of the user's own may also give texts and matrices."""
    return isinstance(value, (int, float, np.number)) or (isinstance(value, Tensor) and value.numel() == 1)


def _watched(validator: Any) -> bool:
    """Only validation inside training sums losses; releases before 8.4.104 keep them in a tensor."""
    return bool(validator.training) and isinstance(validator.loss, Mapping)


def _all_finite(items: Mapping[str, Tensor]) -> bool:
    return bool(torch.stack([v.isfinite().all() for v in items.values()]).all())
