"""Paths that lead nowhere: a finding, and what lies beside the yaml is linted."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

import pytest
from linting.tiny_set import YAML, TinySet, encode, picture

from yolo_nanfix import api
from yolo_nanfix.cli.main import main
from yolo_nanfix.dataset.config import read_config
from yolo_nanfix.dataset.options import LintOptions
from yolo_nanfix.errors import DataError, UsageError
from yolo_nanfix.findings import Report, Severity
from yolo_nanfix.linting.runner import run

SPLITS = {"train": "images/train", "val": "images/val"}


@pytest.fixture
def tiny(tmp_path: Path) -> TinySet:
    return TinySet(tmp_path / "cats")


def _roboflow(tiny: TinySet) -> None:
    """`train/images` and `valid/images`."""
    for old, new in (("train", "train"), ("val", "valid")):
        for kind in ("images", "labels"):
            (tiny.root / new).mkdir(exist_ok=True)
            (tiny.root / kind / old).rename(tiny.root / new / kind)


def there(tiny: TinySet, train: str, val: str) -> None:
    """The set is linted, all of it, and the one finding says where it is."""
    report = run(tiny.root)
    (finding,) = report.findings
    assert (finding.code, finding.severity) == ("CF028", Severity.FATAL)
    assert finding.values["found"] == (f"train: {train}", f"val: {val}")
    assert {split: counts["rows"] for split, counts in report.counts.items()} == {"train": 2, "val": 2}


@pytest.mark.parametrize(
    ("yaml", "line"),
    [
        ("path: /home/ann/cats\n" + YAML, 1),
        ("path: /home/ann/cats/\n" + YAML.replace("images/", "./images/"), 1),
        (YAML.replace("images/", "/content/data/cats/images/"), 1),
        (YAML.replace("images/", "C:\\Users\\ann\\my data\\cats\\images\\"), 1),
        (YAML.replace("images/", "images\\"), 1),
        ("path: ../datasets/cats\n" + YAML, 1),
        ("path: cats\n" + YAML, 1),
        ("path: /home/ann/cats\n" + YAML.replace("images/val", "images/validation"), 1),
        ("path: /kaggle/input/cats\n" + YAML.replace("images/train", "[images/train]"), 1),
    ],
)
def test_the_images_beside_the_yaml_are_linted(yaml, line, tiny: TinySet):
    tiny.yaml(yaml)
    there(tiny, "images/train", "images/val")
    assert run(tiny.root).findings[0].place.line == line


@pytest.mark.parametrize(
    "yaml",
    [
        YAML.replace("images/train", "/home/ann/cats.v2/train/images").replace(
            "images/val", "/home/ann/cats.v2/valid/images"
        ),
        "path: D:\\sets\\cats.v2\n"
        + YAML.replace("images/train", "train/images").replace("images/val", "valid/images"),
        "path: /w\n" + YAML.replace("images/train", "../train/images").replace("images/val", "../valid/images"),
    ],
)
def test_a_set_of_roboflow(yaml, tiny: TinySet):
    _roboflow(tiny)
    tiny.yaml(yaml)
    there(tiny, "train/images", "valid/images")


def test_a_val_that_is_called_otherwise(tiny: TinySet):
    tiny.yaml(YAML.replace("images/val", "images/valid"))
    report = run(tiny.root)
    assert report.by_code() == {"CF028": 1} and report.counts["val"]["rows"] == 2
    assert report.findings[0].place.line == 2 and report.findings[0].values["found"] == ("val: images/val",)


def test_paths_that_ultralytics_finds_are_no_finding(tiny: TinySet):
    _roboflow(tiny)
    tiny.yaml(YAML.replace("images/train", "../train/images").replace("images/val", "../valid/images"))
    assert run(tiny.root).findings == ()


def test_a_yaml_in_a_folder_of_its_own(tiny: TinySet):
    tiny.put("config/data.yaml", "path: /home/ann/cats\n" + YAML)
    tiny.drop("data.yaml")
    report = run(tiny.root / "config" / "data.yaml")
    assert report.findings[0].values["found"] == ("train: ../images/train", "val: ../images/val")
    assert read_config(tiny.root / "config" / "data.yaml").root == tiny.root


def test_two_splits_never_end_in_one_folder(tiny: TinySet):
    """`images` is the last folder of both; only the folders above it tell them apart."""
    tiny.yaml(YAML.replace("images/train", "/a/train/images").replace("images/val", "/a/valid/images"))
    with pytest.raises(DataError, match=r"'train' names '/a/train/images', but .* does not exist.*--root DIR"):
        run(tiny.root)


def test_a_test_split_elsewhere_is_linted_too_but_does_not_stop_the_training(tiny: TinySet):
    tiny.put("images/test/c.jpg", encode(".jpg", picture(seed=3)))
    tiny.put("labels/test/c.txt", "0 0.5 0.5 0.2 0.2\n")
    tiny.yaml(YAML + "test: /home/ann/cats/images/test\n")
    report = run(tiny.root)
    codes = report.by_code()
    assert codes["CF009"] == 1 and "CF028" not in codes and report.counts["test"]["images"] == 1
    tiny.yaml("path: /home/ann/cats\n" + YAML + "test: images/nowhere\n")
    assert {"CF009", "CF028"} <= set(run(tiny.root).by_code())


@pytest.mark.parametrize(
    "yaml", ["path: /home/ann/cats\n" + YAML, YAML.replace("images/train", "/home/ann/images/train")]
)
def test_ultralytics_does_not_start_with_such_a_yaml(yaml, tiny: TinySet, monkeypatch):
    from ultralytics.data.dataset import YOLODataset
    from ultralytics.data.utils import check_det_dataset

    def start() -> None:
        data = check_det_dataset(str(tiny.root / "data.yaml"))
        YOLODataset(data["train"], data=data, task="detect", imgsz=64)

    start()
    tiny.yaml(yaml)
    with pytest.raises(FileNotFoundError):
        start()


def test_root_says_where_the_images_are(tiny: TinySet, tmp_path: Path, capsys):
    moved = tmp_path / "elsewhere" / "set"
    moved.parent.mkdir()
    yaml = tmp_path / "alone.yaml"
    yaml.write_text("path: /home/ann/cats\n" + YAML)
    shutil.move(tiny.root, moved)
    with pytest.raises(DataError, match="--root DIR says where the images are"):
        run(yaml)
    report = run(yaml, options=LintOptions(root=moved))
    assert (
        report.by_code() == {"CF028": 1}
        and report.findings[0].values["found"][0] == "train: elsewhere/set/images/train"
    )
    (moved / "labels/train/a.txt").write_text("0 0.5 0.5 0.2 0.2\n" * 2)
    report = api.lint(yaml, root=moved)
    assert report.by_code()["BX007"] == 1 and report.said == f" --root {shlex.quote(str(moved))}"
    assert Report.from_dict(report.as_dict()).given_root == str(moved)
    assert main(["lint", str(yaml), "--root", str(moved), "--fix"]) == 1
    assert (moved / "labels/train/a.txt").read_text() == "0 0.5 0.5 0.2 0.2\n"
    assert main(["lint", str(yaml), "--root", str(tmp_path / "nowhere")]) == 2
    assert "--root: there is no folder" in capsys.readouterr().err
    with pytest.raises(UsageError, match="root must be the path of a folder"):
        api.lint(yaml, root=3)  # type: ignore[arg-type]


def test_root_overrules_a_set_that_is_there(tiny: TinySet, tmp_path: Path):
    copy = tmp_path / "copy"
    shutil.copytree(tiny.root, copy)
    (copy / "labels/train/a.txt").write_text("0 0.5 0.5 0.2 0\n")
    assert run(tiny.root).findings == ()
    report = run(tiny.root, options=LintOptions(root=copy))
    assert report.by_code()["BX004"] == 1 and "CF028" not in report.by_code()


@pytest.mark.parametrize("value", ["''", "", "[]"])
def test_a_val_that_is_empty_is_not_missing(value, tiny: TinySet):
    tiny.yaml(YAML.replace("images/val", value))
    report = run(tiny.root)
    (finding,) = (f for f in report.findings if f.severity is Severity.FATAL)
    assert (finding.code, finding.place.line, finding.values["key"]) == ("CF029", 2, "val")
    assert report.counts["train"]["rows"] == 2 and "val" not in report.counts
    from ultralytics.data.utils import check_det_dataset

    with pytest.raises(FileNotFoundError, match="'val:' images not found"):
        check_det_dataset(str(tiny.root / "data.yaml"), split="val")  # as a trainer asks


def test_a_train_that_is_empty_is_refused(tiny: TinySet):
    tiny.yaml(YAML.replace("images/train", "''"))
    with pytest.raises(DataError, match=r"data\.yaml:1: 'train' is empty.*the current folder"):
        run(tiny.root)
