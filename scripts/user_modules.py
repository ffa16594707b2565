"""Modules, losses and trainers as users write them, healthy ones: what no guard may take for a fault.

They stand in a module of their own, so that checkpoints, which pickle the model, find their classes again.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, spectral_norm

NAN, INF = float("nan"), float("inf")


class Around(nn.Module):
    """A layer of a YOLO model with a module of the user's own behind it, in the layer's place."""

    def __init__(self, inner: nn.Module, extra: nn.Module) -> None:
        super().__init__()
        self.inner, self.extra = inner, extra
        self.i, self.f, self.type, self.np = inner.i, inner.f, type(extra).__name__, inner.np

    def forward(self, x: Tensor) -> Tensor:
        return self.extra(self.inner(x))


class Masked(nn.Module):
    """Attention with an additive causal mask of -inf, as most attention code writes it."""

    def __init__(self, channels: int, persistent: bool) -> None:
        super().__init__()
        self.query = nn.Linear(channels, channels)
        self.register_buffer("mask", torch.full((64, 64), -INF).triu(1), persistent=persistent)

    def forward(self, x: Tensor) -> Tensor:
        rows = x.mean(3).transpose(1, 2)
        count = rows.shape[1]
        weights = (self.query(rows) @ rows.transpose(1, 2) / 8 + self.mask[:count, :count]).softmax(-1)
        return x + 0.1 * (weights @ rows).transpose(1, 2)[..., None]


class Best(nn.Module):
    """A buffer that is inf until something was seen, and is set back to inf every few steps."""

    def __init__(self, channels: int, every: int = 5) -> None:
        super().__init__()
        self.every, self.seen = every, 0
        self.register_buffer("smallest", torch.full((channels,), INF), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.seen += 1
            if self.seen % self.every == 0:
                self.smallest.fill_(INF)
            self.smallest = torch.minimum(self.smallest, x.detach().float().amin((0, 2, 3)))
        return x


class Unseen(nn.Module):
    """A buffer in which NaN stands for what was not seen yet; half of it never is."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("prototypes", torch.full((channels, 2), NAN), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.prototypes[:, 0] = x.detach().float().mean((0, 2, 3))
        return x * (1 + 0.01 * self.prototypes[:, :1].nan_to_num()[..., None].to(x))


class FloatState(nn.Module):
    """A running mean that is a plain Python number, and a list of those before."""

    def __init__(self) -> None:
        super().__init__()
        self.mean, self.before = 1.0, [1.0]

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.mean = 0.9 * self.mean + 0.1 * float(x.detach().abs().mean())
            self.before.append(self.mean)
        return x / (1 + 0.1 * self.mean)


class PlainTensor(nn.Module):
    """A running mean that is a tensor, but no buffer; inf where nothing was seen."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mean, self.limit = torch.zeros(channels), torch.full((channels,), INF)

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.mean = 0.9 * self.mean + 0.1 * x.detach().float().mean((0, 2, 3)).cpu()
        return torch.minimum(x - 0.1 * self.mean.to(x)[:, None, None], self.limit.to(x)[:, None, None])


class LazyBuffer(nn.Module):
    """A buffer that is made in the first step."""

    def forward(self, x: Tensor) -> Tensor:
        if not hasattr(self, "scale"):
            self.register_buffer("scale", torch.full_like(x[:1, :, :1, :1], 0.5).detach(), persistent=False)
        if self.training:
            self.scale.mul_(0.99)
        return x * (1 + self.scale)


class OddBuffers(nn.Module):
    """Buffers of whole, boolean and complex numbers, an empty one and one without a dimension."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self.register_buffer("kept", torch.ones(8, dtype=torch.bool))
        self.register_buffer("spectrum", torch.full((4,), complex(INF, 1.0)))
        self.register_buffer("nothing", torch.zeros(0))
        self.register_buffer("narrow", torch.ones(3, dtype=torch.float16))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.steps += 1
            self.spectrum.mul_(1.0)
        return x


class Noise(nn.Module):
    """Draws in every step, and drops channels."""

    def __init__(self) -> None:
        super().__init__()
        self.drop = nn.Sequential(nn.Dropout2d(0.2), nn.Dropout(0.1))

    def forward(self, x: Tensor) -> Tensor:
        return self.drop(x + 0.01 * torch.randn_like(x)) if self.training else x


class Hooked(nn.Module):
    """Hooks on its output's gradient, on a parameter's, and on the module itself; all of them harmless."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 1)
        self.norms: list[float] = []

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        if y.requires_grad:
            y.register_hook(lambda gradient: self.norms.append(float(gradient.norm())) or gradient * 0.5)
        return x + y


class OwnNorms(nn.Module):
    """Normalisations other than the usual: with and without statistics, cumulative ones, frozen ones."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.InstanceNorm2d(channels, affine=True, track_running_stats=True),
            nn.GroupNorm(4, channels),
            nn.BatchNorm2d(channels, momentum=None),
            nn.BatchNorm2d(channels, track_running_stats=False),
            nn.BatchNorm2d(channels).eval().requires_grad_(False),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + 0.1 * self.layers(x)


