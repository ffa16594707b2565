"""Findings seen together: which follow from one about the set, which are one about a folder, which images to label."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from yolo_nanfix.dataset.table import Table
from yolo_nanfix.findings import Choice, Effect, Finding, Place, Severity
from yolo_nanfix.linting.registry import Hit

FOLDED = frozenset(
    ("IM008", "IM020", "IM021", "IM022", "IM025", "IM026", "IM027", "IM030", "IM031", "IM032", "IM033", "IM034")
) | frozenset(("BX018", "SG006", "SG007", "SG008", "KP006"))
"""Infos about files in which there is nothing to fix: where most images of a folder have one, it is one finding."""
OF_OBJECTS = frozenset(("IM030",))
"""Warnings that are infos about images without label rows."""
FOLDS = ((3, 0.5), (20, 0.1))
"""From so many images, and this share of a folder on, findings are one about the folder."""
UNUSABLE = (Effect.DROPS, Effect.CRASHES, Effect.POISONS)
DAMAGED_PIXELS = ("IM014", "IM015", "IM016", "IM017", "IM028", "IM029", "IM030")
"""Rules about damaged or altered pixels: labels on such images are wasted."""


def explained(findings: Iterable[Finding], causes: Sequence[tuple[str, Hit]]) -> list[Finding]:
    """The findings, with the code of its cause in each that follows from one.

    Args:
        findings: all of them.
        causes: hits that explain others, each with the code of its rule; of several the first counts.
    """
    by_code: dict[str, list[tuple[str, Hit]]] = defaultdict(list)
    for cause in causes:
        for code in cause[1].explains:
            by_code[code].append(cause)
    out: list[Finding] = []
    for finding in findings:
        possible = by_code.get(finding.code, ())
        first = next((code for code, hit in possible if code != finding.code and _follows(finding, hit)), None)
        out.append(finding if first is None else finding.explained(first))
    return out


def _follows(finding: Finding, hit: Hit) -> bool:
    """Whether a finding of one of the rules that a hit explains follows from it."""
    place, files = finding.place, hit.explains_in
    return (
        hit.split in (None, finding.split)
        and (files is None or place.file in files or finding.image in files)
        and (place.file, place.line) not in hit.explains_not
    )


def folded(findings: Iterable[Finding], table: Table) -> list[Finding]:
    """The findings, those of one rule that concern most images of a folder as one."""
    found = _milder(findings, table)
    groups: dict[tuple[str, str], list[int]] = defaultdict(list)
    for place, finding in enumerate(found):
        mild = finding.code in FOLDED and finding.severity is Severity.INFO
        if mild and finding.image is not None and finding.because is None:
            groups[finding.code, finding.image.rpartition(os.sep)[0]].append(place)
    large = {key: places for key, places in groups.items() if len(places) >= FOLDS[0][0]}
    if not large:
        return found
    sizes = Counter(file.rpartition(os.sep)[0] for file in table.files)
    gone: set[int] = set()
    for (_, folder), places in large.items():
        images = len({found[place].image for place in places})
        if any(images >= many and images >= share * sizes[folder] for many, share in FOLDS):
            found[places[0]] = _of_folder(found[places[0]], folder, images, sizes[folder], len(places))
            gone.update(places[1:])
    return [finding for place, finding in enumerate(found) if place not in gone]


def _milder(findings: Iterable[Finding], table: Table) -> list[Finding]:
    """The findings; warnings that only matter on images with objects are infos on others."""
    found = list(findings)
    if any(finding.code in OF_OBJECTS for finding in found):
        empty = {table.files[i] for i in np.flatnonzero(table.lines == 0).tolist()}
        for place, finding in enumerate(found):
            if finding.code in OF_OBJECTS and finding.image in empty:
                found[place] = replace(finding, severity=Severity.INFO)
    return found


def _of_folder(first: Finding, folder: str, images: int, of: int, count: int) -> Finding:
    """One finding for many, of which this is the first."""
    name = os.path.basename(first.image or "")  # noqa: PTH119
    times = ", {count} times" if count > images else ""
    says = f"{{images}} of {{of}} images{times}; {{name}} for one: {{first}}"
    values = {"images": images, "of": of, "count": count, "name": name, "first": first.message}
    return replace(first, place=Place(folder), says=says, image=None, values=values, related=())


def choose(files: Sequence[str], findings: Iterable[Finding]) -> tuple[Choice, ...]:
    """Which images without a label file are worth labelling, and why the others are not.

    Args:
        files: the images.
        findings: about them and others; of two equal or similar images the one without a label is left out.
    """
    bare = set(files)
    codes: dict[str, dict[str, None]] = {}
    partners: dict[str, str] = {}
    for finding in findings:
        image, partner = finding.image, finding.partner
        if image is None:
            continue
        if finding.effect in UNUSABLE or finding.code in DAMAGED_PIXELS:
            codes.setdefault(image, {})[finding.code] = None
        if partner is not None:
            if image not in bare and partner in bare:
                image, partner = partner, image
            codes.setdefault(image, {})[finding.code] = None
            partners.setdefault(image, partner)
    return tuple(Choice(file, file not in codes, tuple(codes.get(file, ())), partners.get(file)) for file in files)
