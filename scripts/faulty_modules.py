"""Code of a user's own with one fault in it: modules, losses, hooks and trainers for injected_runs.py.

A line with a fault ends in `# fault: NAME`; `line_of` finds it, so that a verdict can be held against it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from user_modules import NAN, OwnLoss

HERE = Path(__file__)


def line_of(fault: str) -> str:
    """`faulty_modules.py:NUMBER` of the line that has a fault."""
    lines = HERE.read_text().splitlines()
    return f"{HERE.name}:{next(i for i, text in enumerate(lines, 1) if text.endswith(f'# fault: {fault}'))}"


class TensorHook(nn.Module):
    """Hooks its output's gradient."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, x: Tensor) -> Tensor:
        y = x * 1.0
        if y.requires_grad:
            y.register_hook(self.nan if self.kind == "nan" else self.root)
        return y

    @staticmethod
    def nan(gradient: Tensor) -> Tensor:
        return gradient / (gradient - gradient)  # fault: tensor-hook-nan

    @staticmethod
    def root(gradient: Tensor) -> Tensor:
        return (-1 - gradient.abs()).sqrt()  # fault: tensor-hook-root


def module_hook(module: nn.Module, got: tuple[Tensor, ...], given: tuple[Tensor, ...]) -> tuple[Any, ...]:
    """A backward hook of a module that spoils what goes on to the layers before it."""
    return tuple(None if g is None else (-1 - g.abs()).log() for g in got)  # fault: module-hook


class RunningBuffer(nn.Module):
    """A running mean in a buffer, which its own code divides by nothing in some steps."""

    def __init__(self, at: Collection[int]) -> None:
        super().__init__()
        self.at, self.step = at, -1
        self.register_buffer("mean", torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.step += 1
            spread = x.detach().std()
            spread = spread - spread if self.step in self.at else spread
            self.mean.mul_(0.9).add_(0.1 * (spread / spread))  # fault: running-buffer
        return x * (1 + 0.01 * self.mean)


class Threshold(nn.Module):
    """Multiplies by a number that is kept in a plain attribute, or in a tensor that is no buffer."""

    def __init__(self, kept: Any) -> None:
        super().__init__()
        self.kept = kept

    def forward(self, x: Tensor) -> Tensor:
        return x * self.kept


class Smoothed(OwnLoss):
    """A loss with a running mean that is a float; from some step on it is NaN."""

    def __init__(self, loss: Any, at: int) -> None:
        super().__init__(loss)
        self.at, self.calls, self.smooth = at, 0, 1.0

    def __call__(self, preds: Any, batch: Any) -> Any:
        total, items = self.loss(preds, batch)
        self.calls += 1
        if self.calls == self.at:
            self.smooth = float("inf") - float("inf")
        return total / self.smooth, items


class ForOneImage(OwnLoss):
    """A loss with a term of the user's own that leaves its domain for one image, or in its slope for all."""

    def __init__(self, loss: Any, kind: str, image: str = "") -> None:
        super().__init__(loss)
        self.kind, self.image = kind, image

    def __call__(self, preds: Any, batch: Any) -> Any:
        total, items = self.loss(preds, batch)
        if self.kind == "log":
            margin = -1.0 if any(f.endswith(self.image) for f in batch["im_file"]) else 1.0
            return total + torch.log(torch.as_tensor(margin) + 0 * total.sum()), items  # fault: loss-log
        distance = (total - total).abs().sum()
        return total + distance.sqrt(), items  # fault: loss-root


class BadDraw:
    """A transform that makes a pixel NaN at random."""

    def __init__(self, share: float, seed: int) -> None:
        self.share, self.rng = share, np.random.default_rng(seed)

    def __call__(self, sample: dict[str, Any]) -> dict[str, Any]:
        image = torch.as_tensor(sample["img"]).float()
        if self.rng.random() < self.share:
            image[..., 3, 3] = NAN  # fault: bad-draw
        sample["img"] = image
        return sample


Change = Callable[[Any, dict[str, Any], int], None]
"""Given a trainer, a preprocessed batch and the number of the micro-batch (from 0): plants a fault."""


def trainer_that(base: type, *, batch: Change | None = None, model: Callable[[Any], None] | None = None) -> type:
    """A user's trainer: `batch` sees each preprocessed batch, `model` the model once it is built."""

    class Trainer(base):  # type: ignore[misc,valid-type]
        number = -1

        def preprocess_batch(self, given: dict[str, Any]) -> dict[str, Any]:
            given = super().preprocess_batch(given)
            self.number += 1
            if batch is not None:
                batch(self, given, self.number)
            return given

        def set_model_attributes(self) -> None:
            super().set_model_attributes()
            if model is not None:
                model(self.model)

    return Trainer


def with_transform(base: type, transform: Any) -> type:
    """A user's trainer whose training samples pass one more transform."""

    class Trainer(base):  # type: ignore[misc,valid-type]
        def build_dataset(self, img_path: str, mode: str = "train", batch: int | None = None) -> Any:
            dataset = super().build_dataset(img_path, mode, batch)
            if mode == "train":
                dataset.transforms.append(transform)
            return dataset

    return Trainer
