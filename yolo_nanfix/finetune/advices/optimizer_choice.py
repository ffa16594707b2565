"""The optimizer, where its automatic choice would ignore the learning rate."""

from __future__ import annotations

from yolo_nanfix.finetune.advices import rate_of_small_sets as rates
from yolo_nanfix.finetune.case import Answer, Case, Value, advises
from yolo_nanfix.plans import Reason, Source, Strength

MANY_STEPS = 10_000
"""Above this many steps `optimizer=auto` takes MuSGD (SGD in older releases) with a rate of 0.01, else AdamW."""
MUON = (8, 4, 0)
"""The first release that has MuSGD."""
MOMENTUM = 0.9
"""What `optimizer=auto` sets `momentum` to."""
SOURCE = Source("Ultralytics: train settings, optimizer", "https://docs.ultralytics.com/modes/train/#train-settings")


@advises("optimizer", SOURCE, Strength.MEASURED, by_epochs=True)
def advise(case: Case) -> Answer:
    """The optimizer by name that `auto` would choose, where a learning rate is given or advised.

    Under `optimizer=auto` Ultralytics ignores `lr0` and `momentum`. Its choice depends on the number of steps: the same
    optimizer by name, with the same momentum and warm-up of biases, trains as before and uses the rate.
    """
    if not case.automatic:
        return None
    many = case.steps > MANY_STEPS
    if "lr0" not in case.given and (many or rates.capped(case) is None):
        return None
    name = "AdamW" if not many else "MuSGD" if case.release >= MUON else "SGD"
    figures = {"steps": case.steps, "many": MANY_STEPS, "lr0": "lr0" in case.given}
    own = {"optimizer": name, "momentum": MOMENTUM, "warmup_bias_lr": 0.0}
    return Value(name, Reason.LR0_IGNORED, figures, {key: v for key, v in own.items() if key not in case.given})
