"""A folder of images without labels: rules on images and copies, and which are worth labelling."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from linting.tiny_set import ROWS, TinySet, encode, picture

from yolo_nanfix import api
from yolo_nanfix.cli.main import main
from yolo_nanfix.dataset.options import LintOptions
from yolo_nanfix.findings import Choice, Report
from yolo_nanfix.linting.runner import run
from yolo_nanfix.tasks import TaskBasis


def images(root: Path, count: int, sub: str = "") -> Path:
    folder = root / sub
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        (folder / f"{i}.jpg").write_bytes(encode(".jpg", picture(seed=i)))
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return images(tmp_path / "shots", 4)


@pytest.fixture
def faulty(folder: Path) -> Path:
    (folder / "copy.jpg").write_bytes((folder / "2.jpg").read_bytes())
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "tiny.jpg").write_bytes(encode(".jpg", picture(8, 8)))
    return folder


@pytest.mark.parametrize("sub", ["", "images", "day/one"])
def test_sound_images_are_all_worth_labelling(sub, tmp_path: Path):
    images(tmp_path / "shots", 4, sub)
    report = run(tmp_path / "shots")
    assert (report.task, report.basis.kind, report.said) == ("images", TaskBasis.IMAGES, "")
    assert report.findings == () and [choice.keep for choice in report.choice] == [True] * 4
    assert sum(counts["images"] for counts in report.counts.values()) == 4


def test_splits_without_labels_are_looked_at_as_one(tmp_path: Path):
    for split in ("train", "val"):
        images(tmp_path / "shots", 2, split)
    report = run(tmp_path / "shots")
    assert report.by_code() == {"SP002": 2} and [choice.keep for choice in report.choice] == [True, True, False, False]


def test_what_is_left_out_is_said_with_its_reasons(faulty: Path, capsys):
    report = run(faulty)
    out = {Path(choice.image).name: choice.because for choice in report.choice if not choice.keep}
    assert out == {"copy.jpg": ("SP001",), "empty.jpg": ("IM002",), "tiny.jpg": ("IM005",)}
    assert [Path(choice.partner).name for choice in report.choice if choice.partner is not None] == ["2.jpg"]
    assert main(["lint", str(faulty)]) == 1
    said = capsys.readouterr().out
    assert said.startswith("Images without labels") and "4 of 7 images are worth labelling; left out are:" in said
    command = f"yolo-nanfix handoff {shlex.quote(str(faulty))}"
    assert f"4 worth labelling. To give them to a labelling tool: {command}" in " ".join(said.split())
    assert "  empty.jpg: IM002\n" in said and "  tiny.jpg: IM005\n" in said and "SP001, like" in said
    assert main(["lint", str(faulty), "--fail-on", "fatal"]) == 0


def test_the_json_lists_every_image(faulty: Path, capsys):
    assert main(["lint", str(faulty), "--json"]) == 1
    values = json.loads(capsys.readouterr().out)
    assert len(values["images"]) == 7 and sum(entry["keep"] for entry in values["images"]) == 4
    assert set(values["images"][0]) == {"image", "keep", "because", "partner"}
    report = run(faulty)
    assert Report.from_dict(values).choice == report.choice == run(faulty).choice  # the second as it was remembered
    with pytest.raises(ValueError, match="choice"):
        Choice.from_dict({"image": "a"})
    with pytest.raises(ValueError, match="keep"):
        Choice.from_dict({"image": "a", "keep": 1, "because": [], "partner": None})


def test_a_rule_that_is_ignored_leaves_nothing_out(faulty: Path):
    report = api.lint(faulty, ignore=["IM005"])
    assert next(choice for choice in report.choice if choice.image.endswith("tiny.jpg")).keep
    assert sum(choice.keep for choice in report.choice) == 5


def test_rules_on_labels_classes_and_trainings_are_not_asked(folder: Path):
    skipped = dict(run(folder).skipped)
    assert {"FS002", "FS003", "FS055", "BX001", "CF008", "CL001", "SP007", "SP008", "FS046", "AN001"} <= set(skipped)
    assert {"IM001", "IM005", "SP001", "FS025"}.isdisjoint(skipped)


def test_a_dark_image_is_left_out_once_it_was_decoded(folder: Path):
    import numpy as np

    (folder / "grey.png").write_bytes(encode(".png", np.full((48, 64, 3), 7, np.uint8)))
    assert all(choice.keep for choice in run(folder).choice)
    deep = run(folder, options=LintOptions(deep=True))
    assert [Path(c.image).name for c in deep.choice if not c.keep] == ["grey.png"]


def test_the_images_worth_labelling_are_handed_over(faulty: Path, tmp_path: Path):
    assert main(["handoff", str(faulty), str(tmp_path / "out"), "--to", "coco", "--unlabelled"]) == 0
    entries = json.loads((tmp_path / "out/annotations.json").read_text())["images"]
    assert len(entries) == 4 and not {"empty.jpg", "tiny.jpg"} & {Path(entry["file_name"]).name for entry in entries}


def test_a_page_and_other_forms(faulty: Path, tmp_path: Path):
    assert "empty.jpg" in api.lint_page(api.lint(faulty))
    for form in ("sarif", "csv", "junit", "concise", "full"):
        assert main(["lint", str(faulty), "--output-format", form, "--output-file", str(tmp_path / form)]) == 1
        assert "empty.jpg" in (tmp_path / form).read_text()


def test_one_label_makes_it_a_set_with_labels(folder: Path):
    (folder / "0.txt").write_text(ROWS)
    report = run(folder)
    assert report.task == "detect" and report.choice == () and "FS002" in report.by_code()


def test_a_task_that_is_asked_wants_its_labels(folder: Path):
    report = run(folder, options=LintOptions("detect"))
    assert report.task == "detect" and "FS003" in report.by_code() and report.said == " --task detect"


def test_a_healthy_set_has_no_choice(tmp_path: Path):
    report = run(TinySet(tmp_path / "set").root)
    assert report.choice == () and "images" not in report.as_dict()


@pytest.mark.parametrize(
    ("names", "task"),
    [
        (("2024-01-01", "2024-01-02"), "images"),
        (("20240101", "20240102_evening"), "images"),
        (("100APPLE", "101APPLE"), "images"),
        (("100CANON", "101CANON"), "images"),
        (("cam1", "cam2"), "images"),
        (("cats", "dogs"), "classify"),
        (("0", "1"), "classify"),
        (("001.Albatross", "002.Auklet"), "classify"),
        (("n01440764", "n02102040"), "classify"),
    ],
)
def test_folders_called_by_when_or_where_are_no_classes(names: tuple[str, str], task: str, tmp_path: Path):
    for name in names:
        images(tmp_path / "shots", 2, name)
    assert run(tmp_path / "shots").task == task
