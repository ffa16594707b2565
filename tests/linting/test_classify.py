"""Classification folders: we list what Ultralytics lists, with the same class numbers, and say what it leaves out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from linting.cases_files import CASES, UNSPLIT, classes, noise
from linting.tiny_set import TinySet

from yolo_nanfix.dataset.classification import class_of, list_folders, read_folder
from yolo_nanfix.dataset.options import LintOptions
from yolo_nanfix.errors import DataError
from yolo_nanfix.findings import Effect, Severity
from yolo_nanfix.linting.runner import run

STOCK = """
import json, sys, yolo_nanfix
yolo_nanfix.patch("torchvision-operators-missing")
from ultralytics.cfg import get_cfg
from ultralytics.data.dataset import ClassificationDataset
from ultralytics.data.utils import check_cls_dataset
said = []
for root in sys.argv[1:]:
    try:
        data = check_cls_dataset(root, split="val")
        found = {"names": list(data["names"].values())}
        for split in ("train", "val"):
            made = ClassificationDataset(data[split], get_cfg(), prefix=split, names=data["names"])
            found[split] = sorted((s[0], s[1]) for s in made.samples)
    except Exception as error:
        found = type(error).__name__
    said.append(found)
print("SAID" + json.dumps(said))
"""
LAYOUTS = {
    "plain": classes(),
    "hidden": CASES["FS040"][1],
    "extra": CASES["FS042"][1],
    "lacks": CASES["FS041"][1],
    "empty": CASES["FS043"][1],
    "loose": CASES["FS044"][1],
    "nested": CASES["FS045"][1],
    "valid": CASES["FS046"][2],
    "no-val": CASES["FS046"][1],
    "numbers": CASES["CL043"][1],
    "dotfile": classes("train/cat/.x.jpg", "train/cat/x.gif", "train/cat/X.JPG"),
}


@pytest.fixture(scope="module")
def stock(tmp_path_factory) -> dict[str, tuple[Path, object]]:
    """For each layout its root and what stock lists there."""
    roots = {}
    for name, change in LAYOUTS.items():
        tiny = TinySet(tmp_path_factory.mktemp(name))
        change(tiny)
        roots[name] = tiny.root.resolve()
    done = subprocess.run(
        [sys.executable, "-c", STOCK, *map(str, roots.values())], capture_output=True, text=True, env=os.environ
    )
    assert "SAID" in done.stdout, done.stderr
    said = json.loads(done.stdout.partition("SAID")[2])
    return dict(zip(roots, zip(roots.values(), said, strict=True), strict=True))


@pytest.mark.parametrize("name", LAYOUTS)
def test_lists_what_ultralytics_lists(name: str, stock):
    root, said = stock[name]
    config = read_folder(root)
    if name == "no-val":
        assert said == "TypeError" and "val" not in config.splits
        return
    numbers = {n: i for i, n in config.names.items()}
    assert said["names"] == list(config.names.values())
    for split, files in list_folders(config).items():
        ours = [[f, numbers[c]] for f in files if (c := class_of(f, config.splits[split][0])) in numbers]
        assert ours == said[split]


def test_a_folder_without_train_is_its_own_train(tmp_path: Path):
    tiny = TinySet(tmp_path)
    UNSPLIT(tiny)
    report = run(tmp_path, options=LintOptions("classify"))
    assert report.by_code() == {"FS046": 1} and report.counts["train"]["images"] == 2
    assert report.findings[0].severity is Severity.FATAL and report.findings[0].values["val"] == 2


def test_a_folder_that_ultralytics_splits_is_no_crash(tmp_path: Path):
    tiny = TinySet(tmp_path)
    UNSPLIT(tiny)
    for i in range(7):
        tiny.put(f"cat/more{i}.jpg", noise(50 + i))
    (found,) = run(tmp_path, options=LintOptions("classify")).findings
    assert (found.code, found.severity, found.effect) == ("FS046", Severity.WARNING, Effect.ACCEPTS)
    assert found.values == {"train": 6, "val": 3, "examples": ("dog",), "more": 0}
    again = run(tmp_path, options=LintOptions("classify")).findings  # from memory
    assert again == (found,)


def test_validation_on_test_is_no_crash(tmp_path: Path):
    tiny = TinySet(tmp_path)
    classes("test/cat/1.jpg", "test/dog/1.jpg", drop="val")(tiny)
    (found,) = run(tmp_path, options=LintOptions("classify")).findings
    assert (found.code, found.severity) == ("FS046", Severity.WARNING)


def test_image_rules_hold_for_classify(tmp_path: Path):
    tiny = TinySet(tmp_path)
    classes()(tiny)
    tiny.put("train/cat/bad.jpg", bytes(range(1, 90)))
    tiny.put("val/dog/cut.jpg", noise(3)[:-200])
    tiny.put("val/dog/none.png", b"")
    report = run(tmp_path, options=LintOptions("classify"))
    assert report.by_code() == {"IM001": 1, "IM002": 1, "IM003": 1}, report.findings
    assert {(f.code, f.split) for f in report.findings} == {("IM001", "train"), ("IM002", "val"), ("IM003", "val")}


def test_the_same_image_in_two_splits_is_no_class_conflict(tmp_path: Path):
    tiny = TinySet(tmp_path)
    classes()(tiny)
    tiny.put("val/cat/0.jpg", (tmp_path / "train/cat/0.jpg").read_bytes())
    assert "CL041" not in run(tmp_path, options=LintOptions("classify")).by_code()


def test_links_that_go_round_are_met_once(tmp_path: Path):
    tiny = TinySet(tmp_path)
    classes()(tiny)
    for name in ("one", "two"):
        (tmp_path / "train/cat" / name).symlink_to("..", target_is_directory=True)
    report = run(tmp_path, options=LintOptions("classify"))
    assert report.by_code()["FS017"] == 2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda root: root / "nowhere", "does not exist"),
        (lambda root: root / "data.yaml", "is a file, but a classification dataset is a folder"),
        (lambda root: root / "labels/train", "no class folders"),
        (lambda root: "https://x.org/imagenet.zip", "download and unpack"),
        (lambda root: "a\0b", "no folder"),
    ],
)
def test_what_is_no_classification_dataset(tmp_path: Path, make, message: str):
    with pytest.raises(DataError, match=message):
        run(make(TinySet(tmp_path).root), options=LintOptions("classify"))


def test_class_folders_are_linted_as_such_unless_another_task_is_asked(tmp_path: Path):
    classes()(TinySet(tmp_path))
    asked = run(tmp_path, options=LintOptions("classify"))
    assert run(tmp_path).findings == asked.findings and run(tmp_path).task == "classify"
    with pytest.raises(DataError, match="lint it with the task classify"):
        run(tmp_path, options=LintOptions("detect"))


def test_a_split_without_images_is_an_error(tmp_path: Path):
    tiny = TinySet(tmp_path)
    classes()(tiny)
    for file in (tmp_path / "val").rglob("*.jpg"):
        file.unlink()
    with pytest.raises(DataError, match=r"'val'.*holds no images"):
        run(tmp_path, options=LintOptions("classify"))
