"""The page of a dataset: its findings, with pictures, and what to do; also a part of the page of a run."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from yolo_nanfix.findings import Finding, Report, RuleText, Safety, Severity
from yolo_nanfix.report.html import dataset_advice
from yolo_nanfix.report.html.dataset_charts import bars
from yolo_nanfix.report.html.dataset_facts import About, Outline, Picture, Show
from yolo_nanfix.report.html.page import render_page
from yolo_nanfix.report.words import (
    EFFECT_WORDS,
    explains,
    grouped,
    printable,
    relative,
    relative_message,
    skipped,
    task_sentence,
)

SCRIPTS = ("dataset.js", "ticks.js")
"""The scripts of a page that includes `dataset.html.j2`."""
STYLES = ("dataset.css",)
"""Its styles."""
NO_FACTS = Show()
THUMBNAILS, EXAMPLES = 4, 5
"""At most this many pictures and findings of each rule are on the page without scripts, too."""
GROUPS, MEMBERS = 40, 6
"""At most this many groups of copies are shown, and this many images of each."""
REFUSED = 20
"""At most this many files that were not opened are named."""
ROOM = 5_000_000
"""Characters of a page for the list of findings; if it is longer, the mildest ones are left out."""
LONGEST_TEXT = 400
"""Characters of a message, or of a file name, that are shown."""
_COLUMNS = ("code", "severity", "file", "image", "split", "line", "message", "classes", "row", "pixel", "partner")

Listed = Sequence[tuple[Finding, About]]


def lint_page(report: Report, show: Show = NO_FACTS) -> str:
    """The page of a lint report as self-contained HTML; see `context`."""
    return render_page("lint.html.j2", SCRIPTS, STYLES, dataset=context(report, show, alone=True))


def context(report: Report, show: Show = NO_FACTS, *, alone: bool = False) -> dict[str, Any]:
    """The variable `dataset` of the partial templates `dataset.html.j2` and `splits.html.j2`.

    Without `show` there are no pictures and no distributions. `alone`: the page is about nothing else.
    """
    listed = order(report, show)
    numbers = {file: number for number, (file, picture) in enumerate(show.pictures.items()) if picture.uri}
    rows = explorer(listed, show, numbers)
    kinds = Counter(finding.severity for finding in report.own)
    images = {finding.image for finding in report.own} - {None}
    follows = {finding.code: explains(report, finding) for finding, _ in listed if finding.image is None}
    refused = [(short(file.removeprefix(f"{show.root}/")), why) for file, why in [*show.refused.items()][:REFUSED]]
    return {
        "data": short(report.data),
        "task": short(task_sentence(report) or f"Task {report.task}."),
        "level": report.gravest.value if report.gravest else "good",
        "settings": [short(line) for line in report.overrides.lines()],
        "sentence": dataset_advice.headline(report),
        "steps": dataset_advice.steps(report, show),
        "kinds": [(level.value, grouped(kinds[level])) for level in Severity if kinds[level]],
        "alone": alone,
        "splits": [_split(name, counts) for name, counts in report.counts.items()],
        "fates": any("kept" in counts for counts in report.counts.values()) and not report.choice,
        "rules": [{**rule, "follows": follows.get(rule["code"], "")} for rule in _rules(listed, show, numbers)],
        "total": len(report.own),
        "grouped": grouped(len(report.own)),
        "left_out": grouped(len(report.own) - len(rows["rows"])),
        "images": grouped(len(images)),
        "without": grouped(len(images - numbers.keys())) if images - numbers.keys() else "",
        "refused": refused,
        "refused_count": grouped(len(show.refused)),
        "pictures": [
            {"number": number, "uri": show.pictures[file].uri, "width": show.pictures[file].width,
             "height": show.pictures[file].height}
            for file, number in numbers.items()
        ],
        "explorer": rows,
        **_groups(listed, show, numbers),
        "charts": [bars(chart, number) for number, chart in enumerate(show.charts)],
        "skipped": [(" ".join(codes), why) for why, codes in skipped(report, {r.code: r for r in show.rules}).items()],
        "known": grouped(report.known) if report.known else "",
    }  # fmt: skip


def short(text: str) -> str:
    """Printable text, cut in the middle if it is very long."""
    shown = printable(text)
    return shown if len(shown) <= LONGEST_TEXT else f"{shown[: LONGEST_TEXT // 2]} ... {shown[-LONGEST_TEXT // 2 :]}"


def named(file: str, root: str) -> str:
    """The shown name of a file: relative to the dataset's folder."""
    return short(relative(file, Path(root)) if root else file)


def message(finding: Finding, root: str) -> str:
    """The shown message of a finding: paths relative to the dataset's folder."""
    return short(relative_message(finding, Path(root)) if root else finding.message)


def place_named(finding: Finding, root: str) -> str:
    """`labels/train/7.txt:3`, `images/train/7.npy@60,60,0`."""
    return str(replace(finding.place, file=named(finding.place.file, root)))


