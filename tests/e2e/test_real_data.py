"""Real images with real defects: six-band TIFFs of which one train and one val image hold no-data pixels."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import lab
import pytest

from yolo_nanfix.cli.main import main

pytestmark = [pytest.mark.shared, pytest.mark.usefixtures("unpatched")]
TRAIN, VAL = "BloodImage_00005.tiff", "BloodImage_00017.tiff"
PLAIN = {"mosaic": 0.0, "hsv_h": 0.0, "hsv_s": 0.0, "hsv_v": 0.0, "imgsz": 96, "batch": 4}


@pytest.fixture
def data(shared, tmp_path):
    """A copy, since Ultralytics writes label caches beside the labels."""
    shutil.copytree(shared / "data" / "multispectral_nan", tmp_path / "set", copy_function=shutil.copyfile)
    for path in (tmp_path / "set").rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return tmp_path / "set" / "data.yaml"


def ours(data, tmp_path, shared, *options):
    words = [f"{k}={v}" for k, v in PLAIN.items()]
    words += [f"model={shared}/weights/yolov8n.pt", "epochs=5", "plots=False", "device=cpu", "optimizer=SGD"]
    code = main(["train", str(data), *words, f"project={tmp_path}", "name=run", *options])
    return code, json.loads((tmp_path / "run" / "yolo-nanfix.json").read_text())


def csv_values(tmp_path):
    return [line.split(",") for line in (tmp_path / "run" / "results.csv").read_text().splitlines()[1:]]


def test_stock_raises_after_four_epochs_of_nan(data, tmp_path, shared):
    with lab.bare():
        stock = lab.train(data, tmp_path / "run", model=str(shared / "weights" / "yolov8n.pt"), epochs=8, **PLAIN)
    assert isinstance(stock.error, RuntimeError) and "NaN persisted for 4 epochs" in str(stock.error)


@pytest.mark.slow
def test_ours_drops_two_micro_batches_with_the_faulty_image_then_leaves_it_out(data, tmp_path, shared, capsys):
    code, report = ours(data, tmp_path, shared, "--on-fatal", "ignore")
    assert code == 0 and report["healthy"]
    dropped = [e for e in report["guard"]["events"] if e["point"] == "after-loss"]
    epochs = [e["epoch"] for e in dropped]  # in those between, augmentation cut the faulty pixels away
    assert epochs[0] == 1 and len(epochs) == report["guard"]["dropped_micro_batches"] == 2
    assert [Path(f).name for f in report["guard"]["quarantined"]] == [TRAIN]
    assert report["guard"]["quarantined_samples"] == 5 - epochs[1]  # once in each of the epochs that are left
    assert "2 of 30 micro-batches dropped, 1 image left out" in capsys.readouterr().out
    for event in report["guard"]["events"]:
        suspects = {Path(s["file"]).name for s in event["sources"] if s["suspect"]}
        assert suspects == ({TRAIN} if event["point"] == "after-loss" else {VAL})
    assert all(float(value) == float(value) for row in csv_values(tmp_path) for value in row)
    for name in ("last.pt", "best.pt"):
        weights = lab.checkpoint(tmp_path / "run" / "weights" / name)
        assert lab.not_finite(weights.values()) == 0 and not lab.is_zeroed(weights)


def test_by_default_lint_names_the_pixels_and_no_micro_batch_is_lost(data, tmp_path, shared):
    code, report = ours(data, tmp_path, shared)
    assert code == 0 and report["guard"]["events"] == [] and report["guard"]["dropped_micro_batches"] == 0
    found = {Path(image).name: findings[0] for image, findings in report["quarantined"].items()}
    assert set(found) == {TRAIN, VAL}
    assert all(f["code"] == "IM011" and f["place"]["pixel"] == [0, 0, 0] for f in found.values())
    assert "2400 NaN pixel values" in found[TRAIN]["message"]
