"""What a diagnosis concludes, as a value that the guard acts on and the reports show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from yolo_nanfix.json_values import JsonValue


class Cause(str, Enum):
    """The classes of cause, in the order of the decision tree."""

    DATA = "data"
    LABEL = "label"
    SETTING = "setting"
    STATE = "state"
    LEARNING_RATE = "learning-rate"
    GRADIENT = "gradient"
    PRECISION = "precision"
    NUMERICS = "numerics"
    DEFINITION = "definition"
    NONDETERMINISTIC = "nondeterministic"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Verdict(JsonValue):
    """Why one step went wrong.

    Attributes:
        cause: the class of cause.
        summary: one sentence.
        op: the first operation with finite inputs whose output or changed argument is not finite
            (`aten.native_batch_norm`), empty if none was found.
        module: dotted path of the module that ran it (`model.0.conv`), `loss` for the loss function, `optimizer`.
        code: file and line of the Python code that ran it (`ultralytics/utils/loss.py:231`).
        phase: forward, backward or step.
        tensor: the weight, buffer, batch entry or optimizer state that was not finite before the op ran; of settings of
            the optimizer `optimizer.groups.0.lr`, of training arguments `args.box`.
        images: the image files that alone make the step fail.
        labels: the label rows that do, as `file:line`.
        dtype: the dtype of the op's output (`float16`).
        confidence: 0 to 1.
        evidence: what was seen by question: `replay`, then the nodes of the decision tree in their order.
        advice: what the user should change: a setting, a file, a line, a patch.
        commands: commands of yolo-nanfix that help.
        lr0: the learning rate proposed, where that is the cause and a range test found one.
        reproduced: whether the replay gave the run's loss terms bit for bit; None where that is not known.
        replays: how often the step was run again.
        seconds: how long the diagnosis took.
    """

    cause: Cause
    summary: str
    op: str = ""
    module: str = ""
    code: str = ""
    phase: str = ""
    tensor: str = ""
    images: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    dtype: str = ""
    confidence: float = 0.0
    evidence: Mapping[str, str] = field(default_factory=dict)
    advice: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    lr0: float | None = None
    reproduced: bool | None = None
    replays: int = 0
    seconds: float = field(default=0.0, compare=False)
