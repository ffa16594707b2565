"""Finds in an incident, without a replay, what is not finite, and values that were set, not learnt.

Pixels, label rows, weights, statistics, optimizer state; training arguments, settings of the optimizer's groups, single
weights. A value counts as set where training does not reach it by itself; whether it is the cause shows a replay
without it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

import torch
from torch import Tensor

from yolo_nanfix.incident import Incident

PIXEL_LIMIT = 1e3
"""Ultralytics divides pixels by 255; even 16-bit data read by old releases stays under 257."""
FARTHEST_COORDINATE = 10.0
"""Boxes and keypoints are normalised; augmentation keeps them near 0 to 1."""
TARGET_KEYS = ("bboxes", "cls", "keypoints")
MAPS = ("masks", "depth")
"""Targets with a value a pixel. Depth that is not above 0 means: not known, so -Inf does no harm."""


@dataclass(frozen=True)
class Scan:
    """What in an incident is not finite, or finite and out of range.

    Attributes:
        pixels: for each image (by number), what is wrong with its pixels.
        beyond: those images whose pixels the dtype of the run cannot hold; they make every step fail.
        rows: for each label row (by number in the batch), what in it is not finite.
        odd_rows: rows that are finite but suspect: zero area, far outside the image.
        state: names of weights and BatchNorm statistics that are not finite.
        optimizer: names of optimizer states that are not finite.
        owners: the image of each row.
        maps: for each image, which entry of the batch is not finite for it, `masks` or `depth`.
    """

    pixels: Mapping[int, str]
    beyond: tuple[int, ...]
    rows: Mapping[int, str]
    odd_rows: Mapping[int, str]
    state: tuple[str, ...]
    optimizer: tuple[str, ...]
    owners: tuple[int, ...]
    maps: Mapping[int, str] = field(default_factory=dict)

    def images(self) -> tuple[int, ...]:
        """Images whose pixels or label rows are not finite."""
        return tuple(sorted({*self.pixels, *(self.owners[row] for row in self.rows)}))


def scan(incident: Incident) -> Scan:
    """Check every tensor of an incident once."""
    batch = incident.part("batch")
    index = batch.get("batch_idx")
    owners = tuple(int(i) for i in index.reshape(-1).tolist()) if index is not None else ()
    rows, odd = _bad_rows(batch, len(owners))
    born = {str(n) for key in ("born_non_finite", "other_buffers") for n in incident.facts.get(key) or ()}
    state = (name for name, t in incident.part("model").items() if name not in born and not _is_finite(t))
    optimizer = (name for name, t in incident.part("optimizer").items() if not _is_finite(t))
    pixels, beyond = _bad_pixels(batch.get("img"), str(incident.facts.get("precision", "float32")))
    overlap = bool((incident.facts.get("args") or {}).get("overlap_mask", True))
    maps = _maps(batch, owners, overlap)
    return Scan(pixels, beyond, rows, odd, tuple(state), tuple(optimizer), owners, maps)


def _maps(batch: Mapping[str, Tensor], owners: tuple[int, ...], overlap: bool) -> dict[int, str]:
    """Images with a mask or a depth map that is not finite; where masks do not overlap, each instance has its own."""
    found: dict[int, str] = {}
    for key in MAPS:
        maps = batch.get(key)
        if maps is None or not maps.is_floating_point() or not maps.numel():
            continue
        flat = maps.detach().flatten(1)
        good = flat < float("inf") if key == "depth" else flat.isfinite()
        bad = (~good.all(1)).nonzero().flatten().tolist()
        whose: Sequence[int] = range(len(maps)) if key == "depth" or overlap else owners
        for image in (whose[i] for i in bad if i < len(whose)):
            found.setdefault(image, key)
    return found


def _is_finite(tensor: Tensor) -> bool:
    return not tensor.is_floating_point() or bool(tensor.detach().isfinite().all())


def _bad_pixels(images: Tensor | None, precision: str) -> tuple[dict[int, str], tuple[int, ...]]:
    if images is None or not images.is_floating_point() or not images.numel():
        return {}, ()
    limit = torch.finfo(torch.float16 if precision == "float16" else torch.float32).max
    flat = images.detach().flatten(1)
    largest = torch.linalg.vector_norm(flat, float("inf"), dim=1).tolist()
    found: dict[int, str] = {}
    for i, value in enumerate(largest):
        if not value < PIXEL_LIMIT:
            count = int((~flat[i].isfinite()).sum())
            held = f", more than {precision} can hold" if limit < value < float("inf") else ""
            said = f"a pixel value of {value:.3g}, after division by 255{held}"
            found[i] = f"{count} pixel values not finite" if count else said
    return found, tuple(i for i, value in enumerate(largest) if not value <= limit)


def _bad_rows(batch: Mapping[str, Tensor], count: int) -> tuple[dict[int, str], dict[int, str]]:
    bad: dict[int, str] = {}
    odd: dict[int, str] = {}
    for key in TARGET_KEYS:
        values = batch.get(key)
        if values is None or not count or len(values) != count or not values.is_floating_point():
            continue
        flat = values.detach().float().reshape(count, -1)
        finite = flat.isfinite().all(1)
        bad |= dict.fromkeys((~finite).nonzero().flatten().tolist(), f"{key} not finite")
        for row, said in _odd(key, flat, finite).items() if key != "cls" else ():
            odd.setdefault(row, said)
    return bad, odd


def _odd(key: str, flat: Tensor, finite: Tensor) -> dict[int, str]:
    """What is suspect about rows that are finite: `flat` (N, K)."""
    size = flat.abs().amax(1)
    far = finite & (size > FARTHEST_COORDINATE)
    rows = far.nonzero().flatten().tolist()
    found = {r: f"{key} up to {s:.3g} of the image's size" for r, s in zip(rows, size[far].tolist(), strict=True)}
    if key == "bboxes":
        flat_boxes = finite & ~far & (flat[:, 2:4] <= 0).any(1)
        found |= dict.fromkeys(flat_boxes.nonzero().flatten().tolist(), "a box without area")
    return dict(sorted(found.items()))


TIMES = 1e4
"""An argument this many times its default, or this large where the default is below 1, is a mistake."""
LARGE_WEIGHT = 1e6
"""No weight of a healthy model is as large: the largest float16 is 65 504, and normalised layers stay below 100."""
LARGE_STATISTIC = 1e12
"""Variances are squares."""
JUMPED = 100.0
"""A weight whose largest magnitude is this, and grew this much, has jumped."""
FEW_JUMPED = 0.1
"""Share of all weights that jumped, at most, where they were set; where the rate drove them, nearly all do."""
STILL = 0.2
"""How far all others moved then, at most, as a share of their size."""
GAINS = frozenset(("box", "cls", "dfl", "pose", "kobj", "rle", "angle", "cls_pw", "label_smoothing"))
"""Arguments of the loss; negative values make no sense in any of them."""


GROUPS = "optimizer.groups."
"""Prefix of the names of settings of parameter groups."""


def group_setting(number: Any, name: Any) -> str:
    """The name of a setting of a parameter group in a verdict."""
    return f"{GROUPS}{number}.{name}"


@dataclass(frozen=True)
class OptimizerGroups:
    """Settings of the optimizer's parameter groups that no training can work with.

    Attributes:
        non_finite: as the guard found them: group, name, value, epoch, step.
        odd: those that are finite, but drive every weight out of range: group, name, value.
    """

    non_finite: tuple[Mapping[str, Any], ...] = ()
    odd: tuple[tuple[int, str, float], ...] = ()


def arguments(given: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, float]:
    """Arguments that are far out of range, by name; only those with a float as default."""
    found = {}
    for name, usual in defaults.items():
        value = given.get(name)
        if not isinstance(usual, float) or not isinstance(value, (int, float)) or isinstance(value, bool):
            continue
        if not (abs(value) < TIMES * max(1.0, abs(usual)) and (value >= 0 or name not in GAINS)):
            found[name] = float(value)
    return found


def groups(facts: Mapping[str, Any]) -> OptimizerGroups:
    """Settings that are not finite, and those that are so large that they drive weights out of range at once."""
    odd: list[tuple[int, str, float]] = []
    for number, group in enumerate(facts.get("groups") or ()):
        rate = max((v for k in ("lr", "initial_lr") if isinstance(v := group.get(k), (int, float))), default=0.0)
        for name, value in group.items():
            if not isinstance(value, (int, float)) or isinstance(value, bool) or not isfinite(value):
                continue
            whole = name == "weight_decay" and abs(value) * max(rate, 1e-6) >= 1  # a step takes more than the weight
            if whole or (name == "momentum" and abs(value) > 1) or (name == "lr" and abs(value) >= 1e3):
                odd.append((number, name, float(value)))
    return OptimizerGroups(tuple(facts.get("settings") or ()), tuple(odd))


def large(incident: Incident) -> dict[str, float]:
    """The largest magnitudes of weights and statistics that are finite and larger than those of any healthy model."""
    found = {}
    for name, tensor in incident.part("model").items():
        if not tensor.is_floating_point() or not tensor.numel() or name in (incident.facts.get("other_buffers") or ()):
            continue
        size = largest(tensor)
        limit = LARGE_STATISTIC if name.endswith(("running_mean", "running_var")) else LARGE_WEIGHT
        if isfinite(size) and size > limit:
            found[name] = size
    return found


def largest(tensor: Tensor) -> float:
    """The largest magnitude in a tensor; 0 for an empty one."""
    return float(torch.linalg.vector_norm(tensor.detach().float(), float("inf"))) if tensor.numel() else 0.0


def calmed(name: str, tensor: Tensor) -> Tensor:
    """A weight whose too large values are set to 0."""
    limit = LARGE_STATISTIC if name.endswith(("running_mean", "running_var")) else LARGE_WEIGHT
    return torch.where(tensor.abs() > min(limit, JUMPED), torch.zeros_like(tensor), tensor)
