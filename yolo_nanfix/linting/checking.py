"""Lints a dataset of YOLO labels: reads what has changed, and asks all rules."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from yolo_nanfix.dataset import other_files
from yolo_nanfix.dataset.classification import list_folders
from yolo_nanfix.dataset.config import DataConfig
from yolo_nanfix.dataset.fates import Fate, of_splits
from yolo_nanfix.dataset.index import Survey, pack, survey, unpack
from yolo_nanfix.dataset.listing import Folders, list_images
from yolo_nanfix.dataset.options import UNLABELLED, LintOptions
from yolo_nanfix.dataset.table import Studied, Study, Table
from yolo_nanfix.findings import Finding, Report, Skip
from yolo_nanfix.linting import cache, latest
from yolo_nanfix.linting.assemble import Whole, assemble, dumps, unchanged
from yolo_nanfix.linting.causes import Cause, explained
from yolo_nanfix.linting.causes import dumps as dumps_causes
from yolo_nanfix.linting.causes import loads as loads_causes
from yolo_nanfix.linting.choosing import choose
from yolo_nanfix.linting.folding import folded
from yolo_nanfix.linting.parts import Context, Found
from yolo_nanfix.linting.pool import Progress, read_all
from yolo_nanfix.linting.registry import all_rules
from yolo_nanfix.tasks import Basis

FEW = 0.01
"""As long as no more than this share of the images changed, the columns that are remembered stay as they are."""
Counts = Mapping[str, Mapping[str, int]]


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
    """The report on a dataset; the arguments are those of `runner.run`.

    Args:
        options: how, with the task settled.
        folders: its folders, which were listed.
        place: where it is remembered; None if it is not.
        basis: why it is this task.

    Raises:
        DataError: the dataset cannot be used.
    """
    names, _ = folders.digests
    memory = cache.load(place) if place else None
    recalled = None
    if memory is not None and memory.facts == {"names": names, "listed": folders.count}:
        try:
            recalled = _recall(memory, folders)
        except Exception:  # what is remembered is read anew rather than be the end of a lint
            memory = None
    if recalled is not None:
        seen, there = recalled.seen, recalled.there
    else:
        seen = survey(config, folders, _unlabelled(config, options, folders))
        there = other_files.take_census(config, seen.files, options.settled, folders)
    kept = unchanged(seen, memory, same_files=recalled is not None)
    waiting = np.delete(np.arange(len(seen.files)), kept.now).tolist()
    context = Context(config, options)
    whole = assemble(seen, memory, kept, read_all(seen, waiting, context, jobs, progress), deep=options.deep)
    table = whole.table(seen)
    if study is not None:
        study(Studied(config, options.settled, table))
    facts = {"config": config, "task": options.settled, "options": options, "table": table, "strays": seen.strays}
    fates = of_splits(table, config, options.settled)
    facts |= {"fates": fates, "census": there, "folders": folders, "notes": ()}
    if recalled is not None:
        lasting, old = recalled.lasting, recalled.causes
    else:
        old = []
        lasting = list(_in_set(facts, options, old, lasting=True))
    causes = [*old]
    in_set = [*lasting, *_in_set(facts, options, causes, lasting=False)]
    found = explained([*_in_files(whole.found, table), *in_set], causes)
    findings = sorted(folded(found, table), key=_order(seen.split_names))
    if place is not None and (recalled is None or len(waiting) > FEW * len(seen.files)):
        _remember(place, names, seen, there, whole, lasting, old)
    data, task, root = str(config.yaml_file), options.settled, str(config.root)
    choice = choose(seen.files, findings) if task == UNLABELLED else ()
    counts, skipped = _counts(table, fates), _skipped(options)
    return Report(data, task, tuple(findings), skipped, counts, root=root, basis=basis, choice=choice)


class _Recalled(NamedTuple):
    """What was known of a dataset in which no file came or went."""

    seen: Survey
    there: other_files.Census
    lasting: list[Finding]
    causes: list[Cause]


def _recall(memory: cache.Memory, folders: Folders) -> _Recalled:
    lasting = list(latest.unpack_findings(json.loads(memory.text("lasting")), _texts()))
    seen, there = unpack(memory.column, memory.text, folders), other_files.loads(memory.text("census"))
    return _Recalled(seen, there, lasting, loads_causes(memory.text("causes")))


def _unlabelled(config: DataConfig, options: LintOptions, folders: Folders) -> Mapping[str, Sequence[str]] | None:
    """The images of each split of a set without label files; None for one with label files."""
    if options.settled == "classify":
        return list_folders(config)
    if options.settled == UNLABELLED:
        return {split: list_images(paths, folders, config.lists) for split, paths in config.splits.items()}
    return None


def _in_set(facts: Mapping[str, Any], options: LintOptions, causes: list[Cause], *, lasting: bool) -> Iterator[Finding]:
    """The findings of the rules over the whole set: of those whose findings last until a file comes or goes, or not.

    `causes` gets what they explain.
    """
    for rule in all_rules():
        if not rule.about_files and rule.lasting is lasting and not rule.skipped(options):
            with np.errstate(all="ignore"):  # label files may hold any number
                yield from rule.run(facts, causes)


def _in_files(found: Sequence[Found], table: Table) -> Iterator[Finding]:
    """The findings of the rules about single files."""
    splits = table.split[[hit.image for hit in found]].tolist() if found else []
    packed = (
        (code, file, line, pixel, says, table.split_names[split], table.files[image], None, values, related)
        for (image, code, file, line, pixel, says, values, related), split in zip(found, splits, strict=True)
    )
    return latest.unpack_findings(packed, _texts())


def _texts() -> dict[str, latest.RuleTexts]:
    """What findings say of each rule."""
    return {rule.code: (rule.name, rule.severity, rule.effect, rule.fix) for rule in all_rules()}


def _skipped(options: LintOptions) -> tuple[tuple[str, Skip], ...]:
    return tuple((rule.code, reason) for rule in all_rules() if (reason := rule.skipped(options)))


def _order(splits: tuple[str, ...]) -> Any:
    order: dict[str | None, int] = {split: i for i, split in enumerate((None, *splits))}
    return lambda f: (order[f.split], f.place.file, f.place.line or 0, f.code)


def _counts(table: Table, fates: Mapping[str, Fate]) -> Counts:
    """Images, label files and label rows of each split, as often as they are listed, and what becomes of the images."""
    return {
        split: {
            "images": len(listed),
            "labels": int(table.labelled[listed].sum()),
            "rows": int(table.lines[listed].sum()),
            "kept": fates[split].kept,
            "dropped": fates[split].dropped,
            "background": fates[split].background,
            "rewritten": fates[split].rewritten,
        }
        for split, listed in table.splits.items()
        if len(listed)
    }


def _remember(
    place: Path,
    names: str,
    seen: Survey,
    there: other_files.Census,
    whole: Whole,
    lasting: list[Finding],
    old: list[Cause],
) -> None:
    """Keep what is needed to leave unchanged files unread next time; `old` is what the lasting findings explain."""
    columns, texts = pack(seen)
    texts |= {
        "found": dumps(whole.found),
        "census": other_files.dumps(there),
        "lasting": json.dumps(latest.pack_findings(lasting)),
        "causes": dumps_causes(old),
    }
    cache.save(place, {"names": names, "listed": len(seen.listed)}, {**whole.columns, **columns}, texts)
