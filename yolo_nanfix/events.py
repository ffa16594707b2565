"""The training loop with the points at which the guard looks, and the value that records what it saw.

set up                       ── START        weights, BatchNorm, EMA, optimizer, loss scale finite?
batch from loader            ── BATCH        leave out samples that are no good; keep a copy of the BatchNorm buffers
loss, items = model(batch)   ── AFTER_LOSS   loss, BatchNorm, targets, pixels, outputs finite? loss in its usual range?
scaler.scale(loss).backward()
next batch, or the step      ── AFTER_BACKWARD  the gradient of this micro-batch finite? then it joins the window
optimizer_step()             ── BEFORE_STEP  the norm that clip_grad_norm_ returns tells all gradients
  optimizer.step, ema.update ── AFTER_STEP   every 50 steps: a snapshot; how far did the weights move?
end of epoch                 ── EPOCH_END    weights and EMA finite, before validation sees them?
  each val batch             ── VALIDATION   its loss finite?
save_model()                 ── SAVE         what is about to be written finite, not all zeros; written whole?
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any

from yolo_nanfix.incident import OnDisk


class Point(str, Enum):
    """Where in the loop an event was seen."""

    START = "start"
    BATCH = "batch"
    AFTER_LOSS = "after-loss"
    AFTER_BACKWARD = "after-backward"
    BEFORE_STEP = "before-step"
    AFTER_STEP = "after-step"
    EPOCH_END = "epoch-end"
    VALIDATION = "validation"
    SAVE = "save"


class Defect(str, Enum):
    """What kind of thing is wrong with a sample."""

    VALUES = "values"
    """Pixels or label rows that are not finite."""
    CLASS = "class"
    """A class that does not exist: the loss raises, or a GPU stops with an assertion."""


@dataclass(frozen=True)
class Source:
    """One image of a micro-batch.

    Attributes:
        file: the image file.
        suspect: what is wrong with it as the model saw it, or empty.
        parents: other image files that mosaic and mix-up put into it.
        on_disk: what its files were when they were read again, the worst of them; only suspect ones are.
        blamed: those of its files that are sick on disk themselves.
        defect: what kind of thing is wrong, where it was seen before the forward pass.
    """

    file: str
    suspect: str = ""
    parents: tuple[str, ...] = ()
    on_disk: OnDisk = OnDisk.UNKNOWN
    blamed: tuple[str, ...] = ()
    defect: Defect | None = None

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Source:
        """What `Event.as_dict` wrote, also by an earlier version.

        Raises:
            ValueError, TypeError, KeyError: it was not written by it.
        """
        parents, blamed = tuple(values["parents"]), tuple(values.get("blamed", ()))
        defect = Defect(known) if (known := values.get("defect")) else None
        return cls(values["file"], values["suspect"], parents, OnDisk(values.get("on_disk", "unknown")), blamed, defect)


@dataclass(frozen=True)
class RankFault:
    """What one rank of several met in an event.

    Attributes:
        rank: the rank.
        check: which sensor fired on it, as `Event.check`.
        detail: the values it saw.
        images: the images it suspects.
        cause: the class of cause that its diagnosis found (a `verdicts.Cause`), empty where there is none.
        incident: the name of its incident file, where one was written.
    """

    rank: int
    check: str
    detail: str
    images: tuple[str, ...] = ()
    cause: str = ""
    incident: str = ""

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RankFault:
        """What `Event.as_dict` wrote.

        Raises:
            ValueError, TypeError, KeyError: it was not written by it.
        """
        return cls(**{**values, "rank": int(values["rank"]), "images": tuple(values["images"])})


@dataclass(frozen=True)
class Event:
    """One thing the guard saw and what it did about it.

    Attributes:
        point: where in the loop.
        check: which sensor fired, as `guard.catalogue` names them; several are joined by `+`.
        epoch: 1-based, as Ultralytics prints it.
        batch: 1-based within the epoch, 0 where the event concerns the epoch as a whole.
        sources: the images concerned.
        detail: the values seen.
        action: what was done.
        step: how many micro-batches the run had had, this one included; 0 before the first.
        incident: the name of its incident file, where one was written.
        ranks: in a run of several processes, what each of those met that met something; else empty. Then `check`,
            `sources` and `detail` are those of all of them, and `incident` is the first's.
        val_batch: 1-based within the validation, where the event concerns one batch of it; else 0.
    """

    point: Point
    check: str
    epoch: int
    batch: int
    sources: tuple[Source, ...]
    detail: str
    action: str
    step: int = 0
    incident: str = ""
    ranks: tuple[RankFault, ...] = ()
    val_batch: int = 0

    def as_dict(self) -> dict[str, Any]:
        """A JSON-ready dict."""
        sources = [{**asdict(source), "on_disk": source.on_disk.value} for source in self.sources]
        return {**asdict(self), "point": self.point.value, "sources": sources}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Event:
        """What `as_dict` wrote.

        Raises:
            ValueError, TypeError, KeyError: it was not written by `as_dict`.
        """
        sources = tuple(map(Source.from_dict, values["sources"]))
        ranks = tuple(map(RankFault.from_dict, values.get("ranks", ())))
        return cls(**{**values, "point": Point(values["point"]), "sources": sources, "ranks": ranks})

    def __str__(self) -> str:
        """One line for the training log."""
        where = f"epoch {self.epoch}" + (f", batch {self.batch}" if self.batch else "")
        suspects = [f"{s.file} ({s.suspect})" for s in self.sources if s.suspect]
        files = suspects or [s.file for s in self.sources]
        shown = ", ".join(files[:4]) + (f" and {len(files) - 4} more" if len(files) > 4 else "")
        return f"{where}: {self.detail}; {self.action}" + (f"; images: {shown}" if shown else "")
