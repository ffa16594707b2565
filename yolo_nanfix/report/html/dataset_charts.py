"""Distributions of classes, boxes and images of a dataset: counts from its table, and bars for its page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from yolo_nanfix.dataset.table import Table
from yolo_nanfix.report.html.dataset_facts import Counted
from yolo_nanfix.report.words import grouped
from yolo_nanfix.scene import plain

MOST_CLASSES = 40
MOST_SIZES = 14
_OBJECTS = (0, 1, 2, 3, 4, 6, 11, 21, 51, 101)
_SIDES = (0, 2, 4, 8, 16, 32, 64, 128, 256, 512)
_LONGER = (1, 161, 321, 481, 641, 961, 1281, 1921, 3841)
_ASPECTS = {
    "taller than 1:8": 0.0,
    "1:8 to 1:4": 1 / 8,
    "1:4 to 1:2": 1 / 4,
    "1:2 to 4:5": 1 / 2,
    "about square": 4 / 5,
    "5:4 to 2:1": 5 / 4,
    "2:1 to 4:1": 2.0,
    "4:1 to 8:1": 4.0,
    "wider than 8:1": 8.0,
}
WIDE, LABELS, BAR, GAP = 340, 120, 10, 6
"""Pixels: width of a chart and of its labels, height of a bar, gap between two kinds."""
LONGEST_LABEL = 20
"""Characters of a label; the table below the bars has all of it."""


def charts(table: Table) -> tuple[Counted, ...]:
    """The distributions of a dataset; without labels only those of images."""
    return tuple(chart for chart in _all(table) if any(map(sum, chart.counts.values())))


def _all(table: Table) -> Iterator[Counted]:
    rows = {split: table.rows_in(split) for split in table.members}
    if len(table.row_image):
        yield _classes(table, rows)
        yield _objects(table)
        sides, aspects = _boxes(table)
        kinds = _ranges(_SIDES, " px")
        yield Counted(
            "Sizes of the boxes",
            "square root of the area",
            kinds,
            {split: _binned(sides[chosen], _SIDES) for split, chosen in rows.items()},
            "In pixels of the stored image; boxes in images of unknown size are left out.",
        )
        yield Counted(
            "Aspects of the boxes",
            "width to height",
            tuple(_ASPECTS),
            {split: _binned(aspects[chosen], tuple(_ASPECTS.values())) for split, chosen in rows.items()},
        )
    yield _image_sizes(table)


def _classes(table: Table, rows: Mapping[str, NDArray[np.bool_]]) -> Counted:
    """Objects of each class; the most frequent ones if there are too many classes to show."""
    names = table.config.names
    found = {split: Counter(table.row_cls[chosen].tolist()) for split, chosen in rows.items()}
    total: Counter[float] = sum(found.values(), Counter())
    known = [float(number) for number in sorted(names)]
    order = [*known, *sorted(number for number in total if number not in names and number == number)]
    note = ""
    if len(order) > MOST_CLASSES:
        order.sort(key=lambda number: -total[number])
        left = order[MOST_CLASSES:]
        note = f"{len(left)} classes with {sum(total[n] for n in left)} objects are left out, the rarest."
        order = order[:MOST_CLASSES]
    labels = tuple(plain(names[int(n)]) if n in names else f"class {n:g} (no name)" for n in order)
    counts = {split: tuple(each[number] for number in order) for split, each in found.items()}
    return Counted("Objects of each class", "class", labels, counts, note)


def _objects(table: Table) -> Counted:
    counts = {split: _binned(table.each[members], _OBJECTS) for split, members in table.members.items()}
    return Counted("Objects in each image", "objects", _ranges(_OBJECTS, ""), counts)


def _boxes(table: Table) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(R,) square root of the area in pixels, and (R,) width / height; NaN if not known."""
    with np.errstate(all="ignore"):  # label files may hold any number
        sizes = np.column_stack([table.width, table.height]).astype(np.float64)[table.row_image]
        sides = table.row_box[:, 2:].astype(np.float64) * np.where(sizes > 0, sizes, np.nan)
        sides[~(np.isfinite(sides).all(axis=1) & (sides > 0).all(axis=1))] = np.nan
        return np.sqrt(sides[:, 0] * sides[:, 1]), sides[:, 0] / sides[:, 1]


def _image_sizes(table: Table) -> Counted:
    """Sizes of the images: each one if there are few, else ranges of the longer side."""
    title, pairs = "Sizes of the images", np.column_stack([table.width, table.height])
    distinct = np.unique(pairs, axis=0)
    if len(distinct) <= MOST_SIZES:
        order = [(int(w), int(h)) for w, h in distinct]
        found = {split: Counter(map(tuple, pairs[members].tolist())) for split, members in table.members.items()}
        labels = tuple(f"{w}x{h}" if w and h else "unknown" for w, h in order)
        return Counted(title, "width x height", labels, {s: tuple(c[size] for size in order) for s, c in found.items()})
    longer = pairs.max(axis=1)
    counts = {split: _binned(longer[members], _LONGER) for split, members in table.members.items()}
    common = Counter(map(tuple, pairs.tolist())).most_common(3)
    note = "Most frequent: " + ", ".join(f"{w}x{h} ({n})" for (w, h), n in common) + f", of {len(distinct)} sizes."
    return Counted(title, "longer side", _ranges(_LONGER, " px"), counts, note)


def _binned(values: NDArray[np.generic], lows: Sequence[float]) -> tuple[int, ...]:
    """How many values are in each range, from its low end to the next one; the last range has no upper end."""
    numbers = values.astype(np.float64)
    places = np.searchsorted(np.array(lows), numbers[numbers >= lows[0]], side="right") - 1
    return tuple(np.bincount(places, minlength=len(lows)).tolist())


def _ranges(lows: Sequence[int], unit: str) -> tuple[str, ...]:
    """Ranges of whole numbers in words: `0`, `1`, `4 to 5`, `101 and more`; of lengths `under 2 px`, `2 to 4 px`."""
    ends = [*lows[1:], None]
    if unit and lows[0] == 0:
        texts = [f"{low} to {end}" if end else f"{low} and more" for low, end in zip(lows, ends, strict=True)]
        return (f"under {lows[1]}{unit}", *(f"{text}{unit}" for text in texts[1:]))
    return tuple(
        f"{low} and more{unit}" if end is None else f"{low}{unit}" if end == low + 1 else f"{low} to {end - 1}{unit}"
        for low, end in zip(lows, ends, strict=True)
    )


def bars(counted: Counted, number: int) -> dict[str, Any]:
    """One distribution for the template: bars, and the same as a table; `number` is for ids."""
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
    return label if len(label) <= LONGEST_LABEL else f"{label[: LONGEST_LABEL - 1]}…"
