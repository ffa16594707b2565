"""Keeps bad validation images, and predictions that are not finite, out of val losses and metrics.

Upstream sums the loss terms of all val batches and divides by their number, so one NaN makes the mean NaN. Here the
non-finite images of such a batch are left out and its loss is taken over the others; a batch that is not finite even
then is left out whole, and the mean is taken over the rest. Every image left out is reported, and so is every image
that cannot be read, or whose targets would end validation: classes that do not exist (Ultralytics checks those of both
sets when it reads them, but not those of an older cache, nor what code makes), and label rows of no image.

Predictions are checked before Ultralytics' postprocessing, which drops some of them silently; what remains of them is
removed after it, for metrics may count them as correct. A healthy batch costs one host read, before the many of the
metrics. Without training (`model.val()`, `yolo val`) there is no guard and no report: what was left out is logged,
batch by batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import wraps
from typing import Any

import numpy as np
import torch
from torch import Tensor

from yolo_nanfix import batches, upstream
from yolo_nanfix.events import Action, Check, Defect, Did, Point, Source
from yolo_nanfix.guard import distributed, ownership, randomness, sample_checks, sample_sources, sensors
from yolo_nanfix.guard.fault_handling import Faults
from yolo_nanfix.guard.intake import Unreadable, record_bad, verdict_on_strays
from yolo_nanfix.guard.sample_checks import Rereading
from yolo_nanfix.guard.sample_sources import Composed

Bound = Callable[..., Any]


class ValidationGuard:
    """Checks the val batches inside training and in the evaluation after it; `adapter` connects it."""

    def __init__(self, faults: Faults) -> None:
        self.faults = faults
        self.trainer = trainer = faults.run.trainer
        self.unreadable = Unreadable(Point.VALIDATION, getattr(trainer, "test_loader", None), faults)
        self.targets = ValTargets(faults)
        self._stock = ownership.stock(getattr(trainer, "validator", None), "preprocess")  # not wrapped by the guard yet
        self.left_out = 0
        self._before: dict[str, Tensor] = {}
        self._batch: Mapping[str, Any] = {}
        self._finite = True
        self._bad: dict[int, int] = {}
        self._empty = False

    def preprocess(self, call: Bound, validator: Any, batch: Any) -> Any:
        """Remove stand-ins from a batch, unless it has nothing else, and keep the batch until its loss is known.

        What is not in Ultralytics' form is checked once the validator's own code has given it that.

        Raises:
            GuardStop: too many samples cannot be read.
        """
        self._empty, self._batch = False, {}
        self.faults.run.recorder.processes.val_batches += 1
        looked = batches.collated(batch)
        added: Sequence[Any] = ()
        judged = looked and self._stock  # on the host, before no other code
        if looked:
            batch = self._readable(validator, batch)
            batch = self._harmless(validator, batch) if judged else batch
            batch, added = sample_sources.without_added_names(batch)
        made = call(batch)
        if batches.collated(made):
            self._batch = sample_sources.with_names(made, added) if looked else self._readable(validator, made)
            if not judged:
                self._batch = self._harmless(validator, self._batch)
            return self._batch
        return made

    def _readable(self, validator: Any, batch: Mapping[str, Any]) -> Mapping[str, Any]:
        """A batch without the samples that could not be read, unless nothing remains."""
        names = batches.names(batch)
        out = set(self.unreadable.look(names, int(self.trainer.epoch)))
        keep = [i for i in range(len(names)) if i not in out]
        self._empty = bool(names) and not keep
        if not out or not keep:
            return batch
        _forget_ids(validator, out)
        return batches.with_images(batch, keep)

    def _harmless(self, validator: Any, batch: Mapping[str, Any]) -> Mapping[str, Any]:
        """A batch without the images whose targets would end validation, unless nothing remains."""
        batch, out, none_left = self.targets.part(batch)
        self._empty = self._empty or none_left
        _forget_ids(validator, out)
        return batch

    def batch_start(self, validator: Any) -> None:
        """Copy the sums so far."""
        self._finite, self._bad = True, {}
        if _watched(validator):
            self._before = {k: v.clone() for k, v in validator.loss.items()}

    def postprocess(self, call: Bound, validator: Any, raw: Any) -> Any:
        """Check the predictions and the loss, with one host read; return what is finite."""
        losses = validator.loss.values() if _watched(validator) else ()
        self._finite, finite = both_finite(losses, raw)
        if finite:
            return call(raw)
        self._bad = bad_images(raw, batches.size(self._batch)) if self._batch else {}
        made, gone = finite_rows(call(raw), self._bad)
        number = validator.batch_i + 1
        says = "{bad} raw predictions of {images:image|images} not finite in val batch {batch}"
        values = {"bad": sum(self._bad.values()), "images": len(self._bad), "batch": number}
        if not self._explained:
            files = predicted(self._batch, self._bad)
            done = Action(Did.PREDICTIONS_LEFT_OUT, count=None if isinstance(made, Tensor) else gone)
            self.faults.note(Point.VALIDATION, Check.VAL_PREDICTIONS, says, values, done, files=files, val_batch=number)
        return made

    def update_metrics(self, call: Bound, made: Any, batch: Mapping[str, Any]) -> Any:
        """Update the metrics with the images whose predictions are finite."""
        return None if self._empty else measured(call, made, batch, self._bad)

    def batch_end(self, validator: Any) -> None:
        """If this batch made a sum not finite, restore the sums and add the loss of its healthy images only."""
        if _watched(validator) and (self._empty or not self._finite) and not self._explained:
            self._repair(validator)
        last = _watched(validator) and validator.batch_i + 1 == len(validator.dataloader)
        if last and self.left_out and distributed.running():  # the ranks' sums are averaged next
            factor = _factor(len(validator.dataloader), self.left_out)
            self.left_out = 0
            validator.loss = {k: v * factor for k, v in validator.loss.items()}

    def _repair(self, validator: Any) -> None:
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
        """Make the val losses the mean over the batches that were not left out, and reset the count of those."""
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
        bad = [k for k, v in named.items() if _is_one_number(v) and not math.isfinite(float(v))]
        if bad and not self._explained:
            values = {"names": tuple(bad)}
            self.faults.note(Point.VALIDATION, Check.VAL_LOSS, "{names:,} not finite", values, Action(Did.REPORTED))
        return metrics

    @property
    def _explained(self) -> bool:
        """Whether it is known that the averaged model itself gives NaN, so that no image is to blame."""
        return bool(self.faults.run.recorder.ema_nan)

    def _healthy_loss(self, sources: tuple[Source, ...]) -> dict[str, Tensor]:
        """The loss terms of the batch without its non-finite images; empty if there are none to take it over."""
        healthy = [i for i, s in enumerate(sources) if not s.suspect]
        if not healthy or len(healthy) == len(sources):
            return {}
        batch = batches.with_images(self._batch, healthy)
        model = self.trainer.ema.ema if self.trainer.ema else self.trainer.model
        half = bool(self.trainer.amp) and self.trainer.device.type != "cpu"
        autocast = torch.autocast(self.trainer.device.type, dtype=torch.float16, enabled=half)
        with randomness.untouched(), autocast:
            items = model.loss(batch, model(batch["img"]))[1]
        return dict(items) if bool(torch.stack([v.isfinite().all() for v in items.values()]).all()) else {}


def _factor(batches: int, left_out: int) -> float:
    """The factor that makes a mean over all batches one over those that were not left out."""
    return batches / (batches - left_out) if left_out < batches else float("nan")


def _forget_ids(validator: Any, out: set[int]) -> None:
    """Remove the ids of images that were taken out of a batch, where predictions are written by their ids."""
    ids, seen = getattr(validator, "eval_ids", None), getattr(validator, "seen", None)
    if isinstance(ids, list) and isinstance(seen, int):
        for place in sorted(out, reverse=True):
            del ids[seen + place]


def _is_one_number(value: Any) -> bool:
    """Whether a metric is one number; a trainer of the user's own may also give texts and matrices."""
    return isinstance(value, (int, float, np.number)) or (isinstance(value, Tensor) and value.numel() == 1)


