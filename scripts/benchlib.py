"""What every benchmark prints beside its ratios: machine, versions, commit; and where it measures: runs, processes."""

from __future__ import annotations

import contextlib
import io
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from make_datasets import make_dataset

os.environ.setdefault("YOLO_OFFLINE", "1")
WARM_UP = 10
EPOCH = 20
"""Steps in an epoch: what is done once an epoch counts for as much as in a training of a few hundred images."""
ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # what is measured is this checkout, whichever one is installed


def quiet() -> None:
    """Silence the training log."""
    import logging

    logging.getLogger("ultralytics").setLevel(logging.ERROR)


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


def cpu(task: Callable[[], object]) -> float:
    """CPU seconds of this process and its children."""

    def now() -> float:
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return sum(u.ru_utime + u.ru_stime for u in used)

    began = now()
    task()
    return now() - began


_APART = """
import json, os, sys, time
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # what libraries print must not get among the answers
said = None
{setup}
print(json.dumps(said), file=answers, flush=True)
for _ in sys.stdin:
    began = time.process_time()
    task()
    print(time.process_time() - began, file=answers, flush=True)
"""


class Apart:
    """A process of its own that does something each time it is asked, so that no tool pays for what another loaded."""

    def __init__(self, setup: str, python: str = sys.executable, environment: Mapping[str, str] | None = None) -> None:
        """`setup` is code that defines `task`, and may set `said` to what is to be known of it."""
        pipe = subprocess.PIPE
        command = [python, "-c", _APART.format(setup=setup)]
        where = {**os.environ, **(environment or {})}
        self._process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True, env=where
        )
        self.said = json.loads(self._answer())

    def __call__(self) -> float:
        """CPU seconds that the task took."""
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        return float(self._answer())

    def _answer(self) -> str:
        assert self._process.stdout is not None
        answer = self._process.stdout.readline()
        if not answer:
            raise SystemExit(f"{self._process.args} ended; run its code to see why")
        return answer

    def close(self) -> None:
        """End it."""
        self._process.communicate()


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
    """A quiet, seeded training, on the CPU unless told otherwise."""
    from ultralytics import YOLO

    quiet()
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
        yolo.train(data=str(data), project=str(run.parent), name=run.name, **{**fixed, **arguments})


def settled(trainer: Any) -> None:
    """Wait until the device has done all that it was told to."""
    import torch

    if trainer.device.type == "cuda":
        torch.cuda.synchronize(trainer.device)


class Alternating:
    """Trains images of one kind, with something on in the steps on, off, off, on, ... of one run.

    A step is all that the loop does between two batches from the loader: preprocessing, forward, loss, backward,
    optimizer, EMA. One torch thread, so that CPU time means the step's work; wall time beside it.
    """

    def __init__(self) -> None:
        self.times: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
        self.step = 0
        self.on = False

    def attach(self, trainer: Any) -> None:
        """Called once, when the trainer is set up."""

    def switch(self, trainer: Any, on: bool) -> None:
        """Put on or take off what is measured; outside the measured time."""
        raise TypeError(f"{type(self).__name__} does not say what it switches")

    def counted(self, spent: tuple[float, float]) -> None:
        """Called after each counted on step with its wall and CPU seconds."""

    def _start(self, trainer: Any) -> None:
        self.on = self.step % 4 in (0, 3)
        self.switch(trainer, self.on)
        settled(trainer)
        self._began = time.perf_counter(), time.process_time()

    def _end(self, trainer: Any) -> None:
        settled(trainer)
        spent = time.perf_counter() - self._began[0], time.process_time() - self._began[1]
        if self.step >= WARM_UP:
            self.times[self.on].append(spent)
            if self.on:
                self.counted(spent)
        self.step += 1

    def run(self, name: str, pairs: int, model: str, batch: int, imgsz: int) -> None:
        """Train, then print the header and the ratios."""
        import torch

        import yolo_nanfix

        torch.set_num_threads(1)
        yolo_nanfix.patch("torchvision-operators-missing")
        self.measure(pairs, model, batch, imgsz)
        print(header())
        print(f"{name} on / off, {model}, batch {batch}, imgsz {imgsz}")
        count = min(map(len, self.times.values()))
        for i, clock in enumerate(("wall time", "CPU time")):
            print(ratio(clock, *([t[i] for t in self.times[on][:count]] for on in (True, False))))

    def measure(self, pairs: int, model: str, batch: int, imgsz: int, epoch: int = EPOCH, **arguments: Any) -> None:
        """Train, which fills `times`; `epoch` is the number of micro-batches in one."""
        with tempfile.TemporaryDirectory() as folder:
            drawn = (min(imgsz, 320),) * 2
            data = make_dataset(Path(folder) / "set", n_train=epoch * batch, n_val=2, size=drawn, seed=0)
            callbacks = {"on_pretrain_routine_end": self.attach, "on_train_batch_start": self._start}
            callbacks["on_train_batch_end"] = self._end
            settings = {
                "epochs": -(-(WARM_UP + 2 * pairs) // epoch),
                "imgsz": imgsz,
                "batch": batch,
                "nbs": batch,
                "val": False,
            }
            quiet = {"save": False, "mosaic": 0.0, "optimizer": "SGD", "warmup_epochs": 0}
            train(model, data, Path(folder) / "run", callbacks, **settings, **quiet, **arguments)
