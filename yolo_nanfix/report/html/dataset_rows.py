"""The findings of a dataset as its page holds them: a compact value for the script, and pictures with what is red."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from yolo_nanfix.findings import Finding, Report, Severity
from yolo_nanfix.report.html.dataset_facts import About, Outline, Picture, Show
from yolo_nanfix.report.words import printable, relative

ROOM = 5_000_000
"""Characters of a page for the list of findings; what does not fit is left out, the mildest first."""
LONGEST = 400
"""Characters of a message, or of a file name, that are shown."""
_COLUMNS = ("code", "severity", "file", "image", "split", "line", "message", "classes", "row", "pixel", "partner")


class Words:
    """Texts by number, each once."""

    def __init__(self) -> None:
        """Begin with none."""
        self.texts: list[Any] = []
        self._numbers: dict[Any, int] = {}

    def __contains__(self, text: Any) -> bool:
        """Whether it has a number."""
        return text in self._numbers

    def number(self, text: Any) -> int:
        """The number of a text, or of a tuple; -1 for None."""
        if text is None:
            return -1
        if text not in self._numbers:
            self._numbers[text] = len(self.texts)
            self.texts.append(text)
        return self._numbers[text]


def short(text: str) -> str:
    """Printable text, cut in the middle where it is very long."""
    shown = printable(text)
    return shown if len(shown) <= LONGEST else f"{shown[: LONGEST // 2]} ... {shown[-LONGEST // 2 :]}"


def named(file: str, root: str) -> str:
    """A file as it is shown: from the dataset's folder on."""
    return short(relative(file, Path(root)) if root else file)


def message(finding: Finding, root: str) -> str:
    """The message as it is shown: files in it from the dataset's folder on."""
    return short(finding.message.replace(f"{root.rstrip('/')}/", "") if root not in ("", "/") else finding.message)


def where(finding: Finding, root: str) -> str:
    """`labels/train/7.txt:3`, `images/train/7.npy@60,60,0`."""
    place = finding.place
    at = f":{place.line}" if place.line is not None else ""
    if place.pixel is not None:
        at = f"@{','.join(map(str, place.pixel))}"
    return named(place.file, root) + at


def order(report: Report, show: Show) -> list[tuple[Finding, About]]:
    """The findings with what they are about, the worst first."""
    about = show.about or (About(),) * len(report.findings)
    own = set(map(id, report.own))
    pairs = (pair for pair in zip(report.findings, about, strict=True) if id(pair[0]) in own)
    return sorted(pairs, key=lambda pair: pair[0].severity.rank)


def explorer(listed: Sequence[tuple[Finding, About]], show: Show, numbers: Mapping[str, int]) -> dict[str, Any]:
    """All that the list of findings needs; `columns` names the fields of a row, numbers stand for texts.

    Args:
        listed: the findings, the worst first.
        show: what is known besides.
        numbers: of the images that have a picture in the page.
    """
    codes, files, splits, classes, sets = Words(), Words(), Words(), Words(), Words()
    rows: list[list[Any]] = []
    room = ROOM
    for finding, about in listed:
        row = [
            codes.number((finding.code, finding.name)),
            finding.severity.rank,
            files.number(finding.place.file),
            files.number(finding.image),
            splits.number(finding.split),
            finding.place.line or 0,
            message(finding, show.root),
            sets.number(tuple(map(classes.number, about.classes)) or None),
            about.row,
            _spot(finding, show.pictures) or 0,
            files.number(finding.partner),
        ]
        room -= len(json.dumps(row)) + 1
        if room < 0:
            break
        rows.append(row)
    return {
        "columns": _COLUMNS,
        "codes": codes.texts,
        "severities": [severity.value for severity in Severity],
        "files": [_name(file, show.root) for file in files.texts],
        "splits": splits.texts,
        "classes": [short(name) for name in classes.texts],
        "sets": sets.texts,
        "rows": rows,
        "total": len(listed),
        "pictures": {
            files.number(file): [number, *_drawn(show.pictures[file])]
            for file, number in numbers.items()
            if file in files
        },
        "without": {
            files.number(file): picture.reason
            for file, picture in show.pictures.items()
            if file in files and not picture.uri
        },
    }


def _name(file: str, root: str) -> list[str]:
    """A file as it is shown, and as it is if that is another text: both can be searched for."""
    shown = named(file, root)
    plain = " ".join(file.rpartition("/")[2].split())
    return [shown] if plain in shown else [shown, plain.encode("utf-8", "replace").decode()]


def view(picture: Picture) -> str:
    """What an SVG shows of a picture: all of it, and boxes outside."""
    (across, down), width, height = picture.margin, picture.width, picture.height
    return f"{-across} {-down} {width + 2 * across} {height + 2 * down}"


def _drawn(picture: Picture) -> list[Any]:
    """A picture for the script; the picture itself is in the page under its number."""
    outlines = [[o.row, o.label, o.path, *(o.centre or ())] for o in picture.outlines]
    return [view(picture), picture.width, picture.height, outlines, picture.left_out]


def _spot(finding: Finding, pictures: Mapping[str, Picture]) -> list[float] | None:
    """Where the pixel of a finding is in the picture of its image."""
    picture = pictures.get(finding.image or "")
    if picture is None or finding.place.pixel is None or not picture.scale[0]:
        return None
    x, y, _ = finding.place.pixel
    return [round((x + 0.5) * picture.scale[0], 1), round((y + 0.5) * picture.scale[1], 1)]


def thumbnails(
    listed: Sequence[tuple[Finding, About]], show: Show, numbers: Mapping[str, int], most: int
) -> Iterator[list[dict[str, Any]]]:
    """The first images of some findings that have a picture, with what is wrong in red; both of a pair together."""
    met: dict[str, list[tuple[Finding, About]]] = {}
    for finding, about in listed:
        if finding.image is not None and finding.image in numbers:
            met.setdefault(finding.image, []).append((finding, about))
    left = most
    for image, found in met.items():
        partner = next((f.partner for f, _ in found if f.partner is not None), None)
        group = [(image, found), *([(partner, [])] if partner is not None else [])]
        if len(group) > left:
            return
        left -= len(group)
        yield [thumbnail(one, what, show, numbers) for one, what in group]


def thumbnail(
    image: str, found: Sequence[tuple[Finding, About]], show: Show, numbers: Mapping[str, int]
) -> dict[str, Any]:
    """One image as `picture.html.j2` draws it; without a picture as a field that says why."""
    picture = show.pictures.get(image, Picture("", 240, 160, reason="no room for its picture in this page"))
    guilty = {about.row for _, about in found} - {0}
    red = [o for o in picture.outlines if o.row in guilty]
    spots = [spot for finding, _ in found if (spot := _spot(finding, show.pictures))]
    name = named(image, show.root)
    return {
        "number": numbers.get(image),
        "view": view(picture),
        "width": picture.width,
        "height": picture.height,
        "others": "".join(o.path for o in picture.outlines if o.row not in guilty),
        "red": "".join(o.path for o in red),
        "rings": [*filter(None, (o.centre for o in red)), *spots],
        "name": name,
        "says": _says(name, red, picture, len(spots)),
        "reason": picture.reason,
        "split": "",
    }


def _says(name: str, red: Sequence[Outline], picture: Picture, spots: int) -> str:
    """The picture in words."""
    labels = ", ".join(dict.fromkeys(o.label or "no class" for o in red))
    boxes = f"; in red {len(red)} of {len(picture.outlines)} label rows ({labels})" if red else ""
    return f"{name}{boxes}{f'; {spots} pixels marked' if spots else ''}"
