"""The dataset as columns, one row per image and one per label row, for rules over the whole set.

All columns can be cached in a file and read back without the dataset.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from yolo_nanfix.dataset.config import DataConfig

T = TypeVar("T", bound=np.generic)


Where = Callable[[int], tuple[int | None, str]]
"""From the number of a row in an annotation file to its line (None if unknown) and its name in messages."""


@dataclass(frozen=True)
class Table:
    """N images, each once however often it is listed, and the R label rows that could be read.

    Attributes:
        files: the N image files, as Ultralytics lists them.
        labels: the path at which Ultralytics looks for the label file of each.
        split_names: the splits, in order.
        split: (N,) int8, the split (by number) in which an image is met first.
        splits: for each split the indices of its images, repeated where a file is listed twice.
        labelled: (N,) bool, whether the label file exists.
        size: (N,) int64, bytes of the image file.
        inode: (N, 2) int64, device and file number; equal for two names of one file, 0 where there is no file.
        width, height: (N,) int32, pixels as trained on, rotated by EXIF; 0 if unknown.
        turn: (N,) int8, the orientation that training applies to the stored image, 1 (upright) to 8; from 5 on the
            stored width is the height.
        content: (N,) uint64, a hash of the size and of the first bytes of the file: equal files have equal hashes, and
            files of equal hashes are nearly always equal. 0 if the file cannot be read.
        looks: (N, 8) uint64, perceptual hashes of the image and of its mirrored and rotated copies; empty (0, 8) unless
            the images were decoded.
        grey: (N,) bool, the header says that the image has no colours.
        alpha: (N,) bool, the header says that the image has an alpha channel, and no colours are multiplied by it.
        polygons: (N,) bool, Ultralytics reads the label file as polygons.
        lines: (N,) int32, rows of its label file, those among them that cannot be read.
        npy: (N,) int8, 1 if a usable .npy of the image's size and of 8 bits replaces it, 2 if any other does, else 0.
        clues: (N, COUNT) int32, how often each `clues.Clue` occurs in its label file.
        fate: (N,) uint8, what becomes of it when Ultralytics scans the split; the bits are those of `fates`.
        row_image: (R,) int32, index of the image of each label row.
        row_line: (R,) int32, 1-based line in its label file.
        row_cls: (R,) float32, class.
        row_box: (R, 4) float32, x, y, w, h normalised; for a polygon, of the box around it.
        config: the data.yaml, or the values used instead.
        task: the task whose labels were read.
        where: for each annotation file the names of its rows in findings; else they are named by line.
    """

    files: tuple[str, ...]
    labels: tuple[str, ...]
    split_names: tuple[str, ...]
    split: NDArray[np.int8]
    splits: Mapping[str, NDArray[np.int32]]
    labelled: NDArray[np.bool_]
    size: NDArray[np.int64]
    inode: NDArray[np.int64]
    width: NDArray[np.int32]
    height: NDArray[np.int32]
    turn: NDArray[np.int8]
    content: NDArray[np.uint64]
    looks: NDArray[np.uint64]
    grey: NDArray[np.bool_]
    alpha: NDArray[np.bool_]
    polygons: NDArray[np.bool_]
    lines: NDArray[np.int32]
    npy: NDArray[np.int8]
    clues: NDArray[np.int32]
    fate: NDArray[np.uint8]
    row_image: NDArray[np.int32]
    row_line: NDArray[np.int32]
    row_cls: NDArray[np.float32]
    row_box: NDArray[np.float32]
    config: DataConfig
    task: str
    where: Mapping[str, Where]

    @cached_property
    def members(self) -> Mapping[str, NDArray[np.int64]]:
        """For each split the indices of its images, each once, in order."""
        met = {split: np.zeros(len(self.files), np.bool_) for split in self.splits}
        for split, listed in self.splits.items():
            met[split][listed] = True
        return {split: np.flatnonzero(inside) for split, inside in met.items()}

    @cached_property
    def each(self) -> NDArray[np.int64]:
        """(N,) int64, how many rows of each image could be read."""
        return np.asarray(np.bincount(self.row_image, minlength=len(self.files)), np.int64)

    @cached_property
    def _row_order(self) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        order = np.argsort(self.row_image, kind="stable")
        return order, self.row_image[order]

    def rows_of(self, image: int) -> NDArray[np.int64]:
        """(n,) int64, the rows of an image."""
        order, sorted_images = self._row_order
        return order[slice(*np.searchsorted(sorted_images, [image, image + 1]))]

    def labels_of(self, image: int) -> NDArray[np.float32]:
        """(n, 5) float32, class and box of each row of an image."""
        rows = self.rows_of(image)
        return np.column_stack([self.row_cls[rows], self.row_box[rows]])

    @cached_property
    def _by_image(self) -> bool:
        return bool((self.row_image[1:] >= self.row_image[:-1]).all())

    def inside(self, split: str) -> NDArray[np.bool_]:
        """(N,) which images are in a split."""
        inside = np.zeros(len(self.files), np.bool_)
        inside[self.members[split]] = True
        return inside

    def rows_in(self, split: str) -> NDArray[np.bool_]:
        """(R,) which rows are in a split."""
        return self.of_rows(self.inside(split))

    def images_in(self, split: str | None) -> NDArray[np.int64] | slice:
        """An index of the images of a split, or of all images (None)."""
        return slice(None) if split is None else self.members[split]

    def splits_in(self, split: str | None) -> tuple[str, ...]:
        """This split alone, or all of them (None)."""
        return tuple(self.splits) if split is None else (split,)

    def of_rows(self, values: NDArray[T]) -> NDArray[T]:
        """(R,) the value of the image of each row, from (N,) a value per image."""
        return np.repeat(values, self.each) if self._by_image else values[self.row_image]

    @cached_property
    def identity(self) -> NDArray[np.int64]:
        """(N,) int64, one number for each file on disk, from its device and inode; 0 where there is no file."""
        return np.where(self.inode[:, 1] != 0, (self.inode[:, 0] << 44) ^ self.inode[:, 1], 0)

    @cached_property
    def distinct(self) -> bool:
        """Whether no file on disk has two names in the set."""
        known = np.sort(self.identity[self.identity != 0])
        return not (known[1:] == known[:-1]).any()

    def among(self, images: NDArray[np.integer[Any]], others: NDArray[np.integer[Any]]) -> NDArray[np.bool_]:
        """(n,) bool, which of n images are, as files on disk, among others; missing files are not."""
        own, known = self.identity[images], self.identity[others]
        if not self.distinct:
            return np.isin(own, known[known != 0])
        listed = np.zeros(len(self.files), np.bool_)
        listed[others] = True
        return np.asarray(listed[images] & (own != 0), np.bool_)

    def split_of(self, image: int) -> str:
        """The name of the split in which an image is met first."""
        return self.split_names[int(self.split[image])]


Study = Callable[[Table], None]
"""A function that is called once for each dataset that was linted."""
