"""The operations of autofixes, which the `@rule` of a rule names with their safety."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from yolo_nanfix.findings import Safety

TOLERANCE = 0.01
"""A box that reaches out of its image by at most this share of it is clipped by a safe autofix."""


class Scope(Enum):
    """What an operation works on."""

    ROW = "one row of a label file"
    TEXT = "a label file as a whole"
    IMAGE = "an image file, or the .npy beside it"
    SET = "all label files, and data.yaml"


class Operation(Enum):
    """What is done to files, in a few words; the functions are in `label_edits`, `edit_plan` and `set_edits`."""

    CLIP = ("clips the box to the image", Scope.ROW)
    DROP = ("drops the row", Scope.ROW)
    DUPLICATE = ("removes the repeated row", Scope.ROW)
    MARK = ("removes the mark", Scope.ROW)
    COMMAS = ("replaces commas, or drops the row", Scope.ROW)
    COMMENT = ("cuts the comment", Scope.ROW)
    COLUMNS = ("cuts a confidence after a box; in other tasks drops the row", Scope.ROW)
    SIDES = ("makes the sides positive", Scope.ROW)
    SPELLING = ("writes the number with plain digits", Scope.ROW)
    BOM = ("removes the mark", Scope.TEXT)
    LINE_ENDS = ("ends all lines with a line feed", Scope.TEXT)
    RECODE = ("saves UTF-16 labels as UTF-8", Scope.TEXT)
    SEVEN = ("cuts the rows to class x y width height", Scope.TEXT)
    CLIP_ALL = ("clips the polygons of the file to the image", Scope.TEXT)
    QUARANTINE = ("moves the file to quarantine", Scope.IMAGE)
    COMPLETE = ("ends a labelled JPEG that lacks only its end marker; moves other files to quarantine", Scope.IMAGE)
    END = ("cuts the JPEG at its end marker; keeps the pixels, or encodes it again", Scope.IMAGE)
    RENAME = ("renames the image to the suffix of its content", Scope.IMAGE)
    RENUMBER = ("numbers the names from 0, and the classes in all labels with them", Scope.SET)
    REREAD = ("writes all coordinates normalised, boxes by centre and size", Scope.SET)
    SHIFT_CLASSES = ("subtracts 1 from all class numbers", Scope.SET)
    TURN_LABELS = ("rotates the labels as EXIF rotates their images, if it is proven that they need it", Scope.SET)
    UNSWAP_TURNED = ("divides the labels of rotated images by the sides of the shown picture", Scope.SET)
    WITHOUT_BEHIND = ("cuts the columns after box, outline or keypoints from all rows", Scope.SET)
    WITHOUT_NUMBER = ("removes the number beside the class from all rows", Scope.SET)

    @property
    def scope(self) -> Scope:
        """What it works on."""
        return self.value[1]


class Autofix(NamedTuple):
    """How a defect is fixed.

    Attributes:
        operation: what is done.
        safety: whether it is safe.
        text: what is done, in a few words, for tables and `rule CODE`.
    """

    operation: Operation
    safety: Safety
    text: str


def safe(operation: Operation) -> Autofix:
    """An autofix that loses nothing."""
    return Autofix(operation, Safety.SAFE, operation.value[0])


def unsafe(operation: Operation, text: str = "") -> Autofix:
    """An autofix that needs `--unsafe-fixes`; `text` says what it does, by default the operation's own text."""
    return Autofix(operation, Safety.UNSAFE, text or operation.value[0])


CLIP_SLIGHTLY = Autofix(Operation.CLIP, Safety.SAFE_IF_SLIGHT, Operation.CLIP.value[0])
"""Safe if a box reaches out of its image by `TOLERANCE` at most."""
