"""Takes bad samples out of a micro-batch before its forward pass, and reports each.

    cannot be read              another stands in for it (`samples`), until it can be read again
    not finite, files are       augmentation or other code of the loader made it so: the file is innocent
    class out of range          the loss would end the run; the file is blamed if its labels say so on disk
    left out from now on        by quarantine

Where one image remains, another fills the batch up, for BatchNorm needs two values a channel; where none remains, a
harmless batch takes its place and is dropped after its forward pass, as every bad micro-batch is.

What is not in Ultralytics' form goes to the trainer's `preprocess_batch` as it is, and is checked when it comes back.
Pixels and targets are judged before it only where that, and the loss, are Ultralytics' own: a user's may give sense to
NaN, or to other numbers of classes. After it they are judged on the CPU; on a GPU the sensors check the rest.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from yolo_nanfix import batches
from yolo_nanfix.errors import TooManyUnreadable
from yolo_nanfix.events import Action, Check, Defect, Did, OnDisk, Point, Source
from yolo_nanfix.guard import ownership, sample_checks, sample_sources
from yolo_nanfix.guard.fault import Fault, Kind
from yolo_nanfix.guard.fault_handling import Faults
from yolo_nanfix.guard.incident_writer import label_rows
from yolo_nanfix.guard.sample_sources import Composed, Failure
from yolo_nanfix.tasks import option
from yolo_nanfix.verdicts import Cause, Verdict
from yolo_nanfix.wording import sentence

Batch = Mapping[str, Any]
ONE_LEFT = "one image of {images} is left of the micro-batch"
NONE_LEFT = "no image of {images} is left of the micro-batch"


class Intake:
    """Checks each micro-batch of one run as the loader gives it, and on the CPU again once it is preprocessed."""

    def __init__(self, faults: Faults) -> None:
        self.faults, self.run = faults, faults.run
        trainer = self.run.trainer
        self.unreadable = Unreadable(Point.BATCH, getattr(trainer, "train_loader", None), faults)
        self.nc = sample_checks.classes_of_model(self.run.model)
        self._on_host = trainer.device.type == "cpu"
        self._own = not ownership.stock(trainer, "preprocess_batch")
        self._looked = self._judging = False
        self._added: Sequence[Any] = ()
        self._offences: Counter[str] = Counter()
        self._spare: Batch | None = None
        self._empty: Fault | None = None

    def take(self) -> Fault | None:
        """Why this micro-batch must be dropped whatever its loss is; None for an ordinary one."""
        fault, self._empty = self._empty, None
        return fault

    def before(self, batch: Batch) -> Batch:
        """The batch without the samples that are bad.

        Raises:
            GuardStop: too many samples cannot be read.
        """
        self._empty, self._added = None, ()
        self._looked = batches.collated(batch)
        if not self._looked:
            return batch
        names = batches.names(batch)
        self._judging = not self._own and self._last_before_the_loss()
        out = self._known_by_name(names)
        if self._judging:
            out |= self._bad(names, out)
        out |= self._quarantined(names, out)
        if self._valid(batch) and not out:
            self._spare = dict(batch) if names else None
        else:
            batch = self._part(batch, out, self._spare)
        if self._own:
            batch, self._added = sample_sources.without_added_names(batch)
        return batch

    def after(self, batch: Batch) -> Batch:
        """The preprocessed batch, without the samples that are seen to be bad only now.

        Raises:
            GuardStop: too many samples cannot be read.
        """
        if not batches.collated(batch):
            return batch
        batch = sample_sources.with_names(batch, self._added)
        if self._empty is not None:
            return batch
        names = batches.names(batch)
        self._judging = self._on_host and self._last_before_the_loss()
        out = set() if self._looked else self._known_by_name(names)
        if self._judging and (self._own or not self._looked):
            out |= self._bad(names, out, batch)
        if not self._looked:
            out |= self._quarantined(names, out)
        if self._valid(batch) and not out:
            return batch
        return self._part(batch, out, None)  # what was kept of earlier batches is not preprocessed

    def _last_before_the_loss(self) -> bool:
        """Whether the batch goes from here to Ultralytics' own loss, and through no other code before."""
        return ownership.untouched(self.run.trainer, "preprocess_batch") and ownership.stock_loss(self.run.model)

    def _valid(self, batch: Batch) -> bool:
        return not self._judging or sample_checks.valid(batch, self.nc)

    def _known_by_name(self, names: Sequence[Any]) -> set[int]:
        """The places of stand-ins; files that could not be read too often are quarantined."""
        out = set(self.unreadable.look(names, int(self.run.trainer.epoch)))
        for file, epochs in self.unreadable.epochs.items():  # in as many epochs as an image may spoil micro-batches
            values = {"epochs": epochs, "error": self.unreadable.errors[file]}
            self._quarantine(file, epochs, "could not be read in {epochs:epoch|epochs}: {error}", values)
        return out

    def _quarantined(self, names: Sequence[Any], out: set[int]) -> set[int]:
        gone = self.run.ladder.quarantined
        if not gone:
            return set()
        found = {i for i, n in enumerate(names) if str(n) in gone or gone.keys() & set(sample_sources.parents(n))} - out
        self.run.recorder.left_out += len(found)
        return found

    def _quarantine(self, file: str, offences: int, says: str, values: Mapping[str, Any]) -> None:
        limit, ladder = self.run.settings.quarantine_after, self.run.ladder
        if limit and offences >= limit and file not in ladder.quarantined:
            ladder.quarantined[file] = offences
            files, done = (Source(file, sentence(says, values)),), Action(Did.QUARANTINED, images=(file,))
            self.faults.note(Point.BATCH, Check.SAMPLES, says, values, done, files=files)

    def _bad(self, names: Sequence[Any], out: set[int], made: Batch | None = None) -> set[int]:
        """Samples that are not finite, or out of range, although their files are in order; or that must not go on.

        One whose file is not finite itself goes on to the forward pass, to be dropped there, diagnosed and blamed.
        Of a preprocessed batch, `made`, only those count that are still bad.
        """
        found = [i for i, n in enumerate(names) if isinstance(n, Composed) and n.suspect and i not in out]
        if made is not None:
            found = [i for i in found if still(made, i, names[i].defect, self.nc)]
        if not found:
            return set()
        sources = tuple(Source(str(n), n.suspect, n.parents, defect=n.defect) for n in (names[i] for i in found))
        judged = self.faults.rereading.judged(sources)
        alone = {
            i: source
            for i, source in zip(found, judged, strict=True)
            if source.on_disk in (OnDisk.FINITE, OnDisk.UNREADABLE) or source.defect is Defect.CLASS
        }
        if alone:
            self._say(Check.SAMPLES, tuple(alone.values()), len(names))
        return set(alone)

    def _say(self, check: Check, sources: tuple[Source, ...], count: int) -> Verdict:
        """Record samples that are taken out of a micro-batch, and count the offences of their files."""
        verdict = record_bad(self.faults, Point.BATCH, check, sources, count, self.nc)
        for file in {file for source in sources for file in source.blamed}:
            self._offences[file] += 1
            said = {"batches": self._offences[file]}
            self._quarantine(file, said["batches"], "its labels were bad in {batches:batch|batches}", said)
        return verdict

    def _part(self, batch: Batch, out: set[int], spare: Batch | None) -> Batch:
        """A batch without some of its images and those whose targets are bad, filled up to two if it had more."""
        names = batches.names(batch)
        verdict = None
        if not self._valid(batch):
            bad, strays = sample_checks.faults(batch, self.nc)
            if strays or not names:
                says, values = sample_checks.STRAYS, strays
                if not strays:
                    says, values = "{first}", {"first": next(iter(bad.values()))}
                seen = Check.TARGETS, says, values
                return self._dropped(batch, seen, (), verdict_on_strays(says, values), spare)
            bad = {i: why for i, why in bad.items() if i not in out}
            sources = tuple(
                Source(str(names[i]), why, sample_sources.parents(names[i]), defect=Defect.CLASS)
                for i, why in bad.items()
            )
            judged = self.faults.rereading.judged(sources)
            verdict = self._say(Check.TARGETS, judged, len(names)) if judged else None
            out = out | bad.keys()
        keep = [i for i in range(len(names)) if i not in out]
        if len(keep) > 1 or (keep and len(names) == 1):
            return batches.with_images(batch, keep)
        if keep and spare is not None and (filled := self._filled(batches.with_images(batch, keep), spare)) is not None:
            fill = filled["im_file"][1]
            done = Action(Did.FILLED_UP, images=(str(fill),))
            self.faults.note(
                Point.BATCH, Check.SAMPLES, ONE_LEFT, {"images": len(names)}, done, files=(Source(str(fill)),)
            )
            return filled
        files = tuple(Source(str(n), "left out" if i not in keep else "") for i, n in enumerate(names))
        seen = Check.SAMPLES, ONE_LEFT if keep else NONE_LEFT, {"images": len(names)}
        return self._dropped(batch, seen, files, verdict, spare)

    def _dropped(
        self,
        batch: Batch,
        seen: tuple[Check, str, Mapping[str, Any]],
        files: tuple[Source, ...],
        verdict: Verdict | None,
        spare: Batch | None,
    ) -> Batch:
        """A harmless batch in place of one that is to be dropped whole."""
        check, says, values = seen
        self._empty = Fault(Kind.EMPTY, Point.AFTER_LOSS, (check,), says, values, None, files, verdict=verdict)
        return _harmless_batch(batch) if spare is None else dict(spare)

    def _filled(self, one: Batch, spare: Batch) -> Batch | None:
        """A batch of one image with a healthy one of an earlier batch beside it; None where none fits."""
        gone = self.run.ladder.quarantined
        for place, name in enumerate(spare["im_file"]):
            healthy = str(name) not in gone and not gone.keys() & set(sample_sources.parents(name))
            pixels = spare["img"][place]
            if healthy and str(name) != str(one["im_file"][0]) and pixels.shape == one["img"][0].shape:
                if pixels.is_floating_point() and not bool(pixels.isfinite().all()):
                    continue
                return batches.concatenated(one, batches.with_images(spare, [place]))
        return None


