"""Geometry of many polygons at once: the points of all rows lie in one array, one row after the other."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from yolo_nanfix.dataset.label_boxes import Floats, Shapes, once

MAX_NEIGHBOURS = 64
"""An edge is compared with at most this many others: those that begin next, from left to right."""
FLAT = 1e-2
"""Points at most this many pixels from a line count as on it."""
_AT_ONCE = 1 << 18
_FARTHEST = 1e5


@once
def _local(polygons: Shapes) -> tuple[Floats, Floats]:
    """(P,) x and y relative to the first point of each polygon: small numbers, so that no digits cancel."""
    x, y, start = polygons.x, polygons.y, polygons.start
    return x - polygons.each(x[start]), y - polygons.each(y[start])


@once
def _strips(polygons: Shapes) -> Floats:
    """(P,) twice the signed area between each edge and the first point of its polygon."""
    x, y = _local(polygons)
    return np.asarray(x * polygons.ahead(y) - polygons.ahead(x) * y)


@once
def areas(polygons: Shapes) -> Floats:
    """(K,) signed area of each polygon by the shoelace formula, in square pixels."""
    return np.asarray(polygons.total(_strips(polygons)) / 2)


@once
def extents(polygons: Shapes) -> Floats:
    """(K,) width plus height of the box around each polygon, in pixels."""
    x, y = polygons.x, polygons.y
    return np.asarray(polygons.largest(x) - polygons.smallest(x) + polygons.largest(y) - polygons.smallest(y))


@once
def flat(polygons: Shapes) -> NDArray[np.bool_]:
    """(K,) whether all points lie on one line: within `FLAT` of that from the first point to the furthest one."""
    result = np.asarray(np.abs(areas(polygons)) <= 2 * FLAT * extents(polygons))  # others are too large for it
    few = polygons.subset(result)
    x, y = _local(few)
    squared = x * x + y * y
    reach = few.largest(squared)
    spots = np.flatnonzero(squared == few.each(reach))
    far = np.zeros(len(few.rows), np.int64)
    far[few.owner[spots]] = spots
    off = few.largest(np.abs(x * few.each(y[far]) - y * few.each(x[far])))
    result[result] = off < FLAT * np.maximum(np.sqrt(reach), 1e-12)
    return result


class Crossing(NamedTuple):
    """Where the polygon `owner` (its place in `rows`) crosses itself; the area of the loop, in square pixels."""

    owner: int
    loop: float


def crossings(polygons: Shapes) -> list[Crossing]:
    """For each polygon that crosses itself the crossing with the largest loop.

    Edges that merely touch do not cross. The smaller of the two parts that a crossing makes is its loop. An edge is
    compared with `MAX_NEIGHBOURS` others, so that a polygon with all edges side by side takes no longer.
    """
    doubtful = np.flatnonzero(~_star_shaped(polygons))
    chosen = np.zeros(len(polygons.rows), np.bool_)
    chosen[doubtful] = True
    found = _sweep(polygons.subset(chosen))
    return [Crossing(int(doubtful[k]), loop) for k, loop in sorted(found.items())]


def _star_shaped(polygons: Shapes) -> NDArray[np.bool_]:
    """(K,) whether polygons go once around the mean of their corners, always the same way: these cannot cross."""
    x = polygons.x - polygons.each(polygons.total(polygons.x) / polygons.count)
    y = polygons.y - polygons.each(polygons.total(polygons.y) / polygons.count)
    turn = x * polygons.ahead(y) - polygons.ahead(x) * y
    up = (y < 0).astype(np.int8)
    rounds = polygons.total((polygons.ahead(up) > up).astype(np.int32))
    steady = (polygons.smallest(turn) > 0) | (polygons.largest(turn) < 0)
    return np.asarray(steady & (rounds == 1))


def _sweep(polygons: Shapes) -> dict[int, float]:
    """The largest loop of each polygon (by its place) that crosses itself; sweeps the edges from left to right."""
    found: dict[int, float] = {}
    if not len(polygons.x):
        return found
    x = np.clip(polygons.x, -_FARTHEST, _FARTHEST)
    shift = polygons.owner * (2 * float(np.abs(x).max()) + 1)  # polygons side by side, so that they never meet
    ends = x + shift, polygons.ahead(x) + shift
    left = np.minimum(*ends)
    order = np.argsort(left)
    left, right = left[order], np.maximum(*ends)[order]
    number = np.arange(len(order))
    meeting = np.minimum(np.searchsorted(left, right, side="right") - number - 1, MAX_NEIGHBOURS)
    edges = _Edges(polygons)
    step = max(1, _AT_ONCE // MAX_NEIGHBOURS)
    for low in range(0, len(order), step):
        part = meeting[low : low + step]
        mine = np.repeat(number[low : low + step], part)
        steps = np.arange(1, len(mine) + 1) - np.repeat(np.cumsum(part) - part, part)
        edges.cross(order[mine], order[mine + steps], found)
    return found


class _Edges:
    """The edges of some polygons, by the number of the point where they begin."""

    def __init__(self, polygons: Shapes) -> None:
        self.owner = polygons.owner
        self.x, self.y = polygons.x, polygons.y
        self.u, self.v = polygons.ahead(self.x) - self.x, polygons.ahead(self.y) - self.y
        self.low = np.minimum(self.y, self.y + self.v)
        self.high = np.maximum(self.y, self.y + self.v)
        self.local = _local(polygons)
        self.prefix = np.concatenate([[0.0], np.cumsum(_strips(polygons))])
        self.start, self.count = polygons.start, polygons.count

    def cross(self, a: NDArray[np.int64], b: NDArray[np.int64], found: dict[int, float]) -> None:
        """Update the largest loops in `found` by the pairs of edges that cross."""
        near = (self.high[a] >= self.low[b]) & (self.high[b] >= self.low[a]) & (self.owner[a] == self.owner[b])
        a, b = np.minimum(a[near], b[near]), np.maximum(a[near], b[near])
        dx, dy = self.x[b] - self.x[a], self.y[b] - self.y[a]
        ua, va, ub, vb = self.u[a], self.v[a], self.u[b], self.v[b]
        begin, end = ua * dy - va * dx, ua * (dy + vb) - va * (dx + ub)
        mine, its = vb * dx - ub * dy, ub * (va - dy) - vb * (ua - dx)
        crossing = np.flatnonzero((begin * end < 0) & (mine * its < 0))
        if len(crossing):
            a, b, mine, its = a[crossing], b[crossing], mine[crossing], its[crossing]
            loops, owner = self._loops(a, b, mine / (mine - its)), self.owner[a]
            order = np.argsort(owner, kind="stable")
            polygons, first = np.unique(owner[order], return_index=True)
            for k, loop in zip(polygons.tolist(), np.maximum.reduceat(loops[order], first).tolist(), strict=True):
                found[k] = max(found.get(k, 0.0), loop)

    def _loops(self, a: NDArray[np.int64], b: NDArray[np.int64], part: Floats) -> Floats:
        """The smaller of the areas into which each crossing of two edges, at `part` of the first, cuts a polygon."""
        x, y = self.local
        meet = x[a] + part * self.u[a], y[a] + part * self.v[a]
        loop = meet[0] * y[a + 1] - meet[1] * x[a + 1] + self.prefix[b] - self.prefix[a + 1]
        loop += x[b] * meet[1] - y[b] * meet[0]
        k = self.owner[a]
        whole = self.prefix[self.start[k] + self.count[k]] - self.prefix[self.start[k]]
        return np.asarray(np.minimum(np.abs(loop), np.abs(whole - loop)) / 2)


@once
def enclosing_rectangles(quads: Floats) -> tuple[Floats, Floats]:
    """(M,) long and short side of the smallest rectangle around the four points of each of the quads (2, 4, M).

    That rectangle has a side along an edge of the hull, which joins two of the points: all six pairs are tried.
    """
    x, y = quads
    best = np.full(x.shape[1], np.inf)
    long, short = np.zeros_like(best), np.zeros_like(best)
    for i, j in ((0, 1), (1, 2), (2, 3), (3, 0), (0, 2), (1, 3)):
        u, v = x[j] - x[i], y[j] - y[i]
        length = np.maximum(np.hypot(u, v), 1e-12)
        u, v = u / length, v / length
        forward, across = x * u + y * v, y * u - x * v
        along = forward.max(axis=0) - forward.min(axis=0)
        beside = across.max(axis=0) - across.min(axis=0)
        better = (along * beside < best) & (length > 1e-12)
        best = np.where(better, along * beside, best)
        long = np.where(better, np.maximum(along, beside), long)
        short = np.where(better, np.minimum(along, beside), short)
    return long, short