class Observed(nn.Module):
    """torch's own quantisation observers, whose buffers begin at inf or empty: quantisation-aware training."""

    def __init__(self, kind: str, channels: int = 1) -> None:
        super().__init__()
        from torch.ao import quantization as q

        makers: dict[str, Callable[[], nn.Module]] = {
            "fake": lambda: q.FakeQuantize(q.MovingAverageMinMaxObserver, 0, 255, dtype=torch.quint8),
            "channel": lambda: q.PerChannelMinMaxObserver(ch_axis=1),
            "minmax": lambda: q.MinMaxObserver(),
            "histogram": lambda: q.HistogramObserver(bins=64),
        }
        self.observer = makers[kind]()
        if kind == "channel":  # upstream's EMA cannot follow buffers that begin empty and grow
            self.observer.min_val.resize_(channels).fill_(INF)
            self.observer.max_val.resize_(channels).fill_(-INF)

    def forward(self, x: Tensor) -> Tensor:
        if isinstance(self.observer, torch.ao.quantization.FakeQuantize):
            return self.observer(x)
        if self.training:
            self.observer(x.detach())
        return x


class Normed(nn.Module):
    """A convolution whose weight is computed from others before each step."""

    def __init__(self, channels: int, kind: str) -> None:
        super().__init__()
        conv = nn.Conv2d(channels, channels, 1)
        if kind == "weight":
            parametrizations.weight_norm(conv)
        elif kind == "spectral":
            parametrizations.spectral_norm(conv)
        elif kind == "spectral-hook":
            spectral_norm(conv)
        else:
            parametrize.register_parametrization(conv, "weight", Symmetric())
        self.conv = conv

    def forward(self, x: Tensor) -> Tensor:
        return x + 0.1 * self.conv(x)


class Symmetric(nn.Module):
    """A parametrization of the user's own."""

    def forward(self, weight: Tensor) -> Tensor:
        return weight + weight.transpose(0, 1)


class ZeroBranch(nn.Module):
    """A residual branch that starts at 0, and a parameter that is never used."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 1)
        nn.init.zeros_(self.conv.weight)
        nn.init.zeros_(self.conv.bias)
        self.unused = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x)


class OwnLoss:
    """A loss with state of its own: a running mean that is a float, a tensor, and a limit of inf."""

    def __init__(self, loss: Any) -> None:
        self.loss, self.mean, self.limit, self.scale = loss, 1.0, torch.tensor(INF), torch.ones(1)

    def __call__(self, preds: Any, batch: Any) -> Any:
        total, items = self.loss(preds, batch)
        self.mean = 0.9 * self.mean + 0.1 * float(total.detach().sum())
        self.scale = 0.9 * self.scale + 0.1
        return torch.minimum(total * self.scale.to(total), self.limit.to(total)), items


Extra = Callable[[int], nn.Module]
"""Makes a module for a number of channels."""


def behind(base: type, extra: Extra, layers: tuple[int, ...] = (3,)) -> type:
    """A user's trainer: `extra` stands behind each of these layers; the very same module if there are several."""

    class Trainer(base):  # type: ignore[misc,valid-type]
        def get_model(self, *args: Any, **kwargs: Any) -> nn.Module:
            model = super().get_model(*args, **kwargs)
            torch.manual_seed(3)
            made = extra(_channels(model.model[layers[0]]))
            for layer in layers:
                model.model[layer] = Around(model.model[layer], made)
            return model

    return Trainer


def _channels(layer: nn.Module) -> int:
    return next(m for m in reversed(list(layer.modules())) if isinstance(m, nn.Conv2d)).out_channels


def own_loss(base: type) -> type:
    """A user's trainer whose model has `OwnLoss`."""

    class Trainer(base):  # type: ignore[misc,valid-type]
        def set_model_attributes(self) -> None:
            super().set_model_attributes()
            self.model.criterion = OwnLoss(self.model.init_criterion())

    return Trainer


def own_step(base: type) -> type:
    """A user's trainer with an optimizer step of its own, without clipping."""

    class Trainer(base):  # type: ignore[misc,valid-type]
        def optimizer_step(self) -> None:
            self.scaler.step(self.optimizer)
            self.scaler.update()
            self.optimizer.zero_grad()
            if self.ema:
                self.ema.update(self.model)

    return Trainer


def plain_checkpoints(base: type) -> type:
    """A user's trainer for parametrized modules, which cannot be pickled: checkpoints hold their plain weights."""

    class Trainer(base):  # type: ignore[misc,valid-type]
        def save_model(self) -> Any:
            averaged = self.ema.ema
            self.ema.ema = copy.deepcopy(averaged)
            for module in self.ema.ema.modules():
                if isinstance(module, Normed):
                    plain = nn.Conv2d(module.conv.in_channels, module.conv.out_channels, 1)
                    plain.weight.data, plain.bias.data = module.conv.weight.detach(), module.conv.bias.detach()
                    module.conv = plain
            try:
                return super().save_model()
            finally:
                self.ema.ema = averaged

    return Trainer


def own_transform(base: type) -> type:
    """A user's trainer whose samples pass a transform that draws from all three random states."""

    class Trainer(base):  # type: ignore[misc,valid-type]
        def build_dataset(self, img_path: str, mode: str = "train", batch: int | None = None) -> Any:
            dataset = super().build_dataset(img_path, mode, batch)
            if mode == "train":
                dataset.transforms.append(Jitter())
            return dataset

    return Trainer


class Jitter:
    """Brightens a sample at random."""

    def __call__(self, sample: dict[str, Any]) -> dict[str, Any]:
        import random

        import numpy as np

        factor = 1 + 0.1 * (random.random() + np.random.rand() + float(torch.rand(())) - 1.5)
        sample["img"] = (sample["img"].float() * factor).clamp(0, 255)
        return sample
