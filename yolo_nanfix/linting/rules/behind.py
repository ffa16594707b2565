"""TX027: what predictions leave behind the rows of a set: a confidence, the number of a track, or both."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from yolo_nanfix.dataset.clues import LEAST, MOST, UNREAD, Clue
from yolo_nanfix.dataset.config import DataConfig
from yolo_nanfix.dataset.label_boxes import once
from yolo_nanfix.dataset.table import Table
from yolo_nanfix.findings import Effect, Severity
from yolo_nanfix.linting.causes import Explains
from yolo_nanfix.linting.registry import Hit, rule

MANY = 0.5
"""A tracker leaves rows without a number where it has no track: so many of all rows with one will do, if no row has
another number of columns for another reason."""
OVER = 0.25
"""So many numbers must be above 1 where they are read as a coordinate: those of the first two tracks are not."""
AHEAD = 0.5
"""More rows than this with an outline that jumps at its first corner rather than at its end: nothing is cut."""
_EXPLAINED = (
    *UNREAD,
    *("BX001", "BX002", "BX004", "BX005", "BX006", "BX008", "BX009", "BX012", "BX013", "BX014", "BX015", "BX016"),
    *("BX019", "BX020", "BX021", "SG001", "SG002", "SG003", "SG004", "SG005", "SG006", "SG007", "SG009", "SG010"),
    *("SG011", "SG012", "SG013", "SG014", "OB001", "OB002", "OB003", "OB004", "OB005", "OB006", "OB007", "OB009"),
)
"""What is found besides where rows cannot be read, or a confidence and a number are taken for a corner."""


class Behind(NamedTuple):
    """What stands behind rows.

    Attributes:
        one: rows with one column too many.
        two: rows with a confidence and a number.
        rows: all rows.
        ahead: whether most of those with one column have it beside the class rather than behind.
    """

    one: int
    two: int
    rows: int
    ahead: bool


@rule("TX027", "prediction-columns", Severity.ERROR, Effect.DROPS, ("segment", "obb", "pose"))
def prediction_columns(table: Table, config: DataConfig) -> Iterator[Hit]:
    """Predictions were saved with more behind each row: a confidence, the number of a track, or both.

    Why: the images are missing from training, or trained on with a corner at (confidence, number).
    Ultralytics: drops images with rows of one column too many, or with a number above 1; two more columns behind an
        outline or an oriented box are read as a corner.
    Example: `0 0.1 0.1 0.5 0.1 0.3 0.4 0.93`, as `save_txt` writes it with `save_conf`.
    Fix: cut these columns off; save predictions without `save_conf`, and by `predict` rather than `track`.
    """
    columns = 5 + config.kpt_shape[0] * config.kpt_shape[1] if config.kpt_shape else 0
    for split, (one, two, rows, ahead) in behind(table).items():
        if one and two:
            what = f"a confidence stands behind {one + two} of {rows} rows, and the number of a track behind {two}"
        elif two:
            what = f"a confidence and the number of a track stand behind {two} of {rows} rows"
        elif ahead:
            what = f"{one} of {rows} rows have a column too many: a confidence, beside the class or behind the outline"
        else:
            what = f"a column too many stands behind {one} of {rows} rows: a confidence, or the number of a track"
        message = f"{what}, as predictions are saved with `save_conf` or by `track`"
        splits = tuple(table.splits) if split is None else (split,)
        values = {"splits": splits, "columns": columns, "two": bool(two), "ahead": ahead, "rows": one + two}
        yield Hit(str(config.yaml_file), message, split=split, values=values, explains=Explains(_EXPLAINED))


@once
def behind(table: Table) -> Mapping[str | None, Behind]:
    """What stands behind the rows of the set (None), or else of single splits, where it is there."""
    parts: dict[str | None, Behind] = {}
    parts |= {split: found for split in table.splits if (found := _of(table, split)) is not None}
    whole = _of(table, None)
    if whole is None:
        return parts
    there = sum(part.one + part.two for part in parts.values())
    of_some = len(parts) < len(table.splits) and there == whole.one + whole.two < whole.rows
    return parts if of_some else {None: whole}


def _of(table: Table, split: str | None) -> Behind | None:
    images = slice(None) if split is None else table.members[split]
    counts, rows = table.clues[images].sum(axis=0), int(table.lines[images].sum())
    one, two, over = (int(counts[clue]) for clue in (Clue.ONE_BEHIND, Clue.TWO_BEHIND, Clue.TWO_OVER_ONE))
    ahead = counts[Clue.ONE_AHEAD] > AHEAD * one
    misfits, numbered = int(counts[Clue.MISFIT]), int(counts[Clue.NUMBERED])
    if one + two < LEAST or (numbered >= LEAST and numbered >= MOST * rows):
        return None
    if over and over >= OVER * two and one + two >= MOST * rows:
        return Behind(one, two, rows, bool(ahead and not two))
    return Behind(one, 0, rows, bool(ahead)) if one >= max(LEAST, MANY * rows, MOST * misfits) else None
