"""What a page may show of a dataset beside its findings: plain values, made by those who know the dataset."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from yolo_nanfix.findings import RuleText


@dataclass(frozen=True)
class Outline:
    """One label row as it is drawn over a picture.

    Attributes:
        line: 1-based, in its label file.
        number: number of its class.
        path: its box, polygon and keypoints as an SVG path in pixels of the picture: digits, points, M, L, H, V, Z, h.
    """

    line: int
    number: int
    path: str


@dataclass(frozen=True)
class Picture:
    """One image, scaled down.

    Attributes:
        uri: the picture as a `data:` URI; empty if the image cannot be shown.
        width, height: of the picture in pixels; of a grey field if there is none.
        scale: pixels of the picture for one of the image, in x and y; 0 if it is not known.
        outlines: the rows of its labels.
        left_out: so many rows more are not drawn.
        reason: why there is no picture.
    """

    uri: str
    width: int
    height: int
    scale: tuple[float, float] = (0.0, 0.0)
    outlines: tuple[Outline, ...] = ()
    left_out: int = 0
    reason: str = ""


@dataclass(frozen=True)
class Counted:
    """How often each of several kinds occurs, by split.

    Attributes:
        title: what is counted (`Objects of each class`).
        kind: what a bar stands for (`class`).
        labels: the kinds, in order.
        counts: for each split as many numbers as there are kinds.
        note: a sentence on what was left out or grouped; empty if nothing was.
    """

    title: str
    kind: str
    labels: tuple[str, ...]
    counts: Mapping[str, tuple[int, ...]]
    note: str = ""


@dataclass(frozen=True)
class Show:
    """All of it may be missing.

    Attributes:
        root: the folder from which file names are shown.
        rules: the texts of the rules.
        fixes: for each rule code that has a fix how safe it is (`safe`, `unsafe`, ...), and what it does.
        names: class names by number.
        classes: for each finding of the report the numbers of the classes that it is about, in the same order: that of
            the row, or those of the image; empty if none of this is known.
        pictures: by image file.
        charts: distributions.
    """

    root: str = ""
    rules: tuple[RuleText, ...] = ()
    fixes: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    names: Mapping[int, str] = field(default_factory=dict)
    classes: tuple[tuple[int, ...], ...] = ()
    pictures: Mapping[str, Picture] = field(default_factory=dict)
    charts: tuple[Counted, ...] = ()
