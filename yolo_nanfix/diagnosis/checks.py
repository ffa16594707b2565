"""Checks that a loaded incident has the form that a diagnosis relies on; incidents come from anywhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from yolo_nanfix.errors import DataError
from yolo_nanfix.incident import Incident

FORMS: Mapping[str, Any] = {
    "model": Mapping,
    "args": Mapping,
    "criterion": Mapping,
    "sources": list,
    "history": list,
    "lr": list,
    "base_lr": (int, float),
    "frozen": list,
    "loss": Mapping,
    "precision": str,
    "loss_scale": (int, float),
    "threads": int,
    "check": str,
    "entries": Mapping,
    "attributes": Mapping,
    "kept": Mapping,
    "groups": list,
    "settings": list,
    "callbacks": list,
    "gradients": Mapping,
    "own": Mapping,
    "verdict": Mapping,
    "born_non_finite": list,
    "other_buffers": list,
}

WITHIN: tuple[tuple[str, Any], ...] = (
    ("sources", Mapping),
    ("history", Mapping),
    ("lr", (int, float)),
    ("attributes", Mapping),
    ("kept", Mapping),
    ("groups", Mapping),
    ("settings", Mapping),
    ("callbacks", Mapping),
    ("born_non_finite", str),
    ("other_buffers", str),
)


def check(incident: Incident) -> None:
    """Refuse facts of the wrong type and tensors of the wrong shape.

    Raises:
        DataError: the first one that is wrong.
    """
    for key, form in FORMS.items():
        value = incident.facts.get(key)
        if value is not None and not isinstance(value, form):
            raise DataError(f"the incident's '{key}' has the wrong form: {type(value).__name__}")
    for key, within in WITHIN:
        held = incident.facts.get(key) or ()
        if not all(isinstance(entry, within) for entry in (held.values() if isinstance(held, Mapping) else held)):
            raise DataError(f"the incident's '{key}' has an entry of the wrong form")
    _own(incident.facts.get("own") or {})
    for source in incident.facts.get("sources") or ():
        if not isinstance(source.get("on_disk", ""), str) or not isinstance(source.get("blamed", []), list):
            raise DataError("the incident's 'sources' says in a wrong form what its files are on disk")
        labels = source.get("labels")
        if labels and not (isinstance(labels, Mapping) and isinstance(labels.get("rows"), list) and "file" in labels):
            raise DataError("the incident's 'sources' has labels of the wrong form")
    _batch(incident)


def _own(own: Mapping[str, Any]) -> None:
    forms = {"hooks": list, "replaced": Mapping, "edited": Mapping, "classes": Mapping, "device": str}
    for key, form in forms.items():
        if own.get(key) is not None and not isinstance(own[key], form):
            raise DataError(f"the incident's 'own.{key}' has the wrong form: {type(own[key]).__name__}")
    if not all(isinstance(hook, Mapping) for hook in own.get("hooks") or ()):
        raise DataError("the incident's 'own.hooks' has an entry of the wrong form")


def _batch(incident: Incident) -> None:
    batch = incident.part("batch")
    if not batch:
        return
    image = batch.get("img")
    if image is None or image.dim() != 4 or not image.is_floating_point() or not len(image):
        shape = "missing" if image is None else f"{image.dtype} of shape {tuple(image.shape)}"
        raise DataError(f"the incident's batch.img must be a float tensor of 4 dimensions, but is {shape}")
    index = batch.get("batch_idx")
    if index is None:
        return
    owners = index.reshape(-1)
    if len(owners) and not 0 <= float(owners.min()) <= float(owners.max()) < len(image):
        raise DataError(f"the incident's batch.batch_idx points outside of its {len(image)} images")
    for key, wide in (("cls", 1), ("bboxes", 4)):
        rows = batch.get(key)
        if rows is None or len(rows) != len(owners) or (len(rows) and rows[0].numel() < wide):
            shape = "missing" if rows is None else f"of shape {tuple(rows.shape)}"
            raise DataError(f"the incident's batch.{key} is {shape}, for {len(owners)} label rows")
