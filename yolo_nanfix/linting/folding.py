"""Infos that nearly all images of a folder give are one info about the folder: then the set is meant, not the image."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import replace

from yolo_nanfix.findings import Finding, Place, Severity
from yolo_nanfix.linting.table import Table

FOLDED = frozenset(
    ("IM008", "IM020", "IM021", "IM022", "IM025", "IM026", "IM027", "IM031", "IM032", "IM033", "IM034")
) | frozenset(("BX018", "SG006", "SG007", "SG008", "KP006"))
"""Infos about single files for which there is nothing to be mended in a file."""
MANY, MOST = 10, 0.5
"""From so many images, and this part of those in a folder on, the folder is meant."""


def folded(findings: Iterable[Finding], table: Table) -> list[Finding]:
    """The findings, those of one rule that concern most images of a folder as one."""
    found = list(findings)
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
        if images >= MANY and images >= MOST * sizes[folder]:
            found[places[0]] = _of_folder(found[places[0]], folder, images, sizes[folder], len(places))
            gone.update(places[1:])
    return [finding for place, finding in enumerate(found) if place not in gone]


def _of_folder(first: Finding, folder: str, images: int, of: int, count: int) -> Finding:
    """One finding for many, of which this is the first."""
    name = os.path.basename(first.image or "")  # noqa: PTH119
    times = f", {count} times" if count > images else ""
    message = f"{images} of {of} images{times}; {name} for one: {first.message}"
    values = (("images", images), ("of", of), ("count", count))
    return replace(first, place=Place(folder), message=message, image=None, values=values, partner=None)
