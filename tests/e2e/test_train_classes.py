"""`yolo-nanfix train` on class folders: linted first, and what Ultralytics cannot decode is left out of the run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import lab
import numpy as np
import pytest
from PIL import Image

import yolo_nanfix
from yolo_nanfix.cli.main import main

pytestmark = pytest.mark.usefixtures("unpatched")
WORDS = {
    "model": lab.MODELS["classify"],
    **{"epochs": 1, "imgsz": 32, "batch": 4, "nbs": 4, "optimizer": "SGD", "lr0": 0.01, "warmup_epochs": 0},
    **{"pretrained": False, "plots": False, "workers": 0, "device": "cpu", "seed": 0, "exist_ok": True},
}


@pytest.fixture
def healthy(tmp_path: Path) -> Path:
    """Two classes of four images each, in train and val."""
    random = np.random.default_rng(0)
    for split in ("train", "val"):
        for name in ("cat", "dog"):
            folder = tmp_path / "set" / split / name
            folder.mkdir(parents=True)
            for number in range(4):
                cv2.imwrite(str(folder / f"{number}.jpg"), random.integers(0, 255, (40, 40, 3), dtype=np.uint8))
    return tmp_path / "set"


def spoil(root: Path, split: str = "train") -> Path:
    """Add an image that opens, but that OpenCV gives no pixels for."""
    file = root / split / "dog" / "z.tiff"
    Image.fromarray(np.random.default_rng(1).random((40, 40), dtype=np.float32)).save(file)
    return file


def train(data: Path, run: Path, **more) -> yolo_nanfix.runs.Run:
    return yolo_nanfix.train(data, **{**WORDS, **more}, project=str(run.parent), name=run.name)


def losses(run: Path) -> str:
    """The columns of results.csv but for the time."""
    return "\n".join(line.split(",", 2)[2] for line in (run / "results.csv").read_text().splitlines())


def test_stock_dies_of_the_image_and_ours_trains_as_if_it_were_not_there(healthy, tmp_path):
    faulty = tmp_path / "faulty"
    shutil.copytree(healthy, faulty)
    file = spoil(faulty)
    with lab.bare():
        assert lab.train(faulty, tmp_path / "dies", **WORDS, task="classify").error is not None
        assert lab.train(healthy, tmp_path / "stock", **WORDS, task="classify").error is None
    run = train(faulty, tmp_path / "ours")
    assert run.healthy and [f["code"] for f in run.summary["quarantined"][str(file)]] == ["IM009"]
    assert run.summary["lint"]["task"] == "classify" and run.summary["not_linted"] == ""
    assert losses(tmp_path / "ours") == losses(tmp_path / "stock")


def test_a_folder_that_ultralytics_splits_is_trained_on_without_the_image(healthy, tmp_path):
    spoil(healthy)
    shutil.copytree(healthy / "train", tmp_path / "whole")
    run = train(tmp_path / "whole", tmp_path / "run", fraction=1.0)
    assert run.healthy and [Path(image).name for image in run.summary["quarantined"]] == ["z.tiff"]
    assert (tmp_path / "whole_split").is_dir()


def test_data_that_is_still_to_be_downloaded_is_not_linted_and_that_is_said(tmp_path, capsys):
    words = [f"model={lab.MODELS['classify']}", f"project={tmp_path}", "name=run", "device=cpu"]
    assert main(["train", "nowhere160", *words, "--dry-run", "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["lint"] is None and summary["not_linted"] == "'nowhere160' is not unpacked on this disk yet"


def test_without_a_split_to_validate_on_the_run_does_not_start(healthy, tmp_path):
    shutil.rmtree(healthy / "val")
    run = train(healthy, tmp_path / "run")
    assert run.outcome == "stopped" and "FS046" in run.reasons[0] and not (tmp_path / "run").exists()