def _watched(validator: Any) -> bool:
    """Only validation inside training sums losses; releases before 8.4.104 keep them in a tensor."""
    return bool(validator.training) and isinstance(validator.loss, Mapping)


Batch = Mapping[str, Any]
CLASS_ENTRIES = ("cls", "semantic_mask")
"""Entries with classes."""


class ValTargets:
    """Checks the targets of val batches on the host."""

    def __init__(self, faults: Faults) -> None:
        self.faults = faults
        self.trainer = trainer = faults.run.trainer
        self.rereading = Rereading(getattr(getattr(trainer, "test_loader", None), "dataset", None))
        self.nc = sample_checks.classes_of_model(faults.run.model)

    def part(self, batch: Batch) -> tuple[Batch, set[int], bool]:
        """The batch without the images whose targets would end validation; each is named and counted.

        Returns:
            The batch, the places that were taken out of it, and whether no image of it may count: then all are still in
            it, with harmless classes. Where the loss is the user's own, the batch as it is.
        """
        names = batches.names(batch)
        bad = {i: n.suspect for i, n in enumerate(names) if isinstance(n, Composed) and n.defect is Defect.CLASS}
        finite = sample_checks.valid(batch, self.nc)
        if (finite and not bad) or not ownership.stock_loss(self.faults.run.model):
            return batch, set(), False
        if not finite:
            found, strays = sample_checks.faults(batch, self.nc)
            bad |= found
            if strays:
                says, done = sample_checks.STRAYS, Action(Did.ROWS_LEFT_OUT)
                verdict = verdict_on_strays(says, strays)
                self.faults.note(Point.VALIDATION, Check.TARGETS, says, strays, done, verdict=verdict)
                batch = _without_strays(batch)
        if not bad:
            return batch, set(), False
        self._say(names, bad, batches.size(batch))
        keep = [i for i in range(batches.size(batch)) if i not in bad]
        if keep:
            return batches.with_images(batch, keep), set(bad), False
        blank = {k: torch.zeros_like(v) for k in CLASS_ENTRIES if isinstance(v := batch.get(k), Tensor)}
        return {**batch, **blank}, set(), True

    def _say(self, names: Any, bad: Mapping[int, str], count: int) -> None:
        found = {i: names[i] if names else f"image {i + 1} of a batch without names" for i in sorted(bad)}
        sources = tuple(
            Source(str(name), bad[i], sample_sources.parents(name), defect=Defect.CLASS) for i, name in found.items()
        )
        judged = self.rereading.judged(sources)
        record_bad(self.faults, Point.VALIDATION, Check.TARGETS, judged, count, self.nc)


