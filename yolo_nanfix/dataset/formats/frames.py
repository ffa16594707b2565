"""In which frame the boxes of turned images were drawn: in that of the stored pixels, or in that of the shown picture.

Ultralytics trains on the picture as EXIF turns it, so boxes, width and height have to be those of the shown one. What
they are, a width that is not the height tells, and boxes that fit into one of the two frames alone.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from yolo_nanfix.dataset.box_units import GRID, GRID_CHANCE, GRID_SHARE

SPILL = 0.02
"""A box reaches out of a frame if it does by more than this part of the side: careless drawing spills less."""
DIGITS = 6
"""Decimals of the numbers in label files as tools write them."""
LEAST = 3
"""So many boxes have to reach out of the shown picture, where width and height are right, before that is said."""


class Frame(IntEnum):
    """What width, height and boxes of a turned image are, where it matters."""

    RIGHT = 0
    """Of the shown picture, or nothing tells; or stretched from it to the sides of the stored pixels that are given."""
    STORED = 1
    """All of them those of the stored pixels, as far as can be told."""
    SWAPPED = 2
    """The boxes of the shown picture; width and height of the stored pixels."""
    UNTURNED = 3
    """The boxes of the stored pixels; width and height of the shown picture."""


class Spills(NamedTuple):
    """For each of N images how many of its boxes reach out of the frames, and how many lie on whole pixels.

    Attributes:
        boxes: all boxes.
        stored, shown: those that reach out of either frame.
        drawn: those on whole pixels.
        stretched: those on whole pixels if they were stretched from the shown picture to the stored sides, as tools do
            that make pixels of YOLO labels with the width and height of the header.
        rounded: those that are numbers of a YOLO label file, of so few decimals, once divided by the stored sides.
    """

    boxes: NDArray[np.int64]
    stored: NDArray[np.int64]
    shown: NDArray[np.int64]
    drawn: NDArray[np.int64]
    stretched: NDArray[np.int64]
    rounded: NDArray[np.int64]


def spills(stored: NDArray[np.int64], owner: NDArray[np.int32], box: NDArray[np.float64]) -> Spills:
    """Count boxes by the stored frames, and by the shown ones, which are (height, width).

    Args:
        stored: (N, 2) width and height.
        owner: (R,) the image of each box.
        box: (R, 4) centre and sides in pixels.
    """
    count, half = len(stored), np.abs(box[:, 2:]) / 2
    low, high = box[:, :2] - half, box[:, :2] + half
    found = []
    for frame in (stored, stored[:, ::-1]):
        size = frame[owner]
        out = ((low < -SPILL * size) | (high > size * (1 + SPILL))).any(axis=1)
        found.append(np.bincount(owner[out], minlength=count))
    ratio = (stored[:, ::-1] / stored)[owner]
    for scale in (np.ones_like(ratio), ratio):
        halves = box * np.tile(scale, 2) * (2, 2, 1, 1)
        on = (np.abs(halves - np.round(halves)) < GRID).all(axis=1)
        found.append(np.bincount(owner[on], minlength=count))
    parts = box / np.tile(stored[owner], 2) * 10**DIGITS
    found.append(np.bincount(owner[(np.abs(parts - np.round(parts)) < GRID).all(axis=1)], minlength=count))
    return Spills(np.bincount(owner, minlength=count), *found)


def judge(
    given: NDArray[np.int64], stored: NDArray[np.int64], turned: NDArray[np.bool_], out: Spills
) -> NDArray[np.int8]:
    """(N,) the `Frame` of each image.

    Args:
        given: (N, 2) width and height that the annotations give.
        stored: (N, 2) those of the stored pixels; 0 where they are not known.
        turned: (N,) whether EXIF turns the image by a quarter.
        out: its boxes.
    """
    frame = np.zeros(len(given), np.int8)
    told = turned & (stored[:, 0] != stored[:, 1]) & (stored > 0).all(axis=1) & (out.boxes > 0)
    as_stored = told & (given == stored).all(axis=1)
    boxes, drawn, *made = (int(out[i][as_stored].sum()) for i in (0, 3, 4, 5))
    if boxes and max(made) >= GRID_SHARE * boxes and drawn <= GRID_CHANCE * boxes:
        as_stored[:] = False  # divided by the sides that are given, they are as they were drawn
    as_shown = told & (given == stored[:, ::-1]).all(axis=1)
    evidence = np.sign(out.stored - out.shown)
    evidence[evidence == 0] = np.sign(evidence[as_stored].sum())
    frame[as_stored] = np.where(evidence[as_stored] > 0, Frame.SWAPPED, Frame.STORED)
    if out.shown[as_shown].sum() >= LEAST and not out.stored[as_shown].any():
        frame[as_shown] = Frame.UNTURNED
    return frame


class Turned(NamedTuple):
    """What there is to say of some images of one frame: how many, the first, its sizes, and the boxes of all."""

    frame: Frame
    images: int
    first: int
    given: tuple[int, int]
    stored: tuple[int, int]
    boxes: int
    out_of_stored: int
    out_of_shown: int

    def words(self, name: str, total: int) -> str:
        """All of it in a sentence; `name` is the first image's."""
        (w, h), (wide, high) = self.given, self.stored
        shown = f"{high}x{wide}"
        start = f"{self.images} of {total} images are turned by EXIF, and"
        first = f"{name} is {shown} as shown, {wide}x{high} as stored"
        if self.frame is Frame.SWAPPED:
            proof = f"{self.out_of_stored} of {self.boxes} boxes reach out of the size that is given"
            return f"{start} width and height are swapped: {first}, and {w}x{h} is given; {proof}"
        if self.frame is Frame.UNTURNED:
            proof = f"{self.out_of_shown} of {self.boxes} boxes reach out of the shown picture, none out of the stored"
            return f"{start} their boxes are those of the stored pixels: {first}; {proof}"
        proof = f"{self.out_of_shown} of {self.boxes} boxes reach out of the shown picture"
        proof = proof if self.out_of_shown else "that the boxes were drawn there too is likely, but not proven"
        return f"{start} width and height are those of the stored pixels: {first}, and {w}x{h} is given; {proof}"


def summary(
    frame: NDArray[np.int8], given: NDArray[np.int64], stored: NDArray[np.int64], out: Spills, among: NDArray[np.intp]
) -> list[Turned]:
    """For each frame that is not right and that some of these images have, what there is to say."""
    found = []
    for kind in (Frame.STORED, Frame.SWAPPED, Frame.UNTURNED):
        own = among[frame[among] == kind]
        if len(own):
            first = int(own[0])
            sums = (int(counts[own].sum()) for counts in out[:3])
            sizes = [(int(size[first, 0]), int(size[first, 1])) for size in (given, stored)]
            found.append(Turned(kind, len(own), first, sizes[0], sizes[1], *sums))
    return found
