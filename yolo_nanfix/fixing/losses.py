"""What fixes of single files would take out of a set, counted before the first of them: too much is left as it is."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Container, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from yolo_nanfix.findings import Effect, Finding
from yolo_nanfix.fixing.catalogue import FIXES
from yolo_nanfix.fixing.ground import Ground, canonical, siblings, unlabelled
from yolo_nanfix.fixing.limits import class_of, refused
from yolo_nanfix.fixing.pictures import complete_jpeg
from yolo_nanfix.fixing.rows import Left
from yolo_nanfix.fixing.texts import is_background, mend_text

Groups = Mapping[str, list[Finding]]
"""The findings about each file."""


class Losses(NamedTuple):
    """What may not be done, each with the reason.

    Attributes:
        codes: the rule codes whose fixes would take out too much.
        splits: the splits that would be left without an image.
        files: the images and label files that stay as they are for that.
    """

    codes: dict[str, str]
    splits: dict[str, str]
    files: frozenset[str]

    def spared(self, groups: Groups) -> Iterator[tuple[str, list[Finding]]]:
        """Files, each with the findings that may be mended."""
        yield from ((path, found) for path, found in _without(groups, self.codes) if path not in self.files)


class _Count(NamedTuple):
    """For each rule code the classes of the rows that it takes out; for each file the images that go with it."""

    rows: dict[str, Counter[float]]
    images: dict[str, set[str]]


def judge(pictures: Groups, texts: Groups, ground: Ground) -> Losses:
    """Find out what unsafe fixes may not do, as the set stands now."""
    codes: dict[str, str] = {}
    while True:  # a row that one fix may not take, another one may ask for
        count = _count(dict(_without(pictures, codes)), dict(_without(texts, codes)), ground)
        more = refused(count.rows, ground.whole()) if any(count.rows.values()) else {}
        if not more:
            break
        codes |= more
    splits, files = {}, set()
    going = set().union(*count.images.values())
    for split, images in ground.whole().splits.items() if going else ():
        all_of = {canonical(image) for image in images}
        if all_of and all_of <= going:
            splits[split] = f"all images of {split} would go to quarantine: see what is wrong with them"
            files |= {path for path, gone in count.images.items() if gone & all_of}
    return Losses(codes, splits, frozenset(files))


def _without(groups: Groups, codes: Container[str]) -> Iterator[tuple[str, list[Finding]]]:
    """Files and their findings, without those of some codes."""
    for path, found in groups.items():
        if left := [f for f in found if f.code not in codes]:
            yield path, left


def _count(pictures: Groups, texts: Groups, ground: Ground) -> _Count:
    """What would go if all these findings were mended."""
    out = _Count({}, {})
    for path, found in texts.items():
        with contextlib.suppress(OSError):
            content = Path(path).read_bytes()
            mended = mend_text(content, found, ground.task, True, ground.classes)
            for finding, words in mended.dropped:
                if (number := class_of(words)) is not None:
                    out.rows.setdefault(finding.code, Counter())[number] += 1
            if is_background(mended.content) and not is_background(content):
                images = {canonical(f.image) for f in found if f.image}
                out.images[path] = images.union(*map(siblings, images))
    for path, found in pictures.items():
        if (gone := _quarantines(path, found, ground)) is not None:
            out.images[path] = {path}
            if gone.effect is not Effect.DROPS:  # what Ultralytics drops itself, no fix takes out
                out.rows.setdefault(gone.code, Counter()).update(ground.whole().held(gone.image or ""))
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
            complete_jpeg(Path(path).read_bytes())
        except (Left, OSError):
            return hows["complete"]
        return None
    return hows.get("quarantine")
