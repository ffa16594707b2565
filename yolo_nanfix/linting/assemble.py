"""Joins what was remembered with what was read anew: columns over the whole dataset, and the hits in single files."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from yolo_nanfix.dataset.clues import COUNT
from yolo_nanfix.dataset.fates import shared
from yolo_nanfix.dataset.index import Survey
from yolo_nanfix.dataset.table import Table
from yolo_nanfix.dataset.whole_set import Columns
from yolo_nanfix.linting.cache import Memory
from yolo_nanfix.linting.parts import Facts, Found, Part

EMPTY: dict[str, tuple[tuple[int, ...], str]] = {
    "size": ((), "int64"),
    "inode": ((2,), "int64"),
    "width": ((), "int32"),
    "height": ((), "int32"),
    "content": ((), "uint64"),
    "looks": ((8,), "uint64"),
    "turn": ((), "int8"),
    "grey": ((), "bool"),
    "alpha": ((), "bool"),
    "polygons": ((), "bool"),
    "lines": ((), "int32"),
    "npy": ((), "int8"),
    "clues": ((COUNT,), "int32"),
    "fate": ((), "uint8"),
}
"""Shape of one row and dtype of each column about images."""
ROWS: dict[str, tuple[tuple[int, ...], str]] = {
    "row_image": ((), "int32"),
    "row_line": ((), "int32"),
    "row_cls": ((), "float32"),
    "row_box": ((4,), "float32"),
}
"""The same of each column about label rows."""


@dataclass(frozen=True)
class Whole:
    """All that is known of a dataset: `found` counts images as the survey does."""

    columns: Columns
    found: list[Found]

    def table(self, survey: Survey) -> Table:
        """As the rules over the whole set see it."""
        columns = self.columns
        if not survey.owns.all():
            columns = {**columns, "fate": shared(np.asarray(columns["fate"], np.uint8), survey.labels, survey.owns)}
        return Table(
            files=survey.files,
            labels=survey.labels,
            split_names=survey.split_names,
            split=survey.split,
            splits=survey.splits,
            labelled=survey.labelled,
            **columns,  # type: ignore[arg-type]
        )


class Kept(NamedTuple):
    """The images that are as they were, by their places now and then; both ascend by `now`."""

    now: NDArray[np.int64]
    then: NDArray[np.int64]


def unchanged(survey: Survey, memory: Memory | None, *, same_files: bool) -> Kept:
    """The images that are as they were.

    Args:
        survey: the dataset as it is now.
        memory: what was known of it.
        same_files: whether no file came or went since; the two places are then one array.
    """
    none = np.zeros(0, np.int64)
    if memory is None:
        return Kept(none, none)
    listed, rows = memory.column("listed"), memory.column("rows")
    if same_files:
        differs = (survey.listed != listed).any(axis=1)
        now = np.flatnonzero(~differs[rows].any(axis=1))
        return Kept(now, now)
    old = {file: i for i, file in enumerate(memory.text("files").split("\0"))}
    places = np.array([old.get(file, -1) for file in survey.files], np.int64)
    now = np.flatnonzero(places >= 0)
    then = places[now]
    same = (survey.listed[survey.rows[now]] == listed[rows[then]]).all(axis=(1, 2))
    same &= survey.owns[now] == memory.column("owns")[then]
    return Kept(now[same], then[same])


def assemble(
    survey: Survey, memory: Memory | None, kept: Kept, read: Iterable[tuple[Part, Facts]], *, deep: bool
) -> Whole:
    """Join the images that are as they were with those that were read.

    Args:
        survey: the dataset as it is now.
        memory: what was known of it.
        kept: the images that are as they were.
        read: the others.
        deep: whether there are hashes of how the images look.
    """
    count = len(survey.files)
    if memory is not None and len(kept.now):
        columns, rows, found = _remembered(memory, kept, count)
    else:
        columns = {name: np.zeros((count, *shape), kind) for name, (shape, kind) in EMPTY.items()}
        rows = {name: np.zeros((0, *shape), kind) for name, (shape, kind) in ROWS.items()}
        found = []
    if not deep:
        columns["looks"] = columns["looks"][:0]
    fresh = {name: [rows[name][:0]] for name in ROWS}
    for part, facts in read:
        places = np.array(part.numbers, np.int32)
        for name in columns:
            if len(columns[name]):
                columns[name][places] = facts.columns[name]
        fresh["row_image"].append(places[facts.columns["row_image"].astype(np.int64)])
        for name in ("row_line", "row_cls", "row_box"):
            fresh[name].append(facts.columns[name])
        found += [f._replace(image=part.numbers[f.image]) for f in facts.found]
    changed = np.ones(count, np.bool_)
    changed[kept.now] = False
    new = _by_image({name: np.concatenate(parts) for name, parts in fresh.items()})
    return Whole({**columns, **_woven(rows, new, np.flatnonzero(changed).astype(np.int32))}, found)


def _remembered(memory: Memory, kept: Kept, count: int) -> tuple[Columns, Columns, list[Found]]:
    """What was known, for so many images: columns, rows by image (perhaps also of images that changed), and hits."""
    columns, rows = ({name: memory.column(name) for name in names} for names in (EMPTY, ROWS))
    known = loads(memory.text("found"))
    if kept.now is kept.then:
        same = np.zeros(count, np.bool_)
        same[kept.now] = True
        still = same.tolist()
        return columns, _by_image(rows), [f for f in known if still[f.image]]
    moved = np.full(len(memory.column("owns")), -1, np.int32)
    moved[kept.then] = kept.now
    for name, old in columns.items():
        columns[name] = np.zeros((count if len(old) else 0, *old.shape[1:]), old.dtype)
        if len(old):
            columns[name][kept.now] = old[kept.then]
    owner = moved[rows["row_image"]]
    alive = owner >= 0
    rows = {name: column[alive] for name, column in {**rows, "row_image": owner}.items()}
    place = moved.tolist()
    found = [f if place[f.image] == f.image else f._replace(image=place[f.image]) for f in known if place[f.image] >= 0]
    return columns, _by_image(rows), found


def _by_image(rows: Columns) -> Columns:
    """Rows sorted by image."""
    image = np.asarray(rows["row_image"], np.int32)
    if (image[1:] >= image[:-1]).all():
        return rows
    order = np.argsort(image, kind="stable")
    return {name: column[order] for name, column in rows.items()}


def _woven(old: Columns, new: Columns, changed: NDArray[np.int32]) -> Columns:
    """The rows of `old`, with those of the images `changed` replaced by `new`; all are sorted by image."""
    if not len(old["row_image"]) or not len(changed):
        return old if len(old["row_image"]) else new
    starts, ends = (np.searchsorted(old["row_image"], changed, side) for side in ("left", "right"))
    put = [np.searchsorted(new["row_image"], changed, side) for side in ("left", "right")]
    if (ends - starts == put[1] - put[0]).all():
        there = np.concatenate([np.arange(a, b) for a, b in zip(starts.tolist(), ends.tolist(), strict=True)])
        for name in ROWS:
            old[name][there] = new[name]
        return old
    cuts = list(zip([0, *ends.tolist()], [*starts.tolist(), len(old["row_image"])], strict=True))
    fills = [*zip(put[0].tolist(), put[1].tolist(), strict=True), (0, 0)]

    def woven(name: str) -> NDArray[np.generic]:
        pairs = zip(cuts, fills, strict=True)
        return np.concatenate([part for (a, b), (c, d) in pairs for part in (old[name][a:b], new[name][c:d])])

    return {name: woven(name) for name in ROWS}


def dumps(found: Sequence[Found]) -> str:
    """Hits as text."""
    return json.dumps(found, separators=(",", ":"))


def loads(text: str) -> list[Found]:
    """Hits from text."""
    return list(map(Found._make, json.loads(text)))
