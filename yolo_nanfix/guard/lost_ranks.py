"""Which rank of a distributed run is lost, how, and where it was, from signs of life. Pure functions.

Each rank gives a sign of life every second or so, from its own thread, so that a rank that is busy for long, say with
validation, still gives them. `How` lists the ways in which one is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from yolo_nanfix.json_values import JsonValue


class How(str, Enum):
    """How a rank was lost, as `LostRank.__str__` says it; the last four by `rank_timeout` or `step_timeout`."""

    RAISED = "raised"
    GONE = "gone"
    SUSPENDED = "suspended"
    SILENT = "silent"
    HUNG = "hung"
    """No rank made progress, and this is the one behind."""
    ENDED = "ended"


class End(str, Enum):
    """How a rank ends, by its own sign of life."""

    FINISHED = "finished"
    RAISED = "raised"
    CUT_OFF = "cut-off"
    """It raised an error because another rank no longer answered."""
    ASKED = "asked"
    """By a signal, or because its launcher is gone."""


class Process(str, Enum):
    """What the operating system says of a process of this machine."""

    RUNNING = "running"
    SUSPENDED = "suspended"
    GONE = "gone"
    UNKNOWN = "unknown"
    """It is on another machine, or the system does not say."""


MISSED = 4
"""So many signs of life in a row may be missing."""
ERROR = 1000
"""Most characters of an error that are sent."""


@dataclass(frozen=True)
class Sign:
    """One sign of life.

    Attributes:
        beat: its number, from 1.
        epoch, batch: where the rank is, 1-based; 0 before it begins.
        step: how many micro-batches it has begun.
        progress: grows with each batch, also in validation.
        host, pid: its process.
        at: where in the code it is, as `file:line in function`, if it made no progress for some time.
        waits: whether it seems to wait there for the others.
        end: that it is ending, and how.
        error: the error it ends with.
        notes: how often it stored new notes.
    """

    beat: int = 0
    epoch: int = 0
    batch: int = 0
    step: int = 0
    progress: int = 0
    host: str = ""
    pid: int = 0
    at: str = ""
    waits: bool = False
    end: End | None = None
    error: str = ""
    notes: int = 0

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Sign:
        """From the JSON of `asdict`.

        Raises:
            ValueError, TypeError, KeyError: it is something else.
        """
        return cls(**{**values, "end": End(values["end"]) if values["end"] else None})

    def ending(self, end: End, error: str = "") -> Sign:
        """The same, with how the rank ends."""
        return replace(self, end=end, error=error[:ERROR])


@dataclass(frozen=True)
class Seen:
    """What is known of a rank.

    Attributes:
        sign: its last sign of life.
        silent: seconds since that.
        still: seconds since its last progress.
        process: what the operating system says.
    """

    sign: Sign
    silent: float = 0.0
    still: float = 0.0
    process: Process = Process.UNKNOWN


@dataclass(frozen=True)
class LostRank(JsonValue):
    """One rank that was lost.

    Attributes:
        rank: which.
        how: in which way.
        epoch, batch, step: where it was then, see `Sign`.
        seconds: how long there was no sign of life from it, or no progress; 0 where that does not matter.
        host, pid: its process.
        at: where in its code it was, if known.
        error: the error it ended with, if it did.
    """

    rank: int
    how: How
    epoch: int = 0
    batch: int = 0
    step: int = 0
    seconds: float = 0.0
    host: str = ""
    pid: int = 0
    at: str = ""
    error: str = ""

    @classmethod
    def of(cls, rank: int, how: How, seen: Seen, seconds: float = 0.0) -> LostRank:
        """From what is known of it."""
        sign = seen.sign
        place = (sign.epoch, sign.batch, sign.step, round(seconds, 1), sign.host, sign.pid)
        return cls(rank, how, *place, sign.at if how is How.HUNG else "", sign.error if how is How.RAISED else "")

    def __str__(self) -> str:
        """One line for the log and for the reasons of a report."""
        process = f" (process {self.pid} on {self.host})" if self.pid else ""
        where = f"epoch {self.epoch}, batch {self.batch}" if self.epoch else "the start"
        at = f"; it stands at {self.at}" if self.at else ""
        return {
            How.RAISED: f"rank {self.rank}{process} ended with an error in {where}: {self.error}",
            How.GONE: f"rank {self.rank}{process} is gone since {where}: it was killed, by hand or for want of memory",
            How.SUSPENDED: f"rank {self.rank}{process} was stopped (SIGSTOP or a debugger) in {where} and has given "
            f"no sign of life for {self.seconds:.0f} s",
            How.SILENT: f"rank {self.rank}{process} has given no sign of life for {self.seconds:.0f} s, since {where}",
            How.HUNG: f"rank {self.rank}{process} hangs: alive, but no further than {where} for "
            f"{self.seconds:.0f} s{at}",
            How.ENDED: f"rank {self.rank}{process} came to its end in {where}, and the others waited for it for "
            f"{self.seconds:.0f} s",
        }[self.how]


@dataclass
class Processes:
    """What the recorder of a rank holds about all ranks.

    Attributes:
        count: how many.
        place: epoch and batch (1-based) of this one's last micro-batch.
        val_batches: how many batches it has validated.
        lost: those whose loss ended the run.
        cut_short: why the run ended, where no exception says it.
        stand_in: writes the report on another rank, when rank 0 cannot.
    """

    count: int = 1
    place: tuple[int, int] = (0, 0)
    val_batches: int = 0
    lost: tuple[LostRank, ...] = ()
    cut_short: BaseException | None = None
    stand_in: Callable[[], object] = lambda: None


@dataclass(frozen=True)
class RankTimeouts:
    """Seconds without a sign of life, and without progress of any rank, after which a rank is lost; 0: never."""

    silent: float
    still: float

    def with_beat(self, beat: float) -> RankTimeouts:
        """The limits where `beat` seconds pass between two signs, as among very many ranks: some may be missing."""
        return replace(self, silent=max(self.silent, MISSED * beat) if self.silent else 0.0)


def lost(ranks: Mapping[int, Seen], limits: RankTimeouts) -> tuple[LostRank, ...]:
    """The ranks that are lost, in their order, without those that ended because of another's loss."""
    found = [one for rank, seen in sorted(ranks.items()) if (one := _alone(rank, seen, limits)) is not None]
    return tuple(found) if found else tuple(_behind(ranks, limits))


