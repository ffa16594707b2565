"""Which process of a run on several was lost, how, and where it stood: signs of life in, what is lost out.

Each rank gives a sign of life every second or so, from a thread of its own, so that a rank that is busy for long, say
with validation, still gives them. `How` lists the ways in which one is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from enum import Enum
from typing import Any


class How(str, Enum):
    """How a rank was lost; see the module."""

    RAISED = "raised"
    """It ended with an error, and said so."""
    GONE = "gone"
    """Its process is there no more, and it said nothing; it was killed, by hand or for want of memory."""
    SUSPENDED = "suspended"
    """Its process is stopped, by SIGSTOP or a debugger, for longer than `rank_timeout`."""
    SILENT = "silent"
    """No sign of life for longer than `rank_timeout`; its machine or the network failed, it seems."""
    HUNG = "hung"
    """It lives, but no rank has come any further for `step_timeout`, and it is the one behind."""
    ENDED = "ended"
    """It came to its end while the others waited for it."""


class End(str, Enum):
    """What a rank says of its own end."""

    FINISHED = "finished"
    RAISED = "raised"
    CUT_OFF = "cut-off"
    """It raised an error because another one did not answer any more."""
    ASKED = "asked"
    """By a signal, or because its launcher is gone."""


class Process(str, Enum):
    """What the operating system says of a process of this machine."""

    RUNNING = "running"
    SUSPENDED = "suspended"
    GONE = "gone"
    UNKNOWN = "unknown"
    """It is on another machine, or nothing can be known of it here."""


MISSED = 4
"""So many signs of life in a row may be late."""
ERROR = 1000
"""At most so many letters of an error are told."""


@dataclass(frozen=True)
class Sign:
    """One sign of life.

    Attributes:
        beat: its number, from 1.
        epoch, batch: where the rank stands, 1-based; 0 where it has not begun.
        step: how many micro-batches it has begun.
        progress: grows whenever it comes further, also in validation.
        host, pid: its process.
        at: where in the code it stands, as `file:line in function`, if it has not come further for some time.
        waits: whether it waits there for the others, as far as can be seen.
        end: that it is ending, and how.
        error: the error it ends with.
        notes: how often it left new notes.
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
        """What `asdict` gave, after a way through JSON.

        Raises:
            ValueError, TypeError, KeyError: it did not.
        """
        return cls(**{**values, "end": End(values["end"]) if values["end"] else None})

    def ending(self, end: End, error: str = "") -> Sign:
        """One that says how the rank ends."""
        return replace(self, end=end, error=error[:ERROR])


@dataclass(frozen=True)
class Seen:
    """What is known of a rank.

    Attributes:
        sign: its last sign of life.
        silent: seconds since it came.
        still: seconds since it came any further.
        process: what the operating system says.
    """

    sign: Sign
    silent: float = 0.0
    still: float = 0.0
    process: Process = Process.UNKNOWN


@dataclass(frozen=True)
class LostRank:
    """One rank that was lost.

    Attributes:
        rank: which.
        how: in which way.
        epoch, batch, step: where it stood then, see `Sign`.
        seconds: since when there was no sign of life from it, or no progress; 0 where that does not matter.
        host, pid: its process.
        at: where in its code it stood, if known.
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

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> LostRank:
        """What `as_dict` gave.

        Raises:
            ValueError, TypeError, KeyError: it did not.
        """
        return cls(**{**values, "how": How(values["how"])})

    def as_dict(self) -> dict[str, Any]:
        """A JSON-ready dict."""
        return {**asdict(self), "how": self.how.value}

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
    """What the recorder of a rank holds of the processes that train together.

    Attributes:
        count: how many.
        place: epoch and batch (1-based) of this one's last micro-batch.
        val_batches: how many batches it has validated.
        lost: those without which the run could not go on.
        cut_short: why the run ended, where no exception tells.
        stand_in: writes the report, on a rank that is not the first, when that one cannot.
    """

    count: int = 1
    place: tuple[int, int] = (0, 0)
    val_batches: int = 0
    lost: tuple[LostRank, ...] = ()
    cut_short: BaseException | None = None
    stand_in: Callable[[], object] = lambda: None


@dataclass(frozen=True)
class Limits:
    """Seconds without a sign of life, and without progress of any rank, after which a rank is lost; 0: never."""

    silent: float
    still: float

    def with_beat(self, beat: float) -> Limits:
        """Where so many seconds pass between two signs, as among very many ranks, some may be missed, too."""
        return replace(self, silent=max(self.silent, MISSED * beat) if self.silent else 0.0)


def lost(ranks: Mapping[int, Seen], limits: Limits) -> tuple[LostRank, ...]:
    """The ranks that are lost, in their order.

    Those that ended for another's sake are not: they are what follows.
    """
    found = [one for rank, seen in sorted(ranks.items()) if (one := _alone(rank, seen, limits)) is not None]
    return tuple(found) if found else tuple(_behind(ranks, limits))


def _alone(rank: int, seen: Seen, limits: Limits) -> LostRank | None:
    """Whether a rank is lost, whatever the others do."""
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


def _behind(ranks: Mapping[int, Seen], limits: Limits) -> list[LostRank]:
    """Where no rank has come any further for too long: those that are behind, else those that do not wait."""
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
