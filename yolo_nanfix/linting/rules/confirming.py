"""Near duplicates: pairs of similar images that differ far less from each other than from the rest of the set.

What all images of a set share (the background of a fixed camera, the border of a scan) makes all of them similar. So a
pair is judged not by its similarity alone, but by the gap to the next images: the distances from an image to its copies
are a small fraction of the distance to the first image that is no copy. In a set of photographs that is an unrelated
image, with a fixed camera another frame.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import groupby, islice
from operator import itemgetter
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from yolo_nanfix.dataset.table import Table
from yolo_nanfix.linting.rules.label_overlap import agree
from yolo_nanfix.linting.rules.near_duplicates import Near, candidates

ALIKE = 0.93
"""The least correlation of two similar images, at 32x32 grey pixels."""
CROPPED, CROPPABLE = 0.99, 0.6
"""The least correlation of an image with a cropped one after alignment, and before."""
GAP = 1 / 8
"""Copies are nearer than this fraction of the (squared) distance to the second image that is no copy. Measured: copies,
also saved at quality 40 or at half the size, stay below 0.03, frames of a fixed camera above 0.2."""
MOST_COPIES = 10
"""Copies of an image at most; more are an empty scene, or a set of one picture."""
STRANGE = 1.0
"""The squared distance of two unrelated photographs, for sets without such a pair."""
SAME_SPOT = 0.35
"""The largest difference of two copies, in standard deviations, over 3x3 of 64x64 pixels: where it is larger, one image
shows something else. Saved again at half the size they differ by up to 0.3."""
FITTED = 0.5
"""The same for an aligned cropped image, which fits to a fraction of a pixel only."""
FEW_UNDECIDED, UNDECIDED = 3, 0.01
"""Up to so many pairs without boxes that differ in places only, or this share of all images, have captions or the like;
more are frames of cameras."""
BLOCK, STEP = 512, 256
"""How many images are compared each with each; larger groups are compared in overlapping blocks, in such steps."""
SAMPLE = 128
"""How many other images are sampled for the distances in the set; smaller sets are compared each with each."""
MOST_READ = 20_000
"""Images that are decoded at most."""
MOST_LAID = 2000
"""Pairs that are aligned at most, which takes about a millisecond each."""
PLAIN, PLAIN_SHARE = 2, 0.6
"""In a drawing, this share of pixels has neighbours within so many grey levels; drawings of one sign can be aligned."""
LEAST_SIDE = 40
"""Images with fewer pixels a side have little detail: two different digits of 28x28 pixels can be aligned."""
SMALL_ALIKE = 0.99
"""The least correlation of two copies of such images; digits of one writer have up to 0.985."""
TRIES = 8
"""How many candidates are compared with one image, those with the closest hashes."""
ROUNDING = 1e-5
"""Rounding error of a distance."""
_FINE, _SIDE = 64, 32
_CELLS = 96
"""Images are decoded with at least so many pixels a side, so that the padding of a JPEG's last blocks is small."""
_NOTHING = -1e4
"""The value of pixels outside of an aligned image."""
_SHRUNK, _SKEWED, _SHIFTED = 0.15, 0.1, 10.0
"""How far a crop may change scale, shear (as parts) and place (in pixels of 64)."""

Indices = NDArray[np.int64]
Float32 = NDArray[np.float32]
Pixel = TypeVar("Pixel", bound=np.generic)


def near_pairs(table: Table, channels: int, copies: Collection[int] = ()) -> tuple[list[Near], dict[int, int], int]:
    """Images that repeat an earlier one, also mirrored, rotated or cropped, without being the same file.

    Args:
        table: the dataset; without looks nothing is found.
        channels: as in data.yaml.
        copies: images that need no partner.

    Returns:
        For each image that repeats an earlier one the pair of both, with one of another split if there is one; the
        images that look like another one, but no more so than others of the set, each with that one, in order; and how
        many images were compared with some others only.
    """
    first, second, distance, passed_over = candidates(table.looks)
    same = _one_file(table, first, second)
    same |= np.isin(second, np.array(sorted(copies), np.int64))
    first, second, distance = first[~same], second[~same], distance[~same]
    across = table.split[first] != table.split[second]
    order = np.lexsort((first, distance, ~across, second))
    pictures = _Pictures(table, channels)
    pictures.left_out.update(passed_over.tolist())
    links = list(_links(pictures, first[order], second[order]))
    pairs: list[Near] = []
    small = 1 < len(table.looks) <= SAMPLE
    for block, whole in [([], True)] if small else _blocks(pictures, links):
        pictures.left_out.update(() if whole else block)
        pairs += _judge(pictures, block, [link for link in links if link.cropped])
    if len(pictures.undecided) <= max(FEW_UNDECIDED, UNDECIDED * len(table.files)):
        pairs += pictures.undecided
    no_need = set(copies)
    best: dict[int, Near] = {}
    for pair in pairs:
        held = best.get(pair.second)
        if pair.second not in no_need and (held is None or _rank(table, pair) > _rank(table, held)):
            best[pair.second] = pair
    pairs = [best[image] for image in sorted(best)]
    told = {image for pair in pairs for image in pair[:2]}
    unsure = {link.second: link.first for link in links if link.second not in told}
    unsure |= {link.first: link.second for link in links if link.first not in told and link.first not in unsure}
    return pairs, dict(sorted(unsure.items())), len(pictures.left_out)