def _harmless_batch(batch: Batch) -> Batch:
    """The batch with finite pixels and without label rows, for a forward pass whose loss is not used."""
    image = batch["img"]
    image = image.nan_to_num(0, 0, 0) if isinstance(image, Tensor) and image.is_floating_point() else image
    rows = range(len(batch["batch_idx"].reshape(-1))) if "batch_idx" in batch else ()
    fresh = {**(batches.without_rows(batch, list(rows)) if rows else batch), "img": image}
    if "batch_idx" not in batch and isinstance(fresh.get("cls"), Tensor):
        fresh["cls"] = fresh["cls"] * 0
    return fresh


SHARE_GONE = 0.25
"""Share of a set's images that may be unreadable before the run ends. With a quarter gone it is no longer the set that
was chosen; missing files and folders are far below it, a drive or a network share that is gone is far above."""
LEAST_GONE = 5
"""So many images may be, however small the set is: one file more or less is no reason in a set of ten."""
GONE_IN_A_ROW = 50
"""Unreadable samples without a readable one in between that end the run: the drive is gone, or code raises at each
sample. It is reached long before a quarter of a large set."""
SAID = "could not be read"


class Unreadable:
    """The unreadable samples of one set so far.

    Attributes:
        epochs: for each file that could not be read at the last try, in how many epochs that was so.
    """

    def __init__(self, point: Point, loader: Any, faults: Faults) -> None:
        """Nothing has failed yet; `loader` gives the batches of the set."""
        self.point, self.faults = point, faults
        self.size = sample_sources.length(getattr(loader, "dataset", ()))
        self.record = faults.run.recorder
        self.epochs: dict[str, int] = {}
        self.in_a_row = 0
        self._last: dict[str, int] = {}

    @property
    def errors(self) -> dict[str, str]:
        """The last error of each file that ever failed, in either set."""
        return self.record.unreadable

    def look(self, names: Sequence[Any], epoch: int) -> list[int]:
        """Record what failed in a batch, and what can be read again.

        Returns:
            The places at which another sample stands in.

        Raises:
            GuardStop: too many fail.
        """
        if not self.epochs and not any(isinstance(name, Composed) and name.failures for name in names):
            self.in_a_row = 0
            return []
        out = []
        for place, name in enumerate(names):
            if isinstance(name, Composed):
                for failure in name.failures:
                    self._failed(failure, epoch, mixed=not name.stands_in)
                if name.stands_in:
                    out.append(place)
            self.in_a_row = self.in_a_row + 1 if place in out[-1:] else 0
            self._stop_where_many_fail()
            if self.epochs and place not in out[-1:]:
                self._came_back([str(name), *sample_sources.parents(name)])
        self.record.unreadable_samples += len(out)
        return out

    def _failed(self, failure: Failure, epoch: int, *, mixed: bool) -> None:
        file, seen = failure.file, self._last.get(failure.file) == epoch
        self._last[file] = epoch
        self.errors[file] = failure.error
        if not failure.overcome:
            self.epochs[file] = self.epochs.get(file, 0) + (not seen)
        if seen:
            return
        did = Did.REPLACED_IN_MIX if mixed else Did.SAMPLES_LEFT_OUT
        says = f"{SAID}: {{error}}"
        if failure.overcome:
            says, did = f"{SAID} at first: {{error}}", Did.READ_AGAIN
        files = (Source(file, SAID),)
        self.faults.note(self.point, Check.SAMPLES, says, {"error": failure.error}, Action(did), files=files)

    def _came_back(self, files: Sequence[str]) -> None:
        for file in files:
            if self.epochs.pop(file, None) is not None:
                del self._last[file]
                done = Action(Did.CAME_BACK)
                self.faults.note(self.point, Check.SAMPLES, "can be read again", {}, done, files=(Source(file),))

    def _stop_where_many_fail(self) -> None:
        many = bool(self.size) and len(self.epochs) > max(LEAST_GONE, SHARE_GONE * self.size)
        if not many and self.in_a_row < GONE_IN_A_ROW:
            return
        file = next(reversed(self.epochs), "")
        what = f"{self.in_a_row} samples in a row could not be read"
        if many:
            what = f"{len(self.epochs)} of {self.size} images cannot be read"
        self.faults.stop(f"{what} (the last: {file}: {self.errors.get(file, '')})", None, TooManyUnreadable)


