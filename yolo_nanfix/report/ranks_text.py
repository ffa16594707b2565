"""What several processes of a run met in one step, as lines for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SHOWN = 4
"""At most so many images of each rank are named."""


def lines(event: Mapping[str, Any]) -> list[str]:
    """A line for each rank with what it met, its images, and the cause that was found; none of one rank alone."""
    ranks = event.get("ranks")
    parts = [part for part in ranks if isinstance(part, Mapping)] if isinstance(ranks, (list, tuple)) else []
    return [_line(part) for part in parts] if len(parts) > 1 else []


def detail(event: Mapping[str, Any]) -> str:
    """What an event saw; of several ranks only that they did, for a line of each follows."""
    told = lines(event)
    return f"{len(told)} ranks met a fault in the same step" if told else str(event["detail"])


def _line(part: Mapping[str, Any]) -> str:
    images = list(map(str, part.get("images") or ()))
    more = f" and {len(images) - SHOWN} more" if len(images) > SHOWN else ""
    named = f" [{', '.join(images[:SHOWN])}{more}]" if images else ""
    cause = f"; cause: {part['cause']}" if part.get("cause") else ""
    return f"rank {part.get('rank')}: {part.get('detail')}{cause}{named}"
