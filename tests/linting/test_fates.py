"""What is kept, dropped and background is what the real scan of Ultralytics counts; what stops it is fatal."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from linting.cases_files import noise
from linting.tiny_set import ROWS, YAML, TinySet, encode, picture

import yolo_nanfix
from yolo_nanfix.dataset.options import LintOptions
from yolo_nanfix.findings import Report, Severity
from yolo_nanfix.linting.runner import run

yolo_nanfix.patch("torchvision-operators-missing", guard=False)

ODD = ("1.01", "1.011", "-0.005", "-0.011", "-0.5", "nan", "inf", "-inf", "1e400", "0.5_1", "2", "abc", "0,5")
CLASSES = ("0", "1", "0.0", "2", "-1", "1.5", "-0.005", "nan", "x", "inf")
JPEG = encode(".jpg", picture())
FILES = (b"", JPEG[:-2], JPEG[:300], JPEG + b"xx", encode(".png", picture(8, 8)), b"<html>")
WIDTHS = {"detect": 4, "segment": 8, "pose": 10, "obb": 8}
POSE = "kpt_shape: [2, 3]\n"


stripped: list[str] = []
"""What the last scan said of repeated rows."""


def scanned(root: Path, task: str, split: str = "train") -> dict[str, int] | str:
    """The counters of the real scan of a split, or the name of what it raises."""
    stripped.clear()
    from ultralytics.data.dataset import YOLODataset
    from ultralytics.data.utils import check_det_dataset

    counts: dict[str, int] = {}

    class Counted(YOLODataset):
        def cache_labels(self, path):
            made = super().cache_labels(path)
            _, missing, empty, dropped, total = made["results"]
            counts.update(images=total, kept=len(made["labels"]), dropped=dropped, background=missing + empty)
            stripped.extend(msg for msg in made["msgs"] if "duplicate labels removed" in msg)
            path.unlink(missing_ok=True)
            return made

    data = check_det_dataset(str(root / "data.yaml"))
    try:
        Counted(data[split], data=data, task=task, imgsz=32, augment=split == "train")
    except (RuntimeError, ValueError) as error:
        return type(error).__name__
    return counts


def counted(report: Report, split: str = "train") -> dict[str, int]:
    return {key: report.counts[split][key] for key in ("images", "kept", "dropped", "background")}


def _row(dice: random.Random, task: str) -> str:
    width = dice.choice((3, 4, 5, 6)) if dice.random() < 0.04 else WIDTHS[task]
    numbers = [dice.choice(ODD) if dice.random() < 0.03 else f"{dice.random() * 0.4 + 0.2:.4f}" for _ in range(width)]
    return " ".join([dice.choice(CLASSES) if dice.random() < 0.1 else dice.choice("01"), *numbers])


@pytest.mark.parametrize("task", WIDTHS)
def test_counts_are_those_of_the_real_scan(task: str, tmp_path: Path, monkeypatch):
    monkeypatch.setattr("ultralytics.utils.checks.check_requirements", lambda *_a, **_k: False)
    dice, tiny = random.Random(task), TinySet(tmp_path)
    tiny.yaml(YAML + POSE * (task == "pose"))
    tiny.rows(f"0 {' '.join(['0.5'] * WIDTHS[task])}\n")
    for i in range(90):
        tiny.put(f"images/train/{i}.jpg", dice.choice(FILES) if dice.random() < 0.1 else JPEG)
        rows = [_row(dice, task) for _ in range(dice.choice((0, 1, 1, 2)))]
        if dice.random() < 0.9:
            tiny.put(f"labels/train/{i}.txt", "\n".join(rows + rows[:1] * (dice.random() < 0.2)))
    tiny.put("images/train/1.png", encode(".png", picture()))  # shares the label file of 1.jpg
    tiny.put("images/train/z.jpg", JPEG + b"xx")  # written anew, although its labels are refused
    tiny.put("labels/train/z.txt", "x")
    report = run(tmp_path, options=LintOptions(task), cache=False)
    mine = counted(report)
    assert min(mine.values()) > 5
    before = {file: file.read_bytes() for file in (tmp_path / "images/train").iterdir()}
    assert scanned(tmp_path, task) == mine
    anew = {str(file) for file, content in before.items() if file.read_bytes() != content}
    rewritten = anew | {file for file in map(str, before) if any(f"{file}: " in said for said in stripped)}
    assert anew and report.counts["train"]["rewritten"] == len(rewritten)


@pytest.mark.parametrize(
    ("task", "image", "label", "error", "code"),
    [
        ("detect", b"", ROWS, "RuntimeError", "FS055"),
        ("detect", JPEG, "0 0.5 0.5 1.2 0.2\n", "RuntimeError", "FS055"),
        ("pose", JPEG, ROWS, "RuntimeError", "FS055"),
        ("segment", JPEG, "0 7 0.1 0.1 0.5 0.1 0.5 0.5 0.1 0.5\n", "RuntimeError", "FS055"),
        ("segment", JPEG, ROWS, "ValueError", "FS058"),
        ("obb", JPEG, ROWS, "ValueError", "FS058"),
        ("detect", JPEG, None, "ValueError", "FS003"),
    ],
)
def test_what_stops_ultralytics_is_fatal(
    task: str, image: bytes, label: str | None, error: str, code: str, tmp_path: Path, monkeypatch
):
    monkeypatch.setattr("ultralytics.utils.checks.check_requirements", lambda *_a, **_k: False)
    tiny = TinySet(tmp_path)
    tiny.yaml(YAML + "kpt_shape: [2, 2]\n" * (task == "pose"))
    tiny.put("images/train/a.jpg", image)
    tiny.rows(label) if label is not None else tiny.drop("labels/train/a.txt")
    report = run(tmp_path, options=LintOptions(task), cache=False)
    (found,) = [f for f in report.findings if f.code == code and f.split in (None, "train")]
    assert (found.severity, found.values["error"]) == (Severity.FATAL, error)
    assert scanned(tmp_path, task) == error
    assert "SP007" not in report.by_code() or code == "FS058"


def test_labels_of_broken_images_alone_are_as_good_as_none(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("ultralytics.utils.checks.check_requirements", lambda *_a, **_k: False)
    tiny = TinySet(tmp_path)
    tiny.put("images/train/a.jpg", b"")
    tiny.put("images/train/c.jpg", JPEG)
    (found,) = [f for f in run(tmp_path, cache=False).findings if f.severity is Severity.FATAL]
    assert (found.code, found.values["images"]) == ("FS003", 1)
    assert scanned(tmp_path, "detect") == "ValueError"


def test_a_split_of_which_one_image_is_left_is_no_fatal(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("ultralytics.utils.checks.check_requirements", lambda *_a, **_k: False)
    tiny = TinySet(tmp_path)
    for name in "cde":
        tiny.put(f"images/train/{name}.jpg", b"")
        tiny.put(f"labels/train/{name}.txt", ROWS)
    report = run(tmp_path, cache=False)
    assert report.by_code() == {"IM002": 3}
    assert scanned(tmp_path, "detect") == counted(report) == {"images": 4, "kept": 1, "dropped": 3, "background": 0}


def test_train_of_backgrounds_is_said_with_what_is_left_out(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("ultralytics.utils.checks.check_requirements", lambda *_a, **_k: False)
    tiny = TinySet(tmp_path)
    tiny.rows("0 0.5 0.5 2 0.2\n")
    tiny.put("images/train/c.jpg", JPEG)
    tiny.put("labels/train/c.txt", "")
    (found,) = [f for f in run(tmp_path, cache=False).findings if f.code == "SP007"]
    assert found.values == {"kept": 1, "dropped": 1, "split": "train"}
    assert scanned(tmp_path, "detect") == {"images": 2, "kept": 1, "dropped": 1, "background": 1}


@pytest.mark.parametrize("split", ["train", "val"])
def test_class_folders_without_a_readable_image_stop_ultralytics(split: str, tmp_path: Path, monkeypatch):
    from ultralytics.cfg import get_cfg
    from ultralytics.models.yolo.classify.train import ClassificationTrainer

    monkeypatch.setattr("ultralytics.utils.checks.check_requirements", lambda *_a, **_k: False)
    for part in ("train", "val"):
        for name in ("cat", "dog"):
            file = tmp_path / part / name / "1.jpg"
            file.parent.mkdir(parents=True)
            file.write_bytes(b"" if part == split else noise(len(part) + len(name)))
    (found,) = [f for f in run(tmp_path, options=LintOptions("classify")).findings if f.code == "FS055"]
    assert (found.split, found.values["error"]) == (split, "FileNotFoundError")
    trainer = object.__new__(ClassificationTrainer)
    trainer.args, trainer.data = get_cfg(), {"names": {0: "cat", 1: "dog"}}
    with pytest.raises(FileNotFoundError, match=f"No images found in '{split}' split"):
        trainer.get_dataloader(tmp_path / split, rank=-1, mode=split)


def test_images_of_a_class_that_train_lacks_are_dropped(tmp_path: Path):
    from ultralytics.cfg import get_cfg
    from ultralytics.data.dataset import ClassificationDataset

    for path in ("train/cat", "train/dog", "val/cat", "val/dog", "val/fox"):
        (tmp_path / path).mkdir(parents=True)
        (tmp_path / path / "1.jpg").write_bytes(noise(sum(map(ord, path))))
    report = run(tmp_path, options=LintOptions("classify"))
    made = ClassificationDataset(tmp_path / "val", get_cfg(), prefix="val", names={0: "cat", 1: "dog"})
    assert report.counts["val"]["kept"] == len(made.samples) == 2
    assert report.counts["val"]["dropped"] == 1


def test_counts_are_the_same_when_they_are_remembered(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("YOLO_NANFIX_CACHE", str(tmp_path / "memory"))
    tiny = TinySet(tmp_path / "set")
    tiny.put("images/train/c.jpg", b"")
    tiny.put("images/train/a.png", encode(".png", picture()))
    first = run(tiny.root)
    assert run(tiny.root).counts == first.counts
    tiny.put("images/train/d.jpg", JPEG)
    again = run(tiny.root)
    assert counted(again) == {"images": 4, "kept": 3, "dropped": 1, "background": 1}
    assert Report.from_dict(again.as_dict()).counts == again.counts
    assert np.array_equal(again.counts, run(tiny.root, cache=False).counts)
