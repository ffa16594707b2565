"""What an outline that crosses itself is: one ring with a slip in it, or several rings that were joined into one row.

A YOLO row holds one outline. Objects with several parts or with holes are written as one outline by a bridge that runs
there and back (`merge_multi_segment` of Ultralytics, keyholes of labelling tools): it is filled correctly, whatever the
bridge crosses. Written one after the other without a bridge, the parts are joined by two chords instead.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from yolo_nanfix.dataset.label_boxes import Floats, Shapes
from yolo_nanfix.linting.rules.geometry import crossings

MOST_CORNERS = 512
"""Not all pairs of edges of larger outlines are compared: there bridges must be exact, and chords long."""
MOST_CROSSINGS = 256
"""Of rings with more crossings the largest loop counts even if it is thin: a scribble is no slip of a tool."""
MOST_BRIDGES = 1024
"""At most this many pairs of edges are tried as bridges, the closest first."""
NECK, BRIDGE_SHARE, LEAST_SHARE = 1.5, 0.12, 0.35
"""The sides of a bridge are at most this many pixels, or this share of its length, apart; never more than the third,
also a share of its length."""
THIN = 3.0
"""If two sides of a thin part cross, they are at most this many pixels apart where they run side by side."""
ANTIPARALLEL = -0.9
"""The largest cosine of the angle between the two sides of a bridge."""
WIDER = 4.0
"""A ring has at least this many times the area between the sides of its bridge."""
OPEN, GAP_BY_CHORD = 1.0, 1 / 3
"""The largest gap between the ends of rings, in lengths of the chords that join them: the first if rings are nested, or
the closing chord crosses the outline and all rings run the same way; else the second."""
FAR_LONGER = 4.0
"""A chord is at least this many times as long as the median edge."""
MOST_CHORDS, MOST_LONG = 8, 32
"""Rings are joined by at most the first number of chords; by fewer than the second if these are clearly longer."""
_RASTER = 256

Edges = NDArray[np.int64]


class RingKind(Enum):
    """What an outline is."""

    VALID = "rings with bridges, or one without a crossing"
    CROSSING = "a ring that crosses itself"
    JOINED = "rings one after the other, without a bridge"
    OVERLAPPING = "rings that cover each other in part"
    LOOSE = "rings with a bridge whose sides cross"


class Outline(NamedTuple):
    """One outline.

    Attributes:
        kind: what it is.
        rings: how many rings it consists of.
        area: square pixels that are filled wrong by it; 0 unless known.
    """

    kind: RingKind
    rings: int = 1
    area: float = 0.0


def judge_outline(x: Floats, y: Floats, least: float) -> Outline:
    """What an outline with a crossing is.

    Args:
        x, y: (n,) its corners in pixels.
        least: loops and overlaps of fewer square pixels do not count.
    """
    points = np.column_stack([x, y])
    points = points[np.any(points != np.roll(points, -1, axis=0), axis=1)]
    cut = _as_rings(points, least)
    if cut.kind not in (RingKind.CROSSING, RingKind.OVERLAPPING):
        return cut
    chords = _chords(points, least)
    return cut if chords is None else Outline(RingKind.JOINED, len(chords))


def _as_rings(points: Floats, least: float) -> Outline:
    """What an outline is once its bridges are cut."""
    rings, cut = _rings(points)
    loop = max((_largest_loop(points[ring]) for ring in rings), default=0.0)
    if loop >= least:
        loop = max((_largest_loop(_slim(points[ring])) for ring in rings), default=0.0)
    if loop >= least:
        return Outline(RingKind.CROSSING, len(rings), loop)
    solid = [points[ring] for ring in rings if abs(_area(points[ring])) >= least]
    if (common := _overlap(solid)) >= least:
        return Outline(RingKind.OVERLAPPING, len(solid), common)
    wide = [area for i, j in cut if (area := _between(points, i, j)) > max(least, NECK * _edge_length(points, i))]
    return Outline(RingKind.LOOSE if wide else RingKind.VALID, len(solid), sum(wide))


def _slim(ring: Floats) -> Floats:
    """A ring without its smallest steps, so that both sides of something thin are straight."""
    import cv2

    slim = cv2.approxPolyDP(ring.astype(np.float32)[:, None], THIN / 2, True)
    return np.asarray(slim[:, 0], np.float64)


def _crossing(points: Floats) -> Edges:
    """(m, 2) the pairs of edges (by the numbers of their first corners) that cross; touching does not count."""
    start, along = points, np.roll(points, -1, axis=0) - points
    between = start[None] - start[:, None]
    begin = along[:, None, 0] * between[..., 1] - along[:, None, 1] * between[..., 0]
    end = begin + along[:, None, 0] * along[None, :, 1] - along[:, None, 1] * along[None, :, 0]
    apart = begin * end < 0
    return np.argwhere(np.triu(apart & apart.T, 2))


def _area(ring: Floats) -> float:
    """The signed area of a ring, by the shoelace formula."""
    x, y = (ring - ring[:1]).T
    return float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y) / 2)


def _largest_loop(ring: Floats) -> float:
    """The area of the largest loop of a ring (of the parts that a crossing makes the smaller one); 0 without any."""
    if len(ring) < 4:
        return 0.0
    if len(ring) <= MOST_CORNERS and len(crossing := _crossing(ring)) <= MOST_CROSSINGS:
        return max((_loop(ring, i, j) for i, j in crossing.tolist() if not _is_neck(ring, i, j)), default=0.0)
    one, x, y = np.zeros(1, np.int64), *np.ascontiguousarray(ring.T)
    shape = Shapes(one, x, y, one, one + len(ring), np.zeros(len(ring), np.int64), np.arange(len(ring)))
    return max((crossing.loop for crossing in crossings(shape)), default=0.0)


def _is_neck(points: Floats, i: int, j: int) -> bool:
    """Whether two edges that cross are the sides of something thin, which a tool has simplified: nothing is lost."""
    a, c = points[i], points[j]
    u, v = points[(i + 1) % len(points)] - a, points[(j + 1) % len(points)] - c
    long, other = float(np.hypot(*u)), float(np.hypot(*v))
    if u @ v > ANTIPARALLEL * long * other:
        return False
    start, end = float((c - a) @ u) / long, float((c + v - a) @ u) / long  # along the first edge
    low, high = max(0.0, min(start, end)), min(long, max(start, end))
    beside = [abs(float(u[0] * w[1] - u[1] * w[0])) / long for w in (c - a, c + v - a)]
    if low >= high or start == end:
        return False
    signed = [float(u[0] * w[1] - u[1] * w[0]) / long for w in (c - a, c + v - a)]
    off = [signed[0] + (signed[1] - signed[0]) * (t - start) / (end - start) for t in (low, high)]
    return max(map(abs, off)) <= THIN and (high - low >= THIN or max(beside) <= THIN)


def _meet(points: Floats, i: int, j: int) -> Floats:
    a, b, c, d = points[i], points[(i + 1) % len(points)], points[j], points[(j + 1) % len(points)]
    u, v, w = b - a, d - c, c - a
    return np.asarray(a + u * (w[0] * v[1] - w[1] * v[0]) / (u[0] * v[1] - u[1] * v[0]))


def _loop(points: Floats, i: int, j: int) -> float:
    """The area of the smaller of the parts that the crossing of two edges makes."""
    meet = _meet(points, i, j)[None]
    inner = abs(_area(np.concatenate([meet, points[i + 1 : j + 1]])))
    return min(inner, abs(_area(np.concatenate([meet, points[j + 1 :], points[: i + 1]]))))


def _between(points: Floats, i: int, j: int) -> float:
    """The area between the two sides of a bridge: of a quadrangle, or of two triangles if they cross."""
    sides = np.stack([points[i], points[(i + 1) % len(points)], points[j], points[(j + 1) % len(points)]])
    if not len(_crossing(sides)):
        return abs(_area(sides))
    a, b, c, d = sides
    meet = _meet(sides, 0, 2)
    return abs(_area(np.stack([a, meet, d]))) + abs(_area(np.stack([b, meet, c])))


def _edge_length(points: Floats, i: int) -> float:
    return float(np.hypot(*(points[(i + 1) % len(points)] - points[i])))


def _bridges(points: Floats) -> list[tuple[int, int]]:
    """Pairs of edges that run side by side in opposite directions, the closest first."""
    if len(points) > MOST_CORNERS:
        return _exact_bridges(points)
    after = np.roll(points, -1, axis=0)
    along = after - points
    length = np.hypot(*along.T)
    far = np.hypot(*np.moveaxis(points[:, None] - after[None], 2, 0))  # from the start of one to the end of another
    shorter = np.minimum(length[:, None], length[None])
    width = np.minimum(np.maximum(NECK, BRIDGE_SHARE * shorter), LEAST_SHARE * shorter)
    turn = along @ along.T <= ANTIPARALLEL * length[:, None] * length[None]
    far = np.maximum(far, far.T)
    before = np.arange(len(points)) - 1  # edges that follow each other are a spike, which has no width
    width[before + 1, before] = width[before, before + 1] = np.minimum(width[before, before + 1], NECK)
    near = far <= width
    pairs = np.argwhere(np.triu(turn & near, 1))
    order = np.argsort([far[i, j] / shorter[i, j] for i, j in pairs.tolist()], kind="stable")
    return [(int(i), int(j)) for i, j in pairs[order][:MOST_BRIDGES].tolist()]


def _exact_bridges(points: Floats) -> list[tuple[int, int]]:
    """Pairs of edges of which one is the other one reversed."""
    corners = list(map(tuple, points.tolist()))
    number = {edge: i for i, edge in enumerate(zip(corners, corners[1:] + corners[:1], strict=True))}
    back = ((i, number.get((end, start), -1)) for (start, end), i in number.items())
    return [(i, j) for i, j in back if i < j]


def _rings(points: Floats) -> tuple[list[Edges], list[tuple[int, int]]]:
    """The rings that remain when bridges are cut, as numbers of their corners; and the bridges."""
    rings, cut = [np.arange(len(points))], []
    for i, j in _bridges(points):
        for k, ring in enumerate(rings):
            at, to = np.flatnonzero(ring == i), np.flatnonzero(ring == j)
            if len(at) and len(to) and _is_edge(ring, int(at[0]), i, points) and _is_edge(ring, int(to[0]), j, points):
                low, high = sorted((int(at[0]), int(to[0])))
                two = [ring[low + 1 : high + 1], np.concatenate([ring[high + 1 :], ring[: low + 1]])]
                least = WIDER * _between(points, i, j)  # else it is a thin object, no bridge
                if all(abs(_area(points[one])) >= least for one in two):
                    rings[k : k + 1] = two
                    cut.append((i, j))
                break
    return [ring for ring in rings if len(ring) >= 3], cut


def _is_edge(ring: Edges, place: int, corner: int, points: Floats) -> bool:
    """Whether the edge that begins at a corner of the whole outline is still one of a ring."""
    return bool(ring[(place + 1) % len(ring)] == (corner + 1) % len(points))


def _overlap(rings: list[Floats]) -> float:
    """Square pixels covered by two rings of which neither lies inside the other."""
    if len(rings) < 2:
        return 0.0
    low, high = np.min([r.min(axis=0) for r in rings], axis=0), np.max([r.max(axis=0) for r in rings], axis=0)
    scale = _RASTER / max(float((high - low).max()), 1e-9)
    masks = [_cells_inside((ring - low) * scale) for ring in rings]
    common = 0
    for i, one in enumerate(masks):
        for other in masks[:i]:
            both = int((one & other).sum())
            inside = both >= 0.95 * min(one.sum(), other.sum())  # a hole, or a part in one
            border = _RASTER // 32  # where two merely touch, rounding puts a few cells into both
            common += 0 if inside or both <= border else both
    return common / scale**2


def _cells_inside(ring: Floats) -> NDArray[np.bool_]:
    """(y, x) the cells of the raster whose centre lies in a ring, by the even-odd rule.

    Unlike `cv2.fillPoly` it draws no border, so that rings that share an edge share no cell.

    Args:
        ring: (n, 2) its corners x, y in cells, from 0 to `_RASTER`.
    """
    start = ring - 0.5
    end = np.roll(start, -1, axis=0)
    low, high = np.sort(np.ceil([start[:, 1], end[:, 1]]).astype(np.int64), axis=0)  # rows of centres, `high` excluded
    edge = np.repeat(np.arange(len(ring)), high - low)
    row = np.arange(len(edge)) - (np.cumsum(high - low) - high)[edge]
    (x, y), (across, down) = start[edge].T, (end - start)[edge].T
    crossed = np.zeros((_RASTER, _RASTER + 1), np.int64)
    np.add.at(crossed, (row, np.ceil(x + (row - y) * across / down).astype(np.int64)), 1)
    return np.cumsum(crossed[:, :-1], axis=1) % 2 > 0


def _chords(points: Floats, least: float) -> list[int] | None:
    """The edges that join rings written one after the other, the closing one last; None if it is no such outline."""
    last = len(points) - 1
    if last < 5:
        return None
    if last >= MOST_CORNERS:
        chords = [*_outliers(points), last]
        return chords if len(chords) > 1 and _are_rings(points, chords, least) else None
    crossing = _crossing(points)
    inner = crossing[(crossing != last).all(axis=1)]
    closing = len(inner) < len(crossing)
    for some in (_outliers(points), _cover(inner, points) or _best_split(points, inner)):
        chords = [*some, last]
        covered = np.isin(crossing, chords).any(axis=1).all()
        if some and covered and _are_rings(points, chords, least, closing=closing):
            return chords
    return None


def _outliers(points: Floats) -> list[int]:
    """The edges but the closing one that are far longer than the median; empty if they are many."""
    length = np.hypot(*(np.roll(points, -1, axis=0) - points).T)
    long = np.flatnonzero(length[:-1] >= FAR_LONGER * np.median(length)).tolist()
    return long if len(long) < MOST_LONG else []


def _cover(crossing: Edges, points: Floats) -> list[int]:
    """A small set of edges of which one is in each pair (greedy); empty if many are needed."""
    chords: list[int] = []
    while len(crossing):
        if len(chords) == MOST_CHORDS:
            return []
        edges, times = np.unique(crossing, return_counts=True)
        length = np.hypot(*(points[edges + 1] - points[edges]).T)
        chords.append(int(edges[np.lexsort((-length, -times))[0]]))
        crossing = crossing[(crossing != chords[-1]).all(axis=1)]
    return sorted(chords)


def _best_split(points: Floats, inner: Edges) -> list[int]:
    """If the closing edge is in all crossings, the other chord: the edge that leaves the rings most closed."""
    last = len(points) - 1
    if len(inner):
        return []
    after = np.roll(points, -1, axis=0)
    gaps = np.hypot(*(points - points[0]).T) + np.hypot(*(after - points[last]).T)
    share = gaps / (np.hypot(*(after - points).T) + np.hypot(*(points[0] - points[last])))
    return [int(np.argmin(share[2 : last - 2])) + 2] if last > 4 else []


def _between_chords(points: Floats, chords: list[int]) -> list[Floats]:
    starts = [0, *(chord + 1 for chord in chords[:-1])]
    return [points[start : chord + 1] for start, chord in zip(starts, chords, strict=True)]


def _openness(points: Floats, chords: list[int]) -> float:
    """The gaps between the ends of the rings, in lengths of the chords."""
    gaps = sum(float(np.hypot(*(part[0] - part[-1]))) for part in _between_chords(points, chords))
    after = points[(np.array(chords) + 1) % len(points)]
    return gaps / max(float(np.hypot(*(points[chords] - after).T).sum()), 1e-9)


def _are_rings(points: Floats, chords: list[int], least: float, *, closing: bool = False) -> bool:
    """Whether the parts between chords are rings: without crossings, and with gaps shorter than the chords.

    `closing` says that the closing chord crosses another edge.
    """
    parts = _between_chords(points, chords)
    if any(len(part) < 3 or _largest_loop(part) >= least for part in parts):
        return False
    signed = [_area(part) for part in parts]
    if min(map(abs, signed)) < least:
        return False
    one_way = len({size > 0 for size in signed}) == 1
    open_ = _openness(points, chords)
    return open_ <= (OPEN if _nested(parts) or (closing and one_way) else GAP_BY_CHORD)


def _nested(parts: list[Floats]) -> bool:
    """Whether all rings lie in the box around the first one: some tools write holes in the other direction."""
    low, high = parts[0].min(axis=0), parts[0].max(axis=0)
    return all(bool((part >= low).all() and (part <= high).all()) for part in parts[1:])
