"""One release of the matrix: five trainings of one epoch, one by the command line, under that release. Prints JSON."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import lab
import torch
from make_datasets import make_dataset, plant

import yolo_nanfix
from yolo_nanfix import upstream

FAULT = {(0, 1)}
"""Epoch and micro-batch that hold one NaN pixel."""
SHIMS = ("torchvision-operators-missing", "compat-torch-load", "compat-numpy-trapz", "compat-pkg-resources")
"""What stock needs to train at all beside today's torch and numpy."""


def weights(result: lab.Result) -> dict[str, torch.Tensor]:
    """Weights and BatchNorm statistics at the end of training."""
    return {k: v.detach().clone() for k, v in result.trainer.model.state_dict().items()}


def survived(result: lab.Result) -> bool:
    """Whether the run ended with finite weights in memory and in a last.pt that is not zeroed."""
    if result.error is not None or lab.not_finite(weights(result).values()):
        return False
    last = Path(result.trainer.wdir) / "last.pt"
    saved = lab.checkpoint(last) if last.is_file() else {}
    return bool(saved) and not lab.not_finite(saved.values()) and not lab.is_zeroed(saved)


def case(folder: Path) -> dict[str, Any]:
    """Train healthy and faulty, stock and patched."""
    data = make_dataset(folder / "set", n_train=16, n_val=4, size=(64, 64), seed=1)
    yolo_nanfix.patch(*SHIMS)  # before anything imports ultralytics
    lab.train(data, folder / "first", epochs=1)  # in some releases a process's first run draws other random numbers
    poisoned = lab.poisoned("detect", FAULT)
    stock = lab.train(data, folder / "stock", epochs=1)
    stock_faulty = lab.train(data, folder / "stock-faulty", epochs=1, trainer=poisoned)
    with yolo_nanfix.patched() as status:
        ours = lab.train(data, folder / "ours", epochs=1)
        ours_faulty = lab.train(data, folder / "ours-faulty", epochs=1, trainer=poisoned)
    started = command(folder)
    for result in (stock, ours):
        if result.error is not None:
            raise result.error
    before, after = weights(stock), weights(ours)
    return {
        "release": upstream.version(),
        "states": {p.name: p.state for p in status.patches},
        "reasons": {p.name: p.reason for p in status.patches if p.state == "refused"},
        "guard": status.guard is not None,
        "identical": stock.losses == ours.losses and all(torch.equal(before[k], after[k]) for k in before),
        "stock_survives": survived(stock_faulty),
        "survives": survived(ours_faulty),
        "command": started,
    }


def command(folder: Path) -> bool:
    """Whether `yolo-nanfix train`, in a process of its own, leaves an image with NaN pixels out and ends healthy."""
    data = make_dataset(folder / "planted", n_train=8, n_val=4, size=(64, 64), seed=1)
    plant(data.parent, "nan_pixels", index=2)
    words = [
        "train",
        str(data),
        "model=yolov8n.yaml",
        "pretrained=False",
        "epochs=1",
        "imgsz=64",
        "batch=4",
        "nbs=4",  # so that each micro-batch is a step
        "workers=0",
    ]
    words += ["plots=False", "device=cpu", f"project={folder}", "name=command", "exist_ok=True"]
    done = subprocess.run([sys.executable, "-m", "yolo_nanfix", *words], capture_output=True, text=True)
    report = folder / "command" / "yolo-nanfix.json"
    if done.returncode or not report.is_file():
        print(done.stderr[-2000:], file=sys.stderr)
        return False
    summary = json.loads(report.read_text())
    left_out = [Path(image).name for image in summary["quarantined"]]
    return bool(summary["healthy"]) and left_out == ["0002.jpg"] and summary["guard"]["micro_batches"] == 2


def main() -> None:
    """Run the case in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(case(Path(folder))))
