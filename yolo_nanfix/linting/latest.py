"""The latest report on a dataset, as it is remembered: where nothing has changed, no rule needs to be loaded for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from yolo_nanfix.choices import Choice
from yolo_nanfix.findings import Effect, Finding, Place, Report, Severity, Skip, frozen
from yolo_nanfix.tasks import Basis

RuleTexts = tuple[str, Severity, Effect, str]
"""A rule's name, its severity and effect, and how to fix what it finds."""
_SEVERITIES = {severity.value: severity for severity in Severity}
_EFFECTS = {effect.value: effect for effect in Effect}


def pack(report: Report) -> dict[str, Any]:
    """A report as values for JSON, without what the dataset and the options say."""
    return {
        "task": report.task,
        "basis": report.basis.as_dict() if report.basis is not None else None,
        "choice": [choice.as_dict() for choice in report.choice],
        "counts": report.counts,
        "skipped": report.skipped,
        "rules": {f.code: (f.name, f.severity.value, f.effect.value, f.fix) for f in _own_last(report.findings)},
        "findings": pack_findings(report.findings),
    }


def _own_last(findings: Iterable[Finding]) -> list[Finding]:
    """The findings, at the end those that no other one explains: these say how to fix what their rule finds."""
    return sorted(findings, key=lambda f: f.because is None)


def pack_findings(findings: Iterable[Finding]) -> list[tuple[Any, ...]]:
    """Findings as values for JSON, without what their rules say but for severity and effect, which may be their own."""
    return [
        (f.code, *_place(f), f.says, f.split, f.image, f.because, f.values, _related(f), *_own(f)) for f in findings
    ]


def _place(finding: Finding) -> tuple[Any, ...]:
    place = finding.place
    return place.file, place.line, place.pixel


def _related(finding: Finding) -> list[tuple[str, int | None]]:
    return [(place.file, place.line) for place in finding.related]


def _own(finding: Finding) -> tuple[str, str]:
    return finding.severity.value, finding.effect.value


def unpack(packed: Mapping[str, Any], data: str, root: str) -> Report | None:
    """The report that `pack` was given; None if this is not whole."""
    try:
        rules = {
            code: (name, Severity(severity), Effect(effect), fix)
            for code, (name, severity, effect, fix) in packed["rules"].items()
        }
        findings = tuple(unpack_findings(packed["findings"], rules))
        skipped = tuple((code, Skip(why)) for code, why in packed["skipped"])
        basis = Basis.from_dict(packed["basis"])
        choice = tuple(map(Choice.from_dict, packed["choice"]))
        return Report(data, packed["task"], findings, skipped, packed["counts"], root=root, basis=basis, choice=choice)
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def unpack_findings(packed: Iterable[Any], rules: Mapping[str, RuleTexts]) -> Iterator[Finding]:
    """The findings that `pack_findings` was given.

    Raises:
        KeyError, TypeError, ValueError: this is not whole.
    """
    for code, file, line, pixel, says, split, image, because, values, related, *own in packed:
        name, severity, effect, fix = rules[code]
        if own:
            severity, effect = _SEVERITIES[own[0]], _EFFECTS[own[1]]
        place = Place(file, line, tuple(pixel) if pixel else None)
        facts = frozen(values) if values else {}
        others = tuple(Place(other, at) for other, at in related)
        finding = Finding(code, name, severity, effect, place, says, fix, split, image, None, facts, others)
        yield finding if because is None else finding.explained(because)
