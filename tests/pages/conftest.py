"""Run folders of real, tiny trainings, made once for all tests of this folder; and copies of them to be damaged."""

from __future__ import annotations

import shutil
from pathlib import Path

import lab
import pytest
from make_datasets import make_dataset, plant

import yolo_nanfix

TINY = {
    "model": lab.TINY, "pretrained": False, "epochs": 2, "imgsz": 64, "batch": 4, "nbs": 4, "optimizer": "SGD",
    "mosaic": 0.0, "close_mosaic": 0, "hsv_h": 0.0, "hsv_s": 0.0, "hsv_v": 0.0, "plots": False, "workers": 0,
    "device": "cpu", "seed": 0, "exist_ok": True,
}  # fmt: skip


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> Path:
    """A folder with the runs `healthy`, `faulty` (a NaN image, one incident an epoch) and `stock`, and the dataset."""
    root = tmp_path_factory.mktemp("trained")
    data = make_dataset(root / "set", n_train=12, n_val=4, size=(64, 64), n_classes=2, seed=1)
    assert yolo_nanfix.train(data, project=str(root), name="healthy", **TINY).healthy
    plant(data.parent, "nan_pixels", index=5)
    assert yolo_nanfix.train(data, on_fatal="ignore", project=str(root), name="faulty", **TINY).exit_code == 0
    with lab.bare():
        lab.train(data, root / "stock", epochs=2, hsv_h=0.0, hsv_s=0.0, hsv_v=0.0)
    return root


@pytest.fixture
def faulty(trained, tmp_path) -> Path:
    """A copy of the faulty run that a test may change, without its weights."""
    return Path(shutil.copytree(trained / "faulty", tmp_path / "faulty", ignore=shutil.ignore_patterns("*.pt")))
