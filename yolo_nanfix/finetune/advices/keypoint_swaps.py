"""Which keypoints a mirror exchanges."""

from __future__ import annotations

from yolo_nanfix.finetune.advices.mirroring import mirrored, plain, swapped
from yolo_nanfix.finetune.case import Answer, Case, Unknown, Value, advises
from yolo_nanfix.plans import Reason, Source, Strength

PAIRS = 1
"""From this many pairs of left and right keypoints on, `flip_idx` has to exchange some."""
SOURCE = Source("Ultralytics: pose datasets, flip_idx", "https://docs.ultralytics.com/datasets/pose/")


def exchanged(names: tuple[str, ...]) -> tuple[int, ...]:
    """The place of the mirrored partner of each name, or its own if it has none."""
    place = {plain(name): number for number, name in enumerate(names)}
    return tuple(place.get(swapped(name), number) for number, name in enumerate(names))


def pairs(order: tuple[int, ...]) -> int:
    """How many pairs of places an order exchanges."""
    return sum(number < other < len(order) and order[other] == number for number, other in enumerate(order))


@advises("flip_idx", SOURCE, Strength.MEASURED, tasks=("pose",))
def advise(case: Case) -> Answer:
    """A `flip_idx` that exchanges left and right keypoints.

    Without `flip_idx` Ultralytics trains without mirrored images. With one that leaves each keypoint in its place, half
    of the images have left and right keypoints exchanged.
    """
    figures = case.figures
    wanted, flip = exchanged(figures.keypoint_names), figures.flip_idx
    if not figures.keypoints or not case.get("fliplr"):
        return None
    facts = {"keypoints": figures.keypoints, "names": mirrored(figures.keypoint_names)}
    if flip is not None and pairs(flip) >= PAIRS:
        return Value(list(flip), Reason.KEYPOINTS_SWAPPED, {**facts, "pairs": pairs(flip)}, default=list(flip))
    if pairs(wanted) >= PAIRS:
        reason = Reason.KEYPOINTS_NAMED if flip is None else Reason.KEYPOINTS_NOT_SWAPPED
        return Value(list(wanted), reason, {**facts, "pairs": pairs(wanted)}, default=list(flip) if flip else None)
    return Unknown(Reason.KEYPOINTS_UNKNOWN, facts) if flip is None else None
