"""What becomes of a micro-batch before its forward pass: samples that are no good are taken out of it, each named.

Where one image is left, another fills the batch up, for BatchNorm needs two values a channel; where none is left, a
harmless batch takes its place and is dropped after its forward pass, as every bad micro-batch is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor

from yolo_nanfix import batches
from yolo_nanfix.guard import provenance
from yolo_nanfix.guard.events import Point, Source
from yolo_nanfix.guard.faults import Fault
from yolo_nanfix.guard.policy import Kind
from yolo_nanfix.guard.unreadable import Unreadable

if TYPE_CHECKING:
    from yolo_nanfix.guard.watch import Guard

Batch = Mapping[str, Any]


class Intake:
    """Looks at each micro-batch of one run as the loader gives it."""

    def __init__(self, guard: Guard) -> None:
        """Nothing was left out yet."""
        self.guard = guard
        self.unreadable = Unreadable(Point.BATCH, getattr(guard.trainer, "train_loader", None), guard.faults)
        self._spare: Batch | None = None
        self._empty: Fault | None = None

    def take(self) -> Fault | None:
        """Why this micro-batch must be dropped whatever its loss is; None for an ordinary one."""
        fault, self._empty = self._empty, None
        return fault

    def before(self, batch: Batch) -> Batch:
        """The batch without the samples that are no good.

        Raises:
            GuardStop: too many samples cannot be read.
        """
        names = batch.get("im_file") or ()
        self._empty = None
        if not names:
            return batch
        out = set(self.unreadable.look(names, int(self.guard.trainer.epoch)))
        self._leave_out_for_good()
        out |= self._quarantined(names, out)
        if not out:
            self._spare = dict(batch)
            return batch
        return self._part(batch, [i for i in range(len(names)) if i not in out])

    def _quarantined(self, names: Sequence[Any], out: set[int]) -> set[int]:
        gone = self.guard.ladder.quarantined
        if not gone:
            return set()
        found = {i for i, n in enumerate(names) if str(n) in gone or gone.keys() & set(provenance.parents(n))} - out
        self.guard.recorder.left_out += len(found)
        return found

    def _leave_out_for_good(self) -> None:
        """Quarantine files that could not be read in as many epochs as an image may spoil micro-batches."""
        limit, ladder, record = self.guard.settings.quarantine_after, self.guard.ladder, self.guard.recorder
        if not limit or not self.unreadable.epochs:
            return
        for file, epochs in self.unreadable.epochs.items():
            if epochs >= limit and file not in ladder.quarantined:
                ladder.quarantined[file] = epochs
                record.quarantined = list(ladder.quarantined)
                detail = f"could not be read in {epochs} epochs: {self.unreadable.errors[file]}"
                self.guard.faults.note(Point.BATCH, "samples", detail, "left out from now on", (Source(file, detail),))

    def _part(self, batch: Batch, keep: list[int]) -> Batch:
        """The images `keep` of a batch, filled up to two where it had more than one."""
        if len(keep) > 1:
            return batches.with_images(batch, keep)
        names = batch["im_file"]
        if keep and (filled := self._filled(batches.with_images(batch, keep))) is not None:
            fill = filled["im_file"][1]
            detail = f"one image of {len(names)} is left of the micro-batch"
            self.guard.faults.note(Point.BATCH, "samples", detail, f"filled up with {fill}", (Source(str(fill)),))
            return filled
        detail = f"{'no image' if not keep else 'one image'} of {len(names)} is left of the micro-batch"
        files = tuple(Source(str(n), "left out" if i not in keep else "") for i, n in enumerate(names))
        self._empty = Fault(Kind.EMPTY, Point.AFTER_LOSS, "samples", detail, None, files)
        return dict(self._spare) if self._spare is not None else _harmless(batch)

    def _filled(self, one: Batch) -> Batch | None:
        """A batch of one image with a healthy one of an earlier batch beside it; None where none fits."""
        spare, gone = self._spare, self.guard.ladder.quarantined
        if spare is None:
            return None
        for place, name in enumerate(spare["im_file"]):
            healthy = str(name) not in gone and not gone.keys() & set(provenance.parents(name))
            pixels = spare["img"][place]
            if healthy and str(name) != str(one["im_file"][0]) and pixels.shape == one["img"][0].shape:
                if pixels.is_floating_point() and not bool(pixels.isfinite().all()):
                    continue
                return batches.joined(one, batches.with_images(spare, [place]))
        return None


def _harmless(batch: Batch) -> Batch:
    """The batch with finite pixels and without label rows, for a forward pass whose loss is not used."""
    image = batch["img"]
    image = image.nan_to_num(0, 0, 0) if isinstance(image, Tensor) and image.is_floating_point() else image
    rows = range(len(batch["batch_idx"].reshape(-1))) if "batch_idx" in batch else ()
    return {**(batches.without_rows(batch, list(rows)) if rows else batch), "img": image}
