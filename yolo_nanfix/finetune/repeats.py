"""Trainings that are repeated: each in a process of its own, under the guard, its result kept so that it runs once.

A repeat is one training of one arm, with one seed or on one fold. Its folder holds the run, the log, and, once it is
validated, `evaluation.npz` and `repeat.json`: a second call finds them there. An interrupted series goes on where it
ended.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib import metadata
from pathlib import Path
from typing import Any

from xxhash import xxh3_128_hexdigest

from yolo_nanfix import files, stopping
from yolo_nanfix.errors import NanfixError
from yolo_nanfix.finetune.evaluation import Evaluation, evaluate

RESULT, EVALUATION, LOG = "repeat.json", "evaluation.npz", "train.log"
VALIDATES = ("imgsz", "batch", "device", "single_cls", "max_det", "conf", "iou", "rect", "half", "workers")
"""Training arguments that validation takes, too."""
TAIL = 12
"""Lines of the log that an error shows."""


@dataclass(frozen=True)
class Repeat:
    """One training of a series.

    Attributes:
        arm: name of what is compared.
        name: what is repeated: `seed0`, `fold2`.
        data: data.yaml of this training.
        validated: data.yaml of the images that judge it.
        arguments: Ultralytics' training arguments, with the seed.
        options: options of `yolo-nanfix train`, for example `--recipe small`.
        content: a digest of the images and labels that train and judge.
    """

    arm: str
    name: str
    data: Path
    validated: Path
    arguments: Mapping[str, Any]
    options: Sequence[str] = ()
    content: str = ""

    @property
    def fingerprint(self) -> str:
        """Changes with arguments, dataset, weights and releases; not with the time of files."""
        told = [str(self.data), str(self.validated), sorted(map(str, self.arguments.items())), list(self.options)]
        releases = [f"{name} {metadata.version(name)}" for name in ("torch", "ultralytics")]
        model = Path(str(self.arguments.get("model", "")))
        weights = xxh3_128_hexdigest(model.read_bytes()) if model.is_file() else ""
        return sha256(json.dumps([*told, *releases, weights, self.content]).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Trained:
    """The result of a repeat.

    Attributes:
        repeat: which one.
        evaluation: what its best weights find.
        seconds: CPU seconds of its process and children; of an earlier call if it was kept.
        folder: where the run is.
        reasons: why the run is not healthy, though it came to its end; empty if it is.
    """

    repeat: Repeat
    evaluation: Evaluation
    seconds: float
    folder: Path
    reasons: tuple[str, ...] = ()


def kept(repeat: Repeat, out: Path) -> Trained | None:
    """The result of an earlier call; None if there is none, or one of other settings."""
    folder = out / repeat.arm / repeat.name
    try:
        facts = json.loads((folder / RESULT).read_text(encoding="utf-8"))
        if facts["fingerprint"] != repeat.fingerprint:
            return None
        return Trained(
            repeat, Evaluation.read(folder / EVALUATION), float(facts["seconds"]), folder, tuple(facts["reasons"])
        )
    except (OSError, ValueError, KeyError, TypeError, NanfixError):
        return None


def train_once(repeat: Repeat, out: Path) -> Trained:
    """Train and validate; what an earlier call has finished is not trained again.

    Raises:
        NanfixError: the training failed; the message has the end of its log.
        KeyboardInterrupt: a signal ended the training.
    """
    if found := kept(repeat, out):
        return found
    folder = out / repeat.arm / repeat.name
    folder.mkdir(parents=True, exist_ok=True)
    settings = {**repeat.arguments, "project": str(folder.resolve()), "name": "run", "exist_ok": True, "plots": False}
    words = [f"{key}={value}" for key, value in settings.items()]
    command = [sys.executable, "-m", "yolo_nanfix", "train", str(repeat.data), *words, *repeat.options, "--quiet"]
    seconds = _train(command, folder / LOG)
    weights = folder / "run" / "weights"
    best = next((weights / name for name in ("best.pt", "last.pt") if (weights / name).is_file()), None)
    if best is None:
        raise NanfixError(f"{repeat.arm} {repeat.name}: the training left no weights; see {folder / LOG}")
    wanted = {key: value for key, value in repeat.arguments.items() if key in VALIDATES}
    evaluation = evaluate(best, repeat.validated, **wanted)
    evaluation.write(folder / EVALUATION)
    reasons = _reasons(folder / "run")
    files.write_json(folder / RESULT, {"fingerprint": repeat.fingerprint, "seconds": seconds, "reasons": reasons})
    return Trained(repeat, evaluation, seconds, folder, tuple(reasons))


def _reasons(run: Path) -> list[str]:
    """Why a finished run is not healthy, from its report.

    Raises:
        NanfixError: it left no report.
    """
    try:
        found = json.loads((run / "yolo-nanfix.json").read_text(encoding="utf-8"))
        return [str(reason) for reason in found["reasons"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise NanfixError(f"{run} has no report that says whether its training is healthy: {error}") from error


def _train(command: Sequence[str], log: Path) -> float:
    """Run a training; returns CPU seconds of its process and children."""
    began = os.times()
    with log.open("w", encoding="utf-8", errors="replace") as out:
        done = subprocess.run(command, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
    stopping.raise_if_stopped()
    ended = os.times()  # of children that have ended; 0 on Windows
    if done.returncode:
        tail = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-TAIL:])
        raise NanfixError(f"a training ended with exit code {done.returncode}; the end of {log}:\n{tail}")
    return ended.children_user + ended.children_system - began.children_user - began.children_system
