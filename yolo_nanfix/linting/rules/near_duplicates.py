"""Equal images of a dataset, confirmed by their bytes, and candidates for near duplicates, by perceptual hashes.

Both searches are linear in the number of images: groups of equal hashes are compared with their first member, and of
larger groups of similar hashes a fixed number of members is compared. Images that this leaves out are counted.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from xxhash import xxh3_128

from yolo_nanfix.dataset.table import Table
from yolo_nanfix.files import ANYWHERE

RADIUS = 12
"""Images whose hashes differ in more bits are no candidates: up to 3 bits no pair is missed, at 8 bits half are."""
GROUP = 256
"""So many members of a group that share 16 bits of their hash are compared with the others."""
CLOSEST = 3
"""So many candidates in such a group are kept for one image and turn: the closest, of these the first."""
_CHUNK = 1 << 22
_BLOCK = 1 << 20
_AT_ONCE = 1 << 16
_BANDS = (0, 16, 32, 48)

Indices = NDArray[np.int64]


class Near(NamedTuple):
    """Two similar images.

    Attributes:
        first, second: their indices in the table; `first` is smaller.
        turn: the orientation of the second relative to the first (index into `image_stats.LOOKS`).
        alike: their correlation at 32x32 pixels; of a cropped one after it was aligned with the other.
        cropped: whether one had to be aligned.
    """

    first: int
    second: int
    turn: int
    alike: float
    cropped: bool = False


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
        digest = _file_digest(table.files[image])
        known[file] = digest
        if digest:
            groups[int(table.size[image]), digest].append(image)
    return [members for members in groups.values() if len(members) > 1]


def _file_digest(file: str) -> bytes:
    """A hash of 128 bits of all bytes of a file; empty if it cannot be read."""
    state = xxh3_128()
    try:
        with ANYWHERE.open(file) as stream:
            while block := stream.read(_BLOCK):
                state.update(block)
    except (OSError, ValueError):
        return b""
    return state.digest()


def candidates(looks: NDArray[np.uint64]) -> tuple[Indices, Indices, Indices, Indices]:
    """Pairs of images with similar hashes.

    Args:
        looks: (N, 8) hashes; rows that begin with 0 are of blank images and similar to no other.

    Returns:
        First and second row of each pair (first < second), of which a hash of one differs from the first hash of the
        other in at most `RADIUS` bits; that distance; and the rows that were compared with some others only.
    """
    seen = np.flatnonzero(looks[:, 0] != 0) if len(looks) else np.zeros(0, np.int64)
    _, at, inverse = np.unique(looks[seen, 0], return_index=True, return_inverse=True)
    leader = seen[at][inverse.ravel()]
    copied = seen[leader != seen]
    found = [(leader[leader != seen], copied, np.zeros(len(copied), np.int64))]
    members = np.sort(seen[at])
    left_out = np.zeros(len(members), np.bool_)
    hashes = looks[members]
    for sorted_bits in (hashes, _by_fours(hashes)):
        for band in _BANDS:
            found += [(members[i], members[j], d) for i, j, d in _in_band(sorted_bits, band, left_out)]
    first, second, distance = (np.concatenate(parts) for parts in zip(*found, strict=True))
    order = np.lexsort((distance, second, first))
    first, second, distance = first[order], second[order], distance[order]
    fresh = np.ones(len(first), np.bool_)
    fresh[1:] = (first[1:] != first[:-1]) | (second[1:] != second[:-1])
    return first[fresh], second[fresh], distance[fresh], members[left_out]


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
            close = close[np.lexsort((distance[close], j[close]))]
            close = close[_rank(j[close]) < CLOSEST]
            if len(close):
                yield i[close], j[close], distance[close]


def _by_fours(hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The hashes with every fourth bit together, so that other bits share a band."""
    result = np.empty_like(hashes)
    for low in range(0, len(hashes), _AT_ONCE):
        part = np.ascontiguousarray(hashes[low : low + _AT_ONCE], "<u8")
        bits = np.unpackbits(part.view(np.uint8).reshape(-1, 8), axis=1, bitorder="little")
        apart = bits.reshape(-1, 16, 4).transpose(0, 2, 1).reshape(-1, 64)
        result[low : low + _AT_ONCE] = np.packbits(apart, axis=1, bitorder="little").view("<u8").reshape(part.shape)
    return result


def _rank(values: Indices) -> Indices:
    """How many equal values precede each of the sorted values."""
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