SURE = 0.95
"""The sample was seen, and its files were read again."""
LOOKED = 0.6
"""The sample was seen; its files could not be read again."""
WHOSE = {OnDisk.FINITE: ", though the file is in order", OnDisk.NOT_FINITE: ", as in the file"}
"""End of the text of an event that names the first sample."""
STOCK = ("ultralytics.", "torchvision.", "torch.", "albumentations.")


def still(batch: Mapping[str, Any], place: int, defect: Defect | None, nc: int | None) -> bool:
    """Whether a preprocessed batch on the CPU still has the defect of one of its samples."""
    entry = batch.get("semantic_mask" if defect is Defect.CLASS else "img")
    if not isinstance(entry, Tensor) or not sample_checks.on_host(entry) or place >= len(entry):
        return False
    if defect is Defect.CLASS:
        return bool(sample_checks.bad_classes(entry[place], nc))
    return entry.is_floating_point() and not bool(entry[place].isfinite().all())


def record_bad(
    faults: Faults, point: Point, check: Check, sources: tuple[Source, ...], count: int, nc: int | None
) -> Verdict:
    """Record samples that are taken out of a batch of so many, and why they are bad."""
    verdict = verdict_on(sources, faults.run.trainer, nc)
    faults.run.recorder.bad_samples += len(sources)
    what, did = "samples", Did.SAMPLES_LEFT_OUT
    if point is Point.VALIDATION:
        what, did = "val images", Did.VAL_IMAGES_LEFT_OUT
    says = f"{{bad}} of {{count}} {what} bad: {{suspect}}" + WHOSE.get(sources[0].on_disk, "")
    values = {"bad": len(sources), "count": count, "suspect": sources[0].suspect}
    faults.note(point, check, says, values, Action(did), files=sources, verdict=verdict)
    return verdict


