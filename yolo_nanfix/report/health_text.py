"""What a run lost, in words, from the list `lost` of its report, which holds kinds and numbers."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from yolo_nanfix.health import LossKind, Lost, State
from yolo_nanfix.run_folder import lenient

SHOWN_EPOCHS = 5
"""At most this many epochs are named."""


def losses(summary: Mapping[str, Any]) -> list[Lost]:
    """What was lost by the report of a run, the worst first; what cannot be read is left out."""
    found = []
    for entry in lenient.entries(summary, "lost"):
        with suppress(ValueError):
            found.append(Lost.from_dict(entry))
    return found


def phrases(lost: Iterable[Lost], leave_out: Collection[LossKind] = ()) -> list[str]:
    """What was lost, one short phrase each."""
    return [_phrase(one) for one in lost if one.kind not in leave_out]


def reasons(lost: Iterable[Lost]) -> tuple[str, ...]:
    """The phrases of the losses that make a run degraded or failed."""
    return tuple(_phrase(one) for one in lost if one.state is not State.HEALTHY)


def finds_nothing_yet(summary: Mapping[str, Any]) -> bool:
    """Whether a healthy run has no validation metric above 0: its model may be useless."""
    return any(one.kind is LossKind.NOTHING_FOUND for one in losses(summary))


def _phrase(lost: Lost) -> str:
    count, of, which = lost.count, lost.of, _named_epochs(lost.epochs)
    yet = "finds nothing yet" if lost.state is State.HEALTHY else "finds nothing"
    return {
        LossKind.MICRO_BATCHES: f"{count:.0f} of {of:.0f} micro-batches dropped",
        LossKind.IMAGES: f"{count:.0f} of {of:.0f} images left out",
        LossKind.SAMPLES: f"{count:.0f} of {of:.0f} samples left out alone",
        LossKind.STEPS_REFUSED: f"{count:.0f} of {of:.0f} optimizer steps held back",
        LossKind.STEPS_UNDONE: f"{count:.0f} of {of:.0f} optimizer steps undone by rollbacks",
        LossKind.EPOCHS_WITHOUT_STEP: f"no optimizer step in {which}",
        LossKind.EPOCHS_WITHOUT_LOSS: f"train losses of {which} not finite",
        LossKind.CHECKPOINTS: f"{_times(count)} no checkpoint was written",
        LossKind.LAST_CHECKPOINT: f"{_times(count)} no checkpoint was written, nor in the last epoch",
        LossKind.VAL_LOSS: "validation losses of the last epoch not finite",
        LossKind.AVERAGE: f"Ultralytics' averaged model (EMA) makes NaN of {_many(count, 'infinite buffer')}, and "
        "validation and checkpoints use it; register_buffer(..., persistent=False) keeps a buffer out of it",
        LossKind.METRIC: "metrics of the final model not finite",
        LossKind.NO_STEP: "no optimizer step is in the weights: nothing was learnt"
        + (f" ({of:.0f} were taken and undone)" if of else ""),
        LossKind.START_WEIGHTS: "the best checkpoint holds the weights that the run started with: nothing was learnt",
        LossKind.EARLIER_PART: f"of {_many(count, 'epoch')} before the resume nothing is known",
        LossKind.NOTHING_FOUND: f"the model {yet} in validation (metric 0)"
        + (f" after {_many(count, 'optimizer step')}" if count else ""),
        LossKind.COLLAPSED: f"the validation metric fell from {of:.3g} to {count:.3g} by the last epoch",
    }[lost.kind]


def _named_epochs(numbers: Sequence[int]) -> str:
    """`epoch 2`, `epochs 2, 3`, `8 epochs (2, 3, 4, 5, 6, ...)`."""
    shown = ", ".join(map(str, numbers[:SHOWN_EPOCHS]))
    if len(numbers) > SHOWN_EPOCHS:
        return f"{len(numbers)} epochs ({shown}, ...)"
    return f"epoch{'' if len(numbers) == 1 else 's'} {shown}"


def _times(count: float) -> str:
    return "once" if count == 1 else f"{count:.0f} times"


def _many(count: float, what: str) -> str:
    return f"{count:.0f} {what}{'' if count == 1 else 's'}"