def order(report: Report, show: Show) -> list[tuple[Finding, About]]:
    """The findings with what they are about, the worst first."""
    about = show.about or (About(),) * len(report.findings)
    own = set(map(id, report.own))
    pairs = (pair for pair in zip(report.findings, about, strict=True) if id(pair[0]) in own)
    return sorted(pairs, key=lambda pair: pair[0].severity.rank)


def _split(name: str, counts: Mapping[str, int]) -> dict[str, Any]:
    keys = ("images", "kept", "dropped", "background", "rewritten", "labels", "rows")
    numbers = {key: grouped(counts[key]) if key in counts else "" for key in keys}
    return {"name": short(name), "loses": bool(counts.get("dropped")), **numbers}


def _rules(listed: Listed, show: Show, numbers: Mapping[str, int]) -> list[dict[str, Any]]:
    """The rules with findings, the worst first, then those with the most."""
    texts = {rule.code: rule for rule in show.rules}
    found: dict[str, list[tuple[Finding, About]]] = {}
    for finding, about in listed:
        found.setdefault(finding.code, []).append((finding, about))
    ranked = sorted(found.values(), key=lambda each: (each[0][0].severity.rank, -len(each), each[0][0].code))
    return [_rule(each, texts.get(each[0][0].code), show, numbers) for each in ranked]


_OPTIONS = {
    Safety.SAFE: "`--fix`",
    Safety.SAFE_IF_SLIGHT: "`--fix` (up to 1 %) or `--fix --unsafe-fixes`",
    Safety.UNSAFE: "`--fix --unsafe-fixes`",
}


def _rule(found: Listed, text: RuleText | None, show: Show, numbers: Mapping[str, int]) -> dict[str, Any]:
    first = found[0][0]
    safety, does = show.fixes.get(first.code, (None, ""))
    return {
        "code": first.code,
        "name": first.name,
        "severity": first.severity.value,
        "count": grouped(len(found)),
        "images": grouped(len({f.image for f, _ in found} - {None})),
        "effect": EFFECT_WORDS[first.effect],
        "title": text.title if text else first.name.replace("-", " "),
        "why": text.why if text else "",
        "upstream": text.upstream if text else "",
        "example": text.example if text else "",
        "fix": first.fix,
        "safety": safety.value if safety else "",
        "option": _OPTIONS[safety] if safety else "",
        "does": does,
        "examples": [(place_named(finding, show.root), message(finding, show.root)) for finding, _ in found[:EXAMPLES]],
        "more": grouped(len(found) - EXAMPLES) if len(found) > EXAMPLES else "",
        "thumbnails": list(thumbnails(found, show, numbers, THUMBNAILS)),
    }


class Group(NamedTuple):
    """Images that are the same or look alike.

    Attributes:
        images: the files, each once; the one with which others are compared first.
        findings: the findings about their pairs.
    """

    images: tuple[str, ...]
    findings: tuple[Finding, ...]


def groups(findings: Iterable[Finding]) -> list[Group]:
    """Groups of the images in findings about pairs; the worst first, then the largest."""
    pairs = [(f.image, f.partner, f) for f in findings if f.image is not None and f.partner is not None]
    leader: dict[str, str] = {}

    def first(image: str) -> str:
        while (up := leader.setdefault(image, image)) != image:
            leader[image] = leader[up]
            image = up
        return image

    for image, other, _ in pairs:
        leader[first(image)] = first(other)
    members: dict[str, dict[str, None]] = {}
    said: dict[str, list[Finding]] = {}
    for image, other, finding in pairs:
        name = first(image)
        members.setdefault(name, {}).update({other: None, image: None})
        said.setdefault(name, []).append(finding)
    found = [Group(tuple(images), tuple(said[name])) for name, images in members.items()]
    return sorted(found, key=lambda g: (min(f.severity.rank for f in g.findings), -len(g.images)))


def _groups(listed: Listed, show: Show, numbers: Mapping[str, int]) -> dict[str, Any]:
    found = groups(finding for finding, _ in listed)
    split_of = {finding.image: finding.split or "" for finding, _ in listed}
    shown = [
        {
            "severity": min(group.findings, key=lambda f: f.severity.rank).severity.value,
            "codes": ", ".join(sorted({f"{f.code} {f.name}" for f in group.findings})),
            "says": [(place_named(f, show.root), message(f, show.root)) for f in group.findings[:MEMBERS]],
            "images": [
                {**thumbnail(image, (), show, numbers), "split": split_of.get(image, "")}
                for image in group.images[:MEMBERS]
            ],
            "left": max(0, len(group.images) - MEMBERS),
        }
        for group in found[:GROUPS]
    ]
    return {"groups": shown, "groups_left": grouped(len(found) - GROUPS) if len(found) > GROUPS else ""}


class _Numbered:
    """Numbers for texts or tuples, one for each; None has -1."""

    def __init__(self) -> None:
        self.numbers: dict[Any, int] = {}

    def of(self, text: Any) -> int:
        return -1 if text is None else self.numbers.setdefault(text, len(self.numbers))


