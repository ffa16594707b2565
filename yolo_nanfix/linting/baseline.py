"""The baseline: a file of known findings, so that only new ones fail.

It is JSON, to be committed: for each data.yaml (relative to the baseline's folder) the sorted identities of its
findings. Several datasets may share one file. Identities hold no line numbers, so that findings below an inserted row
stay known.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from yolo_nanfix.dataset import bounded
from yolo_nanfix.errors import UsageError
from yolo_nanfix.findings import Report

_VERSION = 1
LARGEST_BASELINE = 1 << 28
"""Bytes of a baseline at most: some million findings."""


def without_known(report: Report, file: Path) -> Report:
    """The report with the findings that the baseline does not hold, and a count of those that it does.

    Raises:
        UsageError: the baseline does not exist, cannot be read or is no baseline.
    """
    known = set(_read_baseline(file)["datasets"].get(_dataset_key(report, file), ()))
    new = tuple(f for f, identity in zip(report.findings, report.identities(), strict=True) if identity not in known)
    return replace(report, findings=new, known=report.known + len(report.findings) - len(new))


def updated(report: Report, file: Path) -> str:
    """The baseline as JSON with all findings of the report, and those of other datasets as they were.

    Raises:
        UsageError: the file exists but cannot be read or is no baseline.
    """
    content: dict[str, Any] = _read_baseline(file) if file.exists() else {"version": _VERSION, "datasets": {}}
    content["datasets"][_dataset_key(report, file)] = sorted(report.identities())
    return json.dumps(content, indent=1, sort_keys=True) + "\n"


def _dataset_key(report: Report, file: Path) -> str:
    """The path of data.yaml relative to the baseline's folder."""
    try:
        return os.path.relpath(os.path.realpath(report.data), os.path.realpath(file.parent)).replace(os.sep, "/")
    except ValueError:  # on Windows, another drive
        return Path(report.data).as_posix()


def _read_baseline(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(bounded.read_bytes(file, LARGEST_BASELINE))
    except FileNotFoundError as error:
        raise UsageError(f"the baseline {file} does not exist; --write-baseline makes it") from error
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"the baseline {file} cannot be read: {error}") from error
    datasets = content.get("datasets") if isinstance(content, dict) else None
    lists = datasets.values() if isinstance(datasets, dict) else [None]
    if not all(isinstance(known, list) and all(isinstance(updated, str) for updated in known) for known in lists):
        raise UsageError(f"{file} is no baseline of lint; --write-baseline to another file makes one")
    if content.get("version") != _VERSION:
        raise UsageError(f"the baseline {file} is of version {content.get('version')!r}; this release reads {_VERSION}")
    return dict(content)
