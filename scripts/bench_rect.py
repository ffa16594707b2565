"""What square validation batches cost against Ultralytics' rectangular ones: time, memory, metrics, and the probe.

    python scripts/bench_rect.py [DATA ...] [--model yolov8n.pt] [--imgsz 640] [--batch 16] [--epochs 10] [--rounds 5]

For each data.yaml (without one: a generated set of mixed aspect) trains for some epochs, or with --epochs 0 not at
all, then builds the validation set as a trainer does, under rect=off, auto and stock in turn, and validates the same
weights on each.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import statistics
import tempfile
import time
import warnings
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import benchlib
import yaml
from make_datasets import make_dataset

MODES = ("off", "auto", "stock")
SIZES = ((320, 320), (480, 240), (240, 480), (640, 200), (200, 640))


def mixed_set(root: Path, sizes: Sequence[tuple[int, int]] = SIZES, *, n_train: int = 16, n_val: int = 16) -> Path:
    """A generated set with as many images of each size (width, height) as `n_train` and `n_val` say."""
    parts = [
        make_dataset(root / f"{width}x{height}", n_train=n_train, n_val=n_val, size=(width, height), seed=seed).parent
        for seed, (width, height) in enumerate(sizes)
    ]
    data = yaml.safe_load((parts[0] / "data.yaml").read_text(encoding="utf-8"))
    data |= {split: [str(part / "images" / split) for part in parts] for split in ("train", "val")}
    path = root / "data.yaml"
    path.write_text(yaml.safe_dump({"path": str(root), **data}), encoding="utf-8")
    return path


@contextlib.contextmanager
def silence() -> Any:
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        yield


def prepared(data: str, args: argparse.Namespace, folder: str) -> Any:
    """A trainer that is set up and ready to validate, with weights that were trained before."""
    from ultralytics import YOLO
    from ultralytics.models.yolo.detect import DetectionTrainer

    settings = {"data": data, "imgsz": args.imgsz, "batch": args.batch, "device": args.device, "workers": args.workers}
    quiet = {"plots": False, "verbose": False, "project": folder, "name": "run", "exist_ok": True, "seed": 0}
    model = args.model
    if args.epochs:
        YOLO(model).train(**settings, **quiet, epochs=args.epochs, val=False)
        model = f"{folder}/run/weights/last.pt"
    trainer = DetectionTrainer(overrides={**settings, **quiet, "model": model, "epochs": 100})
    trainer._setup_train()
    trainer.epoch, trainer.stop = 0, False
    return trainer


@dataclass
class Measured:
    """Seconds of each round (CPU time on a CPU), the peak memory in MiB, and what validation returned."""

    build: list[float] = field(default_factory=list)
    validate: list[float] = field(default_factory=list)
    peak: float = 0.0
    shapes: set[tuple[int, int]] = field(default_factory=set)
    metrics: dict[str, float] = field(default_factory=dict)

    def row(self) -> str:
        names = ("metrics/mAP50(B)", "metrics/mAP50-95(B)", "val/box_loss", "val/cls_loss", "val/dfl_loss")
        values = " ".join(f"{self.metrics[name]:.4f}" for name in names)
        times = f"{statistics.median(self.build) * 1e3:.0f} {statistics.median(self.validate):.3f}"
        return f"{values} {times} {self.peak:.1f} {len(self.shapes)}"


def once(trainer: Any, rect: str, into: Measured) -> None:
    """Build the validation set under a setting and validate; the largest batch stands for the memory of a CPU."""
    import torch

    import yolo_nanfix

    gpu = trainer.device.type == "cuda"
    clock = time.perf_counter if gpu else time.process_time
    with yolo_nanfix.patched("rect-validation", rect=rect, guard=False), silence():
        began = clock()
        loader = trainer.get_dataloader(trainer.data["val"], trainer.args.batch * 2, -1, "val")
        into.build.append(clock() - began)
        trainer.validator.dataloader = trainer.test_loader = loader
        if gpu:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        began = clock()
        into.metrics = trainer.validator(trainer)
        into.validate.append(clock() - began)
    if not into.shapes:
        sizes = [batch["img"].shape for batch in loader]
        into.shapes = {tuple(size[2:]) for size in sizes}
        into.peak = max(size.numel() for size in sizes) * 4 / 2**20
    if gpu:
        into.peak = torch.cuda.max_memory_allocated() / 2**20


def measure(data: str, args: argparse.Namespace) -> dict[str, Measured]:
    """Validate under each setting in turn, `rounds` times after one round that does not count."""
    import torch

    with tempfile.TemporaryDirectory() as folder, silence():
        trainer = prepared(data, args, folder)
        trainer.loss_names = ("box_loss", "cls_loss", "dfl_loss")
        trainer.loss_items = {name: torch.zeros((), device=trainer.device) for name in trainer.loss_names}
        found: dict[str, Measured] = defaultdict(Measured)
        for number in range(args.rounds + 1):
            for rect in MODES:
                once(trainer, rect, Measured() if number == 0 else found[rect])
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="*", help="data.yaml files; without one a set of mixed aspect is generated")
    parser.add_argument("--model", default="yolov8n.pt", help="weights to train from")
    parser.add_argument("--imgsz", type=int, default=640)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    import torch

    import yolo_nanfix

    torch.set_num_threads(1)
    yolo_nanfix.patch("torchvision-operators-missing", guard=False)
    print(benchlib.header())
    benchlib.quiet()
    memory = "largest batch as float32" if args.device == "cpu" else "peak GPU memory"
    print(f"rect: mAP50 mAP50-95 box_loss cls_loss dfl_loss, build ms, validation s, {memory} MiB, shapes")
    with tempfile.TemporaryDirectory() as folder:
        for data in args.data or [str(mixed_set(Path(folder) / "mixed"))]:
            print(f"{data}, {args.model}, imgsz {args.imgsz}, batch {args.batch}, {args.epochs} epochs, {args.device}")
            found = measure(data, args)
            for rect, measured in found.items():
                print(f"  {rect}: {measured.row()}")
            off, auto, stock = (found[rect] for rect in MODES)
            print("  " + benchlib.ratio("validation, off / stock", off.validate, stock.validate))
            probes = [a - s for a, s in zip(auto.build, stock.build, strict=True)]
            share = statistics.median(probes) / statistics.median(stock.validate)
            print(f"  probe of auto: {statistics.median(probes) * 1e3:.0f} ms, {share:.3f} of one validation")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
