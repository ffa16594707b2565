"""The task is read from the set; what is asked overrules it."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from linting.tiny_set import ROWS, YAML, TinySet, encode, picture
from rich.console import Console

from yolo_nanfix import api
from yolo_nanfix.dataset import task_guess as guess
from yolo_nanfix.dataset.options import LintOptions
from yolo_nanfix.findings import Report
from yolo_nanfix.linting.runner import run
from yolo_nanfix.report import text
from yolo_nanfix.tasks import Basis, TaskBasis, option

CORNERS = "0 0.2 0.2 0.6 0.2 0.6 0.5 0.2 0.5\n"
OUTLINE = "0 0.2 0.2 0.6 0.2 0.7 0.4 0.6 0.5 0.2 0.5\n"
POINTS = "0 0.5 0.5 0.4 0.4 0.4 0.4 2 0.6 0.6 0\n"
TURNED = "0 0.3 0.2 0.6 0.35 0.5 0.65 0.2 0.5\n"
CLICKED = "0 0.3 0.2 0.6 0.35 0.52 0.68 0.2 0.5\n"
SCORED = TURNED.strip() + " 0.91 {}\n"
MORE = " (--task overrules)."
TRACKED = "0 0.4 0.5 0.2 0.2 0.91 12\n"
PLAIN_POINTS = "0 0.5 0.5 0.4 0.4 0.4 0.4 0.6 0.6\n"


def both(root: Path, rows: str, yaml: str = YAML) -> TinySet:
    tiny = TinySet(root)
    tiny.yaml(yaml)
    tiny.put("labels/train/a.txt", rows)
    tiny.put("labels/val/b.txt", rows)
    return tiny


@pytest.mark.parametrize(
    ("rows", "yaml", "task", "kind"),
    [
        (ROWS, YAML, "detect", TaskBasis.ROWS),
        ("0 0.5 0.5 0.2 0.2 0.93\n", YAML, "detect", TaskBasis.ROWS),
        (TRACKED + "0 0.5 0.5 0.2 0.2 0.93 1\n", YAML, "detect", TaskBasis.ROWS),
        (TRACKED + OUTLINE, YAML, "segment", TaskBasis.ROWS),
        ("0 0.36 0.33 0.76 0.43 0.56 0.73\n", YAML, "segment", TaskBasis.ROWS),  # a triangle
        (CORNERS, YAML, "obb", TaskBasis.ROWS),
        (OUTLINE + "0 0.2 0.2 0.6 0.2 0.7 0.4\n", YAML, "segment", TaskBasis.ROWS),
        (OUTLINE.replace("0 ", "0 1900 ", 1), YAML, "segment", TaskBasis.ROWS),  # an id as second column
        (CORNERS * 19 + OUTLINE, YAML, "obb", TaskBasis.ROWS),
        (CORNERS * 18 + OUTLINE, YAML, "segment", TaskBasis.ROWS),
        (TURNED * 12 + "0 0.2 0.2 0.6 0.2 0.7 0.4\n", YAML, "obb", TaskBasis.ROWS),  # a corner was lost
        (TURNED * 7 + OUTLINE * 3, YAML, "segment", TaskBasis.ROWS),
        (CLICKED * 12 + OUTLINE, YAML, "segment", TaskBasis.ROWS),
        (SCORED.format(1) + SCORED.format(7), YAML, "obb", TaskBasis.ROWS),
        (SCORED.format(0.7) + SCORED.format(0.3), YAML, "segment", TaskBasis.ROWS),  # of five corners
        (ROWS, YAML + "kpt_shape: [2, 3]\n", "pose", TaskBasis.KPT_SHAPE),  # an export that lost its keypoints
        (POINTS, YAML + "kpt_shape: [2, 3]\n", "pose", TaskBasis.KPT_SHAPE),
        (PLAIN_POINTS, YAML + "kpt_shape: [2, 2]\n", "pose", TaskBasis.KPT_SHAPE),
        (POINTS, YAML, "pose", TaskBasis.KEYPOINT_ROWS),
        (POINTS.replace(" 0\n", " 0.5\n"), YAML, "segment", TaskBasis.ROWS),  # no visibility: a polygon
        ("", YAML, "detect", TaskBasis.NO_ROWS),
        ("what is this\n", YAML, "detect", TaskBasis.NO_ROWS),
    ],
)
def test_the_task_is_read_from_the_set(rows, yaml, task, kind, tmp_path):
    report = run(both(tmp_path, rows, yaml).root)
    assert (report.task, report.basis.kind, report.basis.guess) == (task, kind, task)
    assert report.said == ""


def test_the_rules_of_the_task_are_asked(tmp_path):
    report = run(both(tmp_path, POINTS.replace(" 2 ", " 7 "), YAML + "kpt_shape: [2, 3]\n").root)
    assert report.by_code()["KP001"] == 2 and "KP001" not in dict(report.skipped)
    report = run(both(tmp_path, POINTS).root)
    assert report.by_code()["CF008"] == 1  # kpt_shape is missing


@pytest.mark.parametrize(("boxes", "outlines", "task"), [(2, 3, "segment"), (3, 2, "detect"), (2, 2, "detect")])
def test_of_a_mixed_set_the_majority_counts_and_the_numbers_are_told(boxes, outlines, task, tmp_path):
    tiny = both(tmp_path, "0 0.5 0.5 0.2 0.2\n" * boxes)
    tiny.put("labels/val/b.txt", OUTLINE * outlines)
    report = run(tiny.root)
    numbers = {"files": 2, "rows": boxes + outlines, "boxes": boxes, "corners": 0, "polygons": outlines, "other": 0}
    assert report.task == task and dict(report.basis.numbers) == numbers
    shown = f"{max(boxes, outlines)} are {'polygons' if outlines > boxes else 'boxes'}"
    assert f"of {boxes + outlines} label rows looked at" in first_line(report) and shown in first_line(report)


def test_all_labels_are_counted_where_the_first_ones_differ_and_few_where_they_do_not(tmp_path, monkeypatch):
    monkeypatch.setattr(guess, "SAMPLE", 4)
    tiny = both(tmp_path, ROWS)
    image = (tiny.root / "images/train/a.jpg").read_bytes()
    for i in range(20):
        tiny.put(f"images/train/{i:02d}.jpg", image + bytes([i]))
        tiny.put(f"labels/train/{i:02d}.txt", ROWS)
    assert run(tiny.root, cache=False).basis.numbers["files"] <= 6
    for i in range(20):
        tiny.put(f"labels/train/{i:02d}.txt", OUTLINE)
    assert run(tiny.root, cache=False).basis.numbers["files"] == 22
    for name in ("val/b", *(f"train/{i:02d}" for i in range(20))):
        tiny.put(f"labels/{name}.txt", "")
    assert run(tiny.root, cache=False).basis.numbers["rows"] == 2  # the one with rows is found among the empty ones


def test_what_is_asked_overrules_the_set_and_is_in_printed_commands(tmp_path):
    tiny = both(tmp_path, CORNERS)
    report = run(tiny.root, options=LintOptions("segment"))
    assert (report.task, report.basis.kind, report.basis.guess) == ("segment", TaskBasis.ASKED, "obb")
    assert report.said == " --task segment"
    assert first_line(report) == "Task segment, as asked; the set itself looks like obb."
    assert run(tiny.root, options=LintOptions("obb")).said == ""
    assert api.lint(tiny.root, task="segment").task == "segment" and api.lint(tiny.root).task == "obb"
    tiny.put("nanfix.yaml", "lint: {task: detect}\n")
    assert api.lint(tiny.root).task == "detect" and api.lint(tiny.root, task="obb").task == "obb"
    assert api.lint(tiny.root, settings=False).task == "obb"
    assert api.lint(files=[tiny.root / "labels/val/b.txt"], settings=False).task == "obb"


@pytest.mark.parametrize(
    ("task", "guess", "words"),
    [("obb", "obb", ""), ("obb", "detect", " --task obb"), ("detect", None, " --task detect"), ("", None, "")],
)
def test_commands_name_the_task_where_the_set_would_not(task, guess, words):
    assert option(task, guess) == words


def test_class_folders_are_known(tmp_path):
    for name in ("cat", "dog"):
        for i in range(2):
            put(tmp_path / "set" / "train" / name / f"{i}.jpg", i)
            put(tmp_path / "set" / "val" / name / f"{i}.jpg", i + 2)
    report = run(tmp_path / "set")
    assert (report.task, report.basis.kind, report.basis.guess) == ("classify", TaskBasis.CLASS_FOLDERS, "classify")
    assert report.counts["train"]["images"] == 4 and report.said == ""


def put(file: Path, seed: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(encode(".jpg", picture(seed=seed)))


def read_again(root: Path) -> tuple[str, int]:
    """The task of a set, and how many text files a lint in a process of its own opens."""
    code = f"""
