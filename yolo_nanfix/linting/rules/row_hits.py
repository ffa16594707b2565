"""Hits on rows of the label table: what the rules on label files share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from yolo_nanfix.dataset.images import Images
from yolo_nanfix.dataset.labels import Labels
from yolo_nanfix.findings import Place
from yolo_nanfix.linting.registry import Hit
from yolo_nanfix.wording import cut

RowNumbers = NDArray[np.integer[Any]]
MASKED = " (the file lies outside of the dataset, so each digit is shown as 9 and each letter as x)"
"""Follows the masked text of a file outside of the dataset, to which a link or a list leads."""
_FLOAT_DIGITS = 7
"""Significant digits of a float32."""
_SHARED_AT_ONCE = 256
"""At most this many different mappings of values are shared by the hits of one rule."""


def row_hits(
    labels: Labels, images: Images, rows: RowNumbers, says: str, *, other: RowNumbers | None = None, **values: Any
) -> Iterator[Hit]:
    """A hit for each of M rows of the label table.

    Args:
        labels, images: of one part of the set.
        rows: (M,) the numbers of the rows.
        says: the format of the messages, see `wording.sentence`.
        other: (M,) for each a related row of the same file; its line is the value `line`.
        values: by name, arrays (M, ...) with one entry for each row, or one value for all rows.
    """
    if other is not None:
        values["line"] = labels.line[other]
    columns = [plain_facts(v) if isinstance(v, np.ndarray) else repeat(v, len(rows)) for v in values.values()]
    entries = zip(*columns, strict=True) if columns else repeat((), len(rows))
    file, hit = -1, None
    equal: dict[tuple[Any, ...], dict[str, Any]] = {}  # one mapping for many hits saves half of their memory
    for of, line, row in zip(labels.file[rows].tolist(), labels.line[rows].tolist(), entries, strict=True):
        if hit is None or of != file:
            file, hit = of, file_hit(labels, images, of, says)
        if (named := equal.get(row)) is None:
            named = dict(zip(values, row, strict=True))
            if len(equal) < _SHARED_AT_ONCE:
                equal[row] = named
        related = () if other is None else (Place(hit.file, row[-1]),)
        yield Hit(hit.file, says, line, None, hit.split, hit.image, named, related)


def plain_facts(values: NDArray[Any]) -> list[Any]:
    """An array as plain Python values: float32 rounded to its significant digits, non-finite numbers as text."""
    if values.dtype == np.float32:
        exact = values.astype(np.float64)
        with np.errstate(all="ignore"):
            scale = 10.0 ** (_FLOAT_DIGITS - 1 - np.floor(np.log10(np.abs(exact))))
            rounded = np.round(exact * scale) / scale
        values = np.where(np.isfinite(rounded), rounded, exact)
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        values = np.where(np.isfinite(values), values, values.astype(str).astype(object))
    return list(map(tuple, values.tolist()) if values.ndim > 1 else values.tolist())


def file_hits(labels: Labels, images: Images, rows: RowNumbers, says: str) -> Iterator[Hit]:
    """One hit for each file that has any of the rows, on the first of them; the value `count` is their number."""
    files, start, counts = np.unique(labels.file[rows], return_index=True, return_counts=True)
    for file, row, count in zip(files.tolist(), rows[start].tolist(), counts.tolist(), strict=True):
        yield file_hit(labels, images, file, says, int(labels.line[row]), {"count": count})


def file_hit(
    labels: Labels,
    images: Images,
    file: int,
    says: str,
    line: int | None = None,
    values: Mapping[str, Any] | None = None,
) -> Hit:
    """A hit on a label file, or on one of its lines."""
    image = images[int(labels.image[file])]
    return Hit(labels.paths[file], says, line, split=image.split, image=image.file, values=values or {})


def bad_hits(
    labels: Labels,
    images: Images,
    kind: str,
    says: str,
    wanted: Callable[[str], bool] = lambda _: True,
    *,
    number: int | None = None,
    name: str = "count",
    **values: Any,
) -> Iterator[Hit]:
    """A hit for each row that could not be read, for one reason.

    Args:
        labels, images: of one part of the set.
        kind: the reason, see `labels.BadRow`.
        says: the format of the messages.
        wanted: chooses among them by the text that could not be read.
        number: chooses among them by their `number`.
        name: of the value that holds their `number`; where that counts rows of a file, `of` is how many it has.
        values: further values of all hits.
    """
    for bad in labels.bad:
        if bad.kind == kind and wanted(bad.text) and number in (None, bad.number):
            facts = {"text": cut(bad.text, 60)} if bad.text else {name: bad.number}
            total = {"of": bad.of} if bad.of else {}
            masked = MASKED if bad.masked else ""
            yield file_hit(labels, images, bad.file, says + masked, bad.line, {**facts, **total, **values})
