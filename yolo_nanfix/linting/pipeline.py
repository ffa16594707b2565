"""Runs all rules on a dataset, and joins their findings: for YOLO labels, and for annotation files.

Datasets of YOLO labels are read in parts, unless they are cached (`parts`); annotation files were read whole.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from yolo_nanfix.dataset.classification import list_folders
from yolo_nanfix.dataset.config import DataConfig
from yolo_nanfix.dataset.fates import Fates, of_splits
from yolo_nanfix.dataset.formats.build import Annotated
from yolo_nanfix.dataset.index import pack, survey, unpack
from yolo_nanfix.dataset.listing import Folders, list_images
from yolo_nanfix.dataset.options import UNLABELLED, LintOptions
from yolo_nanfix.dataset.table import Study, Table, Where
from yolo_nanfix.dataset.whole_set import pieces, tabulate
from yolo_nanfix.findings import FATES, Finding, Place, Report, Skip
from yolo_nanfix.linting import cache
from yolo_nanfix.linting.causes import choose, explained, folded
from yolo_nanfix.linting.parts import Found, about_files, assemble, pack_found, table_of, unchanged
from yolo_nanfix.linting.pool import Progress, read_all
from yolo_nanfix.linting.registry import Hit, Rule, all_rules
from yolo_nanfix.tasks import Basis
from yolo_nanfix.wording import literal

FEW_CHANGED = 0.01
"""The columns in the cache are written again if more than this share of the images changed."""
NOT_IN_ANNOTATIONS = {"CF": Skip.NO_DATA_YAML, "FS": Skip.NO_FOLDERS, "TX": Skip.NO_LABEL_FILES}
"""Families of rules that do not apply to annotation files, each with the reason."""
Asked = Mapping[Rule, Skip | None]
"""All rules, each with the reason if it is skipped."""


def check(
    config: DataConfig,
    options: LintOptions,
    folders: Folders,
    place: Path | None,
    progress: Progress | None,
    jobs: int | None,
    study: Study | None,
    basis: Basis,
) -> Report:
    """The report on a dataset of YOLO labels; the arguments are those of `runner.run`.

    Args:
        options: how, with the task settled.
        folders: its folders, which were listed.
        place: where its columns are cached; None if they are not.
        basis: why it is this task.

    Raises:
        DataError: the dataset cannot be used.
    """
    names, _ = folders.digests
    cached = cache.load_columns(place) if place else None
    known = None
    if cached is not None:
        try:
            if json.loads(cached[1]["facts"]) == [names, folders.count]:
                known = unpack(*cached, folders)
        except Exception:  # what is cached is read anew rather than be the end of a lint
            cached = None
    seen = known or survey(config, folders, options.settled, _unlabelled(config, options, folders))
    kept = unchanged(seen, cached, same_files=known is not None)
    waiting = np.delete(np.arange(len(seen.files)), kept[0]).tolist()
    read = read_all(seen, waiting, (config, options), jobs, progress)
    hits, columns = assemble(seen, cached, kept, read, deep=options.deep)
    if place is not None and (known is None or len(waiting) > FEW_CHANGED * len(seen.files)):
        own, texts = pack(seen)  # what is needed to leave unchanged files unread next time
        texts |= {
            "facts": json.dumps([names, len(seen.listed)]),
            "found": pack_found(hits),
        }
        cache.save_columns(place, {**columns, **own}, texts)
    table = table_of(seen, columns, (config, options))
    if study is not None:
        study(table)
    fates = of_splits(table)
    asked = {rule: rule.skipped(options) for rule in all_rules()}
    in_set = {"survey": seen, "folders": folders, "fates": fates, "notes": ()}
    findings = _all_findings(config, options, table, asked, in_set, _in_files(hits, table), [])
    choice = choose(seen.files, findings) if options.settled == UNLABELLED else ()
    return replace(_report(config, options, table, asked, findings, basis, fates), choice=choice)


def check_annotations(annotated: Annotated, study: Study | None = None) -> Report:
    """The report on annotation files: the rules about them, and those about images, rows, classes and splits."""
    config, options = annotated.config, annotated.options
    parts = list(pieces(annotated.images, annotated.labels))
    table = tabulate(annotated.images, annotated.splits, parts, config, options.settled, annotated.where)
    if study is not None:
        study(table)
    asked = {rule: NOT_IN_ANNOTATIONS.get(rule.code[:2]) or rule.skipped(options) for rule in all_rules()}
    found: list[Finding] = []
    causes: list[tuple[str, Hit]] = []
    for images, labels in parts:
        facts = about_files(images, labels, config, options)
        found += _ask((rule for rule, why in asked.items() if why is None and rule.about_files), facts, causes)
    in_set = {"fates": of_splits(table), "notes": annotated.notes}
    findings = _all_findings(config, options, table, asked, in_set, found, causes, annotated.where)
    return _report(config, options, table, asked, findings, annotated.basis)


def _unlabelled(config: DataConfig, options: LintOptions, folders: Folders) -> Mapping[str, Sequence[str]] | None:
    """The images of each split of a set without label files; None for one with label files."""
    if options.settled == "classify":
        return list_folders(config)
    if options.settled == UNLABELLED:
        return {split: list_images(paths, folders, config.lists) for split, paths in config.splits.items()}
    return None


def _in_files(found: Sequence[Found], table: Table) -> Iterator[Finding]:
    """The findings of the rules about single files."""
    rules = {rule.code: rule for rule in all_rules()}
    splits = table.split[[image for image, *_ in found]].tolist() if found else []
    for (image, code, hit), split in zip(found, splits, strict=True):
        yield rules[code].finding(hit._replace(split=table.split_names[split], image=table.files[image]))


def _ask(rules: Iterable[Rule], facts: Mapping[str, Any], causes: list[tuple[str, Hit]]) -> Iterator[Finding]:
    """What some rules find; `causes` gets the hits that explain others."""
    for rule in rules:
        with np.errstate(all="ignore"):  # label files may hold any number
            yield from rule.run(facts, causes)


def _all_findings(
    config: DataConfig,
    options: LintOptions,
    table: Table,
    asked: Asked,
    facts: Mapping[str, Any],
    in_files: Iterable[Finding],
    causes: list[tuple[str, Hit]],
    where: Mapping[str, Where] | None = None,
) -> tuple[Finding, ...]:
    """All findings, sorted: those in single files, and those of the rules over the whole set.

    Args:
        config, options, table: the dataset.
        asked: the rules.
        facts: what besides the dataset rules over the whole set may ask for.
        in_files: the findings in single files.
        causes: those that explain others, as `Rule.run` adds them.
        where: how rows of annotation files are called.
    """
    facts = {"config": config, "task": options.settled, "options": options, "table": table, **facts}
    in_set = _ask((rule for rule, why in asked.items() if why is None and not rule.about_files), facts, causes)
    found: Iterable[Finding] = folded(explained([*in_files, *in_set], causes), table)
    if where:
        found = (_called(finding, where.get(finding.place.file)) for finding in found)
    order: dict[str | None, int] = {split: i for i, split in enumerate((None, *table.split_names))}
    return tuple(sorted(found, key=lambda f: (order[f.split], f.place.file, f.place.line or 0, f.code)))


def _called(finding: Finding, where: Where | None) -> Finding:
    """A finding whose line is the number of a row, with the line in the annotation file, and what the row is called."""
    place, values = finding.place, dict(finding.values)
    if where is None or place.line is None or finding.code.startswith("AN"):
        return finding
    line, values["entry"] = where(place.line)
    says = finding.says if finding.values else literal(finding.says)
    if isinstance(other := values.get("line"), int):
        values["line"] = where(other)[1]
    related = tuple(
        Place(one.file, where(one.line)[0]) if one.line is not None and one.file == place.file else one
        for one in finding.related
    )
    return replace(finding, place=Place(place.file, line), says=f"{{entry}}: {says}", values=values, related=related)


def _report(
    config: DataConfig,
    options: LintOptions,
    table: Table,
    asked: Asked,
    findings: tuple[Finding, ...],
    basis: Basis | None,
    fates: Fates | None = None,
) -> Report:
    """The report; `fates` are what becomes of the images of each split, where Ultralytics reads the files itself."""
    counts: dict[str, dict[str, int]] = {}
    for split, listed in table.splits.items():
        if len(listed):
            labelled, rows = int(table.labelled[listed].sum()), int(table.lines[listed].sum())
            counts[split] = {"images": len(listed), "labels": labelled, "rows": rows}
            if fates is not None:
                counts[split] |= {name: fates[split][name] for name in FATES}
    skipped = tuple((rule.code, why) for rule, why in asked.items() if why is not None)
    data, task, root = str(config.yaml_file), options.settled, str(config.root)
    return Report(data, task, findings, skipped, counts, root=root, basis=basis)
