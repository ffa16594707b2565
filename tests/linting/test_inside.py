"""A dataset inside the folder that was named: below a folder in a folder, or with its data.yaml deeper."""

from __future__ import annotations

from pathlib import Path

import pytest
from linting.tiny_set import YAML, TinySet

from yolo_nanfix import api
from yolo_nanfix.cli.main import main
from yolo_nanfix.dataset.discover import inside
from yolo_nanfix.errors import DataError

SETTINGS = "task: detect\nval: true\ndata: data.yaml\n"


@pytest.mark.parametrize("below", ["cats-1", "data/cats"])
def test_the_one_yaml_below_is_meant(below: str, tmp_path: Path):
    tiny = TinySet(tmp_path / below)
    (tmp_path / "README.md").write_text("cats")
    (tmp_path / "__MACOSX").mkdir()
    report = api.lint(tmp_path)
    assert report.findings == () and report.data == str(tiny.root / "data.yaml")
    assert inside(str(tiny.root)) == str(tiny.root) and inside("coco8") == "coco8"


def test_an_export_without_a_yaml_in_a_folder_of_its_own(tmp_path: Path):
    tiny = TinySet(tmp_path / "wrap" / "cats")
    (tiny.root / "data.yaml").unlink()
    report = api.lint(tmp_path)
    assert report.root == str(tiny.root) and report.by_code() == {"CF030": 1}


def test_of_several_datasets_none_is_guessed(tmp_path: Path):
    for name in ("a", "b"):
        TinySet(tmp_path / name)
    with pytest.raises(DataError, match=r"holds 2 yaml files \(a/data.yaml, b/data.yaml\)"):
        api.lint(tmp_path)


def test_yamls_of_runs_and_of_other_things_are_no_datasets(tmp_path: Path):
    tiny = TinySet(tmp_path / "set")
    (tiny.root / "data.yaml").unlink()
    for name, text in (("runs/train/args.yaml", SETTINGS), ("yolov5/data/a.yaml", YAML), ("yolov5/data/b.yaml", YAML)):
        file = tiny.root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    assert inside(tiny.root) == tiny.root
    assert api.lint(tiny.root).by_code() == {"CF030": 1}


def test_a_fix_and_its_undo_find_it_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    tiny = TinySet(tmp_path / "cats-1")
    (label,) = (tiny.root / "labels/train").glob("*.txt")
    faulty = b"\xef\xbb\xbf" + label.read_bytes()
    label.write_bytes(faulty)
    assert main(["lint", str(tmp_path), "--fix"]) == 0
    assert label.read_bytes() == faulty[3:]
    assert main(["lint", str(tmp_path), "--undo"]) == 0
    assert label.read_bytes() == faulty
    capsys.readouterr()