def _rank(table: Table, pair: Near) -> tuple[bool, float]:
    """The order of pairs of one image: those across splits, then the more similar ones."""
    return bool(table.split[pair.first] != table.split[pair.second]), pair.alike


def _one_file(table: Table, first: Indices, second: Indices) -> NDArray[np.bool_]:
    """Which images are the same bytes, or the same file, as others."""
    same = (table.content[first] == table.content[second]) & (table.size[first] == table.size[second])
    same |= (table.identity[first] == table.identity[second]) & (table.identity[first] != 0)
    return np.asarray(same, np.bool_)


def turned(picture: NDArray[Pixel]) -> list[NDArray[Pixel]]:
    """A picture, mirrored and turned in the order of `image_stats.LOOKS`."""
    return [side for up in (picture, picture.swapaxes(0, 1)) for side in (up, up[:, ::-1], up[::-1], up[::-1, ::-1])]


class _Pictures:
    """Small copies of images, each decoded once.

    Attributes:
        left_out: images that were compared with some others only, or not decoded, because there were too many.
        laid: alignments that were tried.
        undecided: close pairs that differ in places, and have no labels to tell whether that is an object.
    """

    def __init__(self, table: Table, channels: int) -> None:
        self.left_out: set[int] = set()
        self.laid = 0
        self.undecided: list[Near] = []
        self.table = table
        self._channels = channels
        self._known: dict[int, NDArray[np.uint8] | None] = {}

    def fine(self, image: int) -> NDArray[np.uint8] | None:
        """(64, 64), grey; None if it cannot be decoded, or too many were."""
        if image not in self._known:
            if len(self._known) >= MOST_READ:
                self.left_out.add(image)
                return None
            from yolo_nanfix.dataset.image_stats import small_copy

            small = small_copy(self.table.files[image], self._channels, _CELLS)
            fine = None if small is None else cv2.resize(small, (_FINE, _FINE), interpolation=cv2.INTER_AREA)
            self._known[image] = None if fine is None else np.asarray(fine, np.uint8)
        return self._known[image]

    def coarse(self, image: int) -> Float32 | None:
        """(32, 32), so scaled that a product of two is their correlation."""
        fine = self.fine(image)
        return None if fine is None else _scaled(fine.reshape(_SIDE, 2, _SIDE, 2).mean(axis=(1, 3), dtype=np.float32))

    def stacked(self, images: Iterable[int]) -> tuple[Indices, Float32]:
        """Those of some images that are not of one colour, and their coarse copies as rows."""
        found = [(image, copy.ravel()) for image in images if (copy := self.coarse(image)) is not None]
        if not found:
            return np.zeros(0, np.int64), np.zeros((0, _SIDE**2), np.float32)
        return np.array([image for image, _ in found]), np.stack([copy for _, copy in found])


def _scaled(picture: Float32) -> Float32 | None:
    """Without its mean, of length 1; None for one colour."""
    picture = picture - picture.mean()
    length = float(np.linalg.norm(picture))
    return picture / np.float32(length) if length else None


def _links(pictures: _Pictures, first: Indices, second: Indices) -> Iterator[Near]:
    """For each image the first of its candidates that is similar."""
    for image, pairs in groupby(zip(second.tolist(), first.tolist(), strict=True), itemgetter(0)):
        copy = pictures.coarse(image)
        if copy is None:
            continue
        sides = np.stack([side.ravel() for side in turned(copy)])
        for _, other in islice(pairs, TRIES):
            if (mine := pictures.coarse(other)) is None:
                continue
            alike = sides @ mine.ravel()
            turn = int(np.argmax(alike))
            laid = _laid_upon(pictures, other, image, turn) if CROPPABLE <= alike[turn] < CROPPED else 0.0
            if laid >= CROPPED or alike[turn] >= ALIKE:
                yield Near(other, image, turn, max(laid, float(alike[turn])), laid >= CROPPED)
                break


