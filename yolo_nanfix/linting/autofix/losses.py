"""What fixes of single files would take out of a set, counted before the first of them: too much is left as it is."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from yolo_nanfix.files import ANYWHERE
from yolo_nanfix.findings import Effect, Finding
from yolo_nanfix.linting.autofix.fix_table import FIXES
from yolo_nanfix.linting.autofix.ground import Ground, canonical, siblings, unlabelled
from yolo_nanfix.linting.autofix.image_edits import complete_jpeg
from yolo_nanfix.linting.autofix.limits import Loss, Refused, read, refused
from yolo_nanfix.linting.autofix.row_edits import Left
from yolo_nanfix.linting.autofix.text_edits import is_background, mend_text

Groups = Mapping[str, list[Finding]]
"""The findings about each file."""


class Losses(NamedTuple):
    """What may not be done, each with the reason.

    Attributes:
        codes: the rule codes whose fixes would take out too much.
        classes: the classes that would be taken out of a split.
        splits: the splits that would be left without an image.
        findings: those that are left for the sake of a class.
        files: the images and label files that are left for the sake of a split.
    """

    codes: dict[str, str]
    classes: dict[tuple[str, float], str]
    splits: dict[str, str]
    findings: set[Finding]
    files: set[str]

    def reasons(self) -> Iterator[tuple[str, str]]:
        """Rule code, or nothing, and reason."""
        yield from self.codes.items()
        yield from (("", why) for why in dict.fromkeys((*self.classes.values(), *self.splits.values())))

    def spared(self, groups: Groups) -> Iterator[tuple[str, list[Finding]]]:
        """Files, each with the findings that may be mended."""
        for path, found in groups.items():
            left = [f for f in found if f.code not in self.codes and f not in self.findings]
            if left and path not in self.files:
                yield path, left


def none() -> Losses:
    """Where nothing is refused."""
    return Losses({}, {}, {}, set(), set())


class _Count(NamedTuple):
    """The rows that would be taken out, with the findings that ask for it; for each file the images that go with it."""

    rows: list[tuple[Loss, Finding]]
    images: dict[str, set[str]]


def judge(pictures: Groups, texts: Groups, ground: Ground) -> Losses:
    """Find out what unsafe fixes may not do, as the set stands now."""
    out = none()
    while True:  # a row that one fix may not take, another one may ask for
        count = _count(dict(out.spared(pictures)), dict(out.spared(texts)), ground)
        more = refused([loss for loss, _ in count.rows], ground.whole()) if count.rows else Refused({}, {})
        if not any(more):
            break
        out.codes.update(more.codes)
        out.classes.update(more.classes)
        out.findings.update(finding for loss, finding in count.rows if (loss.split, loss.number) in more.classes)
    going = set().union(*count.images.values())
    for split, images in ground.whole().splits.items() if going else ():
        all_of = {canonical(image) for image in images}
        if all_of and all_of <= going:
            out.splits[split] = f"all images of {split} would go to quarantine: see what is wrong with them"
            out.files.update(path for path, gone in count.images.items() if gone & all_of)
    return out


def _count(pictures: Groups, texts: Groups, ground: Ground) -> _Count:
    """What would go if all these findings were mended."""
    out = _Count([], {})
    for path, found in texts.items():
        with contextlib.suppress(OSError):
            content = ANYWHERE.read(path)
            mended = mend_text(content, found, ground.task, True, ground.classes)
            for finding, words in mended.dropped:
                if (row := read(words)) is not None:
                    out.rows.append((Loss(finding.code, finding.split or "", *row), finding))
            if is_background(mended.content) and not is_background(content):
                images = {canonical(f.image) for f in found if f.image}
                out.images[path] = images.union(*map(siblings, images))
    for path, found in pictures.items():
        if (gone := _quarantines(path, found, ground)) is not None:
            out.images[path] = {path}
            kept = gone.effect is not Effect.DROPS  # rows of what Ultralytics drops itself hold nothing
            held = ground.whole().held(gone.image or "")
            out.rows.extend((Loss(gone.code, gone.split or "", number, kept), gone) for number in held)
    return out


def _quarantines(path: str, found: list[Finding], ground: Ground) -> Finding | None:
    """The finding for which an image goes to quarantine; None if it stays, or is no image."""
    hows = {FIXES[f.code].how: f for f in found}
    if path.endswith(".npy"):
        return None
    if "complete" in hows and "quarantine" not in hows:
        if unlabelled(found[0].place.file, ground):
            return hows["complete"]
        try:
            complete_jpeg(ANYWHERE.read(path))
        except (Left, OSError):
            return hows["complete"]
        return None
    return hows.get("quarantine")
