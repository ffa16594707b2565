"""What every benchmark prints beside its ratios: machine, versions, commit; and one quiet training to measure in."""

from __future__ import annotations

import contextlib
import io
import os
import platform
import statistics
import subprocess
import warnings
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]


def header() -> str:
    """Machine, versions and commit on one line."""
    import torch
    import ultralytics

    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    commit = subprocess.run(command, capture_output=True, text=True).stdout.strip() or "no commit"
    cpu = next(
        (line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.processor(),
    )
    return (
        f"{cpu}, {os.cpu_count()} cores; Python {platform.python_version()}, torch {torch.__version__}, "
        f"ultralytics {ultralytics.__version__}; commit {commit}"
    )


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else []


def ratio(name: str, ours: list[float], peer: list[float]) -> str:
    """The median of the pairwise ratios with a 95 % bootstrap interval, and both medians in milliseconds."""
    pairs = np.array(ours) / np.array(peer)
    random = np.random.default_rng(0)
    medians = np.median(random.choice(pairs, (2000, len(pairs))), axis=1)
    low, high = np.percentile(medians, [2.5, 97.5])
    return (
        f"{name}: ratio {np.median(pairs):.4f} (95 % {low:.4f} to {high:.4f}), "
        f"{statistics.median(ours) * 1e3:.2f} ms against {statistics.median(peer) * 1e3:.2f} ms, {len(pairs)} pairs"
    )


def train(model: str, data: Path, run: Path, callbacks: dict[str, Any], **arguments: Any) -> None:
    """A quiet, seeded training on the CPU."""
    from ultralytics import YOLO

    yolo = YOLO(model)
    for event, function in callbacks.items():
        yolo.add_callback(event, function)
    fixed = {"workers": 0, "plots": False, "device": "cpu", "seed": 0, "verbose": False, "exist_ok": True}
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        yolo.train(data=str(data), project=str(run.parent), name=run.name, **fixed, **arguments)
