"""Commands that look at what somebody else made never load a pickle of it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import fuzz_incidents
import numpy as np
import pytest
import torch
from make_datasets import make_dataset
from markers import Marker

import yolo_nanfix
from yolo_nanfix.cli.main import main

pytestmark = pytest.mark.usefixtures("unpatched")


@pytest.fixture
def received(tmp_path):
    """A dataset and a run folder as somebody else may send them, with a pickle wherever one may lie; and the marker."""
    marker = tmp_path / "marker"
    data = make_dataset(tmp_path / "data", n_train=4, n_val=2, size=(64, 64), seed=3)
    array = np.array({"labels": Marker(marker)}, dtype=object)
    root = Path(data).parent
    images = sorted((root / "images" / "train").iterdir())
    (root / "labels" / "train" / f"{images[0].stem}.txt").write_text("0 nan 0.5 0.1 0.1\n")
    places = [root / "labels" / "train.cache", root / "labels" / "val.cache", root / "labels.cache"]
    for place in (*places, images[0].with_suffix(".npy"), root / "images" / "other.npy"):
        with open(place, "wb") as stream:
            np.save(stream, array)
    run = tmp_path / "run"
    (run / "weights").mkdir(parents=True)
    for place in ("weights/last.pt", "weights/best.pt", "labels.cache", "incidents/x.pkl", "steps.npy", "args.pt"):
        (run / place).parent.mkdir(exist_ok=True)
        torch.save({"model": Marker(marker)}, run / place)
    (run / "args.yaml").write_text(f"model: weights/best.pt\ndata: {data}\ntask: detect\n")
    (run / "results.csv").write_text("epoch,train/box_loss\n1,0.5\n2,nan\n")
    (run / "yolo-nanfix.json").write_text(json.dumps({"yolo_nanfix": "0.1.0", "outcome": "finished", "reasons": []}))
    with yolo_nanfix.patched("torchvision-operators-missing", guard=False):
        fuzz_incidents.base().save(run / "incidents" / "0001-00003-loss.safetensors")
    return data, run, marker


def test_looking_at_what_was_received_loads_no_pickle(received, tmp_path, capsys):
    data, run, marker = received
    torch.load(run / "weights" / "last.pt", weights_only=False)
    assert marker.exists()  # it works where a pickle is loaded
    marker.unlink()
    shutil.copytree(run, tmp_path / "other")
    commands = (
        ["lint", str(data), "--deep", "--no-cache"],
        ["lint", str(data), "--output-format", "html", "--output-file", str(tmp_path / "lint.html")],
        ["handoff", str(data), str(tmp_path / "handoff"), "--to", "cvat"],
        ["report", str(run), "--pictures"],
        ["compare", str(run), str(tmp_path / "other"), "-o", str(tmp_path / "both.html")],
        ["diagnose", str(run)],
    )
    for words in commands:
        code = main(words)
        assert code in (0, 1), (words, capsys.readouterr().err)
        assert not marker.exists(), words
