"""The rules on labels and data.yaml: what Ultralytics really does with each defect."""

from __future__ import annotations

import warnings
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from linting.cases_labels import CASES, FLIP, PERSON, _circle
from linting.tiny_set import TinySet

from yolo_nanfix.dataset.config import read_config
from yolo_nanfix.dataset.options import LintOptions
from yolo_nanfix.findings import Effect
from yolo_nanfix.linting.registry import all_rules
from yolo_nanfix.linting.runner import run

RULES = {r.code: r for r in all_rules()}
OTHER_TASKS = [code for code in CASES if CASES[code][0] in ("segment", "pose", "obb") and code[:2] != "CF"]


@pytest.mark.parametrize("code", OTHER_TASKS)
def test_ultralytics_does_with_rows_what_the_rule_says(code: str, tmp_path: Path):
    """Drops means that stock's own check drops the image; anything else that it keeps it."""
    from ultralytics.data.utils import verify_image_label

    task, faulty, clean = CASES[code]
    for change, dropped in ((faulty, RULES[code].effect is Effect.DROPS), (clean, False)):
        tiny = TinySet(tmp_path / str(dropped) / change.__name__)
        change(tiny)
        points, dims = read_config(tiny.root).kpt_shape or (0, 0)
        image, label = tiny.root / "images/train/a.jpg", tiny.root / "labels/train/a.txt"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            arguments = (str(image), str(label), "", task == "pose", 2, points, dims, False)
            kept, rows, *_ = verify_image_label(arguments)
        assert (kept is None) == dropped
        if kept is not None and RULES[code].effect is not Effect.CRASHES:
            assert len(rows)


def _sample(root: Path, task: str, augment: bool = False, **hyp: float) -> dict:
    """The first sample of the train split, as Ultralytics loads it."""
    from ultralytics.cfg import get_cfg
    from ultralytics.data.dataset import YOLODataset
    from ultralytics.data.utils import check_det_dataset

    data = check_det_dataset(str(root / "data.yaml"))
    hyp = get_cfg(overrides={"mosaic": 0.0, **hyp})
    return YOLODataset(data["train"], data=data, task=task, imgsz=64, augment=augment, hyp=hyp)[0]


@pytest.fixture
def offline(monkeypatch):
    monkeypatch.setattr("ultralytics.data.utils.check_font", lambda *_a, **_k: None)


@pytest.mark.parametrize("code", ["OB002", "OB003", "OB004", "OB005", "OB006"])
def test_ultralytics_takes_the_rectangle_around_corners(code: str, tmp_path: Path, offline):
    tiny = TinySet(tmp_path)
    CASES[code][1](tiny)
    _, _, width, height, _ = _sample(tiny.root, "obb")["bboxes"][0].tolist()
    numbers = np.array((tmp_path / "labels/train/a.txt").read_text().split()[1:], np.float32).reshape(-1, 2)
    sides = cv2.minAreaRect(numbers * np.float32([64, 48]))[1]
    assert sorted((width * 64, height * 64)) == pytest.approx(sorted(sides), abs=0.02)
    if code == "OB002":
        assert min(width, height) == 0


def test_ultralytics_trains_on_pose_boxes_beyond_any_range(tmp_path: Path, offline):
    tiny = TinySet(tmp_path / "inf")
    CASES["BX010"][1](tiny)
    with np.errstate(invalid="ignore"):
        assert np.isnan(_sample(tiny.root, "pose")["bboxes"].numpy()).any()
    tiny = TinySet(tmp_path / "far")
    CASES["BX011"][1](tiny)
    assert _sample(tiny.root, "pose")["bboxes"][0, 0] == pytest.approx(1.5)


