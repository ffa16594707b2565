"""Says which task a dataset was linted for, and why."""

from __future__ import annotations

from collections.abc import Mapping

from yolo_nanfix.findings import Report
from yolo_nanfix.tasks import Basis, TaskBasis

KINDS = {
    "boxes": ("is a box", "are boxes"),
    "corners": ("has 9 columns: four corners", "have 9 columns: four corners"),
    "polygons": ("is a polygon", "are polygons"),
    "other": ("is none of these", "are none of these"),
}
"""What is said of one row, and of several, by the names of `Basis.numbers`."""
TASKS = ("detect", "segment", "pose", "obb", "classify")
_OVERRULES = "--task overrules"


def sentence(report: Report) -> str:
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
    """Why the set speaks for a task."""
    numbers = basis.numbers
    if basis.kind is TaskBasis.KPT_SHAPE:
        return "data.yaml has kpt_shape"
    if basis.kind is TaskBasis.CLASS_FOLDERS:
        return "the folders of images are classes"
    if basis.kind is TaskBasis.NO_ROWS:
        return "no label row tells another one"
    if basis.kind is TaskBasis.KEYPOINT_ROWS:
        rows = _rows(numbers.get("rows", 0))
        return f"{rows} have {numbers.get('columns', 0)} columns: a box and keypoints"
    return _annotations(numbers) if basis.kind is TaskBasis.ANNOTATIONS else _columns(numbers)


def _rows(count: int) -> str:
    return "the only label row" if count == 1 else f"all {count} label rows looked at"


def _columns(numbers: Mapping[str, int]) -> str:
    """What the columns of the rows say, the commonest kind first."""
    there = sorted(((numbers.get(kind, 0), kind) for kind in KINDS if numbers.get(kind)), reverse=True)
    total = numbers.get("rows", 0)
    if len(there) == 1:
        return f"{_rows(total)} {KINDS[there[0][1]][total > 1]}"
    parts = [f"{count} {KINDS[kind][count > 1]}" for count, kind in there]
    return f"of {total} label rows looked at {', '.join(parts)}"


def _annotations(numbers: Mapping[str, int]) -> str:
    """What annotation files hold."""
    total = numbers.get("annotations", 0)
    if numbers.get("keypoints"):
        return f"{numbers['keypoints']} of {total} annotations have keypoints"
    if 2 * numbers.get("polygons", 0) > total:
        return f"{numbers['polygons']} of {total} annotations have polygons"
    return "the annotations are boxes"
