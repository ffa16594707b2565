"""Fixing and undo of a dataset, from its lint report."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Container, Iterable
from functools import cache
from pathlib import Path
from typing import NamedTuple

from yolo_nanfix.dataset import discover
from yolo_nanfix.dataset.config import DataConfig
from yolo_nanfix.dataset.find_yaml import find_yaml
from yolo_nanfix.dataset.formats.sniff import sniff
from yolo_nanfix.dataset.grounds import ground as ground_of
from yolo_nanfix.dataset.grounds import too_wide
from yolo_nanfix.dataset.options import LintOptions
from yolo_nanfix.dataset.paths import label_path
from yolo_nanfix.dataset.table import Table
from yolo_nanfix.errors import DataError, NanfixError, UsageError
from yolo_nanfix.files import Within
from yolo_nanfix.findings import Finding, Report, Safety
from yolo_nanfix.linting.autofix.apply import Fixed, apply_fixes, preview, would_fix
from yolo_nanfix.linting.autofix.ground import Ground, Home, LabelFile, Whole
from yolo_nanfix.linting.autofix.label_edits import operation_of
from yolo_nanfix.linting.autofix.operations import Scope
from yolo_nanfix.linting.autofix.undo import Undone, undo_last
from yolo_nanfix.linting.registry import autofixes
from yolo_nanfix.linting.runner import run

MOST_TRIED = 1000
"""Up to this many findings with an autofix are tried out; more take too long."""
MOST_LOOKED_AT = 500
"""In sets of up to this many images unsafe fixes are tried out, too: these need the whole set."""


class Fixes(NamedTuple):
    """Which findings `fix` can fix.

    Attributes:
        safe: by safe autofixes.
        unsafe: those that need unsafe ones.
        tried: whether safe and unsafe ones were tried out; else these are all that have an autofix.
        outside: how many have an autofix, but are about files outside of the dataset.
    """

    safe: frozenset[Finding] = frozenset()
    unsafe: frozenset[Finding] = frozenset()
    tried: tuple[bool, bool] = (True, True)
    outside: int = 0


def fix(report: Report, *, unsafe: bool, diff: bool, outside: bool) -> Fixed:
    """Fix the findings of a report; see `api.fix`."""
    single(report)
    ground = _ground(report, unsafe, outside=outside)
    return preview(report.findings, ground) if diff else apply_fixes(report.findings, ground)


def fixable(report: Report, remember: bool) -> Fixes:
    """Which findings of a report `fix` can fix; nothing is written.

    Raises:
        UsageError: nothing can be fixed in such a dataset.
    """
    single(report)
    fixes = [f for f in report.findings if f.because is None and f.code in autofixes()]
    if not fixes:
        return Fixes()
    ground = _ground(report, False, remember)
    have = _about_dataset(fixes, ground.home)
    few = len(have) <= MOST_TRIED
    small = few and sum(counts["images"] for counts in report.counts.values()) <= MOST_LOOKED_AT
    may_be_safe = frozenset(f for f in have if autofixes()[f.code].safety is not Safety.UNSAFE)
    safe = would_fix(report.findings, ground) if few else may_be_safe
    more = would_fix(report.findings, _ground(report, True, remember)) if small else have
    return Fixes(safe, more - safe, (few, small), len(frozenset(fixes) - have))


def tried(report: Report) -> tuple[frozenset[Finding], frozenset[Finding]] | None:
    """The findings that safe autofixes can fix, and those that need unsafe ones; None if that was not tried out."""
    try:
        found = fixable(report, True)
    except NanfixError:  # the dataset has gone meanwhile
        return None
    return (found.safe, found.unsafe) if all(found.tried) else None


def _about_dataset(findings: Iterable[Finding], home: Home) -> frozenset[Finding]:
    """The findings about files of the dataset, or about the set as a whole."""
    files = list(dict.fromkeys(f.place.file for f in findings))
    held = dict(zip(files, home.within.hold(files), strict=True))
    return frozenset(f for f in findings if held[f.place.file] or operation_of(f).scope is Scope.SET)


def undo(data: str | Path, *, outside: bool, root: str | Path | None) -> Undone:
    """Undo the newest fix run of a dataset; see `api.undo`."""
    try:
        config = discover.dataset(data, LintOptions(root=Path(root) if root else None))
    except NanfixError:
        config = None
    return undo_last(_home(data, config, root, outside))


def _home(data: str | Path, config: DataConfig | None, root: str | Path | None, outside: bool) -> Home:
    """Where the files of a dataset are; if it cannot be read, the folder of its data.yaml."""
    try:
        name = os.path.realpath(find_yaml(data))
    except DataError:
        name = os.path.realpath(data)
    folder = name if os.path.isdir(name) else os.path.dirname(name)  # noqa: PTH112, PTH120
    if config is None:
        return Home(name, folder, Within(() if too_wide(folder) else (folder,)), outside)
    within, top = ground_of(config, root), str(config.root.resolve())
    return Home(name, top if outside or within.holds(top) else folder, within, outside)


def single(report: Report) -> None:
    """Raise UsageError for reports on several datasets, or on annotations in another format."""
    data = Path(report.data)
    if not data.exists():
        raise UsageError(f"one dataset at a time, please; this report is about {report.data}")
    if report.task != "classify" and sniff(data) is not None:
        raise UsageError(f"only datasets of YOLO labels or class folders can be fixed or handed over, not {data}")


def options_of(report: Report, deep: bool = False) -> LintOptions:
    """The options with which the dataset of a report is read again."""
    return LintOptions(report.asked, deep, root=Path(report.given_root) if report.given_root else None)


def config_of(report: Report) -> DataConfig:
    """The dataset of a report, its images where they were found."""
    return discover.dataset(report.data, options_of(report))


def _ground(report: Report, unsafe: bool, remember: bool = True, *, outside: bool = False) -> Ground:
    config, classify = config_of(report), report.task == "classify"
    classes: Container[int] = range(config.nc) if config.in_order else config.names
    named = (path for paths in config.splits.values() for path in paths if path.suffix == ".txt")
    return Ground(
        home=_home(report.data, config, report.given_root, outside),
        task=report.task,
        classes=() if classify else classes,
        lists=() if classify else tuple(map(str, named)),
        label_of=(lambda image: "") if classify else label_path,
        whole=cache(lambda: _whole_set(report, remember)),
        since_ns=report.started_ns,
        unsafe=unsafe,
    )


def _whole_set(report: Report, remember: bool) -> Whole:
    """The dataset as it is now; unchanged files are not read again."""
    studied: list[Table] = []
    run(report.data, options=options_of(report), study=studied.append, cache=remember)
    table = studied[0]
    number = {file: i for i, file in enumerate(table.files)}

    def held(image: str) -> list[float]:
        return table.row_cls[table.rows_of(number[image])].tolist() if image in number else []

    splits = {split: [table.files[i] for i in images.tolist()] for split, images in table.members.items()}
    home = table.of_rows(table.split)
    classes = {s: Counter(table.row_cls[home == i].tolist()) for i, s in enumerate(table.split_names)}
    return Whole(_label_files(table), splits, int(table.lines.sum()), classes, table.config.nc, held)


def _label_files(table: Table) -> tuple[LabelFile, ...]:
    """The label files of a dataset, each once.

    If several images use one, its size is 0 x 0 unless they have the same size and orientation.
    """
    splits: dict[int, list[str]] = {}
    for split, images in table.members.items():
        for image in images.tolist():
            splits.setdefault(image, []).append(split)
    found: dict[str, LabelFile] = {}
    sizes = zip(table.width.tolist(), table.height.tolist(), table.turn.tolist(), strict=True)
    for image, (path, labelled, size) in enumerate(zip(table.labels, table.labelled.tolist(), sizes, strict=True)):
        if labelled:
            one = found.get(path)
            inside = splits.get(image, [])
            if one is not None:
                size = size if (one.width, one.height, one.turn) == size else (0, 0, 0)
                inside = list(dict.fromkeys([*one.splits, *inside]))
            found[path] = LabelFile(path, tuple(inside), *size)
    return tuple(found.values())
