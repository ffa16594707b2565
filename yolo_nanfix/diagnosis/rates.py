"""Proposes a learning rate for a run that diverged: a range test in a few steps, on its own batch and model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from yolo_nanfix import upstream
from yolo_nanfix.diagnosis.evidence import Evidence
from yolo_nanfix.diagnosis.replay import Replay, copied
from yolo_nanfix.diagnosis.tree import Suggest
from yolo_nanfix.numerics.lr_range import coarse

MUSGD = "ultralytics.optim.muon:MuSGD"


def proposer(replay: Replay) -> Suggest:
    """A function that runs the test when the verdict needs it: with the weights of the earlier snapshot, if any."""

    def propose(evidence: Evidence) -> float | None:
        facts = evidence.facts
        if evidence.outcome is not None and evidence.outcome.error:
            return None  # a step that cannot be taken at all
        args = facts.get("args") or {}
        found = coarse(
            replay.model_with("earlier"),
            lambda model: _loss(model, replay.batch),
            lambda model: _optimizer(model, str(facts.get("optimizer")), args),
            seconds=replay.left,
        )
        now = facts.get("base_lr")
        if found.lr is None or not isinstance(now, (int, float)):
            return found.lr
        return min(found.lr, now / 2)  # what one batch bears, the run did not

    return propose


def _loss(model: nn.Module, batch: Mapping[str, Any]) -> Tensor:
    loss: Tensor = model(copied(batch))[0].sum()
    return loss


def _optimizer(model: nn.Module, name: str, args: Mapping[str, Any]) -> torch.optim.Optimizer:
    """An optimizer of the run's kind; SGD for one that is not known here."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    momentum = float(args.get("momentum") or 0.9)
    momentum = momentum if 0 < momentum < 1 else 0.9
    if name == "MuSGD":
        matrices = [p for p in parameters if p.dim() >= 2]
        rest = [p for p in parameters if p.dim() < 2]
        groups = [{"params": matrices, "use_muon": True}, {"params": rest, "use_muon": False}]
        made: torch.optim.Optimizer = upstream.resolve(MUSGD).raw(groups, lr=1e-3, momentum=momentum, nesterov=True)
        return made
    if name in ("Adam", "AdamW", "NAdam", "RAdam", "Adamax"):
        adam: torch.optim.Optimizer = getattr(torch.optim, name)(parameters, lr=1e-3, betas=(momentum, 0.999))
        return adam
    if name == "RMSprop":
        return torch.optim.RMSprop(parameters, lr=1e-3, momentum=momentum)
    return torch.optim.SGD(parameters, lr=1e-3, momentum=momentum, nesterov=True)