def _alone(rank: int, seen: Seen, limits: RankTimeouts) -> LostRank | None:
    """The rank as lost, if it is, whatever the others do."""
    if seen.sign.end is End.RAISED:
        return LostRank.of(rank, How.RAISED, seen)
    if seen.sign.end is not None:
        return None
    if seen.process is Process.GONE:
        return LostRank.of(rank, How.GONE, seen)
    patience = limits.silent if seen.sign.beat else max(limits.silent, limits.still)  # it may still start
    if limits.silent and seen.silent > patience:
        how = How.SUSPENDED if seen.process is Process.SUSPENDED else How.SILENT
        return LostRank.of(rank, how, seen, seen.silent)
    return None


def _behind(ranks: Mapping[int, Seen], limits: RankTimeouts) -> list[LostRank]:
    """Where no rank made progress for too long: those that are behind, else those that do not wait."""
    training = {rank: seen for rank, seen in ranks.items() if seen.sign.end is None}
    if not all(seen.sign.epoch for seen in training.values()):
        return []  # reading a dataset for the first time takes its time, on one rank alone
    if not limits.still or not training or min(seen.still for seen in training.values()) <= limits.still:
        return []
    last = max(seen.sign.step for seen in training.values())
    behind = {r: s for r, s in training.items() if s.sign.step < last}
    behind = behind or {r: s for r, s in training.items() if not s.sign.waits}
    ended = {r: s for r, s in ranks.items() if s.sign.end is End.FINISHED}
    if not behind and ended:
        still = min(seen.still for seen in training.values())
        return [LostRank.of(r, How.ENDED, s, still) for r, s in sorted(ended.items())]
    return [LostRank.of(r, How.HUNG, s, s.still) for r, s in sorted((behind or training).items())]
