"""What a plan holds, as values: advices with their reasons, figures and sources, and what is left undecided.

The sentences are made in `report.plan_words`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from yolo_nanfix.json_values import JsonValue


class Strength(str, Enum):
    """What an advice rests on, the strongest first."""

    MEASURED = "measured here"
    """It follows from counts of this set, or from what this release does with them."""
    PUBLISHED = "published"
    """Experiments on other sets, in a paper or a pull request."""
    RULE = "rule of thumb"
    """Practice or documentation without an experiment that can be looked up."""


class Reason(str, Enum):
    """Why a setting is advised, or why none is."""

    LABELS_READ = "labels-read"
    OBJECTS_SEEN = "objects-seen"
    OBJECTS_TINY = "objects-tiny"
    OBJECTS_TINY_IN_FILES = "objects-tiny-in-files"
    IMAGES_TOO_LARGE = "images-too-large"
    NO_GPU = "no-gpu"
    SCALE_UNKNOWN = "scale-unknown"
    FROM_SCRATCH = "from-scratch"
    LITTLE_MEMORY = "little-memory"
    BATCH_UNKNOWN = "batch-unknown"
    STEP_SPANS_EPOCHS = "step-spans-epochs"
    EPOCHS_UNKNOWN = "epochs-unknown"
    VAL_NOISY = "val-noisy"
    LR0_IGNORED = "lr0-ignored"
    RATE_BY_SIZE = "rate-by-size"
    RATE_FOR_ADAM = "rate-for-adam"
    WARMUP_LONG = "warmup-long"
    FREEZE_VARIES = "freeze-varies"
    MOSAIC_CLOSED_LONG = "mosaic-closed-long"
    MOSAIC_UNKNOWN = "mosaic-unknown"
    CLASSES_MIRRORED = "classes-mirrored"
    CLASSES_ARE_CHARACTERS = "classes-are-characters"
    CLASSES_UPRIGHT = "classes-upright"
    KEYPOINTS_SWAPPED = "keypoints-swapped"
    KEYPOINTS_NOT_SWAPPED = "keypoints-not-swapped"
    KEYPOINTS_NAMED = "keypoints-named"
    KEYPOINTS_UNKNOWN = "keypoints-unknown"
    WEIGHTS_WITHOUT_GAIN = "weights-without-gain"
    IMAGES_CROWDED = "images-crowded"
    RECT_WITHOUT_MOSAIC = "rect-without-mosaic"
    HALF_BROKEN = "half-broken"
    VAL_NONE = "val-none"
    VAL_ONE = "val-one"
    VAL_SMALL = "val-small"
    VAL_ENOUGH = "val-enough"


@dataclass(frozen=True)
class Source(JsonValue):
    """Where something can be looked up: what it is called, and its address."""

    title: str
    address: str


@dataclass(frozen=True)
class Because(JsonValue):
    """A reason, and the figures of this set and machine that it needs.

    Attributes:
        reason: the kind of reason.
        figures: numbers, and names from the dataset, by name.
    """

    reason: Reason
    figures: Mapping[str, Any]


@dataclass(frozen=True)
class Advice(JsonValue):
    """One reasoned setting.

    Attributes:
        setting: a training argument of Ultralytics, a key of data.yaml (`flip_idx`), `tiling` or `val images`.
        value: what is advised.
        default: what training would use without it.
        because: the reason.
        source: where it can be looked up.
        strength: what it rests on.
        arguments: the training arguments that carry it out; empty if it is none.
    """

    setting: str
    value: Any
    default: Any
    because: Because
    source: Source
    strength: Strength
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @property
    def changes(self) -> bool:
        """Whether it differs from what training would use without it."""
        return bool(self.value != self.default)

    def as_dict(self) -> dict[str, Any]:
        """A JSON-ready dict, also with `changes`."""
        return {**super().as_dict(), "changes": self.changes}


@dataclass(frozen=True)
class Undecided(JsonValue):
    """A setting for which nothing is advised, since there is no evidence for a value.

    Attributes:
        setting: as of an advice.
        because: why not, with the figures of this set.
        source: where the lack of evidence can be looked up.
    """

    setting: str
    because: Because
    source: Source


@dataclass(frozen=True)
class Plan(JsonValue):
    """The advices for training on one dataset on this machine.

    Attributes:
        data: its data.yaml, or its folder.
        root: its folder.
        task: the task that its labels are for.
        fingerprint: what tells this dataset from others: task, names and counts.
        figures: what was counted, JSON-ready.
        machine: what it trains on, JSON-ready.
        given: the training arguments of the call, for which there is no advice.
        advices: at most `MOST` of `finetune.planner`, the strongest first.
        undecided: settings without evidence.
        left_out: how many weaker advices there are.
        fatal: how many fatal findings lint has: these come first.
        model: the model that would be trained.
    """

    data: str
    root: str
    task: str
    fingerprint: Mapping[str, Any]
    figures: Mapping[str, Any]
    machine: Mapping[str, Any]
    given: Mapping[str, Any]
    advices: tuple[Advice, ...]
    undecided: tuple[Undecided, ...]
    left_out: int = 0
    fatal: int = 0
    model: str = ""

    @property
    def arguments(self) -> dict[str, Any]:
        """The training arguments that were given, and those of the advices."""
        found: dict[str, Any] = {}
        for advice in self.advices:
            found |= advice.arguments
        return found | dict(self.given)

    def as_dict(self) -> dict[str, Any]:
        """A JSON-ready dict, also with `arguments`."""
        return {**super().as_dict(), "arguments": self.arguments}

    def _repr_html_(self) -> str:
        """The advices as a table, for a notebook."""
        from yolo_nanfix.report.html import plan_page

        return plan_page.notebook(self)
