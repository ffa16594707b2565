"""One run of one case of the zoo, stock or ours, in the process that calls it; gives what was seen as plain facts."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import signal
import sys
import time
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
import zoo_faults
import zoo_starts
from zoo_specs import Case

TRAINERS = {
    "detect": "DetectionTrainer",
    "segment": "SegmentationTrainer",
    "pose": "PoseTrainer",
    "obb": "OBBTrainer",
    "classify": "ClassificationTrainer",
}
RATES = {"SGD": 0.001, "MuSGD": 0.001, "AdamW": 0.0002}
"""Learning rates at which a trained model stays as good as it is."""
ARGUMENTS: dict[str, Any] = {
    **{"epochs": 3, "imgsz": zoo_starts.SIZE, "batch": 4, "nbs": 4, "workers": 0, "device": "cpu", "seed": 0},
    **{"plots": False, "verbose": False, "exist_ok": True, "patience": 0, "warmup_epochs": 0, "warmup_bias_lr": 0.0},
    **{"mosaic": 0.0, "close_mosaic": 0, "hsv_h": 0.0, "hsv_s": 0.0, "hsv_v": 0.0, "scale": 0.1, "translate": 0.05},
}
KILLED_AT = 200_000
"""Bytes of a checkpoint that reach the disk before the process is killed."""


class _Interrupted(Exception):  # noqa: N818 - ends the first part of a run that is then resumed
    pass


def make_start(task: str, model: str, folder: Path) -> None:
    """Train a starting model with stock Ultralytics and keep it in the cache."""
    from ultralytics import YOLO

    torch.set_num_threads(1)
    torch.manual_seed(0)
    start = zoo_starts.START
    data = zoo_starts.dataset(folder / "set", task, {"n_train": start["n_train"]})
    arguments = {**ARGUMENTS, **{k: start[k] for k in ("epochs", "batch", "lr0")}, "nbs": start["batch"]}
    with _patches("stock", {}):
        YOLO(model).train(data=str(data), project=str(folder), name="run", val=False, optimizer="AdamW", **arguments)
    path = zoo_starts.start_path(task, model)
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(f".{os.getpid()}.tmp")
    shutil.copyfile(folder / "run" / "weights" / "last.pt", fresh)
    fresh.replace(path)


def run(case: Case, side: str, folder: Path, start: Path | None) -> dict[str, Any]:
    """Run a case and collect what happened.

    Args:
        case: the case.
        side: stock or ours.
        folder: an empty folder for the dataset and the run.
        start: weights to start from; None for the bare model yaml.
    """
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    kind = zoo_faults.KINDS[case.fault["kind"]]
    data = zoo_starts.dataset(folder / "set", case.task, case.dataset)
    root = data if case.task == "classify" else data.parent
    facts: dict[str, Any] = {"planted": [], "lint": []}
    if kind.files:
        facts["planted"] = [str(path) for path in kind.files(root, case.fault)]
    if side == "ours" and case.ours.findings:
        facts["lint"] = _lint(data, case.task)
    with _patches(side, case.guard), precision(case.precision):
        trainer, error = _train(case, kind, folder, data, start)
    facts |= {"error": _named(error), "stopped": _stopped(error)}
    facts |= _seen(trainer, case, root) if trainer is not None else {}
    facts["seconds"] = round(time.process_time(), 1)
    return facts


@contextlib.contextmanager
def _patches(side: str, guard: Mapping[str, Any]) -> Iterator[None]:
    """Stock gets a torchvision that imports and nothing else; ours the default patches and the guard."""
    import yolo_nanfix

    names = ("torchvision-operators-missing",) if side == "stock" else ()
    with yolo_nanfix.patched(*names, **({"guard": False} if side == "stock" else guard)):
        yield


@contextlib.contextmanager
def precision(name: str) -> Iterator[None]:
    """Mixed precision as a GPU runs it, on the CPU.

    `scaler` is a live GradScaler around float32 arithmetic; `float16` and `bfloat16` are autocast, the former with a
    live GradScaler. A trainer whose `amp` is turned off computes in float32 from then on.
    """
    if name == "float32":
        yield
        return
    from ultralytics.engine import trainer as module

    stock = module.check_amp, module.autocast, torch.amp.GradScaler
    dtype = {"float16": torch.float16, "bfloat16": torch.bfloat16}.get(name)

    def autocast(enabled: Any, *args: Any, **kwargs: Any) -> Any:
        wanted = enabled if isinstance(enabled, torch.dtype) else dtype
        return torch.autocast("cpu", dtype=wanted) if wanted and enabled else contextlib.nullcontext()

    def scaler(device: Any = None, enabled: bool = True, **kwargs: Any) -> Any:
        return stock[2]("cpu", enabled=enabled and name != "bfloat16", **kwargs)

    module.check_amp, module.autocast, torch.amp.GradScaler = (lambda model: True), autocast, scaler
    try:
        yield
    finally:
        module.check_amp, module.autocast, torch.amp.GradScaler = stock


def _train(case: Case, kind: zoo_faults.Kind, folder: Path, data: Path, start: Path | None) -> tuple[Any, Any]:
    """Train, in two parts where the fault lies between them; the last trainer and what it raised."""
    weights = str(start) if start else case.model
    arguments = {**ARGUMENTS, "lr0": RATES[case.optimizer], **case.args, "optimizer": case.optimizer}
    arguments |= {"data": str(data), "project": str(folder), "name": "run", "pretrained": start is not None}
    if arguments.get("distill_model") == "start":
        arguments["distill_model"] = weights
    last = folder / "run" / "weights" / "last.pt"
    if kind.checkpoint and not case.fault["resume"]:
        weights = str(_poisoned(Path(weights), kind, case.fault, folder / "start.pt"))
    if case.fault["kind"] == "kill":
        _killed(weights, arguments, case)
    elif kind.checkpoint and case.fault["resume"]:
        _attempt(weights, arguments, case, {"on_model_save": lambda t: _interrupt(t, case.fault["after"])})
        _poisoned(last, kind, case.fault, last)
    else:
        return _attempt(weights, arguments, case, {})
    return _attempt(str(last), {"resume": True}, case, {})


def _attempt(weights: str, arguments: dict[str, Any], case: Case, callbacks: Mapping[str, Any]) -> tuple[Any, Any]:
    import ultralytics

    kind, trainers = zoo_faults.KINDS[case.fault["kind"]], []
    try:
        torch.manual_seed(0)
        model = getattr(ultralytics, "RTDETR" if "rtdetr" in case.model else "YOLO")(weights)
        model.add_callback("on_pretrain_routine_start", trainers.append)
        for event, function in callbacks.items():
            model.add_callback(event, function)
        base = model._smart_load("trainer")
        model.train(trainer=kind.trainer(base, case.fault) if kind.trainer else base, **arguments)
    except Exception as error:  # the outcome of the run, whatever it is
        import traceback

        traceback.print_exc()
        return (trainers or [None])[-1], error
    return trainers[-1], None


def _interrupt(trainer: Any, after: int) -> None:
    if int(trainer.epoch) + 1 == after:
        raise _Interrupted


def _killed(weights: str, arguments: dict[str, Any], case: Case) -> None:
    """Train in a child process that the system kills in the middle of writing the checkpoint of an epoch."""

    def limit(trainer: Any) -> None:
        if int(trainer.epoch) + 1 == case.fault["after"]:
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # a file that grows beyond the limit kills the process
            resource.setrlimit(resource.RLIMIT_FSIZE, (KILLED_AT, KILLED_AT))

    child = os.fork()
    if child == 0:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        _attempt(weights, arguments, case, {"on_train_epoch_end": limit})
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status):
        raise RuntimeError(f"the run was to be killed while it saved, but ended by itself with status {status}")


def _poisoned(source: Path, kind: zoo_faults.Kind, fault: Mapping[str, Any], target: Path) -> Path:
    assert kind.checkpoint is not None
    checkpoint = torch.load(source, map_location="cpu", weights_only=False)
    kind.checkpoint(checkpoint, fault)
    torch.save(checkpoint, target)
    return target


def _named(error: BaseException | None) -> str:
    return "" if error is None else f"{type(error).__name__}: {error}"


def _stopped(error: BaseException | None) -> bool:
    from yolo_nanfix.errors import GuardStop

    return isinstance(error, GuardStop)


def _lint(data: Path, task: str) -> list[str]:
    import yolo_nanfix

    return sorted({finding.code for finding in yolo_nanfix.lint(data, task=task).findings})


def _seen(trainer: Any, case: Case, root: Path) -> dict[str, Any]:
    """What a run left: metrics, weights, checkpoints, images used, and the report of the guard."""
    facts: dict[str, Any] = {"planted": [*getattr(trainer, "planted", [])]} if hasattr(trainer, "planted") else {}
    facts["rows"] = _table(Path(trainer.csv))
    key = "metrics/accuracy_top1" if case.task == "classify" else "metrics/mAP50(B)"
    metrics = getattr(trainer, "metrics", None) or {}
    facts["map_best"] = float(metrics[key]) if key in metrics else None
    facts["map_last"] = float(facts["rows"][-1][key]) if facts["rows"] and key in facts["rows"][-1] else None
    facts["model_not_finite"] = _not_finite(getattr(trainer, "model", None))
    facts["ema_not_finite"] = _not_finite(getattr(getattr(trainer, "ema", None), "ema", None))
    facts["checkpoints"] = {name: _checkpoint(Path(getattr(trainer, name))) for name in ("last", "best")}
    if (loader := getattr(trainer, "train_loader", None)) is not None:
        facts["images"] = len(loader.dataset)
        facts["files"] = len([p for p in (root / "images" / "train").glob("*.*") if p.suffix != ".npy"])
    report = Path(trainer.save_dir) / "yolo-nanfix.json"
    facts["report"] = json.loads(report.read_text()) if report.exists() else {}
    facts["incidents"] = len(list((Path(trainer.save_dir) / "incidents").glob("*")))
    return facts


def _table(path: Path) -> list[dict[str, str]]:
    lines = [line.strip().split(",") for line in path.read_text().splitlines()] if path.exists() else []
    return [dict(zip(lines[0], line, strict=False)) for line in lines[1:]]


def _not_finite(model: Any) -> int:
    tensors = model.state_dict().values() if isinstance(model, torch.nn.Module) else ()
    return sum(int((~t.isfinite()).sum()) for t in tensors if t.is_floating_point())


def _checkpoint(path: Path) -> str:
    """What a checkpoint file is: missing, unreadable, not-finite, zeroed or good."""
    if not path.exists():
        return "missing"
    try:
        saved = torch.load(path, map_location="cpu", weights_only=False)
    except Exception:  # whatever a torn file makes the unpickler raise
        return "unreadable"
    model = saved.get("ema") or saved["model"]
    if _not_finite(model):
        return "not-finite"
    floating = [t for t in model.state_dict().values() if t.is_floating_point()]
    zeros = sum(int((t == 0).sum()) for t in floating)
    return "zeroed" if zeros > 0.99 * sum(t.numel() for t in floating) else "good"


def main() -> None:
    """Run one case under the release that this process imports; the request is JSON in argv, the facts go to stdout."""
    request = json.loads(sys.argv[1])
    import zoo_specs

    case = zoo_specs.parse(request["spec"], request["spec"]["name"])
    folder = Path(request["folder"])
    with contextlib.redirect_stdout(sys.stderr):
        facts = run(case, request["side"], folder, None)
    shutil.rmtree(folder / "set", ignore_errors=True)
    print(json.dumps(facts))
