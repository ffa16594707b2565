"""Healthy runs, stock and ours, each in a process of its own: every bit must be the same, and the guard must be silent.

    python scripts/healthy_runs.py [--jobs 2] [--only NAME ...] [--keep FOLDER]

What is compared after each epoch: weights and buffers, state that modules keep in plain attributes, EMA, optimizer,
GradScaler, the random states of Python, NumPy and torch; besides the loss of every micro-batch, results.csv but for its
times, and the weights in last.pt and best.pt. `time` has no fixed number of epochs: the common ones are compared.
Exit code 1 if anything differs, or if the guard met anything in a healthy run.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import json
import logging
import os
import random
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import benchlib
import processes
import yaml
from healthy_specs import SPECS, Spec

LIMIT = 600
"""Seconds after which a run is given up."""
ARMS = ("stock", "ours")


class BrokenOff(Exception):  # noqa: N818 - how a run that is to be resumed ends
    """Raised by a callback."""


def digest(value: Any) -> str:
    """A hash of tensors, arrays and plain values, however they are nested."""
    total = hashlib.sha256()
    _feed(total, value)
    return total.hexdigest()[:12]


def _feed(total: Any, value: Any) -> None:
    import numpy as np
    import torch

    if isinstance(value, torch.Tensor):
        flat = value.detach().cpu().contiguous().reshape(-1)
        total.update(f"{value.dtype} {tuple(value.shape)}".encode())
        total.update(flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b"")
    elif isinstance(value, np.ndarray):
        total.update(value.tobytes())
    elif isinstance(value, Mapping):
        for key, entry in value.items():
            total.update(str(key).encode())
            _feed(total, entry)
    elif isinstance(value, (list, tuple)):
        for entry in value:
            _feed(total, entry)
    else:
        total.update(repr(value).encode())


def _attributes(model: Any) -> dict[str, Any]:
    """Numbers, lists of numbers and tensors that modules keep outside of state_dict, and those of the loss."""
    import torch

    plain = (int, float, list, torch.Tensor)
    owners = [*model.named_modules(), ("criterion", getattr(model, "criterion", None))]
    found: dict[str, Any] = {}
    for name, owner in owners:
        for key, value in vars(owner).items() if owner is not None else ():
            if isinstance(value, plain) and not key.startswith("_") and key not in ("save", "f", "stride"):
                found[f"{name}.{key}"] = value
        for key, value in getattr(owner, "_buffers", {}).items():
            found[f"{name}.{key}"] = value
    return {k: v for k, v in found.items() if not isinstance(v, list) or all(isinstance(e, (int, float)) for e in v)}


def state(trainer: Any) -> dict[str, str]:
    """A hash of each part of what training changes."""
    import numpy as np
    import torch
    from ultralytics.utils.torch_utils import unwrap_model

    model = unwrap_model(trainer.model)
    groups = [dict(group, params=0) for group in trainer.optimizer.param_groups]
    parts = {
        "weights": model.state_dict(),
        "attributes": _attributes(model),
        "EMA": [trainer.ema.ema.state_dict(), trainer.ema.updates],
        "optimizer": [list(trainer.optimizer.state.values()), groups],
        "scaler": trainer.scaler.state_dict(),
        "random": random.getstate(),
        "numpy.random": np.random.get_state(),
        "torch.random": torch.get_rng_state(),
    }
    return {name: digest(value) for name, value in parts.items()}


@contextlib.contextmanager
def precision(kind: str) -> Iterator[None]:
    """A live GradScaler on the CPU, around float32 or around autocast to half precision."""
    import torch
    from ultralytics.engine import trainer as module

    stock = module.check_amp, module.autocast, torch.amp.GradScaler
    dtype = {"float16": torch.float16, "bfloat16": torch.bfloat16}.get(kind)

    def cast(enabled: bool = True, *args: Any, **kwargs: Any) -> Any:
        return torch.autocast("cpu", dtype=dtype) if enabled and dtype else contextlib.nullcontext()

    def scaler(device: Any = None, enabled: bool = True, **kwargs: Any) -> Any:
        return stock[2]("cpu", enabled=enabled and kind != "bfloat16", **kwargs)

    if kind != "float32":
        module.check_amp, module.autocast, torch.amp.GradScaler = lambda model: True, cast, scaler
    try:
        yield
    finally:
        module.check_amp, module.autocast, torch.amp.GradScaler = stock


def run(
    spec: Spec, data: Path, folder: Path, callbacks: Mapping[str, Callable[[Any], None]] | None = None
) -> dict[str, Any]:
    """Train it under whatever is patched now, with more callbacks.

    Returns:
        `epochs`: the hashes after each; `losses`; `csv`; `files`: hashes of checkpoints; `error`; and `guard`: what the
        guard reported, or None.
    """
    found: dict[str, Any] = {"epochs": [], "losses": [], "error": "", "guard": None, "csv": [], "files": {}}
    with contextlib.ExitStack() as stack:
        stack.enter_context(precision(spec.precision))
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
        stack.enter_context(contextlib.redirect_stderr(io.StringIO()))
        logger = logging.getLogger("ultralytics")
        stack.callback(logger.setLevel, logger.level)
        logger.setLevel(logging.ERROR)
        try:
            trainer = _train(spec, data, folder, found, callbacks or {})
        except Exception:
            found["error"] = traceback.format_exc()
            trainer = found.get("trainer")
    found.pop("trainer", None)
    if trainer is not None:
        _left(trainer, found)
    return found


def _train(spec: Spec, data: Path, folder: Path, found: dict[str, Any], callbacks: Mapping[str, Any]) -> Any:
    import torch

    model = spec.model if isinstance(spec.model, str) else str(folder / "model.yaml")
    if not isinstance(spec.model, str):
        folder.mkdir(parents=True, exist_ok=True)
        Path(model).write_text(yaml.safe_dump(dict(spec.model)))
    settings = {"epochs": 2, "imgsz": 64, "batch": 4, "nbs": 4, "workers": 0, "plots": False, "verbose": False}
    settings |= {"optimizer": "SGD", "lr0": 0.01, "warmup_epochs": 0, "mosaic": 0.0, "close_mosaic": 0, "seed": 0}
    settings |= {"project": str(folder.parent), "name": folder.name, "exist_ok": True, "device": "cpu"}
    settings |= {"pretrained": False, "data": str(data), **spec.args}
    torch.manual_seed(0)
    if spec.resume is None:
        return _start(spec, model, found, settings, callbacks)
    try:
        _start(spec, model, {"epochs": [], "losses": []}, settings, {"on_train_epoch_start": _breaking(spec.resume)})
    except BrokenOff:
        last = folder / "weights" / "last.pt"
        return _start(spec, str(last), found, {"resume": True, "workers": 0, "device": "cpu"}, callbacks)
    raise RuntimeError("the run was not broken off")


def _breaking(epoch: int) -> Callable[[Any], None]:
    """A callback that breaks a run off before an epoch (0-based)."""

    def callback(trainer: Any) -> None:
        if trainer.epoch == epoch:
            raise BrokenOff

    return callback


def _start(
    spec: Spec, model: str, found: dict[str, Any], settings: dict[str, Any], callbacks: Mapping[str, Any]
) -> Any:
    import ultralytics

    built = (ultralytics.RTDETR if isinstance(spec.model, Mapping) else ultralytics.YOLO)(model)
    base = built._smart_load("trainer")

    built.add_callback("on_pretrain_routine_start", lambda t: found.update(trainer=t))
    built.add_callback("on_train_batch_end", lambda t: found["losses"].append(repr(t.loss.detach().tolist())))
    built.add_callback("on_fit_epoch_end", lambda t: found["epochs"].append(state(t)) if t.optimizer else None)
    for event, callback in callbacks.items():
        built.add_callback(event, callback)
    built.train(trainer=spec.trainer(base) if spec.trainer else base, **settings)
    return found["trainer"]


def _left(trainer: Any, found: dict[str, Any]) -> None:
    """Read what the run left in its folder."""
    import torch

    for name in ("last", "best"):
        if (path := Path(getattr(trainer, name))).exists():
            saved = torch.load(path, map_location="cpu", weights_only=False)
            found["files"][name] = digest((saved.get("ema") or saved["model"]).state_dict())
    if (path := Path(trainer.csv)).exists():
        rows = [line.split(",") for line in path.read_text().splitlines()]
        clock = [i for i, name in enumerate(rows[0]) if name.strip() == "time"]
        found["csv"] = [[cell for i, cell in enumerate(row) if i not in clock] for row in rows]
    if (path := Path(trainer.save_dir) / "yolo-nanfix.json").exists():
        found["guard"] = json.loads(path.read_text())["guard"]


def differences(stock: Mapping[str, Any], ours: Mapping[str, Any]) -> list[str]:
    """What of two runs differs, the earliest first; empty if nothing does."""
    said = ["stock itself fails, so this says nothing"] if stock["error"] else []
    if bool(stock["error"]) != bool(ours["error"]):
        arm, error = ("ours", ours["error"]) if ours["error"] else ("stock", stock["error"])
        said.append(f"only {arm} raised {error.strip().splitlines()[-1]}")
    pairs = list(zip(stock["epochs"], ours["epochs"], strict=False))
    first = next(((n, p) for n, (a, b) in enumerate(pairs, 1) for p in a if a[p] != b.get(p)), None)
    if first:
        parts = [p for p in pairs[first[0] - 1][0] if pairs[first[0] - 1][0][p] != pairs[first[0] - 1][1].get(p)]
        said.append(f"after epoch {first[0]}: {', '.join(parts)}")
    if len(stock["epochs"]) != len(ours["epochs"]):
        said.append(f"{len(stock['epochs'])} epochs against {len(ours['epochs'])}")
    if stock["losses"] != ours["losses"]:
        losses = enumerate(zip(stock["losses"], ours["losses"], strict=False), 1)
        said.append(f"losses from micro-batch {next((i for i, (a, b) in losses if a != b), 0)} on")
    said += [part for part in ("csv", "files") if stock[part] != ours[part]]
    return said


def events(ours: Mapping[str, Any], trap: bool = False) -> list[str]:
    """What the guard reported, each as `epoch 1 batch 2: check`; without what it says of validation in a trap."""
    if ours["guard"] is None:
        return ["no report of the guard"]
    told = [e for e in ours["guard"]["events"] if not (trap and e["point"] == "validation")]
    found = [f"epoch {e['epoch']} batch {e['batch']}: {'+'.join(e['checks'])}" for e in told]
    dropped = ours["guard"].get("dropped_micro_batches", 0)
    return found + ([f"{dropped} micro-batches dropped"] if dropped else [])


def _patched(arm: str, spec: Spec) -> Any:
    """Stock but for what it needs to train here at all; where patches round otherwise, patches without the guard."""
    import yolo_nanfix

    if arm == "ours":
        return yolo_nanfix.patched()
    if spec.rounds:
        return yolo_nanfix.patched(guard=False)
    return yolo_nanfix.patched("torchvision-operators-missing", guard=False)


def arm_alone(name: str, arm: str, data: str, folder: str) -> None:
    """One run in this process; its result goes to a file."""
    import torch

    torch.set_num_threads(1)
    benchlib.quiet()
    with _patched(arm, SPECS[name]):
        result = run(SPECS[name], Path(data), Path(folder))
    Path(f"{folder}.json").write_text(json.dumps(result))


def _dataset(spec: Spec, folder: Path) -> Path:
    from small_sets import small_set

    return small_set(folder / f"set-{spec.task}", spec.task, n_train=spec.images, n_val=4)


def compare(names: list[str], folder: Path, jobs: int) -> Iterator[tuple[str, list[str], list[str], str]]:
    """For each run: its name, differences, events, and how stock itself ended."""
    tasks = []
    for name in names:
        for arm in ARMS:
            place = folder / f"{list(SPECS).index(name):02d}-{arm}"
            data = _dataset(SPECS[name], place.with_name(f"{place.name}-data"))
            tasks.append(((name, arm), arm_alone, (name, arm, str(data), str(place))))
    ended: set[str] = set()
    for name, _ in processes.each(tasks, jobs, LIMIT):
        if name in ended:
            yield (name, *_judged(name, folder))
        ended.add(name)


def _judged(name: str, folder: Path) -> tuple[list[str], list[str], str]:
    paths = {arm: folder / f"{list(SPECS).index(name):02d}-{arm}.json" for arm in ARMS}
    if missing := [arm for arm, path in paths.items() if not path.exists()]:
        return [f"{' and '.join(missing)} left no result"], [], "?"
    stock, ours = (json.loads(paths[arm].read_text()) for arm in ARMS)
    ended = stock["error"].strip().splitlines()[-1] if stock["error"] else SPECS[name].trap or "ended"
    return differences(stock, ours), events(ours, bool(SPECS[name].trap)), ended


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=2, help="processes at a time (default 2)")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="only runs whose name has one of these in it")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="leave the runs in this folder")
    args = parser.parse_args()
    names = [n for n in SPECS if not args.only or any(part in n for part in args.only)]
    if not names:
        parser.error(f"no run is named so; there are: {'; '.join(SPECS)}")
    os.environ.setdefault("YOLO_OFFLINE", "1")
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        where = args.keep or Path(folder)
        where.mkdir(parents=True, exist_ok=True)
        os.environ.setdefault("YOLO_CONFIG_DIR", folder)
        print(f"{'run':<36}{'bits':<11}{'events':<8}stock")
        for name, differing, reported, ended in compare(names, where, args.jobs):
            bits = "differ" if differing else "identical"
            against = " (against the patches without guard)" if SPECS[name].rounds else ""
            print(f"{name:<36}{bits:<11}{len(reported):<8}{ended}{against}", flush=True)
            for line in (*differing, *reported):
                print(f"    {line}", flush=True)
            wrong += bool(differing or reported)
    print(f"{len(names) - wrong} of {len(names)} runs are stock's bit for bit, without an event\n{benchlib.header()}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
