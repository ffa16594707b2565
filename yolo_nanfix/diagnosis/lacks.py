"""What the run had that a replay elsewhere has not: functions put into Ultralytics, edited files, hooks, a device.

A replay that lacks something proves nothing when it is healthy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from yolo_nanfix import kept, upstream
from yolo_nanfix.incident import Incident

FAR = 1e3
"""A gradient this many times as large as the norm of all in the replay is far out."""


@dataclass(frozen=True)
class Lack:
    """One thing.

    Attributes:
        kind: hook, function, file, class, device, release, entry.
        name: what it is on or in the place of, as the run had it.
        place: where it is written, or empty.
    """

    kind: str
    name: str
    place: str = ""

    def __str__(self) -> str:
        """For people."""
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


def of(incident: Incident, model: nn.Module) -> tuple[Lack, ...]:
    """What a model that was built here from an incident lacks, in the order of how much it may matter."""
    own = incident.facts.get("own") or {}
    here, edits = upstream.replaced(), upstream.edited()
    owners = kept.owners(model)
    classes = own.get("classes") or {}
    found = [Lack("function", str(k), str(v)) for k, v in (own.get("replaced") or {}).items() if k not in here]
    found += [Lack("file", str(k)) for k, v in (own.get("edited") or {}).items() if edits.get(k) != v]
    found += [Lack("class", str(k), str(v)) for k, v in classes.items() if not _is(owners.get(str(k)), str(v))]
    found += [Lack("hook", str(h.get("on", "")), str(h.get("code", ""))) for h in own.get("hooks") or ()]
    versions = incident.facts.get("versions")
    recorded = versions.get("ultralytics") if isinstance(versions, Mapping) else None
    if recorded and str(recorded) != upstream.version():
        found.append(Lack("release", "ultralytics", str(recorded)))
    if own.get("device", "cpu") != "cpu":
        found.append(Lack("device", str(own["device"])))
    return tuple(found)


def of_live(hooks: tuple[tuple[str, str, Any], ...]) -> tuple[Lack, ...]:
    """What a copy of the live model lacks: hooks that run after a gradient was added, for they may take steps."""
    return tuple(
        Lack("hook", on, upstream.place_of(kept.plain_function(hook)))
        for on, kind, hook in hooks
        if kind == "post-accumulate"
    )


def hooked(hooks: tuple[tuple[str, str, Any], ...], gradients: Mapping[str, Any], limit: float) -> tuple[Lack, ...]:
    """The hooks that explain gradients which were bad in the run and are not so in a replay without those hooks.

    Args:
        hooks: as `kept.hooks` gives them.
        gradients: of the run, as an incident has them.
        limit: a finite gradient above this is far out.

    Returns:
        Nothing, unless every weight with a bad gradient has a hook.
    """
    by_weight = {on: hook for on, kind, hook in hooks if kind in ("tensor", "post-accumulate")}
    bad = [str(name) for name in gradients.get("bad") or ()]
    bad += [str(name) for name, size in (gradients.get("largest") or {}).items() if size > limit]
    if not bad or not by_weight.keys() >= set(bad) or int(gradients.get("count") or 0) > len(by_weight):
        return ()
    return tuple(Lack("hook", name, upstream.place_of(kept.plain_function(by_weight[name]))) for name in bad)


def on_modules(hooks: tuple[tuple[str, str, Any], ...], same: bool | None) -> tuple[Lack, ...]:
    """The hooks on modules that a healthy replay does not clear: what they do may change from pass to pass.

    Args:
        hooks: as `kept.hooks` gives them.
        same: whether the replay gave the run's loss terms; then those of the backward pass alone, if any.
    """
    on = [entry for entry in hooks if entry[1].startswith(("forward", "backward"))]
    backward = [entry for entry in on if entry[1].startswith("backward")]
    found = backward if same and backward else on
    return tuple(Lack("hook", name, upstream.place_of(kept.plain_function(hook))) for name, _, hook in found)


def _is(owner: Any, path: str) -> bool:
    """Whether an object is of a class of that name, from whatever module."""
    return owner is not None and type(owner).__qualname__ == path.rpartition(":")[2]
