"""Checkpoints that hold finite values in a dtype that can hold them, and are never half-written.

Where the state to be written is poisoned, the last good checkpoint stays. If this run has no good one yet and few
values are non-finite, these are replaced in the file, and only there.
"""

from __future__ import annotations

import inspect
import logging
import os
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from yolo_nanfix import files, upstream
from yolo_nanfix.errors import PoisonedState
from yolo_nanfix.numerics.finite import beyond_half, by_design, first_not_finite, unwrapped, weights
from yolo_nanfix.patching import tally
from yolo_nanfix.patching.fix import Fix, Params, Wrapper, attributes, wrapper
from yolo_nanfix.patching.probe import text_probe

OVERFLOW, ZEROED = "checkpoint-half-overflow", "checkpoint-zeroed"
FOLDER = "stripping"
"""Name of the hidden folder beside the checkpoint: a rename is atomic only within a file system."""
FEW_WEIGHTS = 0.01
"""At most this share of the weights may be written as 0 (Ultralytics writes every non-finite value as 0)."""
CLOCKS = 2.0
"""Tolerance for the clock of a file system, in seconds."""

_with_replaced_values: weakref.WeakSet[Any] = weakref.WeakSet()
"""Trainers whose last checkpoint holds replaced values."""


def _saving(params: Params) -> Wrapper:
    logged: set[str] = set()

    def save(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        with attributes(nn.Module, half=_careful_half(logged)):
            return wrapped(*args, **kwargs)

    return save


def _careful_half(logged: set[str]) -> Callable[[Any], Any]:
    """A `Module.half` that leaves tensors alone that would become Inf; each is logged once."""
    stock = nn.Module.half

    def half(module: Any) -> Any:
        wide = beyond_half(chain(module.named_parameters(), module.named_buffers()))
        if not wide:
            return stock(module)
        _log_new(logged, [name for name, _ in wide])
        full = {id(tensor) for _, tensor in wide}
        return module._apply(lambda t: t if id(t) in full or not t.is_floating_point() else t.half())

    return half


def _log_new(logged: set[str], names: list[str]) -> None:
    tally.add(OVERFLOW, len(names))
    if new := [name for name in names if name not in logged]:
        logged.update(new)
        more = f" and {len(new) - 1} more" if len(new) > 1 else ""
        upstream.log(f"yolo-nanfix: {OVERFLOW}: {new[0]}{more} above 65504, kept as float32 in the checkpoint")


def _half_probe(stock: Any, patched: Any) -> str | None:
    """The function cannot be run here: if it makes float16 at all, it must use the module's `half` method."""
    names = inspect.unwrap(stock).__code__.co_names
    return "it makes float16 without half()" if "float16" in names and "half" not in names else None


@wrapper
def strip_optimizer(wrapped: Any, instance: Any, *args: Any, **kwargs: Any) -> Any:
    """Upstream writes into a temporary folder beside the checkpoint, and the result is renamed."""
    call = inspect.signature(wrapped).bind(*args, **kwargs)
    call.apply_defaults()
    if call.arguments["s"]:
        return wrapped(*args, **kwargs)
    target = Path(call.arguments["f"]).resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    with files.folder(target.parent / FOLDER) as aside:
        call.arguments["s"] = str(aside / target.name)
        with _log_as_stock(wrapped, call.arguments["s"]):
            result = wrapped(*call.args, **call.kwargs)
        if (aside / target.name).exists():  # upstream writes nothing where the file is no checkpoint
            _replace(target, aside / target.name)
    return result


@contextmanager
def _log_as_stock(wrapped: Any, aside: str) -> Iterator[None]:
    """In a `with` block, upstream's log does not name the temporary file."""

    def plain(record: logging.LogRecord) -> bool:
        record.msg = str(record.msg).replace(f" saved as {aside},", "")
        return True

    logger = getattr(inspect.unwrap(wrapped), "__globals__", {}).get("LOGGER")
    if not isinstance(logger, logging.Logger):
        yield
        return
    logger.addFilter(plain)
    try:
        yield
    finally:
        logger.removeFilter(plain)


def _replace(target: Path, fresh: Path) -> None:
    """Replace a file atomically, also in case of a power cut."""
    shutil.copymode(target, fresh)
    with open(fresh, "rb") as stream:
        os.fsync(stream.fileno())
    fresh.replace(target)


def _strip_probe(stock: Any, patched: Any) -> str | None:
    """Both strip a small checkpoint: the same keys, the same weights."""
    results = []
    for function in (stock, patched):
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "last.pt"
            state = {"epoch": 3, "optimizer": {"lr": 1.0}, "ema": None, "train_args": {}}
            torch.save({**state, "model": nn.Linear(2, 2)}, file)
            function(file)
            results.append(torch.load(file, weights_only=False))
            if left := [path.name for path in Path(folder).iterdir() if path != file]:
                return f"{left[0]} is left beside the checkpoint"
    a, b = results
    same = a.keys() == b.keys() and a["epoch"] == b["epoch"] == -1 and a["optimizer"] is b["optimizer"] is None
    same &= a["model"].weight.dtype == b["model"].weight.dtype
    return None if same else "the stripped file differs from stock"


@wrapper
def save_model(wrapped: Any, instance: Any, *args: Any, **kwargs: Any) -> Any:
    """Upstream's checkpoint if it is finite; else the previous one stays, or one with few zeros is written."""
    defect = _poisoned_part(instance)
    if defect is None:
        _with_replaced_values.discard(instance)
        return wrapped(*args, **kwargs)
    tally.add(ZEROED, 1)
    if _has_good_one(instance):
        _log(f"{defect}; no checkpoint is written, the one before stays ({instance.last})")
        return False
    plain, zeroed, total = _finite_state(instance)
    if zeroed <= FEW_WEIGHTS * total:
        _with_replaced_values.add(instance)
        how = f"one with replaced values is written: {zeroed} of {total} weights are 0 in it, the rest is finite"
        _log(f"{defect}; there is no good checkpoint yet, so {how} ({instance.last})")
        with _in_place(plain, instance.optimizer):
            return wrapped(*args, **kwargs)
    none = f"{defect}; no checkpoint of this run was good, and none is written ({instance.last})"
    if instance.epoch + 1 >= instance.epochs or getattr(instance, "stop", False):
        raise PoisonedState(f"training ends without a model: {none}")
    _log(none)
    return False


def _log(message: str) -> None:
    upstream.log(f"yolo-nanfix: {ZEROED}: {message}")


def _has_good_one(trainer: Any) -> bool:
    """Whether this run has written a good checkpoint; a file of an earlier run does not count."""
    if trainer in _with_replaced_values:
        return False
    began = 0.0 if getattr(trainer, "resume", False) else getattr(trainer, "train_time_start", 0.0) - CLOCKS
    return bool(trainer.last.exists() and trainer.last.stat().st_mtime >= began)


def _poisoned_part(trainer: Any) -> str | None:
    """What is non-finite in the checkpoint to be written; a poisoned EMA of a healthy model is resynchronised first."""
    model, ema = unwrapped(trainer.model), unwrapped(trainer.ema.ema)
    leave = by_design(model)
    if defect := first_not_finite(weights(model, leave)):
        return f"the model is poisoned: {defect}"
    if first_not_finite(weights(ema, leave)):
        _resync(ema.state_dict(), model.state_dict())
        if defect := first_not_finite(weights(ema, leave)):
            return f"the EMA is poisoned: {defect}"
    if defect := first_not_finite((f"{i}.{k}", v) for i, (_, k, v) in enumerate(_optimizer(trainer.optimizer))):
        return f"the optimizer is poisoned: {defect}"
    return None


def _optimizer(optimizer: Any) -> list[tuple[dict[str, Any], str, Tensor]]:
    """The tensors of an optimizer's state: the dict that holds each, its key, and the tensor."""
    return [(held, k, v) for held in optimizer.state.values() for k, v in held.items() if isinstance(v, Tensor)]


@torch.no_grad()
def _finite_state(trainer: Any) -> tuple[list[tuple[Tensor, Tensor]], int, int]:
    """Pairs of a non-finite tensor and its replacement; the number of weights that become 0, and of all weights.

    Each value is taken from the EMA or the model, whichever is finite; where neither is, BatchNorm statistics are reset
    (mean 0, variance 1) and weights become 0.
    """
    nets = [unwrapped(trainer.model), unwrapped(trainer.ema.ema)]
    tensors = [dict(weights(net, by_design(nets[0]))) for net in nets]
    found, most = [], 0
    for own, other in (tensors, tensors[::-1]):
        zeroed = 0
        for name, tensor in own.items():
            if bool(tensor.isfinite().all()):
                continue
            value = tensor.detach().clone()
            if name in other:
                value = torch.where(value.isfinite(), value, other[name].detach().to(value))
            statistic = not isinstance(tensor, nn.Parameter)
            zeroed += 0 if statistic else int((~value.isfinite()).sum())
            fill = 1.0 if statistic and name.endswith("running_var") else 0.0
            found.append((tensor.detach(), torch.where(value.isfinite(), value, torch.full_like(value, fill))))
        most = max(most, zeroed)
    return found, most, sum(p.numel() for p in nets[1].parameters())


@contextmanager
def _in_place(plain: list[tuple[Tensor, Tensor]], optimizer: Any) -> Iterator[None]:
    """In a `with` block, tensors hold their replacements, and the optimizer's state 0 where it is non-finite."""
    before = [(tensor, tensor.clone()) for tensor, _ in plain]  # detached: autograd does not see what follows
    bad = [(held, k, v) for held, k, v in _optimizer(optimizer) if v.is_floating_point() and not v.isfinite().all()]
    try:
        for tensor, value in plain:
            tensor.copy_(value)
        for held, key, value in bad:
            held[key] = value.nan_to_num(0.0, 0.0, 0.0)
        yield
    finally:
        for tensor, value in before:
            tensor.copy_(value)
        for held, key, value in bad:
            held[key] = value


@torch.no_grad()
def _resync(ema: Mapping[str, Tensor], model: Mapping[str, Tensor]) -> None:
    """Copy the model's tensor over each poisoned EMA tensor, as releases from 8.4.84 on do themselves.

    An average never recovers from NaN: no later epoch could be saved.
    """
    poisoned = [key for key, tensor in ema.items() if key in model and not tensor.isfinite().all()]
    for key in poisoned:
        ema[key].copy_(model[key])
    tally.add(ZEROED, len(poisoned))
    _log(f"{len(poisoned)} tensors of the EMA were not finite and are the model's now")


FIXES = {
    OVERFLOW: Fix(_saving, _half_probe),
    "checkpoint-strip-torn": Fix(strip_optimizer, _strip_probe),
    ZEROED: Fix(save_model, text_probe(uses=("ema", "optimizer", "last"))),
}