def explorer(listed: Listed, show: Show, numbers: Mapping[str, int]) -> dict[str, Any]:
    """The data of the script's list of findings; `columns` names the fields of a row, numbers are indices of texts.

    `numbers` are those of the images with a picture on the page.
    """
    codes, files, splits, classes, sets = (_Numbered() for _ in range(5))
    rows: list[list[Any]] = []
    room = ROOM
    for finding, about in listed:
        row = [
            codes.of((finding.code, finding.name)),
            finding.severity.rank,
            files.of(finding.place.file),
            files.of(finding.image),
            splits.of(finding.split),
            finding.place.line or 0,
            message(finding, show.root),
            sets.of(tuple(map(classes.of, about.classes)) or None),
            about.row,
            _spot(finding, show.pictures) or 0,
            files.of(finding.partner),
        ]
        room -= len(json.dumps(row)) + 1
        if room < 0:
            break
        rows.append(row)
    return {
        "columns": _COLUMNS,
        "codes": [*codes.numbers],
        "severities": [severity.value for severity in Severity],
        "files": [_name(file, show.root) for file in files.numbers],
        "splits": [*splits.numbers],
        "classes": [short(name) for name in classes.numbers],
        "sets": [*sets.numbers],
        "rows": rows,
        "total": len(listed),
        "pictures": {
            files.numbers[file]: [number, *_picture_data(show.pictures[file])]
            for file, number in numbers.items()
            if file in files.numbers
        },
        "without": {
            files.numbers[file]: picture.reason
            for file, picture in show.pictures.items()
            if file in files.numbers and not picture.uri
        },
    }


def _name(file: str, root: str) -> list[str]:
    shown = named(file, root)
    plain = " ".join(file.rpartition("/")[2].split())
    return [shown] if plain in shown else [shown, plain.encode("utf-8", "replace").decode()]


def view(picture: Picture) -> str:
    """The viewBox of a picture with room for boxes outside."""
    (across, down), width, height = picture.margin, picture.width, picture.height
    return f"{-across} {-down} {width + 2 * across} {height + 2 * down}"


def _picture_data(picture: Picture) -> list[Any]:
    """The data of a picture for the script, without its pixels."""
    outlines = [[o.row, o.label, o.path, *(o.centre or ())] for o in picture.outlines]
    return [view(picture), picture.width, picture.height, outlines, picture.left_out]


def _spot(finding: Finding, pictures: Mapping[str, Picture]) -> list[float] | None:
    picture = pictures.get(finding.image or "")
    if picture is None or finding.place.pixel is None or not picture.scale[0]:
        return None
    x, y, _ = finding.place.pixel
    return [round((x + 0.5) * picture.scale[0], 1), round((y + 0.5) * picture.scale[1], 1)]


def thumbnails(listed: Listed, show: Show, numbers: Mapping[str, int], most: int) -> Iterator[list[dict[str, Any]]]:
    """The first images of some findings with pictures, suspect rows in red; both of a pair together."""
    met: dict[str, list[tuple[Finding, About]]] = {}
    for finding, about in listed:
        if finding.image is not None and finding.image in numbers:
            met.setdefault(finding.image, []).append((finding, about))
    room = most
    for image, found in met.items():
        partner = next((f.partner for f, _ in found if f.partner is not None), None)
        group = [(image, found), *([(partner, [])] if partner is not None else [])]
        if len(group) > room:
            return
        room -= len(group)
        yield [thumbnail(one, what, show, numbers) for one, what in group]


def thumbnail(image: str, found: Listed, show: Show, numbers: Mapping[str, int]) -> dict[str, Any]:
    """One image for `picture.html.j2`; without a picture a field with the reason."""
    picture = show.pictures.get(image, Picture("", 240, 160, reason="no room for its picture in this page"))
    suspect = {about.row for _, about in found} - {0}
    red = [o for o in picture.outlines if o.row in suspect]
    spots = [spot for finding, _ in found if (spot := _spot(finding, show.pictures))]
    name = named(image, show.root)
    return {
        "number": numbers.get(image),
        "view": view(picture),
        "width": picture.width,
        "height": picture.height,
        "others": "".join(o.path for o in picture.outlines if o.row not in suspect),
        "red": "".join(o.path for o in red),
        "rings": [*filter(None, (o.centre for o in red)), *spots],
        "name": name,
        "says": _says(name, red, picture, len(spots)),
        "reason": picture.reason,
        "split": "",
    }


def _says(name: str, red: Sequence[Outline], picture: Picture, spots: int) -> str:
    labels = ", ".join(dict.fromkeys(o.label or "no class" for o in red))
    boxes = f"; in red {len(red)} of {len(picture.outlines)} label rows ({labels})" if red else ""
    return f"{name}{boxes}{f'; {spots} pixels marked' if spots else ''}"