def _laid_upon(pictures: _Pictures, first: int, second: int, turn: int) -> float:
    """The correlation of two images where they overlap, one of them cropped a little; 0 if they do not fit."""
    if _is_small(pictures, first, second):
        return 0.0
    pictures.laid += 1
    if pictures.laid > MOST_LAID:
        return 0.0
    one, other = pictures.fine(first), pictures.fine(second)
    if one is None or other is None:
        return 0.0
    if _is_plain(one) or _is_plain(other):
        return 0.0
    other = np.ascontiguousarray(turned(other)[turn])
    return max(_fitted(one, other), _fitted(other, one))


def _is_small(pictures: _Pictures, *images: int) -> bool:
    """Whether one of some images has too few pixels to recognise a copy."""
    table = pictures.table
    return any(min(table.width[i], table.height[i]) < LEAST_SIDE for i in images)


def _is_plain(picture: NDArray[np.uint8]) -> bool:
    """Whether a picture is a drawing on a plain background, so that a crop cannot be told from another drawing."""
    around = np.ones((3, 3), np.uint8)
    return bool(((cv2.dilate(picture, around) - cv2.erode(picture, around)) <= PLAIN).mean() >= PLAIN_SHARE)


def _fitted(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """The correlation of two pictures after the second was aligned (ECC); 0 if they still differ."""
    move = np.eye(2, 3, dtype=np.float32)
    stop = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 20, 1e-3)
    try:
        alike, move = cv2.findTransformECC(one, other, move, cv2.MOTION_AFFINE, stop, None, 3)  # type: ignore[call-overload]
    except cv2.error:  # the two do not converge
        return 0.0
    off = np.abs(move - np.eye(2, 3))
    small = off[0, 0] <= _SHRUNK and off[1, 1] <= _SHRUNK and max(off[0, 1], off[1, 0]) <= _SKEWED
    if alike < CROPPED or not small or off[:, 2].max() > _SHIFTED:
        return 0.0
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    moved = cv2.warpAffine(other.astype(np.float32), move, one.shape, flags=how, borderValue=_NOTHING)
    common = cv2.erode((moved >= 0).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    pictures = [(p - p[common].mean()) / max(float(p[common].std()), 1.0) for p in (one.astype(np.float32), moved)]
    apart = np.where(common, pictures[0] - pictures[1], 0)
    return float(alike) if np.abs(cv2.blur(apart, (3, 3))).max() <= FITTED else 0.0


def _blocks(pictures: _Pictures, links: Sequence[Near]) -> Iterator[tuple[list[int], bool]]:
    """The linked images in blocks, connected ones together if they fit in one; and whether they do."""
    leader = {image: image for link in links for image in link[:2]}

    def top(image: int) -> int:
        while leader[image] != image:
            leader[image] = image = leader[leader[image]]
        return image

    for link in links:
        leader[top(link.second)] = top(link.first)
    groups: dict[int, list[int]] = {}
    for image in sorted(leader):
        groups.setdefault(top(image), []).append(image)
    block: list[int] = []
    for members in groups.values():
        if block and len(block) + len(members) > BLOCK:
            yield block, True
            block = []
        if len(members) <= BLOCK:
            block += members
            continue
        lined_up = _lined_up(pictures, members)
        for low in range(0, len(lined_up) - STEP, STEP):
            yield lined_up[low : low + BLOCK], False
    if block:
        yield block, True


def _lined_up(pictures: _Pictures, members: list[int]) -> list[int]:
    """Images sorted by their principal component, so that copies, also rotated ones, are close to each other."""
    images, copies = pictures.stacked(members)
    rows = np.sum(_all_turned(copies), axis=0).T  # the same for all orientations of a picture
    rows = rows - rows.mean(axis=0)
    part = rows[np.argmax(np.square(rows).sum(axis=1))]
    for _ in range(8):
        part = rows.T @ (rows @ part)
        part = part / max(float(np.linalg.norm(part)), 1e-12)
    order: list[int] = images[np.argsort(rows @ part, kind="stable")].tolist()
    return order


def _judge(pictures: _Pictures, block: list[int], cropped: list[Near]) -> Iterator[Near]:
    """The pairs of copies among some images, compared with a sample of the set."""
    images, copies = pictures.stacked(sorted({*block, *_sample(pictures.table, block)}))
    best, turn = _compared(copies, copies)
    np.fill_diagonal(best, -1.0)
    place = {image: i for i, image in enumerate(images.tolist())}
    laid = np.zeros(best.shape, np.bool_)
    for link in cropped:
        i, j = place.get(link.first), place.get(link.second)
        if i is not None and j is not None:
            best[[i, j], [j, i]], laid[[i, j], [j, i]] = link.alike, True
    far = 2 - 2 * best
    reach = ROUNDING + _reach(far)
    close = (
        (far <= reach[:, None]) & (far <= reach[None, :]) & ~_one_file(pictures.table, images[:, None], images[None, :])
    )
    for j in np.flatnonzero(close.any(axis=0)).tolist():
        second, earlier = int(images[j]), np.flatnonzero(close[:j, j])
        across = pictures.table.split[images[earlier]] != pictures.table.split[second]
        open_ = []
        for i in earlier[np.lexsort((-best[earlier, j], ~across))].tolist():
            pair = Near(int(images[i]), second, int(turn[i, j]), float(best[i, j]))
            same = bool(laid[i, j]) or _shows_the_same(pictures, pair)
            if same:
                yield pair
                break
            open_ += [pair] if same is None else []
        else:
            pictures.undecided += open_[:1]


def _sample(table: Table, block: Sequence[int]) -> list[int]:
    """Some images that are not in the block, spread over the set."""
    free = np.ones(len(table.files), np.bool_)
    free[block] = False
    rest = np.flatnonzero(free & (table.looks[:, 0] != 0))
    if len(rest) > SAMPLE:
        rest = rest[np.linspace(0, len(rest) - 1, SAMPLE).astype(np.int64)]
    return rest.tolist()


def _compared(one: Float32, other: Float32) -> tuple[Float32, NDArray[np.int8]]:
    """(n, m) the best correlation of each of n pictures with each of m, in any orientation of the latter, and which."""
    best = np.full((len(one), len(other)), -1.0, np.float32)
    turn = np.zeros(best.shape, np.int8)
    for k, side in enumerate(_all_turned(other)):
        alike = one @ side
        better = alike > best
        np.copyto(best, alike, where=better)
        turn[better] = k
    return best, turn


def _all_turned(copies: Float32) -> list[Float32]:
    """Pictures (n, 1024) in all orientations, each as (1024, n)."""
    upright = np.moveaxis(copies.reshape(-1, _SIDE, _SIDE), 0, 2)
    return [np.ascontiguousarray(side).reshape(_SIDE**2, -1) for side in turned(upright)]


def _reach(far: Float32) -> Float32:
    """(n,) the distance of the farthest copy of each image, from (n, m) squared distances; below 0 if it has none."""
    ends = np.full((len(far), MOST_COPIES + 2), STRANGE, np.float32)
    near = np.concatenate([far, ends], axis=1)
    near = np.sort(np.partition(near, MOST_COPIES + 1, axis=1)[:, : MOST_COPIES + 2], axis=1)
    inside = near[:, :-2] <= np.minimum(2 - 2 * ALIKE, GAP * near[:, 2:])
    count = np.where(inside, np.arange(1, inside.shape[1] + 1), 0).max(axis=1)
    return np.where(count > 0, near[np.arange(len(near)), np.maximum(count, 1) - 1], -1.0).astype(np.float32)


def _shows_the_same(pictures: _Pictures, pair: Near) -> bool | None:
    """Whether two images are equal, perhaps after alignment, or (a caption differs) agree in labels; None: unknown."""
    one, other = pictures.fine(pair.first), pictures.fine(pair.second)
    if one is None or other is None:
        return False
    one_, other_ = _scaled(one.astype(np.float32)), _scaled(other.astype(np.float32))
    if one_ is None or other_ is None:
        return False
    apart = cv2.blur((one_ - turned(other_)[pair.turn]) * _FINE, (3, 3))
    if _is_small(pictures, pair.first, pair.second) or _is_plain(one) or _is_plain(other):
        return pair.alike >= SMALL_ALIKE and bool(np.abs(apart).max() <= SAME_SPOT)
    if np.abs(apart).max() <= SAME_SPOT or _laid_upon(pictures, *pair[:3]) >= CROPPED:
        return True
    return agree(pictures.table, pair.first, pair.second, pair.turn)
