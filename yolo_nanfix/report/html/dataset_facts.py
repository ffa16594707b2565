"""What a page may show of a dataset besides its findings, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from yolo_nanfix.findings import Finding, RuleText, Safety


class About(NamedTuple):
    """What a finding is about.

    Attributes:
        row: the label row, by the number of its `Outline`; 0 if it is about none.
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
        centre: its position, if it is so small that it would be overlooked.
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
        scale: pixels of the picture per pixel of the image, in x and y; 0 if that is not known.
        margin: room for boxes outside of the picture, in its pixels: left and right, top and bottom.
        outlines: its label rows.
        left_out: how many rows are not drawn.
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
    """A histogram: how often each of several kinds occurs, by split.

    Attributes:
        title: what is counted (`Objects of each class`).
        kind: the meaning of a bar (`class`).
        labels: the kinds, in order.
        counts: for each split one number for each kind.
        note: a sentence on how to read it, or on what was left out; may be empty.
    """

    title: str
    kind: str
    labels: tuple[str, ...]
    counts: Mapping[str, tuple[int, ...]]
    note: str = ""


@dataclass(frozen=True)
class Show:
    """What is known of a dataset; each part may be missing.

    Attributes:
        root: the folder to which shown file names are relative.
        rules: the texts of the rules.
        fixes: for each rule code with an autofix its safety, and what it does.
        fixable: whether `--fix` and `handoff` accept this dataset.
        tried: the findings that `--fix` fixes, and those that also need `--unsafe-fixes`; None if not known.
        about: what each finding of the report is about, in the same order; may be empty.
        pictures: by image file.
        refused: files that were not opened, with the reason: a link that leads elsewhere, a pipe ...
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
