"""How the ranks of a DDP run agree, without a collective of our own in healthy steps.

A rank whose micro-batch is bad must not leave out its backward pass: the others would wait for its part of the
all-reduce for ever. It makes its gradient NaN instead, which DDP's own all-reduce carries to every rank: all of them
see the same bad gradient in the same micro-batch, drop it, and only then gather what each of them knows. From that
every rank takes the same decision.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.distributed as dist

from yolo_nanfix.events import Event, RankFault
from yolo_nanfix.guard.fault import Fault
from yolo_nanfix.verdicts import Cause, Verdict

SOURCES, LETTERS = 512, 4000
"""Most images of a fault, and most characters of a text, that are sent to the other ranks."""


def running() -> bool:
    """Whether this process is one of several ranks."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def rank() -> int:
    """The rank of this process, -1 where it trains alone."""
    return dist.get_rank() if running() else -1


def launched() -> bool:
    """Whether a launcher started this process as one of several ranks, also before they are connected."""
    return int(os.getenv("WORLD_SIZE", "1")) > 1 and int(os.getenv("RANK", "-1")) >= 0


def agree(mine: Fault) -> list[Fault]:
    """What every rank knows, in the order of the ranks. A collective: all of them call it, only after a fault."""
    if not running():
        return [mine]
    everybody: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(everybody, bounded(mine))
    return everybody


def bounded(fault: Fault) -> Fault:
    """A fault of limited size: without its micro-batch; where it names too many images, the suspect ones first."""
    sources = sorted(fault.sources, key=lambda source: not source.suspect)[:SOURCES]
    kept = fault.sources if len(fault.sources) <= SOURCES else tuple(sources)
    values = {key: value[:LETTERS] if isinstance(value, str) else value for key, value in fault.values.items()}
    return replace(fault, micro=None, settings=(), sources=kept, values=values)


def at_fault(everybody: list[Fault]) -> list[Fault]:
    """The faults of the ranks that met one, and of those whose replay explains one, in their order."""
    vague = (Cause.UNKNOWN, Cause.NONDETERMINISTIC)
    found = [f for f in everybody if f.kind is not None or (f.verdict is not None and f.verdict.cause not in vague)]
    return found or everybody[:1]


def merged(event: Event, faults: list[Fault]) -> Event:
    """The event of the first of several ranks' faults in one step, with those of all; of a single process as it is."""
    if faults[0].rank < 0:
        return event
    return joined_event(event, faults, tuple(part_of(fault, fault.rank, fault.verdict) for fault in faults))


def joined_event(first: Event, seen: Sequence[Event | Fault], parts: tuple[RankFault, ...]) -> Event:
    """An event with what several ranks met in it."""
    return replace(
        first,
        checks=tuple(dict.fromkeys(check for part in parts for check in part.checks)),
        sources=tuple(dict.fromkeys(source for one in seen for source in one.sources)),
        incident=next((part.incident for part in parts if part.incident), ""),
        ranks=parts,
    )


def part_of(seen: Event | Fault, number: int, verdict: Verdict | None = None) -> RankFault:
    """What one rank met, from its event or fault."""
    images = tuple(dict.fromkeys(source.file for source in seen.sources if source.suspect))
    cause = verdict.cause.value if verdict is not None else ""
    return RankFault(number, seen.checks, seen.says, seen.values, images, cause, seen.incident)


def not_finite(loss: torch.Tensor) -> torch.Tensor:
    """A loss whose backward pass makes every gradient NaN, as a signal to the other ranks."""
    return loss * float("nan")
