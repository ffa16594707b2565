"""Infos that nearly all images of a folder give are one info about the folder: then the set is meant, not the image."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from yolo_nanfix.dataset.table import Table
from yolo_nanfix.findings import Finding, Place, Severity

FOLDED = frozenset(
    ("IM008", "IM020", "IM021", "IM022", "IM025", "IM026", "IM027", "IM030", "IM031", "IM032", "IM033", "IM034")
) | frozenset(("BX018", "SG006", "SG007", "SG008", "KP006"))
"""Infos about single files for which there is nothing to be mended in a file."""
OF_OBJECTS = frozenset(("IM030",))
"""Warnings that are infos about images without label rows."""
MANY, MOST = 3, 0.5
"""From so many images, and this part of those in a folder on, the folder is meant."""
LONG, SOME = 20, 0.1
"""So is it from so many images and this part on: nobody goes through such a list of what is no fault."""


def folded(findings: Iterable[Finding], table: Table) -> list[Finding]:
    """The findings, those of one rule that concern most images of a folder as one."""
    found = _milder(findings, table)
    groups: dict[tuple[str, str], list[int]] = defaultdict(list)
    for place, finding in enumerate(found):
        mild = finding.code in FOLDED and finding.severity is Severity.INFO
        if mild and finding.image is not None and finding.because is None:
            groups[finding.code, finding.image.rpartition(os.sep)[0]].append(place)
    large = {key: places for key, places in groups.items() if len(places) >= MANY}
    if not large:
        return found
    sizes = Counter(file.rpartition(os.sep)[0] for file in table.files)
    gone: set[int] = set()
    for (_, folder), places in large.items():
        images = len({found[place].image for place in places})
        if any(images >= many and images >= part * sizes[folder] for many, part in ((MANY, MOST), (LONG, SOME))):
            found[places[0]] = _of_folder(found[places[0]], folder, images, sizes[folder], len(places))
            gone.update(places[1:])
    return [finding for place, finding in enumerate(found) if place not in gone]


def _milder(findings: Iterable[Finding], table: Table) -> list[Finding]:
    """The findings, those as infos that are worth a warning on images with objects alone."""
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
