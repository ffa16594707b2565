"""Says which images of a set without labels are left out of labelling, and why."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from yolo_nanfix.findings import Place, Report
from yolo_nanfix.report.words import where

SHOWN = 50
"""So many images that are left out are named; the rest are counted."""


def lines(report: Report, root: Path) -> Iterator[str]:
    """How many images are worth labelling, and each that is left out with its reasons."""
    out = [choice for choice in report.choice if not choice.keep]
    total = len(report.choice)
    if not total:
        return
    if not out:
        yield f"All {total} images are worth labelling."
        return
    yield f"{total - len(out)} of {total} images are worth labelling; left out are:"
    for choice in out[:SHOWN]:
        partner = f", like {where(Place(choice.partner), root)}" if choice.partner is not None else ""
        yield f"  {where(Place(choice.image), root)}: {', '.join(choice.because)}{partner}"
    if len(out) > SHOWN:
        yield f"  and {len(out) - SHOWN} more; --output-format json lists all images, with keep true or false"
