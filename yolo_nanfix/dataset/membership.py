"""Which dataset a single file belongs to, and which findings are about it: what a pre-commit hook asks."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from yolo_nanfix.dataset.yaml_lines import read_yaml
from yolo_nanfix.errors import DataError
from yolo_nanfix.findings import Report


def datasets_of(files: Iterable[Path]) -> tuple[Path, ...]:
    """The data.yaml files that stand beside these files or above them, the nearest folder that has any.

    The way up ends at the top of a git repository.
    """
    met: dict[Path, tuple[Path, ...]] = {}
    found: dict[Path, None] = {}
    for file in files:
        way: list[Path] = []
        here: tuple[Path, ...] = ()
        for folder in Path(os.path.abspath(file)).parents:  # noqa: PTH100 - links stay links
            way.append(folder)
            here = met[folder] if folder in met else _datasets_in(folder)
            if here or (folder / ".git").exists():
                break
        met |= dict.fromkeys(way, here)
        found |= dict.fromkeys(here)
    return tuple(found)


def about(report: Report, files: Iterable[Path]) -> Report:
    """The report with the findings whose place or image is one of these files."""
    wanted = {os.path.realpath(file) for file in files}
    names = {os.path.basename(file) for file in wanted} | {Path(file).name for file in files}  # noqa: PTH119
    known: dict[str, bool] = {}

    def given(file: str | None) -> bool:
        if file is None or file.rpartition(os.sep)[2] not in names:
            return False
        if file not in known:
            known[file] = os.path.realpath(file) in wanted
        return known[file]

    return replace(report, findings=tuple(f for f in report.findings if given(f.place.file) or given(f.image)))


def _datasets_in(folder: Path) -> tuple[Path, ...]:
    """The yaml files in a folder that name images to train on; also data.yaml when it cannot be read."""
    try:
        found = sorted(file for file in folder.iterdir() if file.suffix.lower() in (".yaml", ".yml"))
    except OSError:
        return ()
    return tuple(file for file in found if file.is_file() and _is_dataset(file))


def _is_dataset(file: Path) -> bool:
    try:
        keys = read_yaml(file).values
    except DataError:
        return file.stem == "data"
    return "train" in keys and not {"names", "nc", "val"}.isdisjoint(keys)
