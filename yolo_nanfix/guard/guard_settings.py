"""The guard's settings, one frozen value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from yolo_nanfix.errors import UsageError, nearest
from yolo_nanfix.json_values import JsonValue
from yolo_nanfix.wording import shown

REPAIRS = ("none", "state", "all")
TYPES = {int: "an int", bool: "true or false", str: "a word"}


def _setting(default: Any, help_text: str, least: int = 0) -> Any:
    return field(default=default, metadata={"help": help_text, "least": least})


@dataclass(frozen=True)
class GuardSettings:
    """How the guard behaves; each field's `help` says what it does.

    Raises:
        UsageError: a value has the wrong type or is out of range.
    """

    max_bad_in_a_row: int = _setting(10, "stop the run at this many bad micro-batches in a row", 1)
    quarantine_after: int = _setting(
        2, "leave an image out of the run once it spoilt this many micro-batches; 0: never"
    )
    snapshot_every: int = _setting(50, "optimizer steps between the in-memory snapshots for rollback; 0: no rollback")
    max_rollbacks: int = _setting(5, "stop the run when it has to be rolled back more often than this")
    leave_fp16: bool = _setting(True, "go on in bfloat16 or float32 when float16 keeps failing where float32 does not")
    diagnose: bool = _setting(True, "replay bad micro-batches in the run, at most 10 step times each, float32 apart")
    incidents: int = _setting(20, "keep this many incident files in the run folder, the newest; 0: write none")
    incident_mb: int = _setting(256, "largest incident file in MB; beyond it weights are left out", 1)
    rank_timeout: int = _setting(
        300, "several GPUs: end the run when a process has given no sign of life for this many seconds; 0: never"
    )
    step_timeout: int = _setting(
        1800, "several GPUs: end the run when no process has come any further for this many seconds; 0: never"
    )
    repair: str = _setting(
        "state",
        "non-finite state at the start: 'state' repairs BatchNorm statistics, optimizer state and loss scale, "
        "'all' also weights (by fresh ones), 'none' refuses them all",
    )

    def __post_init__(self) -> None:
        for setting in fields(self):
            value, kind = getattr(self, setting.name), type(setting.default)
            if type(value) is not kind:
                raise UsageError(f"guard setting {setting.name} must be {TYPES[kind]}, not {shown(value)}")
            if kind is int and value < setting.metadata["least"]:
                raise UsageError(
                    f"guard setting {setting.name} must be at least {setting.metadata['least']}, not {value}"
                )
        if self.repair not in REPAIRS:
            raise UsageError(f"guard setting repair must be one of {', '.join(REPAIRS)}, not {shown(self.repair)}")

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """The names of all settings."""
        return tuple(setting.name for setting in fields(cls))

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> GuardSettings:
        """Build from keyword arguments; an unknown name raises `UsageError` with the nearest known one."""
        for name in values:
            if name not in cls.names():
                raise UsageError(f"no guard setting '{name}'; {nearest(name, cls.names())}")
        return cls(**values)


@dataclass(frozen=True)
class InForce(JsonValue):
    """How every trainer that is built is guarded, or why it is not.

    Attributes:
        settings: how it is guarded; None if it is not.
        off: what switched the guard off, if so: a file and its key, a variable, an option.
        doubtful: a settings file that decided about the guard before the dataset was known.
        instead: the settings that hold where that file came with the dataset.
    """

    settings: GuardSettings | None
    off: str = ""
    doubtful: str = ""
    instead: GuardSettings | None = None