def test_ultralytics_takes_any_visibility_but_zero_as_visible(tmp_path: Path, offline):
    import torch
    from ultralytics.utils.instance import Instances
    from ultralytics.utils.metrics import kpt_iou

    tiny = TinySet(tmp_path)
    CASES["KP001"][1](tiny)
    assert _sample(tiny.root, "pose")["keypoints"][0, 0, 2] == 3
    hidden = torch.zeros(1, 2, 3)
    assert kpt_iou(hidden, hidden, torch.ones(1), np.ones(2)).item() == 0  # KP006
    outside = Instances(np.array([[0, 0, 60, 40.0]], np.float32), np.zeros((0, 9, 2)), np.array([[[64.3, 20, 2.0]]]))
    outside.clip(64, 48)
    assert outside.keypoints[0, 0, 2] == 0  # KP005
    tiny.yaml(FLIP.replace("[2, 3]", "[2, 2]"))
    tiny.rows("0 0.5 0.5 0.4 0.4 0 0 0.6 0.6\n")
    assert _sample(tiny.root, "pose")["keypoints"][0, :, 2].tolist() == [1, 1]  # KP007


def test_ultralytics_flips_as_flip_idx_says(tmp_path: Path, offline):
    from ultralytics.cfg import get_cfg
    from ultralytics.models.yolo.pose.val import PoseValidator
    from ultralytics.utils.metrics import PoseMetrics

    flipped = {}
    for name, extra in {"CF010": "", "CF013": "flip_idx: [0, 0]\n", "good": "flip_idx: [1, 0]\n"}.items():
        tiny = TinySet(tmp_path / name)
        tiny.yaml(FLIP.replace("flip_idx: [1, 0]\n", extra))
        tiny.rows(PERSON)
        flipped[name] = _sample(tiny.root, "pose", True, fliplr=1.0, scale=0.0, translate=0.0)["keypoints"][0, :, 0]
    assert flipped["CF010"].tolist() == pytest.approx([0.4, 0.6])
    assert flipped["good"].tolist() == pytest.approx([0.4, 0.6])
    assert flipped["CF013"].tolist() == pytest.approx([0.6, 0.6])
    for code, error in (("CF011", ValueError), ("CF012", IndexError)):
        tiny = TinySet(tmp_path / code)
        CASES[code][1](tiny)
        with pytest.raises(error):
            _sample(tiny.root, "pose", True, fliplr=1.0)
    tiny = TinySet(tmp_path / "CF015")
    CASES["CF015"][1](tiny)
    validator = PoseValidator.__new__(PoseValidator)
    names = {0: "cat", 1: "dog"}
    data = read_config(tiny.root).raw
    vars(validator).update(data=data, args=get_cfg(), training=True, metrics=PoseMetrics(names))
    with pytest.raises(ValueError, match="kpt_oks_sigmas"):
        validator.init_metrics(SimpleNamespace(names=names))


def test_ultralytics_stretches_and_loses_polygons(tmp_path: Path, offline):
    from ultralytics.data.utils import polygons2masks, polygons2masks_overlap

    square = np.array([[101, 101], [103, 101], [103, 103], [101, 103]], np.float32)
    gone = [polygons2masks_overlap((640, 640), [square + s], 4)[0].max() == 0 for s in range(8)]
    assert any(gone)  # SG009
    star = np.array([[320 + 200 * np.sin(t), 320 - 200 * np.cos(t)] for t in np.arange(5) * 4 * np.pi / 5])
    assert polygons2masks((640, 640), [star.ravel()], 1)[0][320, 320] == 0  # SG004: even-odd
    tiny = TinySet(tmp_path)
    tiny.rows(_circle(1001) + "0 0.1 0.1 0.5 0.1 0.3 0.4\n")
    from ultralytics.data.dataset import YOLODataset
    from ultralytics.data.utils import check_det_dataset

    data = check_det_dataset(str(tmp_path / "data.yaml"))
    dataset = YOLODataset(data["train"], data=data, task="segment", imgsz=64, augment=False)
    assert dataset.get_image_and_label(0)["instances"].segments.shape == (2, 1002, 2)  # SG008


def test_ultralytics_drops_slim_and_tiny_boxes_when_it_augments():
    from ultralytics.data.augment import RandomPerspective

    boxes = np.array([[0, 0, 2, 50], [0, 0, 2.5, 50], [0, 0, 500, 5], [0, 0, 490, 5]], np.float32).T
    assert RandomPerspective.box_candidates(boxes, boxes).tolist() == [False, True, False, True]


