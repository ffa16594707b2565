"""What the settings of lint mean for a training: a poisonous image is left out unless its rule is ignored by name."""

from __future__ import annotations

from pathlib import Path

import lab
import pytest
from make_datasets import make_dataset, plant

import yolo_nanfix
from yolo_nanfix.errors import UsageError

pytestmark = pytest.mark.usefixtures("unpatched")


@pytest.fixture
def faulty(tmp_path: Path, monkeypatch) -> Path:
    """Four train images, one of them shadowed by an array with NaN pixels; every box is a small one."""
    monkeypatch.chdir(tmp_path)
    data = make_dataset(tmp_path / "set", n_train=4, n_val=2, size=(64, 64), seed=1)
    plant(data.parent, "nan_pixels", index=1)
    return data


def dry_run(data: Path) -> yolo_nanfix.runs.Run:
    return yolo_nanfix.train(data, model=lab.TINY, dry_run=True, imgsz=64)


def test_a_poisonous_image_is_left_out_unless_its_rule_is_ignored_by_name(faulty: Path):
    Path("nanfix.yaml").write_text("lint: {ignore: [IM, ALL]}")
    summary = dry_run(faulty).summary
    assert [[f["code"] for f in found] for found in summary["quarantined"].values()] == [["IM011"]]
    assert {f["code"] for f in summary["lint"]["findings"]} == {"IM011"}
    Path("nanfix.yaml").write_text("lint: {per-path-ignores: {'set/images/**': [pixel-nan]}}")
    assert dry_run(faulty).summary["quarantined"] == {}


def said(caplog, faulty: Path) -> tuple[yolo_nanfix.runs.Run, list[str]]:
    """A dry run, and what it says of the dataset before."""
    with caplog.at_level("INFO", "ultralytics"):
        run = dry_run(faulty)
    texts = [record.message for record in caplog.records if "yolo-nanfix: " in record.message]
    return run, [text.partition("yolo-nanfix: ")[2] for text in texts if "train" in text or "val" in text]


def test_what_is_left_of_each_split_is_said_before_the_first_epoch(faulty: Path, caplog):
    (faulty.parent / "images/train/0002.jpg").write_bytes(b"")
    (faulty.parent / "labels/val/0000.txt").write_text("")
    run, lines = said(caplog, faulty)
    assert lines == [
        "train: 2 of 4 images are left: Ultralytics drops 1, the run puts 1 aside (fatal findings)",
        "val: all 2 images are kept, 1 of them without objects",
    ]
    train = {"images": 4, "dropped": 1, "aside": 1, "kept": 2, "background": 0}
    assert run.outcome == "dry-run" and train.items() <= run.summary["left"]["train"].items()


def test_a_run_does_not_start_when_nothing_is_left(faulty: Path, caplog):
    for name in ("0000", "0002", "0003"):
        (faulty.parent / f"images/train/{name}.jpg").write_bytes(b"")
    run, _ = said(caplog, faulty)
    assert (run.outcome, run.exit_code) == ("stopped", 1)
    assert run.reasons[0].startswith("no image of 'train' is left: 0 of 4 images are left: Ultralytics drops 3")
    (faulty.parent / "images/train/0001.npy").unlink()
    assert dry_run(faulty).outcome == "dry-run"
    (faulty.parent / "images/train/0001.jpg").write_bytes(b"")
    run, lines = said(caplog, faulty)
    assert run.exit_code == 1 and "training does not start: RuntimeError" in run.reasons[0]
    assert "FS055" in lines[-2] and lines[-1] == "train: 0 of 4 images are left: Ultralytics drops 4"


def test_where_all_objects_are_one_class_no_number_is_too_large(faulty: Path):
    (faulty.parent / "labels/train/0002.txt").write_text("7 0.5 0.5 0.2 0.2\n")
    run = yolo_nanfix.train(faulty, model=lab.TINY, dry_run=True, imgsz=64, single_cls=True)
    assert run.summary["left"] == {} and dry_run(faulty).summary["left"]["train"]["dropped"] == 1


def test_a_wrong_setting_is_said_before_a_model_is_loaded(faulty: Path):
    Path("nanfix.yaml").write_text("lint: {ignor: [IM011]}")
    with pytest.raises(UsageError, match="did you mean 'ignore'"):
        yolo_nanfix.train(faulty, model="nowhere.pt", dry_run=True)
