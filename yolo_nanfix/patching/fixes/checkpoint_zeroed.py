"""`BaseTrainer.save_model` that keeps the last good checkpoint when what it would write is poisoned."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from yolo_nanfix import upstream
from yolo_nanfix.numerics.finite import first_not_finite, weights
from yolo_nanfix.patching import tally
from yolo_nanfix.patching.fix import Fix, Params, Wrapper

NAME = "checkpoint-zeroed"


def _wrapper(params: Params) -> Wrapper:
    def save_model(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if defect := _defect(instance):
            tally.add(NAME, 1)
            kept = "the one before stays" if instance.last.exists() else "there is none yet"
            upstream.log(f"yolo-nanfix: {NAME}: {defect}; no checkpoint is written, {kept} ({instance.last})")
            return False
        return wrapped(*args, **kwargs)

    return save_model


def _defect(trainer: Any) -> str | None:
    """What is not finite in what would be written; a poisoned EMA beside a healthy model is mended first."""
    model, ema = _plain(trainer.model), _plain(trainer.ema.ema)
    if defect := first_not_finite(weights(model)):
        return f"the model is poisoned: {defect}"
    if first_not_finite(weights(ema)):
        _resync(ema.state_dict(), model.state_dict())
        if defect := first_not_finite(weights(ema)):
            return f"the EMA is poisoned: {defect}"
    states = enumerate(trainer.optimizer.state.values())
    tensors = ((f"{i}.{k}", v) for i, state in states for k, v in state.items() if isinstance(v, Tensor))
    if defect := first_not_finite(tensors):
        return f"the optimizer is poisoned: {defect}"
    return None


@torch.no_grad()
def _resync(ema: Mapping[str, Tensor], model: Mapping[str, Tensor]) -> None:
    """Give each poisoned EMA tensor the value of the model's, as releases from 8.4.84 on do themselves.

    An average never forgets a NaN, so that no later epoch could be saved either.
    """
    poisoned = [key for key, tensor in ema.items() if key in model and not tensor.isfinite().all()]
    for key in poisoned:
        ema[key].copy_(model[key])
    tally.add(NAME, len(poisoned))
    upstream.log(f"yolo-nanfix: {NAME}: {len(poisoned)} tensors of the EMA were not finite and are the model's now")


def _plain(model: Any) -> Any:
    """The model under DataParallel and `torch.compile`."""
    while (inner := getattr(model, "module", None) or getattr(model, "_orig_mod", None)) is not None:
        model = inner
    return model


def _probe(stock: Any, patched: Any) -> str | None:
    """No tensors to compare: the method must still write the EMA and the optimizer of the trainer to its `last`."""
    function = inspect.unwrap(stock)
    missing = {"ema", "optimizer", "last"} - set(function.__code__.co_names)
    return f"the method no longer uses {', '.join(sorted(missing))}" if missing else None


FIX = Fix(wrapper=_wrapper, probe=_probe)
