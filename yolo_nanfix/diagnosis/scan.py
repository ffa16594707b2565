"""What can be seen in an incident without a replay: pixels, label rows, weights, statistics, optimizer state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from yolo_nanfix.incident import Incident

PIXEL_LIMIT = 1e3
"""Ultralytics divides pixels by 255; even 16-bit data read by old releases stays under 257."""
COORDINATE_LIMIT = 10.0
"""Boxes and keypoints are shares of the image; augmentation leaves them near 0 to 1."""
TARGETS = ("bboxes", "cls", "keypoints")
MAPS = ("masks", "depth")
"""Targets with a value a pixel. Of a depth map all that is not above 0 is left open, so there -Inf does no harm."""


@dataclass(frozen=True)
class Scan:
    """What looks sick.

    Attributes:
        pixels: for each image (by number), what is wrong with its pixels.
        beyond: those images of them whose pixels the dtype of the run cannot hold; they make every step fail.
        rows: for each label row (by number in the batch), what in it is not finite.
        odd_rows: rows that are finite but that no object has: zero area, far outside the image.
        state: names of weights and buffers that are not finite, but buffers that no statistics are in.
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
        """Images whose pixels or label rows are sick."""
        return tuple(sorted({*self.pixels, *(self.owners[row] for row in self.rows)}))


def scan(incident: Incident) -> Scan:
    """Look at every tensor of an incident once."""
    batch = incident.part("batch")
    index = batch.get("batch_idx")
    owners = tuple(int(i) for i in index.reshape(-1).tolist()) if index is not None else ()
    rows, odd = _rows(batch, len(owners))
    born = {str(n) for key in ("born_non_finite", "other_buffers") for n in incident.facts.get(key) or ()}
    state = (name for name, t in incident.part("model").items() if name not in born and not _finite(t))
    optimizer = (name for name, t in incident.part("optimizer").items() if not _finite(t))
    pixels, beyond = _pixels(batch.get("img"), str(incident.facts.get("precision", "float32")))
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


def _finite(tensor: Tensor) -> bool:
    return not tensor.is_floating_point() or bool(tensor.detach().isfinite().all())


def _pixels(images: Tensor | None, precision: str) -> tuple[dict[int, str], tuple[int, ...]]:
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


def _rows(batch: Mapping[str, Tensor], count: int) -> tuple[dict[int, str], dict[int, str]]:
    """Rows with values that are not finite, and rows that are finite but odd."""
    sick: dict[int, str] = {}
    odd: dict[int, str] = {}
    for key in TARGETS:
        values = batch.get(key)
        if values is None or not count or len(values) != count or not values.is_floating_point():
            continue
        flat = values.detach().float().reshape(count, -1)
        finite = flat.isfinite().all(1)
        sick |= dict.fromkeys((~finite).nonzero().flatten().tolist(), f"{key} not finite")
        for row, said in _odd(key, flat, finite).items() if key != "cls" else ():
            odd.setdefault(row, said)
    return sick, odd


def _odd(key: str, flat: Tensor, finite: Tensor) -> dict[int, str]:
    """What is odd about rows that are finite: `flat` (N, K)."""
    size = flat.abs().amax(1)
    far = finite & (size > COORDINATE_LIMIT)
    rows = far.nonzero().flatten().tolist()
    found = {r: f"{key} up to {s:.3g} of the image's size" for r, s in zip(rows, size[far].tolist(), strict=True)}
    if key == "bboxes":
        flat_boxes = finite & ~far & (flat[:, 2:4] <= 0).any(1)
        found |= dict.fromkeys(flat_boxes.nonzero().flatten().tolist(), "a box without area")
    return dict(sorted(found.items()))
