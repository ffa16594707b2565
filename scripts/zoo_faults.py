"""The faults of the zoo: which kinds there are, what keys each takes, and where in the run it strikes.

Every kind is planted as a user's own files or code would bring it in (bad files, a trainer subclass, a bad
checkpoint), so that stock and ours meet exactly the same. Nothing of yolo-nanfix is touched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zoo_fault_files as files
import zoo_fault_state as state
import zoo_fault_steps as steps

from yolo_nanfix.errors import UsageError, nearest

WHEN: dict[str, Any] = {"at": {"epoch": 2, "batch": "middle"}, "limit": 10**9, "while": "always"}
WORDS = {"epoch": ("first", "last", "each"), "batch": ("first", "middle", "last", "each")}


@dataclass(frozen=True)
class Kind:
    """One kind of fault.

    Attributes:
        keys: the keys it takes, with their defaults.
        files: changes a copy of the dataset, (root, fault) -> image files that are now faulty.
        checkpoint: changes a loaded checkpoint, (checkpoint, fault).
        trainer: a user's trainer, (base class, fault) -> class.
    """

    keys: Mapping[str, Any]
    files: Callable[[Path, Mapping[str, Any]], list[Path]] | None = None
    checkpoint: Callable[[dict[str, Any], Mapping[str, Any]], None] | None = None
    trainer: Callable[[type, Mapping[str, Any]], type] | None = None


KINDS: dict[str, Kind] = {
    "none": Kind({}),
    "learning-rate": Kind({}),
    "pixels": Kind({"value": "nan", "share": 0.0, **WHEN}, trainer=steps.pixels),
    "targets": Kind({"key": "bboxes", "values": ("nan",), **WHEN}, trainer=steps.targets),
    "activation": Kind(
        {"module": "model.4", "value": None, "factor": 1.0, "background": False, **WHEN}, trainer=steps.activation
    ),
    "gradient": Kind({"module": "model.2", "value": "nan", **WHEN}, trainer=steps.gradient),
    "loss": Kind({"form": "log", **WHEN}, trainer=steps.loss),
    "class-weights": Kind({"value": "inf"}, trainer=steps.class_weights),
    "live-state": Kind({"what": "weights", "value": "nan", **WHEN}, trainer=steps.live_state),
    "array": Kind({"value": "nan", "factor": 1.0, "share": 1.0, "split": "train", "images": (0,)}, files=files.array),
    "tiff": Kind({"value": "nan", "split": "train", "images": (0,), "channels": 4}, files=files.tiff),
    "deep-png": Kind({}, files=files.deep_png),
    "rows": Kind({"rows": (), "split": "train", "images": (0,), "replace": False, "missing": False}, files=files.rows),
    "checkpoint": Kind({"what": "weights", "value": "nan", "resume": False, "after": 2}, checkpoint=state.poison),
    "kill": Kind({"after": 2}),
}


def checked(raw: Mapping[str, Any]) -> dict[str, Any]:
    """A fault as a spec gives it, with the defaults of its kind filled in.

    Raises:
        UsageError: the kind, a key or a position is unknown.
    """
    kind = raw.get("kind")
    if kind not in KINDS:
        raise UsageError(f"fault: no kind '{kind}'; {nearest(str(kind), KINDS)}")
    known = KINDS[kind].keys
    for key in raw:
        if key not in (*known, "kind"):
            raise UsageError(f"fault {kind}: unknown key '{key}'; {nearest(str(key), known)}")
    fault = {**known, **raw}
    if "at" in known:
        fault["at"] = [_position(kind, at) for at in _listed(fault["at"])]
        if fault["while"] not in ("always", "amp"):
            raise UsageError(f"fault {kind}: while is {fault['while']!r}, not always or amp")
    return fault


def _listed(value: Any) -> Iterable[Any]:
    return value if isinstance(value, list) else [value]


def _position(kind: str, at: Any) -> dict[str, Any]:
    if not isinstance(at, Mapping) or set(at) != set(WORDS):
        raise UsageError(f"fault {kind}: at must be {{epoch: ..., batch: ...}}, not {at!r}")
    for key, words in WORDS.items():
        if not (isinstance(at[key], int) and at[key] > 0) and at[key] not in words:
            raise UsageError(f"fault {kind}: {key} is {at[key]!r}, not a number from 1 or {', '.join(words)}")
    return dict(at)
