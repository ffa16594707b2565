"""What stock Ultralytics does with a fault of a kind, as far as that was measured.

Each sentence was seen in Ultralytics 8.4.190: in the zoo (`datasets/zoo`, whose cases are named here) or in the
reproductions behind the patches' cards. Where nothing was measured, nothing is said.
"""

from __future__ import annotations

from dataclasses import dataclass

MEASURED = "8.4.190"


DIVERGES = "trains on to the end: finite garbage, mAP 0, without NaN and without a warning"
"""learning-rate-*, and 14 settings in the reproductions."""


@dataclass(frozen=True)
class Situation:
    """What is known of an event that decides what stock does.

    Attributes:
        checks: the sensors that fired.
        cause: the verdict's class of cause; empty if there is none.
        scaler: whether the run has a GradScaler (AMP with float16); None if that is not known.
        epoch: 1-based; 0 if not known.
        epochs: of the run; 0 if not known.
        last_in_epoch: whether it was the last micro-batch of its epoch.
        last_window: whether it was one of the last optimizer step of the run.
        before_start: whether it was seen before the first step.
        severe: whether something was lost or taken back for it.
    """

    checks: frozenset[str]
    cause: str = ""
    scaler: bool | None = None
    epoch: int = 0
    epochs: int = 0
    last_in_epoch: bool = False
    last_window: bool = False
    before_start: bool = False
    severe: bool = True


def would(s: Situation) -> str:
    """What stock Ultralytics would have done, in a sentence; empty where that was not measured."""
    if s.before_start:
        return _at_start(s)
    if s.checks & {"val-loss", "val-batch"}:
        return (
            "shows NaN validation losses in each epoch, without a warning and without naming the image"  # val-image-nan
        )
    if s.checks & {"divergence", "update-ratio"}:
        return DIVERGES if s.severe else ""
    if "loss-scale" in s.checks:  # loss-scale-collapse
        return "halves the loss scale to 0, and the next good step makes every weight NaN: RuntimeError"
    if s.cause == "state" or s.checks == {"weights"} or s.checks == {"ema"}:
        return _sick_state(s)
    if s.checks <= {"pixels"} and s.checks:
        return _odd_pixels(s)
    if s.checks == {"targets"}:
        return "trains on: the assigner swallows a NaN box, so that this object is background"  # target-nan-centre
    if s.checks & {"loss", "batchnorm", "outputs", "pixels"}:
        return _sick_forward(s)
    if "gradient" in s.checks:
        return _sick_gradient(s)
    return ""


def _sick_forward(s: Situation) -> str:
    """A forward pass that is not finite: pixel-nan-*, activation-half-*, loss-*."""
    if s.scaler is None:
        return ""
    if s.scaler and "batchnorm" not in s.checks:
        return "survives, too: the GradScaler skips the step"  # loss-divided-by-zero
    if s.scaler and s.last_in_epoch:  # pixel-nan-last-batch
        return "ends with RuntimeError: NaN persisted" if s.epoch == s.epochs else ""
    if s.scaler:  # pixel-nan-middle-scaler, reproduction 02
        return (
            "skips the step, but BatchNorm's running statistics stay NaN: mAP 0 and NaN validation losses for the rest "
            "of the run, with normal training losses and no warning"
        )
    if s.last_window or s.epochs == 1:  # pixel-nan-last-window, pixel-nan-one-epoch
        return "ends without an error, and every weight is NaN: last.pt and best.pt are written as zeros"
    if s.epoch == 1:  # pixel-nan-first-epoch
        return "writes zeros to last.pt and best.pt, reloads them three times, then RuntimeError: NaN persisted"
    return "goes back to last.pt, at most three times in a row: RuntimeError if the fault comes again"  # tiff-nan-*


def _sick_gradient(s: Situation) -> str:
    """A gradient that is not finite under a finite loss: gradient-*."""
    if s.cause == "gradient":
        return "trains on: clipping makes nothing of that whole step"  # gradient-huge
    if s.scaler:
        return "survives, too: the GradScaler skips the step"  # gradient-nan-scaler
    if s.scaler is None:
        return ""
    if s.last_window:  # gradient-nan-last-step
        return "clips by a NaN norm, which makes every weight NaN; nothing looks after the last step: zeros are saved"
    return (
        "clips by a NaN norm, which makes every weight NaN, and ends with RuntimeError: NaN persisted"  # gradient-nan-*
    )


def _sick_state(s: Situation) -> str:
    """State that went bad while training: live-*."""
    if "batchnorm" in s.checks and s.cause == "state":
        return "a NaN in BatchNorm's statistics never decays: mAP 0 for the rest of the run"  # live-batchnorm-nan
    if s.checks == {"ema"}:
        return "validates the NaN average of that epoch: NaN validation losses"  # live-ema-nan
    return (
        "ends with RuntimeError, or with mAP 0 where a GradScaler skips all steps"  # live-weights-nan, live-weights-inf
    )


def _odd_pixels(s: Situation) -> str:
    """Pixels that are finite, but not between 0 and 1: pixels-prescaled, tiff-minus-9999."""
    return "trains on them without a word"


def _at_start(s: Situation) -> str:
    """checkpoint-*, resume-*."""
    if "batchnorm" in s.checks:
        return "mAP 0 from the start: NaN in BatchNorm's statistics never decays"  # checkpoint-nan-batchnorm
    if "optimizer" in s.checks:
        return (
            "restores the NaN optimizer state, and the first step makes the weights NaN: mAP 0"  # resume-nan-optimizer
        )
    if "loss-scale" in s.checks:
        return "restores a loss scale of 0, and the first step makes the weights NaN: mAP 0"  # resume-scale-zero
    if "weights" in s.checks:
        return "trains NaN weights from the first batch on: RuntimeError"  # checkpoint-nan-weights
    return ""
