"""Looks at the state that training starts from, and mends or refuses what is poisoned in it.

Pretrained weights, a resumed checkpoint and its optimizer may hold NaN, Inf or nothing but zeros; no step could then
be good, and upstream checks none of it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from yolo_nanfix.errors import PoisonedState
from yolo_nanfix.guard import sensors
from yolo_nanfix.numerics.finite import by_design, weights
from yolo_nanfix.verdicts import Cause, Verdict


class Notice(Protocol):
    """Told of what was found at the start, what was done, and why training does not start, if so."""

    def __call__(self, check: str, detail: str, action: str, verdict: Verdict | None = None) -> None:
        """Record it."""


def check(trainer: Any, model: nn.Module, repair: str, notice: Notice) -> None:
    """Mend what `repair` allows, with notice, and refuse the rest.

    Args:
        trainer: Ultralytics' trainer, set up.
        model: its model, unwrapped.
        repair: none, state or all, as `GuardSettings.repair`.
        notice: told of everything that was mended.

    Raises:
        PoisonedState: something is not finite, or all zero, that may not be mended.
    """
    if repair != "none":
        _mend_norms(trainer, model, notice)
        _mend_optimizer(trainer.optimizer, notice)
        _mend_scale(trainer.scaler, notice)
    if repair == "all":
        _mend_weights(trainer, model, notice)
    ema, leave = trainer.ema, by_design(model)
    states = [("weights", weights(model, leave)), *([("ema", weights(ema.ema, leave))] if ema else [])]
    for what, tensors in (*states, ("optimizer", sensors.optimizer_tensors(trainer.optimizer))):
        defect = sensors.first_not_finite(tensors) if what == "optimizer" else sensors.state_defect(tensors)
        if defect:
            said = f"training would start from poisoned {what}: {defect} (model={trainer.args.model})"
            way_out = _way_out(trainer, repair)
            notice(what, defect, "training not started", _verdict(said, defect, way_out))
            raise PoisonedState(f"{said}. {way_out}")
    scale = trainer.scaler.state_dict().get("scale", 1.0)
    if not 0 < scale < float("inf"):
        raise PoisonedState(f"training would start with a loss scale of {scale}; set repair=state to start it anew")


def _verdict(said: str, defect: str, way_out: str) -> Verdict:
    name, holds, _ = defect.partition(" holds ")
    return Verdict(
        Cause.STATE,
        said,
        tensor=name if holds else "",
        confidence=1.0,
        evidence=(f"state: {defect}, before the first step",),
        advice=(way_out,),
    )


def _way_out(trainer: Any, repair: str) -> str:
    siblings = [trainer.best, *sorted(Path(trainer.wdir).glob("epoch*.pt"), reverse=True)]
    if trainer.resume and (found := next((s for s in siblings if s.exists() and str(s) != str(trainer.last)), None)):
        return f"Resume from {found} instead if that is clean."
    offer = " repair=all starts those tensors anew." if repair != "all" else ""
    return f"Start from other weights; these give NaN from the first batch.{offer}"


@torch.no_grad()
def _mend_norms(trainer: Any, model: nn.Module, notice: Notice) -> None:
    """Statistics that are not finite, and negative variances, start anew: mean 0, variance 1, as a new layer has."""
    models = [("model", model), *([("ema", trainer.ema.ema)] if trainer.ema else [])]
    for owner, net in models:
        for name, module in net.named_modules():
            if not isinstance(module, _NormBase) or module.running_mean is None or module.running_var is None:
                continue
            mean, var = module.running_mean, module.running_var
            sick = ~mean.isfinite() | ~var.isfinite() | (var < 0)
            if count := int(sick.sum()):
                mean[sick], var[sick] = 0.0, 1.0
                detail = f"{count} of {len(sick)} running statistics of {name} ({owner}) are not finite or negative"
                notice("batchnorm", detail, "those channels start anew (mean 0, variance 1)")


@torch.no_grad()
def _mend_optimizer(optimizer: torch.optim.Optimizer, notice: Notice) -> None:
    """State that is not finite is forgotten, parameter by parameter: the optimizer begins it again."""
    sick = [
        (number, parameter)
        for number, (parameter, state) in enumerate(optimizer.state.items())
        if any(isinstance(v, Tensor) and not bool(v.isfinite().all()) for v in state.values())
    ]
    for _, parameter in sick:
        for key, value in optimizer.state[parameter].items():
            if isinstance(value, Tensor) and value.dim():
                optimizer.state[parameter][key] = torch.zeros_like(value)
    if sick:
        numbers = ", ".join(str(n) for n, _ in sick[:5]) + (" ..." if len(sick) > 5 else "")
        notice("optimizer", f"state of {len(sick)} parameters is not finite (number {numbers})", "set to 0")


def _mend_scale(scaler: Any, notice: Notice) -> None:
    state = scaler.state_dict()
    if state and not 0 < state["scale"] < float("inf"):
        scaler.load_state_dict({**state, "scale": 65536.0, "_growth_tracker": 0})
        notice("loss-scale", f"the loss scale is {state['scale']}", "starts anew at 65536")


@torch.no_grad()
def _mend_weights(trainer: Any, model: Any, notice: Notice) -> None:
    """Tensors that are not finite take the values of a newly built model; all of them where all are zero.

    Modules of the user's own may be in no model's definition: their tensors stay, and are refused afterwards.
    """
    named = weights(model, by_design(model))
    zeroed = sensors.state_defect(named) == "all tensors are zero"
    sick = [n for n, t in named if t.is_floating_point() and (zeroed or not bool(t.isfinite().all()))]
    if not sick:
        return
    try:
        fresh = type(model)(model.yaml, nc=model.nc if hasattr(model, "nc") else model.yaml.get("nc"), verbose=False)
    except Exception as error:  # a class of the user's own, which may be built in any other way
        notice("weights", f"{type(model).__name__} cannot be built anew: {error}", "left as they are")
        return
    new = fresh.state_dict()
    mended = [name for name in sick if name in new and new[name].shape == dict(named)[name].shape]
    for net in (model, *((trainer.ema.ema,) if trainer.ema else ())):
        state = net.state_dict()
        for name in mended:
            state[name].copy_(new[name])
    if mended:
        detail = "all weights are zero" if zeroed else f"{len(mended)} tensors are not finite, the first {mended[0]}"
        notice("weights", detail, "these tensors start anew, as in an untrained model")
