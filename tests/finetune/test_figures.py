"""Each figure of a plan is what a plain loop over the files counts, on real sets and on synthetic ones of all tasks."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from finetune.direct_count import direct, direct_classes
from finetune.plan_cases import REAL, USUAL
from linting.tiny_set import TinySet, encode, picture, turned
from make_datasets import make_dataset

from yolo_nanfix.dataset.options import LintOptions
from yolo_nanfix.finetune.figures import Figures, count
from yolo_nanfix.linting.runner import run


def figures_of(data: Path, task: str | None = None) -> Figures:
    studied = []
    run(data, options=LintOptions(task), cache=False, jobs=1, study=studied.append)
    return count(studied[0])


def same(found: Figures, wanted: dict) -> None:
    assert {name: split.as_dict() for name, split in found.splits.items()} == wanted["splits"]
    assert found.shared == wanted["shared"]
    assert sorted(found.longer.tolist()) == sorted(wanted["longer"])
    np.testing.assert_allclose(np.sort(found.fill), np.sort(wanted["fill"]), rtol=1e-12)
    np.testing.assert_allclose(np.sort(found.sides), np.sort(wanted.get("sides", [])), rtol=1e-5, atol=1e-7)
    if len(wanted["fill"]):
        assert found.padding == pytest.approx(1 - sum(wanted["fill"]) / len(wanted["fill"]))
    counts = [n for n in wanted["splits"]["train"]["classes"] if n]
    assert found.imbalance == max(counts) / min(counts)
    for imgsz in (64, 320, 640):
        small = [side * imgsz < 8 for side in found.sides]
        assert found.below(8, imgsz) == (sum(small) / len(small) if small else 0)


@pytest.mark.shared
@pytest.mark.parametrize("name", REAL)
def test_figures_of_real_sets(name: str, shared: Path):
    task, classes, splits = REAL[name]
    root = shared / "data" / name
    found = figures_of(root / "data.yaml")
    assert found.task == task
    same(found, direct(root, splits, classes, task))


@pytest.mark.parametrize("task", ["detect", "segment", "pose", "obb"])
def test_figures_of_synthetic_sets(task: str, tmp_path: Path):
    data = make_dataset(tmp_path / "set", n_train=9, n_val=4, seed=3, task=task, n_classes=3)
    images, labels = data.parent / "images", data.parent / "labels"
    first, second = sorted((images / "train").iterdir())[:2]
    shutil.copy(first, images / "val" / "copy.jpg")  # in train, too
    shutil.copy(labels / "train" / f"{first.stem}.txt", labels / "val" / "copy.txt")
    shutil.copy(second, images / "train" / "twin.jpg")
    (labels / "train" / "twin.txt").write_text("")  # a background image
    wide = labels / "train" / f"{second.stem}.txt"
    wide.write_text(wide.read_text() + wide.read_text().splitlines()[0] + "\n")  # a row that is repeated
    found = figures_of(data, task)
    wanted = direct(data.parent, USUAL, 3, task)
    if task == "pose":  # rows of poses all count
        for split in ("train",):
            wanted["splits"][split]["objects"] += 1
            number = int(wide.read_text().split()[0])
            wanted["splits"][split]["classes"][number] += 1
            most = max(len(p.read_text().splitlines()) for p in (labels / split).iterdir())
            wanted["splits"][split]["most_objects"] = most
        wanted["sides"] = found.sides
        assert len(found.sides) == wanted["splits"]["train"]["objects"]
    same(found, wanted)
    assert (found.train.background, found.shared) == (1, 1)
    assert found.train.distinct == found.train.images - 1


def test_figures_of_class_folders(tmp_path: Path):
    sizes = {"cat": [(40, 60), (48, 64)], "dog": [(64, 48), (50, 50), (90, 30)]}
    for split in ("train", "val"):
        for name, shapes in sizes.items():
            folder = tmp_path / split / name
            folder.mkdir(parents=True)
            for number, (height, width) in enumerate(shapes):
                seed = 7 if number == 0 and name == "cat" else hash_of(split, name, number)
                cv2.imwrite(str(folder / f"{number}.png"), picture(height, width, seed=seed))
    found = figures_of(tmp_path)
    assert found.task == "classify" and found.names == ("cat", "dog")
    same(found, direct_classes(tmp_path))
    assert found.shared == 1


def hash_of(*parts: object) -> int:
    return sum(map(ord, "".join(map(str, parts)))) + 10


def test_images_that_ultralytics_drops_do_not_count_and_turned_ones_count_as_shown(tmp_path: Path):
    tiny = TinySet(tmp_path)
    tiny.put("images/train/turned.jpg", turned(picture(40, 80), 6))  # shown 40 wide, 80 high
    tiny.put("labels/train/turned.txt", "1 0.5 0.5 0.5 0.05\n")
    tiny.put("images/train/bad.jpg", encode(".jpg", picture(seed=5)))
    tiny.put("labels/train/bad.txt", "9 0.5 0.5 0.2 0.2\n")  # there is no class 9
    found = figures_of(tmp_path / "data.yaml")
    assert found.train.images == 2 and found.train.objects == 3 and found.train.classes == (1, 2)
    assert found.longer.tolist() == [64, 80]
    assert min(found.sides) == pytest.approx(min(0.5 * 40, 0.05 * 80) / 80)


def test_the_fingerprint_changes_with_names_and_counts(tmp_path: Path):
    tiny = TinySet(tmp_path)
    before = figures_of(tmp_path / "data.yaml").fingerprint
    assert before == {
        "task": "detect",
        "names": ["cat", "dog"],
        "images": {"train": 1, "val": 1},
        "objects": {"train": 2, "val": 2},
    }
    assert figures_of(tmp_path / "data.yaml").fingerprint == before
    tiny.yaml("train: images/train\nval: images/val\nnames: [cat, cow]\n")
    renamed = figures_of(tmp_path / "data.yaml").fingerprint
    assert renamed == {**before, "names": ["cat", "cow"]}
    tiny.rows("0 0.5 0.5 0.2 0.2\n")
    assert figures_of(tmp_path / "data.yaml").fingerprint["objects"] == {"train": 1, "val": 2}


@pytest.mark.parametrize(
    ("more", "names", "flip"),
    [
        ("flip_idx: [1, 0]\n", (), (1, 0)),
        ("kpt_names: {0: [left, right]}\n", ("left", "right"), None),
        ("kpt_names: {0: [left, right], 1: [a, b]}\n", (), None),
        ("kpt_names: [left]\nflip_idx: []\n", (), None),
        ("kpt_names: 3\nflip_idx: [1, x]\n", (), None),
    ],
)
def test_keypoints_of_data_yaml(more: str, names: tuple, flip: tuple | None, tmp_path: Path):
    tiny = TinySet(tmp_path)
    tiny.yaml("train: images/train\nval: images/val\nnames: [a, b]\nkpt_shape: [2, 2]\n" + more)
    for split, name in (("train", "a"), ("val", "b")):
        tiny.put(f"labels/{split}/{name}.txt", "0 0.5 0.5 0.4 0.4 0.4 0.4 0.6 0.6\n")
    found = figures_of(tmp_path / "data.yaml")
    assert (found.task, found.keypoints, found.keypoint_names, found.flip_idx) == ("pose", 2, names, flip)


def test_classes_whose_numbers_have_gaps(tmp_path: Path):
    tiny = TinySet(tmp_path)
    tiny.yaml("train: images/train\nval: images/val\nnames: {1: cat, 2000000000: dog}\n")
    tiny.rows("1 0.5 0.5 0.2 0.2\n1 0.4 0.5 0.2 0.2\n2000000000 0.5 0.5 0.1 0.1\n")
    found = figures_of(tmp_path / "data.yaml")
    assert found.names == ("cat", "dog") and found.train.classes == (2, 1)


@pytest.mark.parametrize("rows", ["0 0.5 0.5 0 0\n", "0 0.5 0.5 1 1e30\n"])
def test_boxes_without_a_size(rows: str, tmp_path: Path):
    TinySet(tmp_path).rows(rows)
    found = figures_of(tmp_path / "data.yaml", "detect")
    assert np.isfinite(found.sides).all() and len(found.sides) == found.train.objects
