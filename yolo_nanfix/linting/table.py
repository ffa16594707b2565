"""The dataset as columns: one row an image, and one row a label; what rules over the whole set are asked with.

Everything in it can be written to a file and read back without looking at the dataset again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray


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
        width: (N,) int32, pixels as stored; 0 if unknown.
        height: (N,) int32, pixels as stored; 0 if unknown.
        content: (N,) uint64, a hash of the size and of the first bytes of the file: equal files have equal hashes, and
            files of equal hashes are nearly always equal. 0 where the file cannot be read.
        looks: (N, 8) uint64, perceptual hashes of the image and of its mirrored and turned copies; empty (0, 8) unless
            the images were decoded.
        grey: (N,) bool, the header says that the image has no colours.
        polygons: (N,) bool, Ultralytics reads the label file as polygons.
        lines: (N,) int32, rows of its label file, those among them that cannot be read.
        npy: (N,) int8, 1 if a usable .npy of the image's size and of 8 bits replaces it, 2 if any other does, else 0.
        row_image: (R,) int32, index of the image of each label row.
        row_line: (R,) int32, 1-based line in its label file.
        row_cls: (R,) float32, class.
        row_box: (R, 4) float32, x, y, w, h; for a polygon, of the box around it.
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
    content: NDArray[np.uint64]
    looks: NDArray[np.uint64]
    grey: NDArray[np.bool_]
    polygons: NDArray[np.bool_]
    lines: NDArray[np.int32]
    npy: NDArray[np.int8]
    row_image: NDArray[np.int32]
    row_line: NDArray[np.int32]
    row_cls: NDArray[np.float32]
    row_box: NDArray[np.float32]

    @cached_property
    def members(self) -> Mapping[str, NDArray[np.int64]]:
        """For each split the indices of its images, each once, in order."""
        met = {split: np.zeros(len(self.files), np.bool_) for split in self.splits}
        for split, listed in self.splits.items():
            met[split][listed] = True
        return {split: np.flatnonzero(inside) for split, inside in met.items()}

    @cached_property
    def identity(self) -> NDArray[np.int64]:
        """(N,) int64, one number for each file on disk, from its device and number; 0 where there is no file."""
        return np.where(self.inode[:, 1] != 0, (self.inode[:, 0] << 44) ^ self.inode[:, 1], 0)

    def split_of(self, image: int) -> str:
        """The name of the split in which an image is met first."""
        return self.split_names[int(self.split[image])]
