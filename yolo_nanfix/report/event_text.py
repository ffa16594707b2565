"""Sentences about what the guard saw and did, made from the facts of its events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from yolo_nanfix.events import Action, Check, Did, Event, Level
from yolo_nanfix.run_folder import lenient
from yolo_nanfix.wording import seen_from, sentence

SHOWN_IMAGES = 4
"""At most this many images of an event are named."""
DONE = {
    Did.DROPPED: "{count:micro-batch|micro-batches} dropped",
    Did.DROPPED_UPSTREAM: "dropped by Ultralytics itself",
    Did.REFUSED_STEP: "the step was refused: weights stay as they are",
    Did.BATCHNORM_RESTORED: "BatchNorm put back",
    Did.BATCHNORM_FROM_SNAPSHOT: "BatchNorm taken from the last snapshot, for it was non-finite before",
    Did.BATCHNORM_LEFT: "BatchNorm was non-finite before",
    Did.STATE_FROM_SNAPSHOT: "{names:,} taken from an earlier state, for it was non-finite before",
    Did.QUARANTINED: "{images:,} left out from now on",
    Did.LEFT_FLOAT16: "training goes on in {names}",
    Did.CLIPPED: "gradients clipped at {factor:.4g} for {count:step|steps}",
    Did.ROLLED_BACK: "weights, BatchNorm, EMA and optimizer rolled back to step {step}",
    Did.LOWERED_RATE: "learning rate times {factor:.4g}, warmed up again over {count:step|steps}",
    Did.STOPPED: "run stopped",
    Did.NOT_STARTED: "training not started",
    Did.CHANNELS_RESET: "those channels start anew (mean 0, variance 1)",
    Did.OPTIMIZER_RESET: "set to 0",
    Did.SCALE_RESET: "starts anew at {factor:g}",
    Did.WEIGHTS_RESET: "these tensors start anew, as in an untrained model",
    Did.LEFT_AS_IS: "left as they are",
    Did.EMA_COPIED: "{count:tensor|tensors} of the EMA copied from the model",
    Did.CHECKPOINT_NOT_WRITTEN: "checkpoint not written, the last one stays",
    Did.CHECKPOINT_NOT_REPLACED: "not put in place, the last one stays",
    Did.REPORTED: "reported; training goes on",
    Did.SAMPLES_LEFT_OUT: "left out of their batch alone",
    Did.FILLED_UP: "filled up with {images:,}",
    Did.REPLACED_IN_MIX: "another image has its place in the mix",
    Did.READ_AGAIN: "tried again, and read",
    Did.CAME_BACK: "back in the run",
    Did.ROWS_LEFT_OUT: "such rows left out",
    Did.VAL_IMAGES_LEFT_OUT: "left out of val losses and metrics",
    Did.VAL_BATCH_LEFT_OUT: "left out of the val losses",
    Did.VAL_LOSS_OF_OTHERS: "its val loss is taken over the other {count:image|images}",
    Did.PREDICTIONS_LEFT_OUT: "{count:row|rows} left out of the metrics",
}


def done(actions: Iterable[Action]) -> str:
    """What was done, in a few words: `1 micro-batch dropped; BatchNorm put back`."""
    return "; ".join(
        "left out of the metrics"
        if one.did is Did.PREDICTIONS_LEFT_OUT and one.count is None
        else sentence(DONE[one.did], vars(one))
        for one in actions
    )


def line(event: Event) -> str:
    """One line for the training log."""
    where = f"epoch {event.epoch}" + (f", batch {event.batch}" if event.batch else "")
    suspects = [f"{s.file} ({s.suspect})" for s in event.sources if s.suspect]
    files = tuple(suspects or [s.file for s in event.sources])
    images = sentence(f"; images: {{files:,{SHOWN_IMAGES}}}", {"files": files}) if files else ""
    return f"{where}: {event.detail}; {done(event.actions)}{images}"


def actions(event: Any) -> tuple[Action, ...]:
    """The actions of an event of a report; entries that are no actions are left out."""
    found = []
    for entry in lenient.entries(event, "actions"):
        try:
            found.append(Action.from_dict(entry))
        except (ValueError, TypeError, KeyError, AttributeError):
            continue
    return tuple(found)


def level(event: Any) -> Level:
    """The level of an event of a report; a warning if it has none."""
    try:
        return Level(lenient.text(event, "level"))
    except ValueError:
        return Level.WARNING


def checks(event: Any) -> tuple[Check, ...]:
    """The sensors that fired in an event of a report, without unknown ones."""
    known = {check.value: check for check in Check}
    return tuple(known[name] for name in map(lenient.text, lenient.entries(event, "checks")) if name in known)


def action(event: Mapping[str, Any], root: str = "") -> str:
    """What was done about an event of a report, in a few words, printable and of limited length.

    Images in the folder `root`, which has a final slash, are named relative to it.
    """
    known = (replace(one, images=seen_from(one.images, root)) for one in actions(event))
    return lenient.text(done(known))


def detail(event: Mapping[str, Any], root: str = "") -> str:
    """What was seen in an event of a report, or by each of its ranks, printable and of limited length; see `action`."""
    parts = [part for part in lenient.entries(event, "ranks") if isinstance(part, Mapping)]
    return "; ".join(f"rank {lenient.text(part, 'rank')}: {_seen(part, root)}" for part in parts) or _seen(event, root)


def _seen(part: Mapping[str, Any], root: str) -> str:
    values = {name: seen_from(value, root) for name, value in lenient.mapping(part, "values").items()}
    return lenient.text(sentence(lenient.raw(part, "says"), values))


def rank_lines(event: Mapping[str, Any]) -> list[str]:
    """A line for each rank with what it saw, its images, and the cause; empty for a single rank."""
    parts = [part for part in lenient.entries(event, "ranks") if isinstance(part, Mapping)]
    return [_rank_line(part) for part in parts] if len(parts) > 1 else []


def _rank_line(part: Mapping[str, Any]) -> str:
    images = tuple(map(str, lenient.entries(part, "images")))
    named = sentence(f" [{{images:,{SHOWN_IMAGES}}}]", {"images": images}) if images else ""
    cause = f"; cause: {part['cause']}" if part.get("cause") else ""
    return f"rank {part.get('rank')}: {_seen(part, '')}{cause}{named}"
