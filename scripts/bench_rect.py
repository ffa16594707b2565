"""What square validation batches cost against Ultralytics' rectangular ones: time, pixels and metrics.

    python scripts/bench_rect.py DATA WEIGHTS [--imgsz 640] [--batch 16] [--rounds 3]

Builds the validation set as a trainer does, with the rect-validation patch off and on, and validates the same
weights on both, alternating.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import tempfile
import time
import warnings
from typing import Any

import benchlib


def prepared(data: str, weights: str, imgsz: int, batch: int, folder: str) -> Any:
    """A trainer that is set up and ready to validate."""
    from ultralytics.models.yolo.detect import DetectionTrainer

    settings = {"data": data, "model": weights, "imgsz": imgsz, "batch": batch, "workers": 0, "device": "cpu"}
    quiet = {
        "plots": False,
        "verbose": False,
        "project": folder,
        "name": "run",
        "exist_ok": True,
        "epochs": 100,
    }
    trainer = DetectionTrainer(overrides={**settings, **quiet})
    trainer._setup_train()
    trainer.epoch, trainer.stop = 0, False
    return trainer


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("weights", help="weights trained on this dataset, or none of the metrics mean anything")
    parser.add_argument("--imgsz", type=int, default=640)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    import torch

    import yolo_nanfix

    benchlib.quiet()
    yolo_nanfix.patch("torchvision-operators-missing")
    print(benchlib.header())
    times: dict[str, list[float]] = {"off": [], "stock": []}
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            trainer = prepared(args.data, args.weights, args.imgsz, args.batch, folder)
            trainer.loss_items = {k: torch.zeros(()) for k in ("box_loss", "cls_loss", "dfl_loss")}
            trainer.loss_names = tuple(trainer.loss_items)
        for _ in range(args.rounds):
            for rect in times:
                with yolo_nanfix.patched("rect-validation", rect=rect):
                    loader = trainer.get_dataloader(trainer.data["val"], args.batch * 2, -1, "val")
                trainer.validator.dataloader = trainer.test_loader = loader
                began = time.perf_counter()
                with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                    metrics = trainer.validator(trainer)
                times[rect].append(time.perf_counter() - began)
                shapes = {tuple(batch["img"].shape[2:]) for batch in loader}
                print(f"rect={rect}: shapes {sorted(shapes)}, {metrics}")
    print(benchlib.ratio("validation, square / rectangular", times["off"], times["stock"]))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
