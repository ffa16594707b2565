"""Runs all rules over one dataset."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from yolo_nanfix.errors import UsageError
from yolo_nanfix.findings import Finding, Report
from yolo_nanfix.linting.census import take_census
from yolo_nanfix.linting.classify import read_folder
from yolo_nanfix.linting.config import read_config
from yolo_nanfix.linting.dataset import Dataset, Progress, read_dataset, tabulate
from yolo_nanfix.linting.options import LintOptions
from yolo_nanfix.linting.rule import TASKS, all_rules


def run(data: str | Path, *, options: LintOptions | None = None, progress: Progress | None = None) -> Report:
    """Lint one dataset. Reads only: nothing is written, downloaded or executed.

    Args:
        data: data.yaml, a folder that holds one, or the name of a dataset that Ultralytics ships.
        options: how; by default a fast look at a detection dataset.
        progress: called with (done, total, what) while files are read.

    Raises:
        UsageError: the task is unknown.
        DataError: data.yaml or the dataset that it names cannot be used.
    """
    options = options or LintOptions()
    if options.task not in TASKS:
        raise UsageError(f"task '{options.task}' is unknown; lint reads {', '.join(TASKS)} labels")
    config = read_folder(data) if options.task == "classify" else read_config(data)
    dataset = read_dataset(config, options.task, progress, deep=options.deep)
    findings: list[Finding] = []
    skipped: list[tuple[str, str]] = []
    facts = {
        "config": config,
        "task": options.task,
        "options": options,
        "images": dataset.images,
        "labels": dataset.labels,
        "table": tabulate(dataset),
        "strays": dataset.strays,
        "census": take_census(config, (image.file for image in dataset.images), options.task),
    }
    for rule in all_rules():
        if reason := rule.skipped(options):
            skipped.append((rule.code, reason))
        else:
            with np.errstate(all="ignore"):  # label files may hold any number
                findings.extend(rule.run(facts))
    order = {split: i for i, split in enumerate((None, *dataset.splits))}
    findings.sort(key=lambda f: (order[f.split], f.place.file, f.place.line or 0, f.code))
    return Report(
        data=str(config.yaml_file),
        task=options.task,
        findings=tuple(findings),
        skipped=tuple(skipped),
        counts=_counts(dataset),
    )


def _counts(dataset: Dataset) -> Mapping[str, Mapping[str, int]]:
    """Images, label files and label rows of each split, as often as they are listed."""
    rows = {file.path: file.rows for file in dataset.labels.files}
    counts = {}
    for split, indices in dataset.splits.items():
        images = [dataset.images[i] for i in indices]
        counts[split] = {
            "images": len(images),
            "labels": sum(image.labelled for image in images),
            "rows": sum(rows.get(image.label, 0) for image in images),
        }
    return counts
