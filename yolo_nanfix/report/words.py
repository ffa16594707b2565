"""What the output formats share: relative paths, printable text, order by severity, numbers and task in words."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from yolo_nanfix.findings import Effect, Finding, Place, Report, RuleText, Severity, Skip
from yolo_nanfix.tasks import TASKS, Basis, TaskBasis
from yolo_nanfix.wording import printable as printable

EFFECT_WORDS = {
    Effect.DROPS: "Ultralytics drops the image",
    Effect.ACCEPTS: "Ultralytics accepts it silently",
    Effect.REWRITES: "Ultralytics rewrites it",
    Effect.CRASHES: "Ultralytics crashes",
    Effect.GARBAGE: "Ultralytics trains on garbage",
    Effect.POISONS: "Ultralytics trains to NaN",
}
SKIP_WORDS = {
    Skip.DEEP: "images are decoded under --deep only",
    Skip.OTHER_TASK: "they read the labels of other tasks",
    Skip.UNLABELLED: "there are images alone, without labels",
    Skip.NO_DATA_YAML: "there is no data.yaml",
    Skip.NO_FOLDERS: "there are no folders of images and labels as Ultralytics wants them",
    Skip.NO_LABEL_FILES: "there are no label files of text",
}
PLACES = (
    ("op", "operation"),
    ("module", "module"),
    ("code", "line"),
    ("phase", "phase"),
    ("tensor", "tensor"),
    ("dtype", "dtype"),
)
"""Keys of a verdict about the place of a fault, and their names."""
ROW_KINDS = {
    "boxes": ("is a box", "are boxes"),
    "corners": ("has 9 columns: four corners", "have 9 columns: four corners"),
    "polygons": ("is a polygon", "are polygons"),
    "other": ("is none of these", "are none of these"),
}
"""One row, and several, in words, by the names in `Basis.numbers`."""
_OVERRULES = "--task overrules"


def relative(file: str, root: Path) -> str:
    """The path of a file relative to `root`, with slashes; the path itself if the file lies elsewhere."""
    inside = next((file.removeprefix(start) for start in _starts(root) if file.startswith(start)), file)
    return inside.replace(os.sep, "/")


@lru_cache(maxsize=8)
def _starts(root: Path) -> tuple[str, ...]:
    """The folder as given and with links resolved, each with a final separator."""
    return tuple(f"{path.rstrip(os.sep)}{os.sep}" for path in (os.fspath(root), os.path.realpath(root)))


def relative_message(finding: Finding, root: Path) -> str:
    """The message of a finding with paths relative to `root`, on one printable line."""
    return printable(finding.seen_from(*_starts(root)).message)


def base(report: Report) -> Path:
    """The folder to which shown paths are relative: the dataset's; of several datasets the current one."""
    return Path(report.root) if report.root else Path.cwd()


def where(place: Place, root: Path) -> str:
    """`labels/train/7.txt:3`, `images/train/7.npy@60,60,0`, relative to `root`; `.` for that folder itself."""
    file = "." if f"{place.file}{os.sep}" in _starts(root) else relative(place.file, root)
    file = f"./{file}" if file.lstrip().startswith("::") else file  # CI systems read such lines as commands
    return printable(str(replace(place, file=file)))


def in_order(findings: Iterable[Finding]) -> list[Finding]:
    """Findings by severity, the worst first; then those about the whole set; then by file, line and code."""
    return sorted(
        findings, key=lambda f: (f.severity.rank, f.image is not None, f.place.file, f.place.line or 0, f.code)
    )


def fingerprint(identity: str) -> str:
    """A hash of the identity of a finding."""
    return hashlib.sha256(printable(identity).encode()).hexdigest()


def worst_first(report: Report) -> list[tuple[Finding, str]]:
    """The findings with their identities, the worst severity first, else in their original order."""
    return sorted(zip(report.findings, report.identities(), strict=True), key=lambda pair: pair[0].severity.rank)


def explains(report: Report, finding: Finding) -> str:
    """How many findings another one explains: `explains 35 BX001 and 18 others`; empty if none."""
    follows = list(report.follows(finding).items())
    if not follows:
        return ""
    others = sum(count for _, count in follows[1:])
    code, most = follows[0]
    return f"explains {most} {code}" + (f" and {others} other{'s' if others > 1 else ''}" if others else "")


def finding_sentence(finding: Finding) -> str:
    """What is wrong, what Ultralytics does with it and how to fix it, on one line."""
    return printable(f"{finding.message} ({EFFECT_WORDS[finding.effect]}). {finding.fix}")


