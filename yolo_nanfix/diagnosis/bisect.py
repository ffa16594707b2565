"""Finds the images that alone make a step fail, and the label rows that make them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from yolo_nanfix import batches
from yolo_nanfix.diagnosis.replay import OutOfTime, Replay

GREY = 114 / 255
"""What Ultralytics pads images with."""
MOST_ROWS = 24
"""Most label rows of the failing images that are tried one by one."""
ASKED = 128
"""Most replays; a batch of 64 in which ten images fail alone takes fewer."""

StepBatch = Mapping[str, Any]
Fails = Callable[[StepBatch], "bool | None"]
"""Whether a batch fails; None where the step cannot be run on it."""


@dataclass(frozen=True)
class Bisection:
    """Which images and label rows a bisection blames.

    Attributes:
        images: those that alone make the step fail, while it runs without them; by number.
        by_labels: whether they no longer do so without their label rows; None if that was not asked.
        rows: the label rows without which they no longer do so.
        said: how it was found, in words.
    """

    images: tuple[int, ...] = ()
    by_labels: bool | None = None
    rows: tuple[int, ...] = ()
    said: str = ""


def failing(replay: Replay, backward: bool) -> Fails:
    """A function that replays a batch without a trace; a single image too small for BatchNorm is doubled."""

    def fails(batch: StepBatch) -> bool | None:
        outcome = replay.run(batch, backward=backward)
        if outcome.error and batches.size(batch) == 1:
            outcome = replay.run(batches.with_images(batch, (0, 0)), backward=backward)
        return None if outcome.error else bool(outcome.bad)

    return fails


def bisect(batch: StepBatch, suspects: Sequence[int], odd_rows: Sequence[int], fails: Fails) -> Bisection:
    """Find the images of a batch that alone fail, and the label rows that make them; odd ones are asked first."""
    fails = _bounded(fails)
    try:
        images, said = _blamed_images(batch, tuple(suspects), fails)
    except OutOfTime as error:
        return Bisection(said=f"{error or 'time was up'} before every image was asked")
    if not images:
        return Bisection(said=said)
    try:
        by_labels, rows = _blamed_rows(batch, images, odd_rows, fails)
    except OutOfTime as error:
        return Bisection(images, said=f"{said}; {error or 'time was up'} before its label rows were asked")
    return Bisection(images, by_labels, rows, said)


def _bounded(fails: Fails) -> Fails:
    """The same, with at most `ASKED` calls: the batch of an incident may have any number of images."""
    asked = 0

    def asks(batch: StepBatch) -> bool | None:
        nonlocal asked
        asked += 1
        if asked > ASKED:
            raise OutOfTime(f"{ASKED} replays were made")
        return fails(batch)

    return asks


def _blamed_images(batch: StepBatch, suspects: tuple[int, ...], fails: Fails) -> tuple[tuple[int, ...], str]:
    count = batches.size(batch)
    everyone = tuple(range(count))
    if suspects and len(suspects) < count:
        rest = tuple(sorted(set(everyone).difference(suspects)))
        if fails(batches.with_images(batch, rest)) is False and fails(batches.with_images(batch, suspects)):
            return suspects, f"{_in_words(suspects)} alone fail, the other {len(rest)} do not"
    if fails(_blank(batch)):
        return (), "an empty grey image fails too, so no image is to blame"
    if count == 1:
        return suspects, "the batch has one image only, and an empty grey one does not fail"
    failing_alone = _halve(batch, everyone, fails, most=count // 2)
    if failing_alone is None:
        return (), "more than half of the images fail alone, so no image is to blame"
    if not failing_alone:
        return (), "no image fails alone"
    rest = tuple(sorted(set(everyone).difference(failing_alone)))
    if fails(batches.with_images(batch, rest)):
        return (), f"{_in_words(failing_alone)} alone fail, but so do the other {len(rest)} together"
    return failing_alone, f"{_in_words(failing_alone)} alone fail, the other {len(rest)} do not"


def _halve(batch: StepBatch, group: tuple[int, ...], fails: Fails, most: int) -> tuple[int, ...] | None:
    """The images of a group that fail alone, by halving groups that fail; None if they are more than `most`."""
    failing_alone: list[int] = []
    waiting = [group[: len(group) // 2], group[len(group) // 2 :]]
    while waiting:
        part = waiting.pop(0)
        if not part or not fails(batches.with_images(batch, part)):
            continue
        if len(part) > 1:
            waiting += [part[: len(part) // 2], part[len(part) // 2 :]]
            continue
        failing_alone += part
        if len(failing_alone) > most:
            return None
    return tuple(sorted(failing_alone))


def _blamed_rows(
    batch: StepBatch, images: tuple[int, ...], odd_rows: Sequence[int], fails: Fails
) -> tuple[bool | None, tuple[int, ...]]:
    if "batch_idx" not in batch:
        return None, ()
    owners = [int(i) for i in batch["batch_idx"].reshape(-1).tolist()]
    rows_of: dict[int, list[int]] = {image: [] for image in images}
    for row, owner in enumerate(owners):
        if owner in rows_of:
            rows_of[owner].append(row)
    numbers = [row for rows in rows_of.values() for row in rows]
    alone = batches.with_images(batch, images)
    if not numbers or fails(batches.without_rows(alone, range(len(numbers)))) is not False:
        return False, ()
    looked_odd = set(odd_rows)
    odd = [i for i, row in enumerate(numbers) if row in looked_odd]
    if odd and fails(batches.without_rows(alone, odd)) is False:
        return True, tuple(numbers[i] for i in odd)
    tried = range(min(len(numbers), MOST_ROWS))
    return True, tuple(numbers[i] for i in tried if fails(batches.without_rows(alone, [i])) is False)


def _blank(batch: StepBatch) -> StepBatch:
    few = batches.with_images(batch, range(min(2, batches.size(batch))))
    few = {**few, "img": few["img"].clone().fill_(GREY)}
    if "batch_idx" not in few:
        return few
    return batches.without_rows(few, range(len(few["batch_idx"].reshape(-1))))


def _in_words(images: tuple[int, ...]) -> str:
    return f"image {images[0] + 1} of the batch" if len(images) == 1 else f"{len(images)} images"