def verdict_on(sources: tuple[Source, ...], trainer: Any, nc: int | None) -> Verdict:
    """Why samples are bad that were taken out of their batch."""
    labels = any(s.defect is Defect.CLASS for s in sources)
    tensor = "batch.cls" if labels else "batch.img"
    blamed = tuple(dict.fromkeys(file for s in sources for file in s.blamed))
    shown = f"{sources[0].file}: {sources[0].suspect}"
    if blamed and labels:
        places = tuple(place for file in blamed for place in _bad_rows(trainer, file, nc))
        where = places or tuple(f"the labels of {file}" for file in blamed)
        lint = f"yolo-nanfix lint {shlex.quote(str(trainer.args.data))}{option(str(trainer.args.task), None)}"
        advice = tuple(f"correct {place}" for place in where[:5])
        verdict = Verdict(Cause.LABEL, shown, images=blamed, labels=places, confidence=SURE)
        return replace(verdict, advice=advice, commands=(lint,))
    if any(s.on_disk is not OnDisk.FINITE for s in sources):
        advice = ("look at the file and at the code of the dataset",)
        return Verdict(Cause.UNKNOWN, f"{shown}; its file could not be read again", confidence=LOOKED, advice=advice)
    what = "label rows" if labels else "pixels"
    summary = f"augmentation or other code of the dataset spoils {what}: the files themselves are in order"
    evidence = {"data": f"{shown}; read again from disk, it is in order"}
    return Verdict(
        Cause.DEFINITION,
        summary,
        tensor=tensor,
        confidence=SURE,
        evidence=evidence,
        advice=tuple(_advice(trainer)),
    )


