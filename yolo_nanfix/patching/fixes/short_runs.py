"""The schedule of runs that are shorter than its parts: warm-up that outlasts the run, mosaic that is never closed.

Upstream computes the warm-up inside of its training loop, by `np.interp` from 0 to the number of warm-up batches, and
clamps beyond: a stand-in for numpy among the globals of the loop's module, while it runs, ends the ramps earlier.
Mosaic is closed in the one epoch that is `epochs - close_mosaic`: it comes if close_mosaic is at most the epochs.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from yolo_nanfix import upstream
from yolo_nanfix.patching import tally
from yolo_nanfix.patching.fix import Fix, Params

LOOP = "ultralytics.engine.trainer:BaseTrainer"
WARMUP, MOSAIC = "warmup-outlasts-run", "mosaic-never-closed"


class _Numpy:
    """numpy, with the ramps of one trainer's warm-up."""

    def __init__(self, numpy: Any, trainer: Any) -> None:
        self.numpy, self.trainer, self.counted = numpy, trainer, False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.numpy, name)

    def interp(self, x: float, xp: Sequence[float], fp: Sequence[float]) -> Any:
        """A value of a ramp from batch 0 to the end of the warm-up."""
        end = _planned(self.trainer)
        if xp[1] <= end:
            return self.numpy.interp(x, xp, fp)
        if not self.counted:
            self.counted = True
            tally.add(WARMUP, 1)
        return self.numpy.float64(fp[1]) if x >= end else self.numpy.interp(x, [0, end], fp)


def _planned(trainer: Any) -> int:
    """The batches of the warm-up that was asked for."""
    epochs = min(trainer.args.warmup_epochs, max(trainer.epochs - 1, 0))
    batches: int = round(epochs * len(trainer.train_loader))
    return batches


def _end_warmup(params: Params) -> Callable[[], None]:
    def do_train(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        scope = inspect.unwrap(getattr(wrapped, "__func__", wrapped)).__globals__
        numpy = scope["np"]
        scope["np"] = _Numpy(numpy, instance)
        try:
            return wrapped(*args, **kwargs)
        finally:
            scope["np"] = numpy

    return upstream.put_around(f"{LOOP}._do_train", do_train)


def _close_mosaic(params: Params) -> Callable[[], None]:
    def set_up(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        epochs = int(instance.epochs)
        if not getattr(instance.args, "time", None) and (instance.args.close_mosaic or 0) > epochs:
            instance.args.close_mosaic = epochs
            tally.add(MOSAIC, 1)
        return wrapped(*args, **kwargs)

    return upstream.put_around(f"{LOOP}._setup_train", set_up)


FIXES = {WARMUP: Fix(install=_end_warmup, late=True), MOSAIC: Fix(install=_close_mosaic, late=True)}