def test_ultralytics_reads_data_yaml_as_the_rules_say(tmp_path: Path, offline, monkeypatch):
    from ultralytics.data.utils import check_det_dataset

    def read_faulty(code: str) -> dict:
        tiny = TinySet(tmp_path / code)
        CASES[code][1](tiny)
        return check_det_dataset(str(tiny.root / "data.yaml"))

    assert read_faulty("CF017")["nc"] == 2
    assert read_faulty("CF023")["names"] == {0: "class_0", 1: "class_1"}
    assert read_faulty("CF025")["val"].endswith("images/val")
    assert read_faulty("CF026")["yaml_file"].endswith("CF026/data.yaml")
    assert read_faulty("CF020")["epochs"] == 3  # in the dataset's mapping, which no training reads settings from
    TinySet(tmp_path / "cwd" / "set").yaml("path: set\ntrain: images/train\nval: images/val\nnames: [a]\n")
    monkeypatch.chdir(tmp_path / "cwd")
    assert check_det_dataset("set/data.yaml")["path"] == Path("set")
    monkeypatch.chdir(tmp_path / "cwd" / "set")
    with pytest.raises(FileNotFoundError):
        check_det_dataset("data.yaml")


def test_names_that_differ_in_form_only_are_one(tmp_path: Path):
    for names, clash in (("[hot dog, Hot_Dog]", True), ("[A+, A-]", False), ("[c, c++]", False)):
        tiny = TinySet(tmp_path / names.replace(" ", ""))
        tiny.yaml(f"train: images/train\nval: images/val\nnames: {names}\n")
        assert ("CF004" in run(tiny.root).by_code()) == clash


def test_polygons_and_keypoints_count_when_rows_are_compared(tmp_path: Path):
    """Ultralytics removes rows only if all of their numbers are equal; so does BX007 see it."""
    square, bow_tie = "0 0.1 0.1 0.5 0.1 0.5 0.5 0.1 0.5\n", "0 0.1 0.1 0.5 0.5 0.5 0.1 0.1 0.5\n"
    moved = PERSON.replace("0.4 0.4 2", "0.41 0.4 2")
    for task, rows, equal in (
        ("segment", square + square, True),
        ("segment", square + bow_tie, False),
        ("pose", PERSON + PERSON, True),
        ("pose", PERSON + moved, False),
    ):
        tiny = TinySet(tmp_path / f"{task}{equal}")
        if task == "pose":
            tiny.yaml(FLIP)
        tiny.rows(rows)
        tiny.put("labels/val/b.txt", rows)
        assert ("BX007" in run(tiny.root, options=LintOptions(task)).by_code()) == equal


def test_each_defect_is_told_once(tmp_path: Path):
    """A row has one finding among those that say the same in other words."""
    for task, row, code in (
        ("segment", "0 0.1 0.1 0.5 0.1 0.1 0.1\n", "SG005"),
        ("segment", "0 0.1 0.1 0.3 0.1 0.5 0.1\n", "SG003"),
        ("segment", "0 0.1 0.1 0.3 0.1 0.3 0.5\n1 0.1 0.8\n", "SG005"),
        ("obb", "0 0.1 0.1 0.5 0.1 0.5 0.1 0.1 0.1\n", "OB002"),
        ("detect", "0 320 240 64 48\n", "BX015"),
        ("detect", "0 0.5 0.5 0.2 0.2 0.9\n", "TX013"),
        ("pose", "0 inf 0.5 0.2 0.2 0.5 0.5 2 0.4 0.4 2\n", "BX010"),
        ("pose", "0 -inf 0.5 0.2 0.2 0.5 0.5 2 0.4 0.4 2\n", "TX011"),
    ):
        tiny = TinySet(tmp_path / code / str(len(row)))
        if task == "pose":
            tiny.yaml(FLIP)
        tiny.rows(row)
        tiny.put("labels/val/b.txt", row)
        findings = run(tiny.root, options=LintOptions(task)).findings
        assert [f.code for f in findings if f.place.file.endswith("train/a.txt") and f.code[:2] != "SP"] == [code]
