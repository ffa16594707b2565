"""Asks the rules about annotation files, and says their findings in the terms of these files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from yolo_nanfix.dataset.fates import of_splits
from yolo_nanfix.dataset.formats.build import Annotated
from yolo_nanfix.dataset.listing import Folders
from yolo_nanfix.dataset.other_files import Census
from yolo_nanfix.dataset.table import Studied, Study
from yolo_nanfix.dataset.whole_set import Piece, pieces, tabulate
from yolo_nanfix.findings import Finding, Place, Report, Skip
from yolo_nanfix.linting.causes import Cause, explained
from yolo_nanfix.linting.folding import folded
from yolo_nanfix.linting.registry import Rule, all_rules
from yolo_nanfix.wording import literal

APART = {"CF": Skip.NO_DATA_YAML, "FS": Skip.NO_FOLDERS, "TX": Skip.NO_LABEL_FILES}
"""Families of rules that have nothing to look at, each with the reason."""


def check(annotated: Annotated, study: Study | None = None) -> Report:
    """The report on annotation files: the rules about them, and those about images, rows, classes and splits."""
    dataset, options = annotated.dataset, annotated.options
    parts = list(pieces(dataset))
    table = tabulate(dataset, parts)
    if study is not None:
        study(Studied(dataset.config, options.settled, table, annotated.where))
    facts: dict[str, Any] = {
        "config": dataset.config,
        "task": options.settled,
        "options": options,
        "table": table,
        "fates": of_splits(table, dataset.config, options.settled),
        "strays": (),
        "census": Census(),
        "folders": Folders(),
        "notes": annotated.notes,
    }
    causes: list[Cause] = []
    reasons = {rule.code: APART.get(rule.code[:2]) or rule.skipped(options) for rule in all_rules()}
    skipped = [(code, reason) for code, reason in reasons.items() if reason]
    asked = [rule for rule in all_rules() if not reasons[rule.code]]
    found = [finding for some in _asked(asked, facts, parts, causes).values() for finding in some]
    findings = list(_translated(folded(explained(found, causes), table), annotated))
    order: dict[str | None, int] = {split: i for i, split in enumerate((None, *dataset.splits))}
    findings.sort(key=lambda f: (order[f.split], f.place.file, f.place.line or 0, f.code))
    counts = {
        split: {
            "images": len(listed),
            "labels": len(listed),
            "rows": int(table.lines[list(listed)].sum()),
        }
        for split, listed in dataset.splits.items()
        if listed
    }
    data, task, root = str(dataset.config.yaml_file), options.settled, str(dataset.config.root)
    basis = annotated.basis
    return Report(data, task, tuple(findings), tuple(skipped), counts, root=root, basis=basis)


def _asked(
    rules: Sequence[Rule], facts: dict[str, Any], parts: Sequence[Piece], causes: list[Cause]
) -> dict[str, list[Finding]]:
    """What each rule finds, by its code; `causes` gets what the findings explain."""
    found: dict[str, list[Finding]] = {rule.code: [] for rule in rules}
    with np.errstate(all="ignore"):  # annotations may hold any number
        for images, labels in parts:
            of_part = facts | {"images": images, "unusual": images.unusual(), "labels": labels}
            for rule in rules:
                if rule.about_files:
                    found[rule.code] += rule.run(of_part, causes)
        for rule in rules:
            if not rule.about_files:
                found[rule.code] += rule.run(facts, causes)
    return found


def _translated(findings: Iterable[Finding], annotated: Annotated) -> Iterator[Finding]:
    """Findings whose line is the number of a row, with the line in the file and the name of the row instead."""
    for finding in findings:
        where = annotated.where.get(finding.place.file)
        if where is None or finding.place.line is None or finding.code.startswith("AN"):
            yield finding
            continue
        line, called = where(finding.place.line)
        values = dict(finding.values)
        if isinstance(values.get("line"), int):
            values["line"] = where(values["line"])[1]
        yield replace(
            finding,
            place=Place(finding.place.file, line),
            says="{entry}: " + (finding.says if finding.values else literal(finding.says)),
            values={"entry": called, **values},
            related=tuple(_place(place, annotated) for place in finding.related),
        )


def _place(place: Place, annotated: Annotated) -> Place:
    """A place whose line is the number of a row, with the line in the file instead."""
    where = annotated.where.get(place.file)
    return place if where is None or place.line is None else Place(place.file, where(place.line)[0])
