"""The page of a dataset: what lint found, as pictures, and what to do about it; also a part of the page of a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from yolo_nanfix.findings import Finding, Report, RuleText, Severity
from yolo_nanfix.report import task_text
from yolo_nanfix.report.html import dataset_rows, dataset_words
from yolo_nanfix.report.html.bars import bars
from yolo_nanfix.report.html.dataset_facts import About, Show
from yolo_nanfix.report.html.dataset_rows import short
from yolo_nanfix.report.html.image_groups import Group, groups
from yolo_nanfix.report.html.page import render
from yolo_nanfix.report.html.scales import grouped
from yolo_nanfix.report.words import EFFECT_WORDS, explains

SCRIPTS = ("dataset.js", "ticks.js")
"""The scripts of a page that includes `dataset.html.j2`."""
STYLES = ("dataset.css",)
"""Its styles."""
NOTHING = Show()
THUMBNAILS, EXAMPLES = 4, 5
"""So many pictures and findings of each rule stand in the page also without scripts."""
GROUPS, MEMBERS = 40, 6
"""So many groups of copies are shown, and so many images of each."""
REFUSED = 20
"""So many files that are not opened are named."""

Listed = Sequence[tuple[Finding, About]]


def lint_page(report: Report, show: Show = NOTHING) -> str:
    """The page of a lint run as HTML text that stands alone.

    Args:
        report: what lint found.
        show: what is known of the dataset besides.
    """
    return render("lint.html.j2", SCRIPTS, STYLES, dataset=context(report, show, alone=True))


def context(report: Report, show: Show = NOTHING, *, alone: bool = False) -> dict[str, Any]:
    """What the partial templates `dataset.html.j2` and `splits.html.j2` show, as their variable `dataset`.

    Args:
        report: what lint found, perhaps from `Report.from_dict`.
        show: what is known of the dataset besides; without it there are no pictures and no distributions.
        alone: the page is about nothing else, so that the splits stand at its top.
    """
    listed = dataset_rows.order(report, show)
    numbers = {file: number for number, (file, picture) in enumerate(show.pictures.items()) if picture.uri}
    explorer = dataset_rows.explorer(listed, show, numbers)
    kinds = Counter(finding.severity for finding in report.own)
    images = {finding.image for finding in report.own} - {None}
    follows = {finding.code: explains(report, finding) for finding, _ in listed if finding.image is None}
    return {
        "data": short(report.data),
        "task": short(task_text.sentence(report) or f"Task {report.task}."),
        "level": report.gravest.value if report.gravest else "good",
        "settings": [short(line) for line in report.overrides.lines()],
        "sentence": dataset_words.sentence(report),
        "steps": dataset_words.steps(report, show),
        "kinds": [(level.value, grouped(kinds[level])) for level in Severity if kinds[level]],
        "alone": alone,
        "splits": [_split(name, counts) for name, counts in report.counts.items()],
        "fates": any("kept" in counts for counts in report.counts.values()) and not report.choice,
        "rules": [{**rule, "follows": follows.get(rule["code"], "")} for rule in _rules(listed, show, numbers)],
        "total": len(report.own),
        "grouped": grouped(len(report.own)),
        "left_out": grouped(len(report.own) - len(explorer["rows"])),
        "images": grouped(len(images)),
        "without": grouped(len(images - numbers.keys())) if images - numbers.keys() else "",
        **_refused(show),
        "pictures": [
            {"number": number, "uri": picture.uri, "width": picture.width, "height": picture.height}
            for number, picture in ((number, show.pictures[file]) for file, number in numbers.items())
        ],
        "explorer": explorer,
        **_groups(listed, show, numbers),
        "charts": [bars(chart, number) for number, chart in enumerate(show.charts)],
        "skipped": _skipped(report),
        "known": grouped(report.known) if report.known else "",
    }


def _refused(show: Show) -> dict[str, Any]:
    """The files that were not opened, and why."""
    named = [(short(file.removeprefix(f"{show.root}/")), why) for file, why in [*show.refused.items()][:REFUSED]]
    return {"refused": named, "refused_count": grouped(len(show.refused))}


def _split(name: str, counts: Mapping[str, int]) -> dict[str, Any]:
    """What a split has, and what Ultralytics keeps of it; an empty text where that is not known."""
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


def _rule(found: Listed, text: RuleText | None, show: Show, numbers: Mapping[str, int]) -> dict[str, Any]:
    """One rule: what it means, and its first findings."""
    first = found[0][0]
    safety, does = show.fixes.get(first.code, ("", ""))
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
        "mend": first.mend,
        "safety": safety,
        "does": does,
        "examples": [
            (dataset_rows.where(finding, show.root), dataset_rows.message(finding, show.root))
            for finding, _ in found[:EXAMPLES]
        ],
        "more": grouped(len(found) - EXAMPLES) if len(found) > EXAMPLES else "",
        "thumbnails": list(dataset_rows.thumbnails(found, show, numbers, THUMBNAILS)),
    }


def _groups(listed: Listed, show: Show, numbers: Mapping[str, int]) -> dict[str, Any]:
    """Copies and images that look alike, side by side."""
    found = groups(finding for finding, _ in listed)
    split_of = {finding.image: finding.split for finding, _ in listed}
    shown = [_group(group, split_of, show, numbers) for group in found[:GROUPS]]
    return {"groups": shown, "groups_left": grouped(len(found) - GROUPS) if len(found) > GROUPS else ""}


def _group(
    group: Group, split_of: Mapping[str | None, str | None], show: Show, numbers: Mapping[str, int]
) -> dict[str, Any]:
    """One group of images."""
    return {
        "severity": min(group.findings, key=lambda f: f.severity.rank).severity.value,
        "codes": ", ".join(sorted({f"{f.code} {f.name}" for f in group.findings})),
        "says": [
            (dataset_rows.where(f, show.root), dataset_rows.message(f, show.root)) for f in group.findings[:MEMBERS]
        ],
        "images": [
            {**dataset_rows.thumbnail(image, (), show, numbers), "split": split_of.get(image) or ""}
            for image in group.images[:MEMBERS]
        ],
        "left": max(0, len(group.images) - MEMBERS),
    }


def _skipped(report: Report) -> list[tuple[str, str]]:
    """The rules that were not asked, by reason."""
    reasons: dict[str, list[str]] = {}
    for code, reason in report.skipped:
        reasons.setdefault(reason, []).append(code)
    return [(" ".join(codes), short(reason)) for reason, codes in reasons.items()]
