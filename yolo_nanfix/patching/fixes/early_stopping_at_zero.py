"""`EarlyStopping.__call__` that also ends a run whose fitness is always 0."""

from __future__ import annotations

import math
from typing import Any
from weakref import WeakKeyDictionary

from yolo_nanfix import upstream
from yolo_nanfix.patching import tally
from yolo_nanfix.patching.fix import Fix, wrapper

NAME = "early-stopping-at-zero"

_starts: WeakKeyDictionary[Any, int] = WeakKeyDictionary()
"""The first epoch of each stopper."""


@wrapper
def stopper(wrapped: Any, instance: Any, epoch: int, fitness: Any, *, min_zero_epochs: int) -> Any:
    """Upstream's answer, or yes after `min_zero_epochs` epochs at a fitness of 0; NaN counts as 0."""
    if fitness is None:
        return wrapped(epoch, fitness)
    if math.isnan(fitness):  # as the best fitness it could never be beaten
        tally.add(NAME, 1)
        fitness = 0.0
    stop = wrapped(epoch, fitness)
    if stop or instance.best_fitness != 0:
        return stop
    return _stop_at_zero(instance, epoch - _starts.setdefault(instance, epoch), int(min_zero_epochs))


def _stop_at_zero(stopper: Any, epochs: int, min_zero_epochs: int) -> bool:
    """Whether to stop after `epochs` epochs with a fitness of 0; a patience of Inf never stops."""
    limit = max(stopper.patience, min_zero_epochs)
    stopper.possible_stop = stopper.possible_stop or epochs >= limit - 1
    if epochs < limit:
        return False
    tally.add(NAME, 1)
    upstream.log(
        f"yolo-nanfix: {NAME}: training stopped, the fitness has been 0 since the start, {epochs} epochs without "
        f"improvement (patience={stopper.patience}, min_zero_epochs={min_zero_epochs}). Look for NaN in validation, "
        "for labels that do not match their images, or for a learning rate that is far too high."
    )
    return True


def _probe(stock: Any, patched: Any) -> str | None:
    """For fitness values above 0, both must return the same answers and have the same state."""
    outcomes = []
    for function in (stock, patched):
        stopper = _Stopper()
        try:
            answers = [function.__get__(stopper, _Stopper)(e, f) for e, f in enumerate((0.1, 0.3, None, 0.2, 0.3))]
        except Exception as error:  # upstream code of unknown text may raise anything
            return f"raised {type(error).__name__}: {error}"
        outcomes.append((answers, vars(stopper)))
    return None if outcomes[0] == outcomes[1] else "its answers or its state differ from stock on a healthy course"


class _Stopper:
    """The state of an EarlyStopping."""

    def __init__(self) -> None:
        self.best_fitness, self.best_epoch = 0.0, 0
        self.patience, self.possible_stop = 4, False


FIX = Fix(wrapper=stopper, probe=_probe)
