"""All that a diagnosis found out, as one frozen value; what the decision tree reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import torch
from torch import Tensor

from yolo_nanfix.diagnosis.bisect import Guilt
from yolo_nanfix.diagnosis.labels import Origin
from yolo_nanfix.diagnosis.lacks import Lack
from yolo_nanfix.diagnosis.replay import Outcome
from yolo_nanfix.diagnosis.scan import Scan
from yolo_nanfix.incident import Incident


@dataclass(frozen=True)
class Growth:
    """How weights changed since the earlier snapshot.

    Attributes:
        name: the weight whose largest magnitude grew most.
        factor: by how much.
        distance: how far all weights moved, as a share of their size then.
    """

    name: str
    factor: float
    distance: float


@dataclass(frozen=True)
class Evidence:
    """What was asked and seen.

    Attributes:
        facts: of the incident.
        files: the image files of the batch.
        scan: what looks sick without a replay.
        outcome: of the traced replay, or None where there was none; then `why_not` says why.
        same: whether the replay gave the recorded loss terms bit by bit; None if none were recorded.
        guilt: which images and rows alone fail.
        origins: of the guilty rows.
        healthy_in_float32, healthy_with_earlier_weights: what those replays gave; None if not asked.
        growth: since the earlier snapshot, where there is one.
        patches: cards of yolo-nanfix that wrap the function in which it broke.
        by_release: the function in which it broke has the text of the installed release of Ultralytics.
        lacks: what the run had that the replay had not.
        kept: what loss and modules keep outside of weights and buffers that is not finite, by name: `value`, and
            `since`, the number of the first incident with it.
    """

    facts: Mapping[str, Any]
    files: tuple[str, ...]
    scan: Scan
    outcome: Outcome | None = None
    why_not: str = ""
    same: bool | None = None
    guilt: Guilt = field(default_factory=Guilt)
    origins: tuple[Origin, ...] = ()
    healthy_in_float32: bool | None = None
    healthy_with_earlier_weights: bool | None = None
    growth: Growth | None = None
    patches: tuple[str, ...] = ()
    by_release: bool = False
    lacks: tuple[Lack, ...] = ()
    kept: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def failed(self) -> bool:
        """The replay went wrong as the run did."""
        return self.outcome is not None and bool(self.outcome.bad)

    @property
    def leaf(self) -> str:
        """The tensor that was bad before the step, by the trace, or empty."""
        roots = self.roots()
        return roots[0].leaf.name if roots and roots[0].leaf else ""

    @property
    def kept_root(self) -> str:
        """The value kept outside of weights and buffers that the operation read which went wrong first, or empty."""
        roots = self.roots()
        if self.leaf in self.kept:
            return self.leaf
        ends = {name.rpartition(".")[2] for name in roots[0].note.names if "." in name} if roots else set()
        return next((name for name in self.kept if name.rpartition(".")[2] in ends), "")

    def roots(self) -> tuple[Any, ...]:
        """Where bad values came from: the traced root, or what was read in vain."""
        if self.outcome is None:
            return ()
        return (self.outcome.root,) if self.outcome.root else self.outcome.strays


def growth(incident: Incident) -> Growth | None:
    """Compare the weights with those of the earlier snapshot; running statistics do not count."""
    now, then = incident.part("model"), incident.part("earlier")
    names = [n for n in then if n in now and then[n].is_floating_point() and "running_" not in n]
    if not names:
        return None
    factors = {n: _largest(now[n]) / max(_largest(then[n]), 1e-6) for n in names}
    moved = sum(float((now[n].double() - then[n].double()).square().sum()) for n in names) ** 0.5
    size = sum(float(then[n].double().square().sum()) for n in names) ** 0.5
    name = max(factors, key=lambda n: factors[n])
    return Growth(name, factors[name], moved / max(size, 1e-12))


def _largest(tensor: Tensor) -> float:
    return float(torch.linalg.vector_norm(tensor.detach().float(), float("inf"))) if tensor.numel() else 0.0


def rise(history: Any, key: str) -> float | None:
    """The last value of a series against the median of its first half; None for fewer than four values."""
    values = [float(entry[key]) for entry in history or () if isinstance(entry, Mapping) and entry.get(key) is not None]
    if len(values) < 4:
        return None
    usual = median(values[: len(values) // 2])
    return max(values[-3:]) / usual if usual > 0 else None
