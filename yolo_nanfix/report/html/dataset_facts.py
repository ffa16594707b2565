"""What a page may show of a dataset beside its findings: plain values, made by those who know the dataset."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from yolo_nanfix.findings import Finding, RuleText, Safety


class About(NamedTuple):
    """What a finding is about.

    Attributes:
        row: the label row, as outlines count them; 0 if it is about none.
        classes: the class of that row; else those of the image.
    """

    row: int = 0
    classes: tuple[str, ...] = ()


class Outline(NamedTuple):
    """One label row as it is drawn over a picture.

    Attributes:
        row: 1 and up; other rows of the image have other numbers.
        label: name of its class.
        path: its box, polygon and keypoints as SVG path data in pixels of the picture.
        centre: where it is, if it is so small that it would be overlooked.
    """

    row: int
    label: str
    path: str
    centre: tuple[float, float] | None = None


@dataclass(frozen=True)
class Picture:
    """One image, scaled down.

    Attributes:
        uri: the picture as a `data:` URI; empty if the image cannot be shown.
        width, height: of the picture in pixels; of a grey field if there is none.
        scale: pixels of the picture for one of the image, in x and y; 0 if that is not known.
        margin: so much room, in pixels of the picture, boxes outside of it need at its left and right, top and bottom.
        outlines: the rows of its labels.
        left_out: so many rows more are not drawn.
        reason: why there is no picture.
    """

    uri: str
    width: int
    height: int
    scale: tuple[float, float] = (0.0, 0.0)
    margin: tuple[int, int] = (0, 0)
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
        note: a sentence on how to read it, or on what was left out; empty if there is nothing to say.
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
        fixes: for each rule code that has a fix how safe it is, and what it does.
        fixable: `--fix` and `handoff` take this dataset.
        tried: the findings that `--fix` fixes, and those that `--unsafe-fixes` fixes besides; None if not known.
        about: what each finding of the report is about, in the same order; empty if none of this is known.
        pictures: by image file.
        refused: files that were not opened, each with what it is: a link that leads elsewhere, a pipe ...
        charts: distributions.
    """

    root: str = ""
    rules: tuple[RuleText, ...] = ()
    fixes: Mapping[str, tuple[Safety, str]] = field(default_factory=dict)
    fixable: bool = False
    tried: tuple[frozenset[Finding], frozenset[Finding]] | None = None
    about: tuple[About, ...] = ()
    pictures: Mapping[str, Picture] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    charts: tuple[Counted, ...] = ()
