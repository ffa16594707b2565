"""A real `BaseTrainer` around a small model, for tests of single optimizer steps."""

from __future__ import annotations

import torch
from torch import nn
from ultralytics.cfg import get_cfg
from ultralytics.engine.trainer import BaseTrainer

OPTIMIZERS = ("SGD", "Adam", "Adamax", "AdamW", "NAdam", "RAdam", "RMSprop", "MuSGD")
"""All that Ultralytics builds."""


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 2))

    def forward(self, x):
        return self.model(x)


def trainer(optimizer="SGD", *, scaler=False):
    """A trainer that can step: as upstream's constructor would leave it, but without data."""
    torch.manual_seed(0)
    made = BaseTrainer.__new__(BaseTrainer)
    made.args, made.model, made.ema, made.device = get_cfg(), Net(), None, torch.device("cpu")
    made.optimizer = made.build_optimizer(made.model, name=optimizer, lr=0.01, momentum=0.9, decay=0.01)
    made.scaler = torch.amp.GradScaler("cpu", enabled=scaler)
    return made


def step(made, seed, spoil=None):
    """Backward on seeded data and one step of the trainer; `spoil` is written into one entry of one gradient."""
    images = torch.rand(8, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
    made.scaler.scale(made.model(images).square().sum()).backward()
    if spoil is not None:
        made.model.model[0].weight.grad[0, 0, 0, 0] = spoil
    made.optimizer_step()


def state(made):
    """Copies of weights and optimizer state."""
    values = [v for s in made.optimizer.state.values() for v in s.values() if isinstance(v, torch.Tensor)]
    return [t.detach().clone() for t in (*made.model.parameters(), *values)]


def same(a, b):
    return len(a) == len(b) and all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def finite(made):
    return all(bool(p.isfinite().all()) for p in made.model.parameters())
