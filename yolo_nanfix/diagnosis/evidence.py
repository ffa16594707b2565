"""All that a diagnosis found, as one frozen value, for the decision tree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from torch import nn

from yolo_nanfix import kept, upstream
from yolo_nanfix.diagnosis.bisect import Bisection
from yolo_nanfix.diagnosis.label_lines import Origin
from yolo_nanfix.diagnosis.replay import Outcome
from yolo_nanfix.diagnosis.scan import FEW_JUMPED, JUMPED, STILL, OptimizerGroups, Scan, largest
from yolo_nanfix.diagnosis.trace import Leaf, Root
from yolo_nanfix.incident import Incident


@dataclass(frozen=True)
class Growth:
    """How weights changed since the earlier snapshot.

    Attributes:
        name: the weight whose largest magnitude grew most.
        factor: by how much.
        distance: how far all weights moved, as a share of their size then.
        jumped: weights that became large at once (see `JUMPED`).
        rest: how far all others moved.
        count: how many weights there are.
    """

    name: str
    factor: float
    distance: float
    jumped: tuple[str, ...] = ()
    rest: float = 0.0
    count: int = 0

    @property
    def was_set(self) -> bool:
        """A few weights jumped and the others did not: they were set, not driven by the learning rate."""
        few = 0 < len(self.jumped) <= max(2, FEW_JUMPED * self.count)
        return few and self.rest < STILL


FAR_GRADIENT = 1e3
"""A gradient this many times as large as the norm of all in the replay is far out."""


@dataclass(frozen=True)
class Lack:
    """One thing that the run had and the replay lacks.

    Attributes:
        kind: hook, function, file, class, device, release, entry.
        name: what it is on or in the place of, as the run had it.
        place: where it is written, or empty.
    """

    kind: str
    name: str
    place: str = ""

    def __str__(self) -> str:
        """As in `the hook of run.py:8 on model.0.conv.weight`."""
        at = f" of {self.place}" if self.place else ""
        return {
            "hook": f"the hook{at} on {self.name or 'all modules'}",
            "function": f"what{at} stood in the place of {self.name}",
            "file": f"the run's own {self.name}",
            "class": f"the class {self.place} at {self.name}",
            "device": f"the run's device ({self.name})",
            "release": f"{self.name} {self.place}, which the run had",
            "entry": f"the batch's {self.name}",
        }[self.kind]


@dataclass(frozen=True)
class Evidence:
    """The results of all steps of a diagnosis.

    Attributes:
        facts: of the incident.
        files: the image files of the batch.
        scan: what is not finite or odd without a replay.
        outcome: of the traced replay, or None without one; then `why_not` says why.
        same: whether the replay gave the recorded loss terms bit by bit; None if none were recorded.
        bisection: which images and rows alone fail.
        origins: of those rows.
        healthy_in_float32, healthy_with_earlier_weights: what those replays gave; None if not asked.
        growth: since the earlier snapshot, if one exists.
        patches: cards of yolo-nanfix that wrap the function in which it broke.
        by_release: the function in which it broke has the text of the installed release of Ultralytics.
        lacks: what the run had and the replay lacks.
        live: the diagnosis is made in the run's own process.
        hooked: hooks on weights whose gradients, in the run alone, and of no others, were not finite or far out.
        hooks: on modules, of the run's own process, that ran in the replay too, and may keep state of their own.
        odd_arguments: training arguments far out of range.
        usual_arguments: their defaults.
        healthy_with_usual_arguments: what the replay with their defaults gave; None if not asked.
        groups: the settings of the optimizer that are not finite or far out of range.
        large: weights larger than those of any healthy model, and their largest magnitudes.
        healthy_without_large: what the replay without their large values gave; None if not asked.
        kept: what loss and modules keep outside of weights and buffers that is not finite, by name: `value`, and
            `since`, the number of the first incident with it.
    """

    facts: Mapping[str, Any]
    files: tuple[str, ...]
    scan: Scan
    outcome: Outcome | None = None
    why_not: str = ""
    same: bool | None = None
    bisection: Bisection = field(default_factory=Bisection)
    origins: tuple[Origin, ...] = ()
    healthy_in_float32: bool | None = None
    healthy_with_earlier_weights: bool | None = None
    growth: Growth | None = None
    patches: tuple[str, ...] = ()
    by_release: bool = False
    lacks: tuple[Lack, ...] = ()
    live: bool = False
    hooked: tuple[Lack, ...] = ()
    hooks: tuple[Lack, ...] = ()
    kept: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    odd_arguments: Mapping[str, float] = field(default_factory=dict)
    usual_arguments: Mapping[str, float] = field(default_factory=dict)
    healthy_with_usual_arguments: bool | None = None
    groups: OptimizerGroups = field(default_factory=OptimizerGroups)
    large: Mapping[str, float] = field(default_factory=dict)
    healthy_without_large: bool | None = None

    @property
    def failed(self) -> bool:
        """The replay went wrong as the run did."""
        return self.outcome is not None and bool(self.outcome.bad)

    @property
    def set_weights(self) -> tuple[str, ...]:
        """The weights that jumped, if they were set."""
        return self.growth.jumped if self.growth is not None and self.growth.was_set else ()

    @property
    def leaf(self) -> str:
        """The tensor that was bad before the step, by the trace, or empty."""
        roots = self.roots()
        return roots[0].leaf.name if roots and roots[0].leaf else ""

    @property
    def kept_root(self) -> str:
        """The value outside of weights and buffers that the first bad operation read, or empty."""
        roots = self.roots()
        if self.leaf in self.kept:
            return self.leaf
        names = _infinite_parents(roots[0]) if roots and not self.bisection.images else ()
        if names and all(name in self.kept for name in names):
            return names[0]
        ends = {name.rpartition(".")[2] for name in roots[0].note.names if "." in name} if roots else set()
        return next((name for name in self.kept if name.rpartition(".")[2] in ends), "")

    def roots(self) -> tuple[Any, ...]:
        """Where bad values came from: the traced root, or else bad tensors that were read without a bad result."""
        if self.outcome is None:
            return ()
        return (self.outcome.root,) if self.outcome.root else self.outcome.strays


def _infinite_parents(root: Root) -> tuple[str, ...]:
    """The tensors that had an Inf before the step and from which alone an operation made a NaN; else empty.

    An Inf may be intended, but not where it alone makes the result NaN (0 * Inf).
    """
    note = root.note
    if root.leaf is not None or not note.nan or not all(isinstance(p, Leaf) and p.name for p in note.parents):
        return ()
    return tuple(p.name for p in note.parents if isinstance(p, Leaf))


def growth(incident: Incident) -> Growth | None:
    """Compare the weights with those of the earlier snapshot; running statistics do not count."""
    now, then = incident.part("model"), incident.part("earlier")
    names = [n for n in then if n in now and then[n].is_floating_point() and "running_" not in n]
    if not names:
        return None
    sizes = {n: largest(now[n]) for n in names}
    factors = {n: sizes[n] / max(largest(then[n]), 1e-6) for n in names}
    jumped = tuple(n for n in names if sizes[n] > JUMPED and factors[n] > JUMPED)
    moved = {n: float((now[n].double() - then[n].double()).square().sum()) for n in names}
    size = {n: float(then[n].double().square().sum()) for n in names}
    name = max(factors, key=lambda n: factors[n])
    others = [n for n in names if n not in jumped]
    rest = _share(moved, size, others) if others else 0.0
    return Growth(name, factors[name], _share(moved, size, names), jumped, rest, len(names))


def _share(moved: Mapping[str, float], size: Mapping[str, float], names: Sequence[str]) -> float:
    distance = sum(moved[n] for n in names) ** 0.5
    return float(distance / max(sum(size[n] for n in names) ** 0.5, 1e-12))


def rise(history: Any, key: str) -> float | None:
    """The last value of a series against the median of its first half; None for fewer than four values."""
    values = [float(entry[key]) for entry in history or () if isinstance(entry, Mapping) and entry.get(key) is not None]
    if len(values) < 4:
        return None
    usual = median(values[: len(values) // 2])
    return max(values[-3:]) / usual if usual > 0 else None


def lacks_of(incident: Incident, model: nn.Module) -> tuple[Lack, ...]:
    """What a model that was built from an incident lacks, the most important first."""
    own = incident.facts.get("own") or {}
    here, edits = upstream.replaced(), upstream.edited()
    owners = kept.owners(model)
    classes = own.get("classes") or {}
    found = [Lack("function", str(k), str(v)) for k, v in (own.get("replaced") or {}).items() if k not in here]
    found += [Lack("file", str(k)) for k, v in (own.get("edited") or {}).items() if edits.get(k) != v]
    for at, path in classes.items():  # of that name, from whatever module
        owner = owners.get(str(at))
        if owner is None or type(owner).__qualname__ != str(path).rpartition(":")[2]:
            found.append(Lack("class", str(at), str(path)))
    found += [Lack("hook", str(h.get("on", "")), str(h.get("code", ""))) for h in own.get("hooks") or ()]
    versions = incident.facts.get("versions")
    recorded = versions.get("ultralytics") if isinstance(versions, Mapping) else None
    if recorded and str(recorded) != upstream.version():
        found.append(Lack("release", "ultralytics", str(recorded)))
    if own.get("device", "cpu") != "cpu":
        found.append(Lack("device", str(own["device"])))
    return tuple(found)


def lacks_of_live(hooks: tuple[tuple[str, str, Any], ...]) -> tuple[Lack, ...]:
    """What a copy of the live model lacks: hooks that run after a gradient was added, for they may take steps."""
    return tuple(_hook(on, hook) for on, kind, hook in hooks if kind == "post-accumulate")


def _hook(on: str, hook: Any) -> Lack:
    return Lack("hook", on, upstream.place_of(kept.plain_function(hook)))


def hooks_at_fault(
    hooks: tuple[tuple[str, str, Any], ...], gradients: Mapping[str, Any], limit: float
) -> tuple[Lack, ...]:
    """The hooks (as `kept.hooks` gives them) that explain bad gradients of the run; a replay without them has none.

    A finite gradient above `limit` is bad, too. Nothing, unless every weight with a bad gradient has a hook.
    """
    by_weight = {on: hook for on, kind, hook in hooks if kind in ("tensor", "post-accumulate")}
    bad = [str(name) for name in gradients.get("bad") or ()]
    bad += [str(name) for name, size in (gradients.get("largest") or {}).items() if size > limit]
    if not bad or not by_weight.keys() >= set(bad) or int(gradients.get("count") or 0) > len(by_weight):
        return ()
    return tuple(_hook(name, by_weight[name]) for name in bad)


def hooks_on_modules(hooks: tuple[tuple[str, str, Any], ...], same: bool | None) -> tuple[Lack, ...]:
    """The hooks on modules that a healthy replay does not clear: what they do may change from pass to pass.

    `same`: the replay gave the run's loss terms; then those of the backward pass alone, if any.
    """
    on = [entry for entry in hooks if entry[1].startswith(("forward", "backward"))]
    backward = [entry for entry in on if entry[1].startswith("backward")]
    found = backward if same and backward else on
    return tuple(_hook(name, hook) for name, _, hook in found)
