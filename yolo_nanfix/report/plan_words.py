"""The sentences of a plan, from its values."""

from __future__ import annotations

import shlex
from typing import Any

from yolo_nanfix.plans import Advice, Because, Plan, Reason
from yolo_nanfix.report.words import many
from yolo_nanfix.wording import cut, printable, sentence

REASONS = {
    Reason.LABELS_READ: "{objects:label|labels} in {images:train image|train images} are for {task}",
    Reason.OBJECTS_SEEN: (
        "{share:.1%} of {objects:object|objects} have a side below the {stride} pixels of the finest grid at {imgsz}; "
        "nine in ten have {side:.0f} pixels or more"
    ),
    Reason.OBJECTS_TINY: (
        "{share:.1%} of {objects:object|objects} have a side below the {stride} pixels of the finest grid at {imgsz}, "
        "{then:.1%} at this size; images have up to {native:.0f} pixels"
    ),
    Reason.OBJECTS_TINY_IN_FILES: (
        "{share:.1%} of {objects:object|objects} have a side below the {stride} pixels of the finest grid at {imgsz}, "
        "and the images ({native:.0f} pixels) hold no more of them: no size is known to help"
    ),
    Reason.IMAGES_TOO_LARGE: (
        "{share:.1%} of {objects:object|objects} have a side below the {stride} pixels of the finest grid at {imgsz}, "
        "and images of {native:.0f} pixels are too large to train whole: cut them into tiles of this size"
    ),
    Reason.NO_GPU: "there is no GPU, but {cores:core|cores}, for {images:train image|train images}",
    Reason.SCALE_UNKNOWN: "nobody has published how much a larger model gains on {images:train image|train images}",
    Reason.FROM_SCRATCH: "{model} begins with random weights, for which {images:image|images} are few (below {few})",
    Reason.LITTLE_MEMORY: "{gpu} has {memory:.1f} GiB: AutoBatch measures what fits",
    Reason.BATCH_UNKNOWN: (
        "{batches:batch|batches} of {batch} in an epoch of {images:image|images}: nobody has shown that another size "
        "is better"
    ),
    Reason.STEP_SPANS_EPOCHS: (
        "an optimizer step gathers {accumulated} batches, and an epoch of {images:image|images} has {batches}; no "
        "experiment shows that a smaller nbs is better"
    ),
    Reason.EPOCHS_UNKNOWN: (
        "{epochs:epoch|epochs} are {batches:batch|batches}: no experiment ties them to "
        "{images:train image|train images}"
    ),
    Reason.VAL_NOISY: (
        "the mAP of an epoch on {images:val image|val images} is uncertain by {width:.2f}: a shorter patience stops by "
        "chance"
    ),
    Reason.LR0_IGNORED: (
        "optimizer=auto ignores {lr0:the lr0 that you give|the lr0 below}; it would choose this one itself, for "
        "{steps:step|steps} (up to {many}: AdamW)"
    ),
    Reason.RATE_BY_SIZE: (
        "optimizer=auto would take {fit} for {classes:class|classes}, whatever the size; {images:train image|train "
        "images} are fewer than {few}"
    ),
    Reason.RATE_FOR_ADAM: (
        "the default {default} is for SGD; for {images:train image|train images} of {classes:class|classes}"
    ),
    Reason.WARMUP_LONG: (
        "the warm-up takes {warmup} of the {batches:batch|batches} of the run ({share:.0%})"
        "{floor:0=|, as this release warms up for at least # batches}"
    ),
    Reason.FREEZE_VARIES: (
        "no depth is right for all sets: on one of 160 images freeze=10 gained 0.07 to 0.16 mAP50-95, on one of 205 it "
        "lost 0.02 to 0.03; with {images:train image|train images}, measure it"
    ),
    Reason.MOSAIC_CLOSED_LONG: "{closed} of {epochs:epoch|epochs} would be without mosaic",
    Reason.MOSAIC_UNKNOWN: (
        "a mosaic of four images holds {objects:.0f} objects: no experiment says when that is too many"
    ),
    Reason.CLASSES_MIRRORED: "a mirrored image has other classes: {names:,4}",
    Reason.CLASSES_ARE_CHARACTERS: "mirrored characters are none: {names:,4}",
    Reason.CLASSES_UPRIGHT: "upside-down images have other classes: {names:,4}",
    Reason.KEYPOINTS_SWAPPED: "flip_idx exchanges {pairs:pair|pairs} of {keypoints} keypoints: images can be mirrored",
    Reason.KEYPOINTS_NOT_SWAPPED: (
        "flip_idx leaves each keypoint in its place, but {pairs:pair|pairs} are left and right: {names:,4}; "
        "change data.yaml"
    ),
    Reason.KEYPOINTS_NAMED: (
        "without flip_idx no image is mirrored; {pairs:pair|pairs} of keypoints are left and right: {names:,4}; add it "
        "to data.yaml"
    ),
    Reason.KEYPOINTS_UNKNOWN: (
        "without flip_idx no image is mirrored; data.yaml does not say which of the {keypoints} keypoints are left and "
        "right"
    ),
    Reason.WEIGHTS_WITHOUT_GAIN: (
        "the classes have {fewest} to {most} objects, a ratio of {ratio:.0f}, but nobody has shown that weights gain "
        "anything"
    ),
    Reason.IMAGES_CROWDED: (
        "an image has up to {most} objects (train {train}, val {val}), and {kept} detections are kept"
    ),
    Reason.RECT_WITHOUT_MOSAIC: (
        "{padding:.0%} of the square is padding, but rect=True would turn off mosaic and, in part, shuffling"
    ),
    Reason.HALF_BROKEN: "{gpu} gives NaN in float16",
    Reason.VAL_NONE: "there is no val image: nothing tells how good the model is",
    Reason.VAL_ONE: "the mAP of a single val image says next to nothing (uncertain by {by_images:.2f})",
    Reason.VAL_SMALL: (
        "a recall of one half has a 95 % interval of {by_images:.2f} to each side with each of {images:val image|val "
        "images} as one draw, of {by_objects:.2f} with each of {objects:object|objects} as one; this many images give "
        "{width}{shared:0=|; # of the images are in train, too}"
    ),
    Reason.VAL_ENOUGH: (
        "a recall of one half has a 95 % interval of {by_images:.2f} to each side with each image as one draw"
        "{shared:0=|; # of the images are in train, too}"
    ),
}
"""The sentence of each reason; the names in braces are its figures."""
DATA_KEYS = {"flip_idx": "in data.yaml", "tiling": "before training", "val images": "before training"}
"""Settings that are no training arguments, and where they belong."""
LONGEST, LONGEST_REASON = 60, 600
"""Characters of a value and of a reason that are shown."""


