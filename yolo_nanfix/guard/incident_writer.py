"""Builds the incident of a bad step from the trainer: what the model saw, and the state it had before.

Nothing is copied but the BatchNorm statistics: an incident is written, or replayed on a copy of the model, before
training goes on.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from yolo_nanfix import upstream
from yolo_nanfix._version import __version__
from yolo_nanfix.dataset.paths import label_path
from yolo_nanfix.events import Check, Event
from yolo_nanfix.guard import distributed, origins
from yolo_nanfix.guard.param_groups import Setting
from yolo_nanfix.guard.sensors import NormCopy
from yolo_nanfix.guard.snapshots import Snapshots
from yolo_nanfix.incident import Incident
from yolo_nanfix.numerics.finite import weights

TORCH_ASKS_BY_DEVICE = hasattr(torch, "get_autocast_dtype")
"""From torch 2.4 on."""
ELSEWHERE = ("sources", "says", "values", "actions", "level", "incident", "ranks", "val_batch")
"""What an incident has in another form than its event, or not at all."""
LINES = 200
"""At most so many label rows of an image are kept as text."""


@dataclass(frozen=True)
class MicroBatch:
    """What is remembered of a micro-batch until it is judged.

    Attributes:
        batch: the preprocessed batch.
        buffers: BatchNorm statistics and counters before its forward pass (see `NormBuffers.copy`).
        tloss: the epoch's running mean of the loss before it.
        rng: state of torch's random number generator (of the CPU, and of the GPU where it trains on one).
        precision: the dtype of its forward pass, as `precision` names it.
    """

    batch: Mapping[str, Any]
    buffers: NormCopy
    tloss: Any
    rng: Mapping[str, Tensor]
    precision: str


def random_states(device: torch.device) -> dict[str, Tensor]:
    """The states of torch's generators; kept on the host, so nothing is read from a GPU."""
    states = {"rng.cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["rng.cuda"] = torch.cuda.get_rng_state(device)
    return states


def build(
    trainer: Any,
    model: nn.Module,
    event: Event,
    micro: MicroBatch | None,
    before: Mapping[str, Tensor],
    snapshots: Snapshots,
    history: Sequence[Mapping[str, float | None]],
    born_non_finite: Sequence[str] = (),
    settings: Sequence[Setting] = (),
    sizes: Mapping[int, Tensor] = MappingProxyType({}),
) -> Incident:
    """The incident of one bad micro-batch.

    Args:
        trainer: Ultralytics' trainer.
        model: its model, unwrapped.
        event: what was seen.
        micro: the micro-batch; None where the fault is not one micro-batch's.
        before: BatchNorm statistics and other buffers before its forward pass, by their names.
        snapshots: for the weights of an earlier step.
        history: loss and gradient norm of the last good micro-batches, oldest first.
        born_non_finite: buffers that held values that are not finite when the run began.
        settings: those of the optimizer that are not finite.
        sizes: of gradients before they were clipped, see `Gradients.measure`.
    """
    state = {**model.state_dict(), **{k: v for k, v in model.named_buffers() if k in before}}
    tensors = {f"model.{k}": before.get(k, v) for k, v in state.items()}
    if micro is not None:
        tensors |= {f"batch.{k}": v for k, v in micro.batch.items() if isinstance(v, Tensor)}
        tensors |= micro.rng
    if len(snapshots):
        tensors |= {f"earlier.{k}": v for k, v in snapshots.copies[0].weights().items()}
    tensors |= _sick_optimizer_state(trainer.optimizer, model)
    criterion = getattr(model, "criterion", None)
    entries = {k: v for k, v in micro.batch.items() if not isinstance(v, Tensor)} if micro is not None else {}
    facts = {
        **{k: v for k, v in event.as_dict().items() if k not in ELSEWHERE},
        "rank": distributed.rank(),
        "task": trainer.args.task,
        "model": _definition(model),
        "args": {k: _plain(v) for k, v in vars(trainer.args).items()},
        "precision": micro.precision if micro is not None else "float32",
        "loss_scale": trainer.scaler.get_scale() if trainer.scaler.is_enabled() else None,
        "loss": _loss_terms(trainer) if micro is not None else {},
        **_optimizer(trainer.optimizer),
        "settings": [asdict(setting) for setting in settings],
        "callbacks": origins.callbacks(trainer),
        "history": list(history),
        "sources": _sources(trainer, event),
        "criterion": {k: v for k, v in vars(criterion).items() if isinstance(v, (int, float))} if criterion else {},
        "threads": torch.get_num_threads(),
        "entries": origins.writable(entries),
        "gradients": origins.gradients(model, sizes) if sizes or Check.GRADIENT in event.checks else None,
        "own": origins.own(model),
        **_buffers(model, born_non_finite),
        "versions": _versions(),
    }
    return Incident(facts, tensors, entries)


def _optimizer(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    return {
        "optimizer": type(optimizer).__name__,
        "lr": [group["lr"] for group in optimizer.param_groups],
        "base_lr": base_rate(optimizer),
        "groups": origins.settings(optimizer),
    }


def _versions() -> dict[str, str]:
    return {
        "yolo_nanfix": __version__,
        "ultralytics": upstream.version(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def _buffers(model: nn.Module, born_non_finite: Sequence[str]) -> dict[str, list[str]]:
    judged = dict(weights(model))
    return {
        "frozen": [n for n, m in model.named_modules() if isinstance(m, nn.BatchNorm2d) and not m.training],
        "born_non_finite": list(born_non_finite),
        "other_buffers": [name for name, _ in model.named_buffers() if name not in judged],
    }


def base_rate(optimizer: torch.optim.Optimizer) -> float:
    """The learning rate that the schedule starts from: `lr0`, or what `optimizer=auto` chose; the largest group's."""
    return max((float(g.get("initial_lr", g["lr"])) for g in optimizer.param_groups), default=0.0)


def _loss_terms(trainer: Any) -> dict[str, float]:
    """The terms of the last loss; releases before 8.4.104 keep them in a tensor, without names."""
    items = getattr(trainer, "loss_items", None)
    if isinstance(items, Tensor):
        items = {str(i): value for i, value in enumerate(items.flatten())}
    return {k: float(v) for k, v in items.items()} if isinstance(items, Mapping) else {}


def precision(device: str) -> str:
    """The dtype that autocast gives to operations now: float32, float16 or bfloat16.

    Asked while the trainer preprocesses a batch, which it does inside its own autocast block.
    """
    if TORCH_ASKS_BY_DEVICE:
        enabled, dtype = torch.is_autocast_enabled(device), torch.get_autocast_dtype(device)
    else:
        enabled, dtype = torch.is_autocast_enabled(), torch.get_autocast_gpu_dtype()
    return str(dtype).removeprefix("torch.") if enabled else "float32"


def _definition(model: nn.Module) -> dict[str, Any]:
    yaml = getattr(model, "yaml", None)
    head = getattr(model, "model", [None])[-1]
    weights = getattr(model, "class_weights", None)
    return {
        "class": f"{type(model).__module__}:{type(model).__qualname__}",
        "yaml": _plain(yaml),
        "nc": getattr(head, "nc", None),
        "ch": (yaml or {}).get("channels", (yaml or {}).get("ch", 3)),
        "names": _plain(getattr(model, "names", {})),
        **{k: _plain(v) for k in ("kpt_shape", "kpt_oks_sigmas") if (v := getattr(model, k, None)) is not None},
        **({"class_weights": weights.tolist()} if isinstance(weights, Tensor) else {}),
    }


def _sources(trainer: Any, event: Event) -> list[dict[str, Any]]:
    return [
        {
            "file": str(s.file),
            "suspect": s.suspect,
            "parents": list(s.parents),
            "on_disk": s.on_disk.value,
            "blamed": list(s.blamed),
            "labels": label_rows(trainer, str(s.file)),
        }
        for s in event.sources
    ]


def label_rows(trainer: Any, image: str) -> dict[str, Any] | None:
    """The label file of an image and its rows as text, or None where the dataset has none for it."""
    loaders = trainer.train_loader, getattr(trainer, "test_loader", None)
    found = (label_file(getattr(loader, "dataset", None), image) for loader in loaders)
    path = next((file for file in found if file is not None), None)
    if path is None:
        return None
    try:
        rows = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    return {"file": str(path), "rows": rows[:LINES]}


def label_file(dataset: Any, image: str) -> Path | None:
    """The label file of an image, by its place in the dataset's lists; by its name where those are out of step.

    Ultralytics takes unusable images out of the list of images alone.
    """
    files, labels = getattr(dataset, "im_files", ()), getattr(dataset, "label_files", ())
    if len(files) == len(labels):
        number = {str(f): i for i, f in enumerate(files)}.get(image)
        return None if number is None else Path(labels[number])
    path = label_path(image)
    return Path(path) if path in set(map(str, labels)) else None


def _sick_optimizer_state(optimizer: torch.optim.Optimizer, model: nn.Module) -> dict[str, Tensor]:
    names = {id(p): name for name, p in model.named_parameters()}
    return {
        f"optimizer.{names.get(id(parameter), '?')}.{key}": value
        for parameter, state in optimizer.state.items()
        for key, value in state.items()
        if isinstance(value, Tensor) and value.is_floating_point() and not bool(value.isfinite().all())
    }


def _plain(value: Any) -> Any:
    """What JSON can hold; the rest as text."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)