def figure(value: float) -> str:
    """A number in at most four digits: `0.01234`, `12.35`, `65 536`, `1.2e-7`, `NaN`."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Inf" if value > 0 else "-Inf"
    size = abs(value)
    if size >= 1e7 or 0 < size < 1e-3:
        mantissa, _, power = f"{value:.3g}".partition("e")
        return f"{mantissa}e{int(power)}" if power else mantissa
    if size >= 1000:
        return grouped(round(value))
    return f"{value:.4g}"


def compact(value: float) -> str:
    """A number for the edge of a chart: `150k` and `2M` for large ones, else as `figure` gives it."""
    for unit, letter in ((1e6, "M"), (1e3, "k")):
        if unit <= abs(value) < 1000 * unit:
            return f"{value / unit:.4g}{letter}"
    return figure(value)


def grouped(value: int) -> str:
    """A whole number with narrow no-break spaces between groups of three digits."""
    return f"{value:,}".replace(",", "\u202f")


def many(number: float, what: str) -> str:
    """`1 image`, `2 images`, `10 012 findings`."""
    return f"{grouped(round(number))} {what}{'' if number == 1 else 's'}"


def severity_counts(names: Iterable[str], number: Callable[[int], str] = str) -> str:
    """`1 fatal, 2 errors, 3 info`, from the names of severities; empty for none."""
    counts = Counter(names)
    plural = {Severity.ERROR, Severity.WARNING}
    found = [(severity, counts[severity.value]) for severity in Severity if counts[severity.value]]
    return ", ".join(f"{number(n)} {one.value}{'s' if n > 1 and one in plural else ''}" for one, n in found)


def json_rows(objects: Iterable[Any]) -> str:
    """A JSON list with one line for each object."""
    lines = ",\n".join(json.dumps(obj, allow_nan=False) for obj in objects)
    return f"[\n{lines}\n]" if lines else "[]"


def task_sentence(report: Report) -> str:
    """`Task obb: all 120 label rows looked at have 9 columns: four corners (--task overrules).`; nothing if unknown."""
    basis = report.basis
    if basis is None or not report.task:
        return ""
    if basis.kind is TaskBasis.IMAGES:
        return f"Images without labels: rules on images and copies alone ({_OVERRULES})."
    if basis.kind is TaskBasis.ASKED:
        other = f"; the set itself looks like {basis.guess}" if basis.guess in TASKS else "; there are images alone"
        other = "" if basis.guess == report.task else other
        return f"Task {report.task}, as asked{other}."
    return f"Task {report.task}: {_reason(basis)} ({_OVERRULES})."


def _reason(basis: Basis) -> str:
    numbers = basis.numbers
    if basis.kind is TaskBasis.KPT_SHAPE:
        return "data.yaml has kpt_shape"
    if basis.kind is TaskBasis.CLASS_FOLDERS:
        return "the folders of images are classes"
    if basis.kind is TaskBasis.NO_ROWS:
        return "no label row tells another one"
    if basis.kind is TaskBasis.KEYPOINT_ROWS:
        rows = _rows_looked_at(numbers.get("rows", 0))
        return f"{rows} have {numbers.get('columns', 0)} columns: a box and keypoints"
    return _annotations(numbers) if basis.kind is TaskBasis.ANNOTATIONS else _columns(numbers)


def _rows_looked_at(count: int) -> str:
    return "the only label row" if count == 1 else f"all {count} label rows looked at"


def _columns(numbers: Mapping[str, int]) -> str:
    """The kinds of rows by their columns, the most frequent first."""
    kinds = sorted(((numbers.get(kind, 0), kind) for kind in ROW_KINDS if numbers.get(kind)), reverse=True)
    total = numbers.get("rows", 0)
    if len(kinds) == 1:
        return f"{_rows_looked_at(total)} {ROW_KINDS[kinds[0][1]][total > 1]}"
    parts = [f"{count} {ROW_KINDS[kind][count > 1]}" for count, kind in kinds]
    return f"of {total} label rows looked at {', '.join(parts)}"


def _annotations(numbers: Mapping[str, int]) -> str:
    total = numbers.get("annotations", 0)
    if numbers.get("keypoints"):
        return f"{numbers['keypoints']} of {total} annotations have keypoints"
    if 2 * numbers.get("polygons", 0) > total:
        return f"{numbers['polygons']} of {total} annotations have polygons"
    return "the annotations are boxes"


def skipped(report: Report, rules: Mapping[str, RuleText]) -> dict[str, list[str]]:
    """The codes that were not checked, by reason; `rules` has the texts of known ones."""
    reasons: dict[str, list[str]] = {}
    for code, why in report.skipped:
        reasons.setdefault(why_skipped(why, report, rules.get(code)), []).append(code)
    return reasons


def why_skipped(why: Skip, report: Report, rule: RuleText | None) -> str:
    """Why a rule was not checked; for another task, which ones it reads, if the rule is known."""
    if why is Skip.OTHER_TASK and rule is not None:
        return f"the rule reads {', '.join(rule.tasks)} datasets; the task is {report.task}"
    return SKIP_WORDS[why]
