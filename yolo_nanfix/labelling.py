"""Prepares the handoff of a lint report to labellers: which images, from which folders, with which labels."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

from yolo_nanfix.dataset.config import DataConfig
from yolo_nanfix.dataset.grounds import ground as ground_of
from yolo_nanfix.dataset.paths import label_path
from yolo_nanfix.dataset.table import Table
from yolo_nanfix.errors import UsageError
from yolo_nanfix.findings import Report
from yolo_nanfix.handoff.export import HandedOver, Options, Unlabelled, hand_over
from yolo_nanfix.linting import runner
from yolo_nanfix.linting.autofix import autofix
from yolo_nanfix.linting.causes import choose
from yolo_nanfix.linting.pool import Progress
from yolo_nanfix.scene import Album


def handoff(report: Report, out: Path, options: Options, progress: Progress | None) -> HandedOver:
    """Write the images with findings for labellers; `api.handoff` says how."""
    autofix.single(report)
    config = autofix.config_of(report)
    within = ground_of(config, report.given_root, follow_links=options.follow_links)
    folder = Path(report.data) if Path(report.data).is_dir() else Path(report.data).parent
    if report.task == "classify":
        album = Album(report.data, report.task, str(folder), within, {}, None, lambda image: "")
    else:
        root, split_of = _common(config), partial(_split_of, config)
        album = Album(report.data, report.task, root, within, config.names, config.kpt_shape, label_path, split_of)
    return hand_over(report.findings, album, out, options, progress)


def at_least(report: Report, severity: str) -> Report:
    """The report with findings of at least this severity.

    Raises:
        UsageError: there is no such severity.
    """
    try:
        return report.select(at_least=severity)
    except ValueError as error:
        raise UsageError(f"{severity!r} is no severity: fatal, error, warning or info") from error


def unlabelled(report: Report, progress: Progress | None) -> Unlabelled:
    """The images of a dataset that are worth labelling: without a label file, valid, and no copy of another image.

    The report holds all findings of lint; the dataset is read again, unless it is cached.

    Raises:
        UsageError: the dataset has no label files.
    """
    autofix.single(report)
    if report.task == "classify":
        raise UsageError("images in class folders have no label files; --unlabelled is about the other tasks")
    studied: list[Table] = []
    runner.run(report.data, options=autofix.options_of(report, report.deep), progress=progress, study=studied.append)
    table = studied[0]
    bare = [file for file, labelled in zip(table.files, table.labelled.tolist(), strict=True) if not labelled]
    chosen = choose(bare, report.findings)
    paired = {f.code for f in report.findings if f.partner is not None}
    invalid = sum(not paired.issuperset(choice.because) for choice in chosen)
    worth = tuple(choice.image for choice in chosen if choice.keep)
    return Unlabelled(worth, invalid, len(chosen) - len(worth) - invalid)


def _common(config: DataConfig) -> str:
    """The folder that holds all images of a dataset: its root, or the common path of its splits."""
    folders = [str(path if path.is_dir() else path.parent) for paths in config.splits.values() for path in paths]
    root = str(config.root)
    try:
        common = os.path.commonpath([root, *folders])
        return common if common == root else os.path.commonpath([str(Path(folder).parent) for folder in folders])
    except ValueError:  # on several drives
        return root


def _split_of(config: DataConfig, image: str) -> str:
    """The split whose folder holds an image; empty if none does."""
    for split, paths in config.splits.items():
        if any(image.startswith(f"{path}{os.sep}") for path in paths):
            return split
    return ""
