"""How the ranks of a DDP run agree, without a collective of our own in healthy steps.

A rank whose micro-batch is bad must not leave out its backward pass: the others would wait for its part of the
all-reduce for ever. It makes its gradient NaN instead, which DDP's own all-reduce carries to every rank: all of them
see the same bad gradient in the same micro-batch, drop it, and only then gather what each of them knows. From that
every rank takes the same decision.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.distributed as dist

from yolo_nanfix.events import Event, RankFault
from yolo_nanfix.guard.policy import Kind
from yolo_nanfix.verdicts import Cause, Verdict

SOURCES, LETTERS = 512, 4000
"""Most images of a fault, and most characters of a text, that are sent to the other ranks."""


@dataclass(frozen=True)
class Testimony:
    """What one rank knows of a fault.

    Attributes:
        rank: the rank.
        kind: what it met, or None if it only saw the common gradient.
        event: what it saw.
        verdict: what its diagnosis says.
    """

    rank: int
    kind: Kind | None
    event: Event
    verdict: Verdict | None = None


def running() -> bool:
    """Whether this process is one of several ranks."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def rank() -> int:
    """The rank of this process, -1 where it trains alone."""
    return dist.get_rank() if running() else -1


def launched() -> bool:
    """Whether a launcher started this process as one of several ranks, also before they are connected."""
    return int(os.getenv("WORLD_SIZE", "1")) > 1 and int(os.getenv("RANK", "-1")) >= 0


def agree(mine: Testimony) -> list[Testimony]:
    """What every rank knows, in the order of the ranks. A collective: all of them call it, only after a fault."""
    if not running():
        return [mine]
    everybody: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(everybody, bounded(mine))
    return everybody


def bounded(mine: Testimony) -> Testimony:
    """A testimony of limited size: where it names too many images, the suspect ones first."""
    event = mine.event
    sources = sorted(event.sources, key=lambda source: not source.suspect)[:SOURCES]
    kept = event.sources if len(event.sources) <= SOURCES else tuple(sources)
    values = {key: value[:LETTERS] if isinstance(value, str) else value for key, value in event.values.items()}
    return replace(mine, event=replace(event, sources=kept, values=values))


def suspects(everybody: list[Testimony]) -> list[Testimony]:
    """The ranks at fault, in their order: all that met a fault, and all whose replay explains one."""
    vague = (Cause.UNKNOWN, Cause.NONDETERMINISTIC)
    found = [t for t in everybody if t.kind is not None or (t.verdict is not None and t.verdict.cause not in vague)]
    return found or everybody[:1]


def merged(those: list[Testimony]) -> Event:
    """One event of what several ranks met in the same step, in the order of the ranks; of a single process, its own."""
    first = those[0].event
    if those[0].rank < 0:
        return first
    parts = tuple(part for t in those for part in t.event.ranks or (part_of(t.event, t.rank, t.verdict),))
    return joined_event(first, [t.event for t in those], parts)


def joined_event(first: Event, events: list[Event], parts: tuple[RankFault, ...]) -> Event:
    """An event with what several ranks met in it."""
    return replace(
        first,
        checks=tuple(dict.fromkeys(check for part in parts for check in part.checks)),
        sources=tuple(dict.fromkeys(source for event in events for source in event.sources)),
        incident=next((part.incident for part in parts if part.incident), ""),
        ranks=parts,
    )


def part_of(event: Event, number: int, verdict: Verdict | None = None) -> RankFault:
    """What one rank met, from its event."""
    images = tuple(dict.fromkeys(source.file for source in event.sources if source.suspect))
    cause = verdict.cause.value if verdict is not None else ""
    return RankFault(number, event.checks, event.says, event.values, images, cause, event.incident)


def not_finite(loss: torch.Tensor) -> torch.Tensor:
    """A loss whose backward pass makes every gradient NaN, as a signal to the other ranks."""
    return loss * float("nan")
