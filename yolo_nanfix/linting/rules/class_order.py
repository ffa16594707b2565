"""CL: whether class numbers mean the same everywhere: in lists of names beside the set, and in all splits."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from yolo_nanfix.dataset import class_lists
from yolo_nanfix.dataset.colours import class_colours
from yolo_nanfix.dataset.config import DataConfig
from yolo_nanfix.dataset.label_boxes import Floats
from yolo_nanfix.dataset.table import Table
from yolo_nanfix.findings import Effect, Severity
from yolo_nanfix.linting.registry import LABELLED, Hit, rule
from yolo_nanfix.linting.rules.box_units import sample
from yolo_nanfix.linting.rules.data_yaml import key_hit

_LISTS = 6
LEAST_ROWS = 20
"""The class numbers of a split are known from this many rows on."""
OVER = 0.02
"""Numbers above the last class in this share of the rows of a split are no slips."""
ALIKE = 0.25
"""Sizes are alike if in at least this share of the pairs either one is the larger."""
MANY_CLASSES = 64
"""With more classes than this, some look like others by chance."""


@rule("CL050", Severity.WARNING, Effect.ACCEPTS, LABELLED)
def class_list_differs(config: DataConfig) -> Iterator[Hit]:
    """A list of class names beside the set has other names or another order than data.yaml.

    Why: the labels were numbered by one of the two; if it is not data.yaml, all objects are trained under wrong names.
    Ultralytics: reads `names` in data.yaml alone.
    Example: classes.txt begins with dog, `names` with cat; or val.yaml of the same images has other names.
    Fix: find out by which list the labels were numbered (draw some), and write that one into `names`.
    """
    ours = config.numbered
    for file, listed in _lists(config):
        wrong = {n: name for n, name in listed.items() if n in ours and not _alike(name, ours[n])}
        if not wrong and len(listed) == len(ours):
            continue
        says = "not as `names` of data.yaml: {order:1=in another order, |}{names:,4:{0} is {1!r}, not {2!r}}"
        if len(listed) != len(ours):
            says += "{wrong:0=|, }it has {count:name|names}, data.yaml has {of}"
        values = {"numbers": tuple(wrong), "names": _pairs(wrong, ours), "count": len(listed), "of": len(ours)}
        order = sorted(map(_folded, listed.values())) == sorted(map(_folded, ours.values()))
        values |= {"wrong": len(wrong), "order": int(order)}
        yield Hit(file, says, values=values)


@rule("CL051", Severity.INFO, Effect.ACCEPTS, LABELLED)
def class_list_spelling(config: DataConfig) -> Iterator[Hit]:
    """A list of class names beside the set spells names in another way than data.yaml.

    Why: other tools go by names, and take two spellings for two classes.
    Ultralytics: reads `names` in data.yaml alone.
    Example: `traffic_light` in classes.txt, `Traffic light` in `names`.
    Fix: nothing for Ultralytics; else spell the names alike everywhere.
    """
    ours = config.numbered
    for file, listed in _lists(config):
        wrong = {n: name for n, name in listed.items() if name != ours.get(n)}
        same = len(listed) == len(ours) and all(n in ours and _alike(name, ours[n]) for n, name in wrong.items())
        if wrong and same:
            says = "spelt otherwise than in data.yaml: {names:,4:{0} is {1!r}, not {2!r}}"
            yield Hit(file, says, values={"numbers": tuple(wrong), "names": _pairs(wrong, ours)})


@rule("CL052", Severity.WARNING, Effect.GARBAGE, LABELLED)
def class_sizes_by_split(table: Table, config: DataConfig) -> Iterator[Hit]:
    """The objects of classes have other sizes in another split, namely those of other classes.

    Why: the classes were numbered anew for each split, so that the score says nothing, or training learns two things.
    Ultralytics: trains and validates by the numbers.
    Example: in train class 0 is 60x22 and class 1 30x18 pixels; in val class 0 is 30x18.
    Fix: draw some images of both splits; renumber the labels of one of them by the names of the other.
    """
    says = (
        "{classes:;4:{0!r} has {4:.0f}x{5:.0f} pixels in {2} and {6:.0f}x{7:.0f} in {3}, as {1!r} in {2}}: "
        "were they numbered anew for {second}?"
    )
    yield from _moved_hits(table, config, says, BY_SIZE, lambda split: _sizes(table, sample(table), split, config))


@rule("CL054", Severity.WARNING, Effect.GARBAGE, LABELLED, deep=True)
def class_colours_by_split(table: Table, config: DataConfig) -> Iterator[Hit]:
    """The objects of classes have other colours in another split, namely those of other classes.

    Why: the classes were numbered anew for each split, so that the score says nothing, or training learns two things.
    Ultralytics: trains and validates by the numbers.
    Example: class 0 is red in train and green in val, where class 1 was green in train.
    Fix: draw some images of both splits; renumber the labels of one of them by the names of the other.
    """
    says = "{classes:;4:{0!r} has in {3} the colours of {1!r} in {2}}: were they numbered anew for {second}?"
    yield from _moved_hits(table, config, says, BY_COLOUR, lambda split: class_colours(table, split))


@rule("CL053", Severity.ERROR, Effect.DROPS, LABELLED)
def class_numbers_by_split(table: Table, config: DataConfig) -> Iterator[Hit]:
    """One split uses class numbers beyond `names`, without gaps, and another one does not.

    Why: the classes were numbered split by split, and data.yaml holds the names of one of them: in the others all
    numbers may mean something else.
    Ultralytics: drops images with the numbers above the last class, and trains the others under wrong names.
    Example: train has the classes 0 to 3, val 0 to 2, and data.yaml, written with val, has 3 names.
    Fix: export all splits at once with one list of classes; adding names is not enough.
    """
    if not config.in_order or not len(table.row_cls) or not table.row_cls.max() >= config.nc:
        return
    tops = {split: _top(table, split, config.nc) for split in table.splits}
    known = {split: top for split, top in tops.items() if top is not None}
    fits = [split for split, (top, _) in known.items() if top == config.nc - 1]
    over = {split: top for split, (top, share) in known.items() if top >= config.nc and share >= OVER}
    if not fits or not over or min(table.row_cls[table.rows_in(split)].min() for split in over) > 0:
        return
    says = (
        "{found:,:{0} has the classes 0 to {1}}, {fits:,} 0 to {last}, as data.yaml: were the classes numbered split "
        "by split?"
    )
    values: dict[str, Any] = {"splits": tuple(over), "top": tuple(over.values()), "last": config.nc - 1}
    values |= {"found": tuple(over.items()), "fits": fits}
    yield key_hit(config, "names", says, **values)._replace(explains=("CL003",))


class _Measure(NamedTuple):
    """When the objects of two splits count as different: by sizes (as logarithms), or by colours.

    Attributes:
        far: their medians differ by at least this much.
        other: at most this share of the pairs are in the other order.
        known: a class is known from this many boxes on.
        compared: this many boxes of another split are needed for a comparison.
    """

    far: float
    other: float
    known: int
    compared: int


BY_SIZE = _Measure(float(np.log(1.25)), 0.02, 15, 10)
BY_COLOUR = _Measure(30.0, 0.1, 10, 8)
"""Less strict: objects cover each other, so that some show the colours of others."""


def _lists(config: DataConfig) -> list[tuple[str, Mapping[int, str]]]:
    """The lists beside the set that can be compared with `names`, each content once."""
    if config.raw.get("names") is None or not any(config.splits.values()):
        return []
    found = {tuple(one[1].items()): one for one in reversed(list(class_lists.beside(config)))}
    return list(found.values())[::-1][:_LISTS]


def _folded(name: str) -> str:
    """A name in lowercase, with one space for each run of spaces, hyphens and underscores."""
    return re.sub(r"[\s_\-]+", " ", name.strip()).casefold()


def _alike(name: str, other: str) -> bool:
    """Whether two names are equal but for case, spaces, hyphens, underscores and a plural s."""
    one, two = _folded(name), _folded(other)
    return one == two or one.rstrip("s") == two.rstrip("s")


def _pairs(wrong: Mapping[int, str], ours: Mapping[int, str]) -> tuple[tuple[int, str, str], ...]:
    return tuple((n, name, ours[n]) for n, name in wrong.items())


def _top(table: Table, split: str, nc: int) -> tuple[int, float] | None:
    """The highest class of a split whose numbers have no gaps, and the share of rows from `nc` on; None: not known."""
    cls = table.row_cls[table.rows_in(split)]
    cls = cls[np.isfinite(cls) & (cls >= 0) & (np.floor(cls) == cls)]
    if len(cls) < LEAST_ROWS:
        return None
    numbers = np.unique(cls.astype(np.int64))
    top = int(numbers[-1])
    return (top, float((cls >= nc).mean())) if len(numbers) >= top else None  # one at most is missing


def _sizes(table: Table, rows: NDArray[np.int64], split: str, config: DataConfig) -> dict[int, Floats]:
    """For each class of a split (2, n) the logarithms of width and height of its boxes in pixels; of some rows."""
    rows = rows[table.inside(split)[table.row_image[rows]]]
    image = table.row_image[rows]
    w = table.row_box[rows, 2].astype(np.float64) * table.width[image]
    h = table.row_box[rows, 3].astype(np.float64) * table.height[image]
    good = (w > 0) & (h > 0) & np.isfinite(w) & np.isfinite(h)
    cls, log = table.row_cls[rows][good], np.log(np.stack([w[good], h[good]]))
    return {number: log[:, own] for number in config.names if (own := cls == number).any()}


def _moved(first: Mapping[int, Floats], second: Mapping[int, Floats], measure: _Measure) -> list[tuple[int, int]]:
    """The classes of the second split that look like another class of the first one, not like their own; and that one.

    If all objects of a split are larger, since it was taken from nearer by, none counts as looking like another one.
    """
    second = {number: values for number, values in second.items() if values.shape[1] >= measure.compared}
    shared = [number for number in second if number in first and first[number].shape[1] >= measure.known]
    if len(shared) < 2:
        return []
    shifts = [np.median(second[n], axis=1) - np.median(first[n], axis=1) for n in shared]
    common = np.median(np.array(shifts), axis=0)[:, None]
    moved = []
    for number in shared:
        own, sizes = first[number], second[number]
        if not (_differ(own, sizes, measure) and _differ(own, sizes - common, measure)):
            continue
        others = [
            n
            for n, other in first.items()
            if n != number and other.shape[1] >= measure.known and _look_alike(other, sizes, measure.far)
        ]
        if others:
            moved.append((number, others[0]))
    return moved


def _order(one: Floats, other: Floats) -> float:
    """The share of pairs in which the second number is larger; equal ones count half."""
    place = np.sort(one)
    below = (np.searchsorted(place, other, "left") + np.searchsorted(place, other, "right")) / 2
    return float(below.mean() / len(one))


def _differ(one: Floats, other: Floats, measure: _Measure) -> bool:
    """Whether the boxes of two splits differ in one of their numbers, almost without exception."""
    for a, b in zip(one, other, strict=True):
        if abs(float(np.median(a) - np.median(b))) >= measure.far:
            order = _order(a, b)
            if min(order, 1 - order) <= measure.other:
                return True
    return False


def _look_alike(one: Floats, other: Floats, far: float) -> bool:
    """Whether the boxes of two splits have the same numbers."""
    for a, b in zip(one, other, strict=True):
        order = _order(a, b)
        if min(order, 1 - order) < ALIKE and abs(float(np.median(a) - np.median(b))) >= far / 2:
            return False
    return True


def _moved_hits(
    table: Table, config: DataConfig, says: str, measure: _Measure, measured: Callable[[str], Mapping[int, Floats]]
) -> Iterator[Hit]:
    """A hit for each two splits where classes of the second look like others of the first, as `measured` by class.

    Each entry of the value `classes`: its name, that of the other class, both splits; of sizes width and height, too.
    """
    if not 2 <= config.nc <= MANY_CLASSES:
        return
    of = {split: measured(split) for split in table.splits}
    for splits in combinations(of, 2):
        moved = _moved(of[splits[0]], of[splits[1]], measure)
        if len(moved) < 2:
            continue
        classes = []
        for number, other in moved:
            pixels = [np.exp(np.median(of[split][number], axis=1)) for split in splits] if measure is BY_SIZE else []
            sides = [round(float(side), 1) for size in pixels for side in size]
            classes.append((config.name(number), config.name(other), *splits, *sides))
        values = {"pairs": tuple(moved), "splits": splits, "second": splits[1], "classes": classes}
        yield Hit(str(config.yaml_file), says, values=values)