def _without_strays(batch: Batch) -> Batch:
    owner = batch["batch_idx"].reshape(-1)
    mine = (owner >= 0) & (owner < batches.size(batch))
    return batches.without_rows(batch, (~mine).nonzero().flatten().tolist())


def both_finite(losses: Iterable[Tensor], raw: Any) -> tuple[bool, bool]:
    """Whether scalars of the loss are finite, and whether all raw predictions are: one host read for both."""
    loss = [t.detach().float().reshape(()) for t in losses]
    made = [t.detach().sum(dtype=torch.float32) for t in _floating(raw)]
    sums = [torch.stack(found).sum() for found in (loss, made) if found]
    good = iter(torch.stack([s.to(sums[0].device) for s in sums]).isfinite().tolist() if sums else ())
    return (not loss or next(good)), (not made or next(good))


def _floating(raw: Any) -> Iterator[Tensor]:
    """The predictions of a model, without what some heads add for the loss."""
    if isinstance(raw, Tensor):
        if raw.is_floating_point() and raw.numel():
            yield raw
    elif isinstance(raw, (list, tuple)) and raw:
        for part in raw[0] if isinstance(raw[0], (list, tuple)) else raw[:1]:  # rows and mask prototypes
            if isinstance(part, Tensor):
                yield from _floating(part)


def bad_images(raw: Any, count: int) -> dict[int, int]:
    """How many raw predictions of each image are not finite, for those that have some."""
    found: dict[int, int] = {}
    for tensor in _floating(raw):
        if len(tensor) == count:
            for place, number in enumerate((~tensor.isfinite()).flatten(1).sum(1).tolist()):
                if number:
                    found[place] = found.get(place, 0) + int(number)
    return found


def predicted(batch: Mapping[str, Any], bad: Mapping[int, int]) -> tuple[Source, ...]:
    """The images that they belong to."""
    names = batches.names(batch)
    return tuple(Source(str(names[i]), f"{n} predictions not finite") for i, n in bad.items() if i < len(names))


