"""Joins what was remembered with what was read anew: columns over the whole dataset, and the hits in single files."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from yolo_nanfix.linting.dataset import Columns
from yolo_nanfix.linting.parts import Facts, Found, Part
from yolo_nanfix.linting.store import Memory
from yolo_nanfix.linting.survey import Survey
from yolo_nanfix.linting.table import Table

EMPTY: dict[str, tuple[tuple[int, ...], str]] = {
    "size": ((), "int64"),
    "inode": ((2,), "int64"),
    "width": ((), "int32"),
    "height": ((), "int32"),
    "content": ((), "uint64"),
    "looks": ((8,), "uint64"),
    "grey": ((), "bool"),
    "polygons": ((), "bool"),
    "lines": ((), "int32"),
    "npy": ((), "int8"),
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
        return Table(
            files=survey.files,
            labels=survey.labels,
            split_names=survey.split_names,
            split=survey.split,
            splits=survey.splits,
            labelled=survey.labelled,
            **self.columns,  # type: ignore[arg-type]
        )


def unchanged(survey: Survey, memory: Memory | None) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The images that are as they were, by their places now and then."""
    none = np.zeros(0, np.int64)
    if memory is None:
        return none, none
    files = tuple(memory.text("files").split("\0"))
    stamps, owns = memory.column("stamps"), memory.column("owns")
    if files == survey.files:
        now = then = np.arange(len(files))
    else:
        old = {file: i for i, file in enumerate(files)}
        places = np.array([old.get(file, -1) for file in survey.files], np.int64)
        now = np.flatnonzero(places >= 0)
        then = places[now]
    same = (survey.stamps[now] == stamps[then]).all(axis=1) & (survey.owns[now] == owns[then])
    return now[same], then[same]


def assemble(
    survey: Survey,
    memory: Memory | None,
    kept: tuple[NDArray[np.int64], NDArray[np.int64]],
    read: Iterable[tuple[Part, Facts]],
    *,
    deep: bool,
) -> Whole:
    """Join the images that are as they were with those that were read.

    Args:
        survey: the dataset as it is now.
        memory: what was known of it.
        kept: the images that are as they were, by their places now and then.
        read: the others.
        deep: whether there are hashes of how the images look.
    """
    count = len(survey.files)
    now, then = kept
    columns: Columns = {
        name: np.zeros((0 if name == "looks" and not deep else count, *shape), dtype)
        for name, (shape, dtype) in EMPTY.items()
    }
    rows: dict[str, list[NDArray[np.generic]]] = {name: [] for name in ROWS}
    found: list[Found] = []
    if memory is not None and len(now):
        for name in columns:
            if len(columns[name]):
                columns[name][now] = memory.column(name)[then]
        moved = np.full(len(memory.column("owns")), -1, np.int32)
        moved[then] = now
        owner = moved[memory.column("row_image")]
        alive = owner >= 0
        rows["row_image"].append(owner[alive])
        for name in ("row_line", "row_cls", "row_box"):
            rows[name].append(memory.column(name)[alive])
        found += [f._replace(image=int(moved[f.image])) for f in loads(memory.text("found")) if moved[f.image] >= 0]
    for part, facts in read:
        places = np.array(part.numbers, np.int32)
        for name in columns:
            if len(columns[name]):
                columns[name][places] = facts.columns[name]
        rows["row_image"].append(places[facts.columns["row_image"].astype(np.int64)])
        for name in ("row_line", "row_cls", "row_box"):
            rows[name].append(facts.columns[name])
        found += [f._replace(image=part.numbers[f.image]) for f in facts.found]
    joined = {
        name: np.concatenate([np.zeros((0, *shape), dtype), *rows[name]]) for name, (shape, dtype) in ROWS.items()
    }
    order = np.argsort(joined["row_image"], kind="stable")
    return Whole({**columns, **{name: column[order] for name, column in joined.items()}}, found)


def dumps(found: Sequence[Found]) -> str:
    """Hits as text."""
    return json.dumps(found, separators=(",", ":"))


def loads(text: str) -> list[Found]:
    """Hits from text."""
    return [
        Found(i, code, file, line, tuple(pixel) if pixel else None, said)
        for i, code, file, line, pixel, said in json.loads(text)
    ]
