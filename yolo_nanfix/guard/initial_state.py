"""Checks the state that training starts from, and repairs or refuses what is non-finite in it.

Pretrained weights, a resumed checkpoint and its optimizer may hold NaN, Inf or nothing but zeros; no step could then
be good, and upstream checks none of it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from yolo_nanfix.errors import PoisonedState
from yolo_nanfix.events import Action, Check, Did
from yolo_nanfix.guard import remedies, sensors
from yolo_nanfix.numerics.finite import by_design, first_not_finite, state_defect, weights
from yolo_nanfix.verdicts import Cause, Verdict

FIRST_SCALE = 65536.0
"""What a GradScaler starts with."""
Notice = Callable[..., None]
"""Takes what was found and done: check, form, values and action of an `events.Event`, perhaps `verdict`."""


def check(trainer: Any, model: nn.Module, repair: str, notice: Notice) -> None:
    """Repair what `repair` (see `GuardSettings`) allows, with notice, and refuse the rest.

    Raises:
        PoisonedState: something is not finite, or all zero, that may not be repaired.
    """
    if repair != "none":
        _repair_norms(trainer, model, notice)
        _repair_optimizer(trainer.optimizer, notice)
        _repair_scale(trainer.scaler, notice)
    if repair == "all":
        _repair_weights(trainer, model, notice)
    ema, leave = trainer.ema, by_design(model)
    states = [(Check.WEIGHTS, weights(model, leave)), *([(Check.EMA, weights(ema.ema, leave))] if ema else [])]
    for check, tensors in (*states, (Check.OPTIMIZER, sensors.optimizer_tensors(trainer.optimizer))):
        if defect := (first_not_finite if check is Check.OPTIMIZER else state_defect)(tensors):
            said = f"training would start from non-finite {check.value}: {defect} (model={trainer.args.model})"
            way_out = _way_out(trainer, repair)
            verdict = Verdict(
                Cause.STATE,
                said,
                tensor=defect.tensor,
                confidence=1.0,
                evidence={"state": f"{defect}, before the first step"},
                advice=(way_out,),
            )
            notice(check, defect.says, defect.values, Action(Did.NOT_STARTED), verdict=verdict)
            raise PoisonedState(f"{said}. {way_out}")
    scale = trainer.scaler.state_dict().get("scale", 1.0)
    if not 0 < scale < float("inf"):
        raise PoisonedState(f"training would start with a loss scale of {scale}; set repair=state to start it anew")


def _way_out(trainer: Any, repair: str) -> str:
    siblings = [trainer.best, *sorted(Path(trainer.wdir).glob("epoch*.pt"), reverse=True)]
    if trainer.resume and (found := next((s for s in siblings if s.exists() and str(s) != str(trainer.last)), None)):
        return f"Resume from {found} instead if that is clean."
    offer = " repair=all starts those tensors anew." if repair != "all" else ""
    return f"Start from other weights; these give NaN from the first batch.{offer}"


@torch.no_grad()
def _repair_norms(trainer: Any, model: nn.Module, notice: Notice) -> None:
    """Reset statistics that are not finite, and negative variances, to mean 0 and variance 1, as a new layer has."""
    models = [("model", model), *([("ema", trainer.ema.ema)] if trainer.ema else [])]
    for owner, net in models:
        for name, module in net.named_modules():
            if not isinstance(module, _NormBase) or module.running_mean is None or module.running_var is None:
                continue
            mean, var = module.running_mean, module.running_var
            bad = ~mean.isfinite() | ~var.isfinite() | (var < 0)
            if count := int(bad.sum()):
                remedies.reset_channels(mean, var, bad)
                says = "{count} of {channels} running statistics of {layer} ({owner}) are not finite or negative"
                values = {"count": count, "channels": len(bad), "layer": name, "owner": owner}
                notice(Check.BATCHNORM, says, values, Action(Did.CHANNELS_RESET))


@torch.no_grad()
def _repair_optimizer(optimizer: torch.optim.Optimizer, notice: Notice) -> None:
    """Reset non-finite state, parameter by parameter: the optimizer begins it again."""
    bad = [
        (number, parameter)
        for number, (parameter, state) in enumerate(optimizer.state.items())
        if any(isinstance(v, Tensor) and not bool(v.isfinite().all()) for v in state.values())
    ]
    if bad:
        remedies.reset_optimizer(optimizer, [parameter for _, parameter in bad])
        says = "state of {count:parameter|parameters} is not finite (number {numbers:,5})"
        values = {"count": len(bad), "numbers": tuple(number for number, _ in bad)}
        notice(Check.OPTIMIZER, says, values, Action(Did.OPTIMIZER_RESET))


def _repair_scale(scaler: Any, notice: Notice) -> None:
    state = scaler.state_dict()
    if state and not 0 < state["scale"] < float("inf"):
        remedies.reset_scale(scaler, FIRST_SCALE)
        values = {"scale": state["scale"]}
        notice(Check.LOSS_SCALE, "the loss scale is {scale}", values, Action(Did.SCALE_RESET, factor=FIRST_SCALE))


@torch.no_grad()
def _repair_weights(trainer: Any, model: Any, notice: Notice) -> None:
    """Give non-finite tensors the values of a newly built model; all of them where all are zero.

    Modules of the user's own may be in no model's definition: their tensors are not changed, and refused afterwards.
    """
    named = weights(model, by_design(model))
    defect = state_defect(named)
    zeroed = defect is not None and not defect.tensor
    bad = [n for n, t in named if t.is_floating_point() and (zeroed or not bool(t.isfinite().all()))]
    if not bad:
        return
    try:
        fresh = type(model)(model.yaml, nc=model.nc if hasattr(model, "nc") else model.yaml.get("nc"), verbose=False)
    except Exception as error:  # a class of the user's own, which may be built in any other way
        described = {"model": type(model).__name__, "error": str(error)}
        notice(Check.WEIGHTS, "{model} cannot be built anew: {error}", described, Action(Did.LEFT_AS_IS))
        return
    new = fresh.state_dict()
    repaired = [name for name in bad if name in new and new[name].shape == dict(named)[name].shape]
    remedies.reset_weights((model, *((trainer.ema.ema,) if trainer.ema else ())), repaired, new)
    if repaired:
        says = "all weights are zero" if zeroed else "{count:tensor|tensors} not finite, the first {tensor}"
        values = {"count": len(repaired), "tensor": repaired[0]}
        notice(Check.WEIGHTS, says, values, Action(Did.WEIGHTS_RESET))