import sys
seen = []
sys.addaudithook(lambda event, values: event == "open" and str(values[0]).endswith(".txt") and seen.append(values))
from yolo_nanfix.linting.runner import run
print(run({str(root)!r}).task, len(seen))
"""
    task, opened = subprocess.check_output([sys.executable, "-c", code], text=True).split()
    return task, int(opened)


def test_a_second_lint_reads_no_label_and_notices_a_change(tmp_path):
    tiny = both(tmp_path, OUTLINE)
    assert run(tiny.root).task == "segment"
    assert read_again(tiny.root) == ("segment", 0)
    for name in ("train/a", "val/b"):
        tiny.put(f"labels/{name}.txt", ROWS)
    task, opened = read_again(tiny.root)
    assert task == "detect" and opened > 0
    tiny.yaml(YAML + "kpt_shape: [2, 3]\n")
    assert run(tiny.root).task == "pose"


def first_line(report: Report) -> str:
    page = io.StringIO()
    text.render(report, Console(file=page, width=200, no_color=True))
    return page.getvalue().splitlines()[0]


@pytest.mark.parametrize(
    ("rows", "yaml", "line"),
    [
        (ROWS, YAML, "Task detect: all 4 label rows looked at are boxes" + MORE),
        (CORNERS, YAML, "Task obb: all 2 label rows looked at have 9 columns: four corners" + MORE),
        (ROWS, YAML + "kpt_shape: [2, 3]\n", "Task pose: data.yaml has kpt_shape" + MORE),
        (
            POINTS,
            YAML,
            "Task pose: all 2 label rows looked at have 11 columns: a box and keypoints (--task overrules).",
        ),
        ("", YAML, "Task detect: no label row tells another one" + MORE),
    ],
)
def test_the_first_line_says_which_task_and_why(rows, yaml, line, tmp_path):
    assert first_line(run(both(tmp_path, rows, yaml).root)) == line


def test_the_reason_is_in_the_json_and_comes_back(tmp_path):
    report = run(both(tmp_path, CORNERS).root)
    values = json.loads(json.dumps(report.as_dict()))
    numbers = {"files": 2, "rows": 2, "boxes": 0, "corners": 2, "polygons": 0, "other": 0}
    assert values["basis"] == {"kind": "rows", "guess": "obb", "numbers": numbers}
    assert Report.from_dict(values).basis == report.basis == Basis(TaskBasis.ROWS, "obb", numbers)
    assert run(tmp_path).basis == report.basis  # as it was remembered
    for basis in ({"kind": "rows"}, {"kind": "x", "guess": "obb", "numbers": {}}, {**values["basis"], "guess": 1}):
        with pytest.raises(ValueError, match=r"(?i)basis"):
            Report.from_dict({**values, "basis": basis})


def coco(root: Path, annotation: dict[str, object], category: dict[str, object]) -> Path:
    put(root / "a.jpg", 0)
    entry = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [10, 10, 20, 20], "area": 400, "iscrowd": 0}
    file = root / "set.json"
    images = [{"id": 1, "file_name": "a.jpg", "width": 64, "height": 48}]
    categories = [{"id": 1, "name": "cat", **category}]
    file.write_text(json.dumps({"images": images, "annotations": [{**entry, **annotation}], "categories": categories}))
    return file


@pytest.mark.parametrize(
    ("annotation", "category", "task"),
    [
        ({}, {}, "detect"),
        ({"segmentation": [[10, 10, 30, 10, 30, 30, 10, 30]]}, {}, "detect"),  # the box once more
        ({"segmentation": [[10, 10, 30, 10, 30, 30, 20, 30, 10, 20]]}, {}, "segment"),
        ({"keypoints": [15, 15, 2], "num_keypoints": 1}, {"keypoints": ["nose"]}, "pose"),
        ({"keypoints": []}, {"keypoints": ["nose"]}, "detect"),
    ],
)
def test_the_task_of_coco_files_is_told_by_what_they_hold(annotation, category, task, tmp_path):
    report = run(coco(tmp_path, annotation, category))
    assert (report.task, report.basis.kind, report.basis.guess) == (task, TaskBasis.ANNOTATIONS, task)
    assert first_line(report).startswith(f"Task {task}: ")