def finite_rows(made: Any, bad: Mapping[int, int]) -> tuple[Any, int]:
    """Predictions of objects without those that are not finite, and how many were taken out.

    Args:
        made: after postprocessing: one entry an image, of rows: a tensor, or a mapping of tensors with one row
            a prediction. Older releases have mask prototypes beside that list. Anything else stays as it is.
        bad: the images whose raw predictions are not finite; what such numbers made of a mask is empty.
    """
    if isinstance(made, tuple) and made and isinstance(made[0], list):
        rows, gone = finite_rows(made[0], bad)
        return (rows, *made[1:]), gone
    if not isinstance(made, list):
        return made, 0
    pairs = [_finite_rows_of(entry, i in bad) for i, entry in enumerate(made)]
    return [entry for entry, _ in pairs], sum(gone for _, gone in pairs)


def _finite_rows_of(entry: Any, bad: bool) -> tuple[Any, int]:
    parts = entry if isinstance(entry, Mapping) else {"conf": entry}
    if not isinstance(parts.get("conf"), Tensor) or not len(parts["conf"]):
        return entry, 0
    count = len(parts["conf"])
    tensors = {k: v for k, v in parts.items() if isinstance(v, Tensor) and len(v) == count}
    good = torch.ones(count, dtype=torch.bool, device=parts["conf"].device)
    for key, value in tensors.items():
        if value.is_floating_point():
            good &= value.isfinite().reshape(count, -1).all(1)
        if bad and key == "masks":
            good &= value.reshape(count, -1).any(1).bool()
    if bool(good.all()):
        return entry, 0
    kept = {k: v[good] if k in tensors else v for k, v in parts.items()}
    return (kept if isinstance(entry, Mapping) else kept["conf"]), int((~good).sum())


def measured(call: Bound, made: Any, batch: Mapping[str, Any], bad: Mapping[int, int]) -> Any:
    """Update the metrics; one tensor for all images (classes, class maps, depth) is without the bad ones."""
    if not bad or not isinstance(made, Tensor):
        return call(made, batch)
    keep = [i for i in range(len(made)) if i not in bad]
    return call(made[keep], batches.with_images(batch, keep)) if keep else None


VALIDATOR = "ultralytics.engine.validator:BaseValidator"
GUARDED = "_nanfix_guarded"
"""Marks a validator whose trainer has a guard, which does the same and more."""


def install_lone() -> Callable[[], None]:
    """Check the predictions of every validator that is built from now on; call the result to undo it."""

    def build(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        wrapped(*args, **kwargs)
        if all(hasattr(instance, name) for name in ("preprocess", "postprocess", "update_metrics")):
            _LoneValidation(instance)

    try:
        return upstream.put_around(f"{VALIDATOR}.__init__", build)
    except LookupError:
        return lambda: None


class _LoneValidation:
    """Wraps three methods of one validator that has no trainer."""

    def __init__(self, validator: Any) -> None:
        self.validator = validator
        self.batch: Mapping[str, Any] = {}
        self.bad: dict[int, int] = {}
        for name in ("preprocess", "postprocess", "update_metrics"):
            setattr(validator, name, self._around(getattr(validator, name), getattr(self, name)))

    def _around(self, bound: Bound, ours: Bound) -> Bound:
        @wraps(bound)
        def either(*args: Any, **kwargs: Any) -> Any:
            guarded = GUARDED in vars(self.validator) or kwargs
            return bound(*args, **kwargs) if guarded else ours(bound, *args)

        return either

    def preprocess(self, call: Bound, batch: Any) -> Any:
        self.batch, self.bad = call(batch), {}
        return self.batch

    def postprocess(self, call: Bound, raw: Any, *rest: Any) -> Any:
        _, finite = both_finite((), raw)
        if finite or not batches.collated(self.batch):
            return call(raw, *rest)
        self.bad = bad_images(raw, batches.size(self.batch))
        made, gone = finite_rows(call(raw, *rest), self.bad)
        files = ", ".join(s.file for s in predicted(self.batch, self.bad)[:4])
        what = "left out" if isinstance(made, Tensor) else f"{gone} rows left out"
        upstream.log(f"yolo-nanfix: predictions that are not finite: {what} of the metrics; images: {files}")
        return made

    def update_metrics(self, call: Bound, made: Any, batch: Any) -> Any:
        return measured(call, made, batch, self.bad)
