"""Bars of a distribution as shapes for `dataset.html.j2`: of each kind one bar a split, as the share of that split."""

from __future__ import annotations

from typing import Any

from yolo_nanfix.report.html.dataset_facts import Counted
from yolo_nanfix.report.html.scales import grouped

WIDE, LABELS, BAR, GAP = 340, 120, 10, 6
"""Pixels: of the whole, of the labels at its left, the height of a bar, and the room between two kinds."""
LONGEST = 20
"""Characters of a label; the table below the bars has the whole."""


def bars(counted: Counted, number: int) -> dict[str, Any]:
    """One distribution: bars, and the same as a table.

    Args:
        counted: the distribution.
        number: tells it from others on the page.
    """
    splits = [split for split, counts in counted.counts.items() if sum(counts)]
    shares = {split: [n / sum(counted.counts[split]) for n in counted.counts[split]] for split in splits}
    most = max((share for each in shares.values() for share in each), default=0.0) or 1.0
    pitch = max(BAR * len(splits) + GAP, 16)
    drawn = [
        {
            "x": LABELS,
            "y": place * pitch + nth * BAR + (pitch - BAR * len(splits)) / 2,
            "width": round(shares[split][place] / most * (WIDE - LABELS - 42), 1),
            "height": BAR - 1,
            "style": nth + 1,
            "text": f"{shares[split][place]:.0%}" if shares[split][place] >= 0.005 else "<1%",
            "says": f"{label}, {split}: {grouped(counted.counts[split][place])}",
        }
        for place, label in enumerate(counted.labels)
        for nth, split in enumerate(splits)
        if counted.counts[split][place]
    ]
    return {
        "id": f"spread-{number}",
        "title": counted.title,
        "kind": counted.kind,
        "note": counted.note,
        "splits": splits,
        "width": WIDE,
        "height": pitch * len(counted.labels),
        "labels": [
            {"text": _cut(label), "y": place * pitch + pitch / 2 + 4, "x": LABELS - 6}
            for place, label in enumerate(counted.labels)
        ],
        "bars": drawn,
        "rows": [
            (label, [grouped(counted.counts[split][place]) for split in splits])
            for place, label in enumerate(counted.labels)
        ],
    }


def _cut(label: str) -> str:
    return label if len(label) <= LONGEST else f"{label[: LONGEST - 1]}…"
