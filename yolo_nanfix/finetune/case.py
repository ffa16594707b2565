"""What an advice is asked about, and how the units of advice are declared."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, NamedTuple

from yolo_nanfix.finetune.figures import Figures
from yolo_nanfix.finetune.machine import Machine
from yolo_nanfix.plans import Advice, Because, Reason, Source, Strength, Undecided
from yolo_nanfix.tasks import TASKS

UNITS = (
    "task_of_labels", "scale_of_model", "weights_to_start", "image_size", "batch_size", "nominal_batch", "run_length",
    "early_stopping", "optimizer_choice", "rate_of_small_sets", "warmup_share", "frozen_layers", "mosaic_closing",
    "mosaic_share", "mirroring", "keypoint_swaps", "turning", "class_weighting", "detections_kept", "rect_batches",
    "mixed_precision", "val_size",
)  # fmt: skip
"""The modules of `advices`, in the order in which they are asked: each knows what those before it advise."""
WARMUP_FLOOR = 100
"""The fewest iterations of warm-up in releases before `WARMUP_FREE` (pull request 25321)."""
WARMUP_FREE = (8, 4, 103)
CLASSIFY_IMGSZ = 224
"""The image size of a classifier, unless one is given."""


@dataclass(frozen=True)
class Case:
    """A dataset, a machine and the training arguments so far.

    Attributes:
        figures: of the dataset.
        machine: that would train.
        defaults: the default training arguments of the installed release.
        given: those of the call.
        release: of Ultralytics.
        default_model: the model that Ultralytics trains for the task unless one is given.
        advised: what earlier advices set.
    """

    figures: Figures
    machine: Machine
    defaults: Mapping[str, Any]
    given: Mapping[str, Any]
    release: tuple[int, ...]
    default_model: str = ""
    advised: dict[str, Any] = field(default_factory=dict)

    def get(self, key: str) -> Any:
        """A training argument: as given, else as advised, else the default."""
        return self.given.get(key, self.advised.get(key, self.defaults.get(key)))

    @property
    def model(self) -> str:
        """The name of the model that would be trained."""
        return str(self.get("model") or self.default_model)

    @property
    def imgsz(self) -> int:
        """The image size in pixels; of two sides the longer one."""
        if self.figures.task == "classify" and "imgsz" not in self.given:
            return CLASSIFY_IMGSZ
        value = self.get("imgsz")
        return int(max(value)) if isinstance(value, (list, tuple)) else int(value)

    @property
    def classes(self) -> int:
        """The number of classes that the model tells apart."""
        return 1 if self.get("single_cls") else len(self.figures.names)

    @property
    def images(self) -> int:
        """The number of images that an epoch trains on; `fraction` of them if that is given."""
        share = self.get("fraction")
        share = share[0] if isinstance(share, (list, tuple)) and share else share
        if isinstance(share, bool) or not isinstance(share, (int, float)):
            return self.figures.train.images
        every = self.figures.train.images
        return min(share, every) if isinstance(share, int) and share > 1 else max(round(share * every), 1)

    @property
    def batch(self) -> int:
        """Images in a batch; the default where AutoBatch would choose."""
        value = self.get("batch")
        return int(value) if isinstance(value, int) and value > 0 else int(self.defaults["batch"])

    @property
    def epochs(self) -> int:
        """Epochs of the run."""
        return max(int(self.get("epochs")), 1)

    @property
    def batches(self) -> int:
        """Batches in an epoch."""
        return max(math.ceil(self.images / self.batch), 1)

    @property
    def accumulated(self) -> int:
        """Batches that one optimizer step gathers."""
        return max(round(int(self.get("nbs")) / self.batch), 1)

    @property
    def steps(self) -> int:
        """The number by which `optimizer=auto` chooses: optimizer steps of the run, each epoch rounded up."""
        return math.ceil(self.images / max(self.batch, int(self.get("nbs")))) * self.epochs

    @property
    def automatic(self) -> bool:
        """Whether Ultralytics chooses optimizer and rate itself."""
        return str(self.get("optimizer")).lower() == "auto"

    @property
    def warmup(self) -> int:
        """Batches of the warm-up, as the installed release counts them."""
        epochs = float(self.get("warmup_epochs"))
        if epochs <= 0:
            return 0
        if self.release >= WARMUP_FREE:
            return round(min(epochs, max(self.epochs - 1, 0)) * self.batches)
        return max(round(epochs * self.batches), WARMUP_FLOOR)


@dataclass(frozen=True)
class Value:
    """What a unit advises.

    Attributes:
        value: of the setting.
        reason, figures: why.
        arguments: the training arguments that carry it out; None for the setting itself.
        default: what training would use; None for the default of the setting.
        setting, strength: if they are others than the unit's.
    """

    value: Any
    reason: Reason
    figures: Mapping[str, Any]
    arguments: Mapping[str, Any] | None = None
    default: Any = None
    setting: str = ""
    strength: Strength | None = None


class Unknown(NamedTuple):
    """That there is no evidence for a value, and the figures that somebody who decides should know."""

    reason: Reason
    figures: Mapping[str, Any]


Answer = Value | Unknown | None
Ask = Callable[[Case], Answer]


@dataclass(frozen=True)
class Unit:
    """One unit of advice.

    Attributes:
        module: its module in `advices`.
        setting: what it advises on.
        title: one sentence on what it says, and when.
        why: the evidence.
        source: where that can be looked up.
        strength: what its advices rest on; None if it never has a value.
        tasks: those that it is about.
        by_epochs: whether it counts epochs, which a run of limited `time` does not know.
        silenced_by: training arguments that decide what it advises on: it is not asked if one of them is given.
        ask: the function.
    """

    module: str
    setting: str
    title: str
    why: str
    source: Source
    strength: Strength | None
    tasks: tuple[str, ...]
    by_epochs: bool
    silenced_by: tuple[str, ...]
    ask: Ask

    def applies(self, case: Case) -> bool:
        """Whether it is asked: not for other tasks, nor for what the call decides."""
        decided = any(key in case.given for key in self.silenced_by)
        return case.figures.task in self.tasks and not decided and not (self.by_epochs and case.get("time"))

    def answer(self, case: Case) -> Advice | Undecided | None:
        """What it says; None for nothing."""
        said = self.ask(case) if self.applies(case) else None
        if said is None:
            return None
        because = Because(said.reason, said.figures)
        if isinstance(said, Unknown) or self.strength is None:
            return Undecided(self.setting, because, self.source)
        setting = said.setting or self.setting
        arguments = (
            {setting: said.value} if said.arguments is None and setting in case.defaults else said.arguments or {}
        )
        default = case.defaults.get(setting) if said.default is None else said.default
        return Advice(setting, said.value, default, because, self.source, said.strength or self.strength, arguments)


_declared: dict[str, Unit] = {}


def advises(
    setting: str,
    source: Source,
    strength: Strength | None,
    *,
    tasks: tuple[str, ...] = TASKS,
    by_epochs: bool = False,
    silenced_by: tuple[str, ...] = (),
) -> Callable[[Ask], Ask]:
    """Declare the function of a unit; its docstring has what it says in the first line, and below the evidence.

    Args:
        setting: what it advises on; it is not asked if that is among the given arguments.
        source: of the evidence.
        strength: what its advices rest on; None if it never has a value.
        tasks: those that it is about.
        by_epochs: whether it counts epochs.
        silenced_by: more arguments of a call that decide what it advises on.
    """

    def register(ask: Ask) -> Ask:
        title, _, why = (ask.__doc__ or "").partition("\n")
        module = ask.__module__.rpartition(".")[2]
        if not why.strip():
            raise TypeError(f"the unit {module} does not say what its advice rests on")
        silent = (setting, *silenced_by)
        _declared[module] = Unit(
            module, setting, title, " ".join(why.split()), source, strength, tasks, by_epochs, silent, ask
        )
        return ask

    return register


def units() -> tuple[Unit, ...]:
    """All units, in the order in which they are asked."""
    for module in UNITS:
        import_module(f"yolo_nanfix.finetune.advices.{module}")
    return tuple(_declared[module] for module in UNITS)
