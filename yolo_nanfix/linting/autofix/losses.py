"""Limits on what unsafe fixes may remove from a set, counted before the first one is applied.

A defect of many rows is a fault of the set, not of the rows.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import NamedTuple

from yolo_nanfix.dataset.label_parser import PLAIN_COLUMNS, numbers_of
from yolo_nanfix.files import ANYWHERE
from yolo_nanfix.findings import Effect, Finding
from yolo_nanfix.linting.autofix.ground import Ground, Whole, canonical, siblings, unlabelled
from yolo_nanfix.linting.autofix.image_edits import complete_jpeg
from yolo_nanfix.linting.autofix.label_edits import Words, edit_text, is_background, operation_of
from yolo_nanfix.linting.autofix.operations import Operation
from yolo_nanfix.linting.autofix.reasons import Left, Reason, Why

MOST_LOST = 0.05
"""No fix run removes more than this share of the rows of a set: so many defects are not slips, but a faulty export."""
SLIP = 1
"""A class number that data.yaml does not have is a slip in at most this many rows; in more it is a class."""
Groups = Mapping[str, list[Finding]]
"""The findings about each file."""


class Loss(NamedTuple):
    """One row that a fix would remove from the set.

    Attributes:
        code: the code of the finding.
        split: its split.
        number: its class.
        valid: whether it may hold an object: a class and a box of finite numbers.
    """

    code: str
    split: str
    number: float
    valid: bool


@dataclass
class Losses:
    """What may not be done, each with the reason.

    Attributes:
        codes: the rule codes whose fixes would remove too much.
        classes: the classes that would be removed from a split.
        splits: the splits that would lose all images.
        findings: those that are not fixed for the sake of a class.
        files: the images and label files that are not changed for the sake of a split.
    """

    codes: dict[str, Reason] = field(default_factory=dict)
    classes: dict[tuple[str, float], Reason] = field(default_factory=dict)
    splits: dict[str, Reason] = field(default_factory=dict)
    findings: set[Finding] = field(default_factory=set)
    files: set[str] = field(default_factory=set)

    def reasons(self) -> Iterator[tuple[str, Reason]]:
        """Rule code, or an empty text, and reason."""
        yield from self.codes.items()
        seen: list[Reason] = []
        for reason in (*self.classes.values(), *self.splits.values()):
            if reason not in seen:
                seen.append(reason)
                yield "", reason

    def spared(self, groups: Groups) -> Iterator[tuple[str, list[Finding]]]:
        """Files, each with the findings that may be fixed."""
        for path, found in groups.items():
            spared = [f for f in found if f.code not in self.codes and f not in self.findings]
            if spared and path not in self.files:
                yield path, spared


def class_of_row(words: Words) -> tuple[float, bool] | None:
    """The class of a row, and whether it may hold an object; None if it is no row of numbers."""
    values = numbers_of(words)
    if values is None or len(values) < PLAIN_COLUMNS or not isfinite(values[0]):
        return None
    return values[0], all(map(isfinite, values))


def refused(lost: Sequence[Loss], whole: Whole) -> Losses:
    """The codes and classes of which too much would go: all rows of a class, or many of the set; the fewest first.

    All invalid rows of a class may be removed from a split, but not from the set.
    """
    out = Losses()
    counted = [loss for loss in lost if loss.valid or whole.has(loss.split, loss.number)]
    by_class = Counter((loss.split, loss.number) for loss in counted)
    everywhere = Counter(loss.number for loss in counted)
    valid = {(loss.split, loss.number) for loss in counted if loss.valid}
    for (split, number), count in sorted(by_class.items()):
        known = 0 <= number < whole.nc and number == int(number)
        in_split = (split, number) in valid and count >= whole.has(split, number)
        in_set = everywhere[number] >= sum(whole.has(one, number) for one in whole.classes)
        if (in_split or in_set) and (known or everywhere[number] > SLIP):
            values = {"class": number, "where": "the set" if in_set else split}
            out.classes[split, number] = Reason(Why.CLASS_GONE, values)
    by_code = Counter(loss.code for loss in lost if loss.valid and (loss.split, loss.number) not in out.classes)
    gone = 0
    for code, rows in sorted(by_code.items(), key=lambda item: (item[1], item[0])):
        if gone + rows > MOST_LOST * whole.rows:
            values = {"rows": rows, "of": whole.rows, "together": gone + rows, "share": MOST_LOST}
            out.codes[code] = Reason(Why.MANY_ROWS_TOGETHER if gone else Why.MANY_ROWS, values)
        else:
            gone += rows
    return out


def too_much(pictures: Groups, texts: Groups, ground: Ground) -> Losses:
    """What unsafe fixes may not do to the set as it is now."""
    out = Losses()
    while True:  # a row that one fix may not remove may have another finding
        rows, going = _count_losses(dict(out.spared(pictures)), dict(out.spared(texts)), ground)
        more = refused([loss for loss, _ in rows], ground.whole()) if rows else Losses()
        if not (more.codes or more.classes):
            break
        out.codes.update(more.codes)
        out.classes.update(more.classes)
        out.findings.update(finding for loss, finding in rows if (loss.split, loss.number) in more.classes)
    gone = set().union(*going.values())
    for split, images in ground.whole().splits.items() if gone else ():
        all_of = {canonical(image) for image in images}
        if all_of and all_of <= gone:
            out.splits[split] = Reason(Why.ALL_IMAGES, {"split": split})
            out.files.update(path for path, images_of in going.items() if images_of & all_of)
    return out


def _count_losses(
    pictures: Groups, texts: Groups, ground: Ground
) -> tuple[list[tuple[Loss, Finding]], dict[str, set[str]]]:
    """The rows that fixes would remove, with their findings; for each file the images that would go to quarantine."""
    rows: list[tuple[Loss, Finding]] = []
    going: dict[str, set[str]] = {}
    for path, found in texts.items():
        with contextlib.suppress(OSError):
            content = ANYWHERE.read(path)
            edited = edit_text(content, found, ground.task, True, ground.classes)
            for finding, words in edited.dropped:
                if (row := class_of_row(words)) is not None:
                    rows.append((Loss(finding.code, finding.split or "", *row), finding))
            if is_background(edited.content) and not is_background(content):
                images = {canonical(f.image) for f in found if f.image}
                going[path] = images.union(*map(siblings, images))
    for path, found in pictures.items():
        if (gone := _quarantines(path, found, ground)) is not None:
            going[path] = {path}
            kept = gone.effect is not Effect.DROPS  # rows of images that Ultralytics drops are not trained on
            held = ground.whole().held(gone.image or "")
            rows.extend((Loss(gone.code, gone.split or "", number, kept), gone) for number in held)
    return rows, going


def _quarantines(path: str, found: list[Finding], ground: Ground) -> Finding | None:
    """The finding for which an image goes to quarantine; None if it stays, or is no image."""
    asked = {operation_of(f): f for f in found}
    if path.endswith(".npy"):
        return None
    if Operation.COMPLETE in asked and Operation.QUARANTINE not in asked:
        if unlabelled(found[0].place.file, ground):
            return asked[Operation.COMPLETE]
        try:
            complete_jpeg(ANYWHERE.read(path))
        except (Left, OSError):
            return asked[Operation.COMPLETE]
        return None
    return asked.get(Operation.QUARANTINE)
