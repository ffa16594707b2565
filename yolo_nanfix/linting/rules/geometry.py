"""Geometry of many polygons at once: the points of all rows lie in one array, one row after the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from yolo_nanfix.linting.labels import Labels
from yolo_nanfix.linting.rules.rows import Images, once, pixel_sizes

MAX_NEIGHBOURS = 64
"""An edge is held against so many others at most: those that begin next, from left to right."""
UNKNOWN = 1000
_CHUNK = 1 << 18
_FAR = 1e5
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Shapes:
    """The K rows that have points and hold finite numbers only.

    Attributes:
        rows: (K,) int64, their numbers in the label table.
        points: (P, 2) float64, their points in pixels (of a side of `UNKNOWN` where the image's is unknown).
        start: (K,) int64, where the points of each begin.
        count: (K,) int64, how many there are.
        owner: (P,) int64, for each point the place of its row in `rows`.
        following: (P,) int64, for each point the next one around its polygon.
        spots: (P,) int64, where the points stand in the label table.
    """

    rows: NDArray[np.int64]
    points: Floats
    start: NDArray[np.int64]
    count: NDArray[np.int64]
    owner: NDArray[np.int64]
    following: NDArray[np.int64]
    spots: NDArray[np.int64]

    def largest(self, values: NDArray[Any]) -> NDArray[Any]:
        """(K,) the largest of the values (P,) of each row's points."""
        return np.maximum.reduceat(values, self.start) if len(self.start) else values[:0]

    def total(self, values: NDArray[Any]) -> NDArray[Any]:
        """(K,) the sum of the values (P,) of each row's points."""
        return np.add.reduceat(values, self.start) if len(self.start) else values[:0]

    def mark(self, labels: Labels, chosen: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """(N,) the mask over the label table of the chosen ones of the K rows."""
        mask = np.zeros(len(labels.cls), np.bool_)
        mask[self.rows[chosen]] = True
        return mask


@once
def shapes(labels: Labels, images: Images) -> Shapes:
    """The polygons (or the keypoints) of a label table, in pixels."""
    every = np.diff(labels.first)
    rows = np.flatnonzero((every > 0) & np.isfinite(labels.extra))
    count = every[rows]
    start = np.cumsum(count) - count
    owner = np.repeat(np.arange(len(rows)), count)
    spots = np.arange(len(owner)) + np.repeat(labels.first[rows] - start, count)
    sizes, known = pixel_sizes(labels, images)
    scale = np.where(known[rows, None], sizes[rows], UNKNOWN).astype(np.float64)
    points = labels.points[spots] * scale[owner]
    following = np.arange(1, len(owner) + 1)
    following[start + count - 1] = start
    return Shapes(rows, points, start, count, owner, following, spots)


@once
def areas(polygons: Shapes) -> Floats:
    """(K,) signed area of each polygon by the shoelace formula, in square pixels."""
    local = polygons.points - polygons.points[polygons.start][polygons.owner]  # near 0, so that nothing cancels
    ahead = local[polygons.following]
    return np.asarray(polygons.total(local[:, 0] * ahead[:, 1] - local[:, 1] * ahead[:, 0]) / 2)


@once
def thickness(polygons: Shapes) -> tuple[Floats, Floats]:
    """(K,) how far the points reach from the first one, and how far off the line to the furthest; in pixels."""
    local = polygons.points - polygons.points[polygons.start][polygons.owner]
    distance = np.hypot(local[:, 0], local[:, 1])
    reach = polygons.largest(distance)
    places = np.where(distance == reach[polygons.owner], np.arange(len(distance)), -1)
    direction = local[polygons.largest(places)][polygons.owner]
    off = np.abs(local[:, 0] * direction[:, 1] - local[:, 1] * direction[:, 0])
    return reach, polygons.largest(off) / np.maximum(reach, 1e-12)


class Crossing(NamedTuple):
    """Two edges of the polygon `owner` (its place in `rows`) that cross, and the area of the loop between them."""

    owner: int
    loop: float


def crossings(polygons: Shapes) -> list[Crossing]:
    """For each polygon that crosses itself the crossing with the largest loop.

    Edges that merely touch do not cross. The smaller of the two parts that a crossing makes is its loop. An edge is
    held against `MAX_NEIGHBOURS` others, so that polygons made to have all edges side by side cost no more.
    """
    points, owner = polygons.points, polygons.owner
    if not len(points):
        return []
    x = np.clip(points[:, 0], -_FAR, _FAR)
    shift = owner * (2 * float(np.abs(x).max()) + 1)  # polygons side by side, so that they never meet
    ends = np.stack([x, x[polygons.following]]) + shift
    left, right = ends.min(axis=0), ends.max(axis=0)
    order = np.argsort(left, kind="stable")
    left, right = left[order], right[order]
    number = np.arange(len(order))
    meeting = np.minimum(np.searchsorted(left, right, side="right") - number - 1, MAX_NEIGHBOURS)
    found: dict[int, float] = {}
    prefix = np.concatenate([[0.0], np.cumsum(_strips(polygons))])
    bounds = np.concatenate([np.arange(0, len(order), max(1, _CHUNK // MAX_NEIGHBOURS)), [len(order)]])
    for low, high in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
        mine = np.repeat(number[low:high], meeting[low:high])
        steps = np.arange(len(mine)) - np.repeat(np.cumsum(meeting[low:high]) - meeting[low:high], meeting[low:high])
        _cross(polygons, order[mine], order[mine + 1 + steps], prefix, found)
    return [Crossing(k, loop) for k, loop in sorted(found.items())]


def _strips(polygons: Shapes) -> Floats:
    """(P,) twice the signed area between each edge and the first point of its polygon."""
    local = polygons.points - polygons.points[polygons.start][polygons.owner]
    ahead = local[polygons.following]
    return np.asarray(local[:, 0] * ahead[:, 1] - local[:, 1] * ahead[:, 0])


def _cross(
    polygons: Shapes, a: NDArray[np.int64], b: NDArray[np.int64], prefix: Floats, found: dict[int, float]
) -> None:
    """Note the pairs of edges (by the points where they begin) that cross, with their loops."""
    points, following = polygons.points, polygons.following
    y = points[:, 1]
    over = np.maximum(y[a], y[following[a]]) >= np.minimum(y[b], y[following[b]])
    over &= np.maximum(y[b], y[following[b]]) >= np.minimum(y[a], y[following[a]])
    a, b = np.minimum(a[over], b[over]), np.maximum(a[over], b[over])
    p, q = points[a], points[b]
    u, v = points[following[a]] - p, points[following[b]] - q
    between = q - p
    side = _turn(u, between), _turn(u, between + v)
    other = _turn(v, -between), _turn(v, u - between)
    real = (side[0] * side[1] < 0) & (other[0] * other[1] < 0) & (polygons.owner[a] == polygons.owner[b])
    for i in np.flatnonzero(real).tolist():
        k = int(polygons.owner[a[i]])
        meet = p[i] + u[i] * (other[0][i] / (other[0][i] - other[1][i]))
        origin = points[polygons.start[k]]
        first, last = points[a[i] + 1] - origin, q[i] - origin
        middle = prefix[b[i]] - prefix[a[i] + 1]
        loop = (_turn(meet - origin, first) + middle + _turn(last, meet - origin)) / 2
        whole = (prefix[polygons.start[k] + polygons.count[k]] - prefix[polygons.start[k]]) / 2
        found[k] = max(found.get(k, 0.0), float(min(abs(loop), abs(whole - loop))))


def _turn(a: Floats, b: Floats) -> Any:
    """The cross product of vectors (..., 2)."""
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


@once
def enclosing_rectangles(quads: Floats) -> tuple[Floats, Floats]:
    """(M,) long and short side of the smallest rectangle around the four points of each of the quads (M, 4, 2).

    That rectangle has a side along an edge of the hull, which joins two of the points: all six pairs are tried.
    """
    pairs = ((0, 1), (1, 2), (2, 3), (3, 0), (0, 2), (1, 3))
    best = np.full(len(quads), np.inf)
    sides = np.zeros((len(quads), 2))
    for i, j in pairs:
        along = quads[:, j] - quads[:, i]
        length = np.hypot(along[:, 0], along[:, 1])
        along = along / np.maximum(length, 1e-12)[:, None]
        forward = np.einsum("mpd,md->mp", quads, along)
        across = np.einsum("mpd,md->mp", quads, np.stack([-along[:, 1], along[:, 0]], axis=1))
        both = np.stack([np.ptp(forward, axis=1), np.ptp(across, axis=1)], axis=1)
        area = both.prod(axis=1)
        better = (area < best) & (length > 0)
        best[better], sides[better] = area[better], both[better]
    return sides.max(axis=1), sides.min(axis=1)
