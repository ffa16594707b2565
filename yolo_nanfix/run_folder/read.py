"""Reads a run folder, whose files may be missing, half-written, or of another version."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yolo_nanfix import safe_yaml
from yolo_nanfix._version import __version__
from yolo_nanfix.errors import DataError
from yolo_nanfix.files import NotRegular, Refusal, Within
from yolo_nanfix.run_folder import csv_tables, lenient
from yolo_nanfix.run_folder.csv_tables import STEPS_NAME, Table
from yolo_nanfix.run_folder.summary import REPORT_NAME
from yolo_nanfix.wording import printable

RESULTS, ARGUMENTS, INCIDENTS = "results.csv", "args.yaml", "incidents"
METRICS = (
    ("metrics/mAP50(B)", "mAP50"),
    ("metrics/mAP50(M)", "mask mAP50"),
    ("metrics/mAP50(P)", "pose mAP50"),
    ("metrics/accuracy_top1", "top-1 accuracy"),
)
"""The most important metrics: their names in `results.csv`, and how to call them."""
LARGEST_REPORT = 256 * 2**20
"""Larger files are not read."""
REQUIRED = {"outcome": str, "reasons": list, "environment": dict, "patches": dict, "guard": dict, "quarantined": dict}
"""Keys that the report of a run must have, and their types."""


@dataclass(frozen=True)
class RunFolder:
    """One run.

    Attributes:
        path: the folder.
        summary: its `yolo-nanfix.json`; empty if there is none that can be read.
        args: the training arguments, from `args.yaml`.
        steps: loss terms and other readings of the guard by micro-batch.
        results: metrics and losses by epoch.
        incidents: the files in `incidents/`, oldest first.
        notes: what is missing, damaged or strange, in sentences.
    """

    path: Path
    summary: Mapping[str, Any]
    args: Mapping[str, Any]
    steps: Table
    results: Table
    incidents: tuple[Path, ...]
    notes: tuple[str, ...]

    @property
    def name(self) -> str:
        """The name of the folder, printable."""
        return printable(self.path.name)


def read_run(path: str | Path, *, follow_links: bool = False) -> RunFolder:
    """Read a run folder; the path may also be that of its `yolo-nanfix.json`.

    Args:
        path: the folder. It may be somebody else's: links that lead out of it are not followed.
        follow_links: follow these, if they lead to regular files.

    Raises:
        DataError: it is not the folder of a training run.
    """
    path = Path(path)
    path = path.parent if path.name == REPORT_NAME and path.is_file() else path
    if not path.is_dir():
        raise DataError(f"{path.absolute()}: no such folder")
    path = path.resolve()
    if not any((path / name).is_file() for name in (REPORT_NAME, RESULTS, ARGUMENTS)):
        inside = sorted({f.parent.name for name in (REPORT_NAME, RESULTS) for f in path.glob(f"*/{name}")})
        hint = f"; runs inside it: {', '.join(inside[:8])}" if inside else ""
        raise DataError(f"{path} is not the folder of a training run: no {REPORT_NAME}, no {RESULTS}{hint}")
    notes: list[str] = []
    within = Within([path], follow_links=follow_links)
    summary = _read_summary(path / REPORT_NAME, within, notes)
    given = path / ARGUMENTS
    args = _loaded(given, within, safe_yaml.load_yaml, "training arguments", notes) if given.is_file() else None
    steps = csv_tables.read_table(path / STEPS_NAME, within) if (path / STEPS_NAME).is_file() else Table()
    results = csv_tables.read_table(path / RESULTS, within) if (path / RESULTS).is_file() else Table()
    if summary and not (path / STEPS_NAME).is_file():
        notes.append(f"There is no {STEPS_NAME}: single steps are not known.")
    if not (path / RESULTS).is_file():
        notes.append(f"There is no {RESULTS}: no epoch was finished, or the file was removed.")
    incidents = _incidents(path / INCIDENTS, within, notes)
    return RunFolder(path, summary, args or {}, steps, results, incidents, (*notes, *steps.notes, *results.notes))


def _incidents(folder: Path, within: Within, notes: list[str]) -> tuple[Path, ...]:
    """The incident files, oldest first."""
    found = []
    refused: dict[str, Refusal] = {}
    for file in sorted(folder.glob("*.safetensors")) if folder.is_dir() else ():
        try:
            why = within.refusal(file)
        except (OSError, ValueError):  # a link that leads nowhere
            continue
        if why is None:
            found.append(file)
        else:
            refused[file.name] = why
    if refused:
        some = ", ".join(f"{printable(name)}: {why.value}" for name, why in [*refused.items()][:3])
        notes.append(f"{len(refused)} of the files in {INCIDENTS} are not opened ({some}).")
    return tuple(found)


def _read_summary(path: Path, within: Within, notes: list[str]) -> Mapping[str, Any]:
    if not path.is_file():
        notes.append(f"There is no {REPORT_NAME}: the run was not guarded by yolo-nanfix, or was killed.")
        return {}
    found = _loaded(path, within, json.loads, "the report of a run", notes)
    if found is None:
        return {}
    version = lenient.text(found, "yolo_nanfix")
    if version != __version__:
        made = f"yolo-nanfix {version}" if version else "an unknown version of yolo-nanfix"
        notes.append(f"{REPORT_NAME} was written by {made}; this page, by {__version__}, shows what it understands.")
    for key, kind in REQUIRED.items():
        if key not in found:
            notes.append(f"{REPORT_NAME} has no '{key}'.")
        elif not isinstance(found[key], kind):
            notes.append(f"'{key}' in {REPORT_NAME} has a wrong type and is left out.")
    return found


def _loaded(
    path: Path, within: Within, load: Callable[[str], Any], what: str, notes: list[str]
) -> Mapping[str, Any] | None:
    """The mapping in a JSON or YAML file; None, with a note, if there is none."""
    try:
        data = within.read(path, LARGEST_REPORT + 1)
        if len(data) > LARGEST_REPORT:
            raise ValueError(f"larger than {LARGEST_REPORT // 2**20} MB")
        found = load(data.decode("utf-8", "replace"))
    except NotRegular as error:
        notes.append(f"{path.name} is {error.strerror}.")
        return None
    except safe_yaml.TooMuch as error:
        notes.append(f"{path.name} holds too much to be read: {error}.")
        return None
    except (OSError, ValueError, RecursionError) as error:
        notes.append(f"{path.name} cannot be read, half-written perhaps: {printable(str(error))[:200]}.")
        return None
    if not isinstance(found, Mapping):
        notes.append(f"{path.name} does not hold {what}.")
        return None
    return {str(key): value for key, value in found.items()}