def because(reason: Because) -> str:
    """Why, in one printable line."""
    return printable(cut(sentence(REASONS[reason.reason], reason.figures), LONGEST_REASON))


def value(held: Any) -> str:
    """A value as it is written on a command line."""
    text = f"{held:g}" if isinstance(held, float) else "none" if held is None else str(held)
    return printable(text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}...")


def change(advice: Advice) -> str:
    """`0.00113 (default: 0.002)`, `640 (the default)`, or `381 (now: 40)`."""
    if advice.setting in DATA_KEYS:
        return f"{value(advice.value)} ({f'now: {value(advice.default)}' if advice.changes else 'as it is'})"
    default = "the default" if not advice.changes else f"default: {value(advice.default)}"
    return f"{value(advice.value)} ({default})"


def headline(plan: Plan) -> str:
    """`raccoon: 160 train and 40 val images with 217 objects of 1 class, task detect`."""
    splits = plan.figures["splits"]
    counts = [f"{many(splits[name]['images'], f'{name} image')}" for name in ("train", "val") if name in splits]
    objects = sum(splits[name]["objects"] for name in ("train", "val") if name in splits)
    classes = len(plan.figures["names"])
    held = "" if plan.task == "classify" else f", {many(objects, 'object')}"
    return f"{' and '.join(counts)}{held} of {classes} class{'es' if classes != 1 else ''}, task {plan.task}"


def machine(plan: Plan) -> str:
    """`2 cores, no GPU`."""
    gpu, memory = plan.machine["gpu"], plan.machine["gpu_memory"]
    named = f"{gpu}{f' with {memory:g} GiB' if memory else ''}" if gpu else "no GPU"
    return printable(f"{many(plan.machine['cores'], 'core')}, {named}")


def trial(plan: Plan) -> str:
    """The command that measures recipes on the set itself."""
    return printable(f"yolo-nanfix plan {shlex.quote(plan.data)} --trial MINUTES")


def notes(plan: Plan) -> list[str]:
    """What to know before the advices are used."""
    told = []
    if plan.fatal:
        told.append(f"Before training: yolo-nanfix lint has {many(plan.fatal, 'fatal finding')}.")
    if plan.left_out:
        told.append(f"{many(plan.left_out, 'weaker advice')} not shown.")
    if plan.given:
        given = ", ".join(f"{key}={value(held)}" for key, held in plan.given.items())
        told.append(f"As given, without advice: {printable(given)}.")
    return told