def verdict_on_strays(says: str, values: Mapping[str, Any]) -> Verdict:
    """Why a micro-batch is bad whose label rows belong to no image: no file can say such a thing."""
    summary = f"the code that puts batches together numbers images wrongly: {sentence(says, values)}"
    advice = ("look at collate_fn, and at what changes batch_idx after it",)
    return Verdict(Cause.DEFINITION, summary, tensor="batch.batch_idx", confidence=SURE, advice=advice)


def _advice(trainer: Any) -> Iterator[str]:
    own = list(dict.fromkeys(_own_transforms(getattr(trainer.train_loader, "dataset", None))))
    if own:
        yield f"look at the augmentation of your own: {', '.join(own[:5])}"
    else:
        yield "look at augmentation settings and at code of the dataset and its transforms"


def _own_transforms(dataset: Any) -> Iterator[str]:
    """Transforms that are neither Ultralytics' nor torchvision's."""
    for part in getattr(dataset, "datasets", None) or [dataset]:
        for name in ("transforms", "torch_transforms"):
            held = getattr(part, name, None)
            listed: Iterable[Any] = getattr(held, "transforms", None) or ([held] if callable(held) else [])
            for transform in listed:
                kind = type(transform)
                if not f"{kind.__module__}.".startswith(STOCK):
                    yield f"{kind.__module__}.{kind.__qualname__}"


def _bad_rows(trainer: Any, image: str, nc: int | None) -> Iterator[str]:
    """The rows (`file:line`) of an image's label file whose class does not exist."""
    found = label_rows(trainer, image)
    for number, row in enumerate(found["rows"] if found else (), 1):
        try:
            cls = float(row.split()[0])
        except (ValueError, IndexError):
            continue
        if found and not (nc is None or 0 <= cls < nc):
            yield f"{Path(found['file'])}:{number}"
