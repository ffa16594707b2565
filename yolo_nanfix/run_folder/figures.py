"""The figures by which the health of a run is judged: from its trainer, what the guard counted, and its results."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from yolo_nanfix.findings import Finding
from yolo_nanfix.guard import start_weights
from yolo_nanfix.guard.recorder import Recorder
from yolo_nanfix.health import Figures
from yolo_nanfix.report.html.run_advice import METRICS
from yolo_nanfix.run_folder import csv_tables
from yolo_nanfix.run_folder.csv_tables import Table


def figures(
    trainer: Any, recorder: Recorder, beforehand: Mapping[str, Iterable[Finding]], *, finished: bool = True
) -> Figures:
    """What is known of a run.

    Args:
        trainer: Ultralytics' trainer.
        recorder: what the guard counted.
        beforehand: the images that were left out before the run, with the findings about them.
        finished: whether it came to its end.
    """
    results = csv_tables.read(Path(trainer.csv)) if Path(trainer.csv).is_file() else Table()
    epochs = _epochs(results)
    out = _left_out(recorder, beforehand)
    refused, validation = recorder.latest.get("checkpoint"), recorder.latest.get("val-loss")
    last = int(getattr(trainer, "epoch", trainer.start_epoch)) + 1
    by_epoch = _metric_by_epoch(results, epochs)
    best = Path(trainer.best)
    return Figures(
        finished=finished,
        micro_batches=recorder.micro_batches,
        dropped=recorder.dropped,
        images=_images(trainer) + len(set(out) - set(recorder.quarantined)),
        left_out=len(out),
        samples=recorder.unreadable_samples + recorder.sick_samples,
        steps_taken=recorder.steps_taken,
        steps_refused=recorder.steps_refused,
        steps_undone=recorder.steps_undone,
        epochs=max(len(epochs), last if not epochs else 0),
        epochs_unknown=recorder.epochs_unknown,
        epochs_without_step=tuple(recorder.epochs_without_step),
        epochs_without_loss=_without_loss(results, epochs),
        checkpoints_refused=recorder.counts["checkpoint"],
        last_refused=refused is not None and refused.epoch == last,
        val_loss_finite=validation is None or validation.epoch != last,
        average_nan=len(recorder.ema_nan),
        metric=_metric(trainer),
        last_metric=by_epoch[-1] if by_epoch else None,
        best_metric=max(by_epoch) if by_epoch else None,
        pretrained=recorder.pretrained,
        start_weights=start_weights.unchanged(best, recorder.start) if finished and best.is_file() else None,
    )


def pretrained(trainer: Any) -> bool | None:
    """Whether a trainer that is set up starts from trained weights; None for a run that is resumed."""
    if trainer.start_epoch:
        return None
    return str(trainer.args.model).endswith(".pt") or isinstance(trainer.args.pretrained, (str, Path))


def _images(trainer: Any) -> int:
    """The images in the training set as it was loaded."""
    dataset: Any = getattr(getattr(trainer, "train_loader", None), "dataset", None)
    return len(dataset) if hasattr(dataset, "__len__") else 0


def _left_out(recorder: Recorder, beforehand: Mapping[str, Iterable[Finding]]) -> set[str]:
    """The training images that were left out, before the run and during it."""
    before = {image for image, found in beforehand.items() if any(f.split in (None, "train") for f in found)}
    return before | set(recorder.quarantined)


def _epochs(results: Table) -> dict[int, int]:
    """The number of the last row of each epoch; an epoch that was trained again after a resume has several."""
    numbers = results.column("epoch")
    if numbers is None:
        return {}
    return {int(number): row for row, number in enumerate(numbers) if np.isfinite(number)}


def _without_loss(results: Table, epochs: Mapping[int, int]) -> tuple[int, ...]:
    names = [name for name in results.columns if name.startswith("train/")]
    return tuple(
        epoch
        for epoch, row in epochs.items()
        if any(results.known[name][row] and not np.isfinite(results.columns[name][row]) for name in names)
    )


def _metric(trainer: Any) -> float | None:
    """The first metric that people ask for, of the final model; None where the validation set has nothing to find."""
    validator = getattr(trainer, "validator", None)
    for holder in (getattr(validator, "metrics", None), validator):
        targets = getattr(holder, "nt_per_class", None)
        if targets is not None and not np.asarray(targets).any():
            return None
    metrics = trainer.metrics or {}
    return next((float(metrics[key]) for key, _ in METRICS if key in metrics), None)


def _metric_by_epoch(results: Table, epochs: Mapping[int, int]) -> list[float]:
    """The same of each epoch, as far as it is finite."""
    for key, _ in METRICS:
        if (column := results.column(key)) is not None:
            return [float(column[row]) for row in epochs.values() if np.isfinite(column[row])]
    return []
