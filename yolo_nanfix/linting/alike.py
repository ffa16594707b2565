"""Which images of a dataset are the same, or nearly: candidates from the table, confirmed by their files.

Both searches are linear in the number of images: groups of equal hashes are compared with their first member, and of
larger groups of similar hashes a fixed number of members is compared. What was left out is counted.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from xxhash import xxh3_128

from yolo_nanfix.linting.table import Table

RADIUS = 8
"""Hashes that differ in more bits are not alike. Up to 3 bits no pair is missed, above that most are found."""
GROUP = 256
"""So many members of a group that share 16 bits of their hash are compared with the others."""
KEPT = 3
"""So many candidates in such a group are kept for one image and turn: the first, which are those of train."""
MOST_READ = 20_000
"""So many images are decoded at most to confirm that they are alike."""
TRIES = 8
"""So many candidates are compared with one image, those of the closest hashes."""
ALIKE = 0.93
"""The least correlation, at 32x32 grey pixels, of two images that are alike."""
_SIDE = 32
_CHUNK = 1 << 22
_BLOCK = 1 << 20
_BANDS = (0, 16, 32, 48)

Indices = NDArray[np.int64]


class Near(NamedTuple):
    """Two images that look alike.

    Attributes:
        first, second: their indices in the table; `first` is smaller.
        turn: how the second is turned against the first (index into `deep.LOOKS`).
        alike: correlation of the two at 32x32 pixels.
    """

    first: int
    second: int
    turn: int
    alike: float


def same_groups(table: Table) -> list[list[int]]:
    """Groups of two and more different files with the same bytes, each in the order of the table.

    Names of one file (links, repeated lists) count once. Every file of a group was read to its end.
    """
    there = np.flatnonzero((table.content != 0) & (table.size > 0))
    content = np.sort(table.content[there])
    equal = content[1:] == content[:-1]
    if not equal.any():
        return []
    order = there[np.argsort(table.content[there], kind="stable")]
    groups: dict[tuple[int, bytes], list[int]] = defaultdict(list)
    known: dict[int, bytes] = {}
    identity = table.identity
    doubtful = order[np.concatenate(([False], equal)) | np.concatenate((equal, [False]))]
    for image in np.sort(doubtful).tolist():
        file = int(identity[image])
        if file and file in known:
            continue
        digest = _digest(table.files[image])
        known[file] = digest
        if digest:
            groups[int(table.size[image]), digest].append(image)
    return [members for members in groups.values() if len(members) > 1]


def _digest(file: str) -> bytes:
    """A hash of 128 bits of all bytes of a file; empty if it cannot be read."""
    state = xxh3_128()
    try:
        with open(file, "rb", buffering=0) as stream:
            while block := stream.read(_BLOCK):
                state.update(block)
    except OSError:
        return b""
    return state.digest()


def near_pairs(table: Table, channels: int, copies: Collection[int] = ()) -> tuple[list[Near], int]:
    """Images that look like an earlier one, also mirrored or turned, without being the same file.

    Args:
        table: the dataset; without looks nothing is found.
        channels: as in data.yaml.
        copies: images that need no partner.

    Returns:
        for each such image the earlier one, of another split if there is one; and how many images were compared with
        some others only, because too many look alike.
    """
    first, second, distance, left_out = candidates(table.looks)
    same = (table.content[first] == table.content[second]) & (table.size[first] == table.size[second])
    same |= (table.identity[first] == table.identity[second]) & (table.identity[first] != 0)
    same |= np.isin(second, np.array(sorted(copies), np.int64))
    first, second, distance = first[~same], second[~same], distance[~same]
    across = table.split[first] != table.split[second]
    order = np.lexsort((first, distance, ~across, second))
    pairs = []
    small = _Copies(table, channels)
    for image, others in _runs(first[order], second[order]):
        left_out += len(others) > TRIES
        for other in others[:TRIES]:
            if found := small.compare(other, image):
                pairs.append(found)
                break
    return pairs, left_out + small.left_out


def candidates(looks: NDArray[np.uint64]) -> tuple[Indices, Indices, Indices, int]:
    """Pairs of rows (first < second) of which a hash of one differs from the first hash of the other in at most
    `RADIUS` bits; that distance; and how many images were compared with some others only.

    Args:
        looks: (N, 8) hashes; rows that begin with 0 show nothing and are like no other.
    """
    seen = np.flatnonzero(looks[:, 0] != 0) if len(looks) else np.zeros(0, np.int64)
    _, at, inverse = np.unique(looks[seen, 0], return_index=True, return_inverse=True)
    leader = seen[at][inverse.ravel()]
    copied = seen[leader != seen]
    found = [(leader[leader != seen], copied, np.zeros(len(copied), np.int64))]
    members = np.sort(seen[at])
    left_out = np.zeros(len(members), np.bool_)
    for band in _BANDS:
        found += [(members[i], members[j], d) for i, j, d in _in_band(looks[members], band, left_out)]
    first, second, distance = (np.concatenate(parts) for parts in zip(*found, strict=True))
    order = np.lexsort((distance, second, first))
    first, second, distance = first[order], second[order], distance[order]
    fresh = np.ones(len(first), np.bool_)
    fresh[1:] = (first[1:] != first[:-1]) | (second[1:] != second[:-1])
    return first[fresh], second[fresh], distance[fresh], int(left_out.sum())


def _in_band(
    looks: NDArray[np.uint64], band: int, left_out: NDArray[np.bool_]
) -> Iterator[tuple[Indices, Indices, Indices]]:
    """Pairs (i < j) within `RADIUS` that share 16 bits from bit `band` on; marks whom `GROUP` left out."""
    keys = ((looks >> np.uint64(band)) & np.uint64(0xFFFF)).astype(np.int64)
    order = np.argsort(keys[:, 0], kind="stable")
    counts = np.bincount(keys[:, 0], minlength=1 << 16)
    starts = np.cumsum(counts) - counts
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order)) - starts[keys[order, 0]]
    left_out |= place >= GROUP
    counts = np.minimum(counts, GROUP)
    for turn in range(looks.shape[1]):
        many = counts[keys[:, turn]]
        ends = np.cumsum(many)
        for low, high in _chunks(ends):
            times = many[low:high]
            j = np.repeat(np.arange(low, high), times)
            offset = np.arange(len(j)) - np.repeat(np.cumsum(times) - times, times)
            i = order[starts[keys[j, turn]] + offset]
            ahead = i < j
            i, j = i[ahead], j[ahead]
            distance = _ones(looks[i, 0] ^ looks[j, turn])
            close = np.flatnonzero(distance <= RADIUS)
            close = close[_rank(j[close]) < KEPT]
            if len(close):
                yield i[close], j[close], distance[close]


def _rank(values: Indices) -> Indices:
    """How many equal values stand before each of the sorted values."""
    return np.arange(len(values)) - np.searchsorted(values, values)


def _chunks(ends: Indices) -> Iterator[tuple[int, int]]:
    """Ranges of rows of which each expands to some millions of pairs."""
    low = 0
    while low < len(ends):
        before = int(ends[low - 1]) if low else 0
        high = max(low + 1, int(np.searchsorted(ends, before + _CHUNK, side="right")))
        yield low, high
        low = high


def _ones(x: NDArray[np.uint64]) -> Indices:
    """How many bits are set."""
    if hasattr(np, "bitwise_count"):  # numpy 2
        return np.asarray(np.bitwise_count(x), np.int64)
    bits = np.unpackbits(x.view(np.uint8).reshape(-1, 8), axis=1)
    return np.asarray(bits.sum(axis=1), np.int64)


def _runs(first: Indices, second: Indices) -> Iterator[tuple[int, list[int]]]:
    """Each value of the sorted `second` with those of `first` that stand beside it."""
    if len(second):
        cuts = np.flatnonzero(np.diff(second)) + 1
        for part in np.split(np.arange(len(second)), cuts):
            yield int(second[part[0]]), first[part].tolist()


class _Copies:
    """Small copies of images, each decoded once, scaled so that a product of two is their correlation."""

    def __init__(self, table: Table, channels: int) -> None:
        self.left_out = 0
        self._table, self._channels = table, channels
        self._known: dict[int, NDArray[np.float32] | None] = {}

    def compare(self, first: int, second: int) -> Near | None:
        """The two images, if they look alike in some turn."""
        one, other = self._copy(first), self._copy(second)
        if one is None or other is None:
            return None
        upright = [other, other[:, ::-1], other[::-1], other[::-1, ::-1]]
        turned = other.T
        turned_ones = [turned, turned[:, ::-1], turned[::-1], turned[::-1, ::-1]]
        alike = [float((one * copy).sum()) for copy in (*upright, *turned_ones)]
        turn = int(np.argmax(alike))
        return Near(first, second, turn, alike[turn]) if alike[turn] >= ALIKE else None

    def _copy(self, image: int) -> NDArray[np.float32] | None:
        if image not in self._known:
            if len(self._known) >= MOST_READ:
                self.left_out += 1
                return None
            self._known[image] = self._read(image)
        return self._known[image]

    def _read(self, image: int) -> NDArray[np.float32] | None:
        import cv2

        from yolo_nanfix.linting.deep import small_copy

        small = small_copy(self._table.files[image], self._channels)
        if small is None:
            return None
        copy = cv2.resize(small, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
        copy -= copy.mean()
        length = float(np.linalg.norm(copy))
        return copy / length if length else None
