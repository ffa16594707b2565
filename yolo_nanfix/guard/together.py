"""How the processes of a DDP run agree, without a collective of our own in healthy steps.

A rank whose micro-batch is bad must not leave out its backward pass: the others would wait for its part of the
all-reduce for ever. It lets its gradient be NaN instead, which the all-reduce that is there anyway carries to every
rank: all of them see the same bad gradient in the same micro-batch, drop it, and only then tell each other what
each of them knows. From that common knowledge every rank draws the same decision.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.distributed as dist

from yolo_nanfix.guard.events import Event
from yolo_nanfix.guard.policy import Kind
from yolo_nanfix.verdicts import Cause, Verdict


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
    """Whether this process is one of several that train together."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def rank() -> int:
    """The rank of this process, -1 where it trains alone."""
    return dist.get_rank() if running() else -1


def launched() -> bool:
    """Whether a launcher started this process as one of several, also before they have found each other."""
    return int(os.getenv("WORLD_SIZE", "1")) > 1 and int(os.getenv("RANK", "-1")) >= 0


def agree(mine: Testimony) -> list[Testimony]:
    """What every rank knows, in the order of the ranks. A collective: called by all of them, after a fault alone."""
    if not running():
        return [mine]
    everybody: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(everybody, mine)
    return everybody


def culprit(everybody: list[Testimony]) -> Testimony:
    """The rank whose fault it is: the first that met one, else the first whose replay explains it."""
    for testimony in everybody:
        if testimony.kind is not None:
            return testimony
    vague = (None, Cause.UNKNOWN, Cause.NONDETERMINISTIC)
    for testimony in everybody:
        if (testimony.verdict.cause if testimony.verdict else None) not in vague:
            return testimony
    return everybody[0]


def named(testimony: Testimony) -> Event:
    """Its event, with the rank in front of the detail where there are several."""
    if testimony.rank < 0:
        return testimony.event
    return replace(testimony.event, detail=f"rank {testimony.rank}: {testimony.event.detail}")


def poisoned(loss: torch.Tensor) -> torch.Tensor:
    """A loss whose backward pass makes every gradient NaN, by which a rank tells the others."""
    return loss * float("nan")
