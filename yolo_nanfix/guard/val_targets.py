"""Keeps targets out of validation that would end it: classes that do not exist, label rows of no image.

Ultralytics checks the classes of both sets when it reads them, but not those of an older cache, nor what code makes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from yolo_nanfix import batches
from yolo_nanfix.events import Action, Check, Defect, Did, Point, Source
from yolo_nanfix.guard import ownership, sample_sources, target_checks, telltales
from yolo_nanfix.guard.fault_handling import Faults
from yolo_nanfix.guard.rereading import Rereading
from yolo_nanfix.guard.sample_sources import Composed

Batch = Mapping[str, Any]
ENTRIES = ("cls", "semantic_mask")
"""What holds classes."""


class ValTargets:
    """Judges the targets of val batches while they are on the host."""

    def __init__(self, faults: Faults) -> None:
        """Nothing was left out yet."""
        self.faults = faults
        self.trainer = trainer = faults.run.trainer
        self.rereading = Rereading(getattr(getattr(trainer, "test_loader", None), "dataset", None))
        self.nc = target_checks.classes_of_model(faults.run.model)

    def part(self, batch: Batch) -> tuple[Batch, set[int], bool]:
        """The batch without the images whose targets would end validation; each is named and counted.

        Returns:
            The batch, the places that were taken out of it, and whether no image of it may count: those are in it
            still, with harmless classes. Where the loss is the user's own, the batch as it is.
        """
        names = batches.names(batch)
        bad = {i: n.sick for i, n in enumerate(names) if isinstance(n, Composed) and n.defect is Defect.CLASS}
        sound = target_checks.sound(batch, self.nc)
        if (sound and not bad) or not ownership.stock_loss(self.faults.run.model):
            return batch, set(), False
        if not sound:
            found, strays = target_checks.faults(batch, self.nc)
            bad |= found
            if strays:
                says, done = target_checks.STRAYS, Action(Did.ROWS_LEFT_OUT)
                verdict = telltales.strays(says, strays)
                self.faults.note(Point.VALIDATION, Check.TARGETS, says, strays, done, verdict=verdict)
                batch = _without_strays(batch)
        if not bad:
            return batch, set(), False
        self._say(names, bad, batches.size(batch))
        keep = [i for i in range(batches.size(batch)) if i not in bad]
        if keep:
            return batches.with_images(batch, keep), set(bad), False
        blank = {k: torch.zeros_like(v) for k in ENTRIES if isinstance(v := batch.get(k), Tensor)}
        return {**batch, **blank}, set(), True

    def _say(self, names: Any, bad: Mapping[int, str], count: int) -> None:
        found = {i: names[i] if names else f"image {i + 1} of a batch without names" for i in sorted(bad)}
        sources = tuple(
            Source(str(name), bad[i], sample_sources.parents(name), defect=Defect.CLASS) for i, name in found.items()
        )
        judged = self.rereading.judged(sources)
        says = "{bad} of {count} val images no good: {suspect}" + telltales.WHOSE.get(judged[0].on_disk, "")
        values = {"bad": len(bad), "count": count, "suspect": judged[0].suspect}
        self.faults.run.recorder.sick_samples += len(bad)
        verdict = telltales.verdict(judged, self.trainer, self.nc)
        done = Action(Did.VAL_IMAGES_LEFT_OUT)
        self.faults.note(Point.VALIDATION, Check.TARGETS, says, values, done, files=judged, verdict=verdict)


def _without_strays(batch: Batch) -> Batch:
    """The batch without label rows that belong to no image."""
    owner = batch["batch_idx"].reshape(-1)
    mine = (owner >= 0) & (owner < batches.size(batch))
    return batches.without_rows(batch, (~mine).nonzero().flatten().tolist())
