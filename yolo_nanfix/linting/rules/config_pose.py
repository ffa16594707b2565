"""CF: what data.yaml says about keypoints."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from yolo_nanfix.dataset.config import DataConfig
from yolo_nanfix.findings import Effect, Severity
from yolo_nanfix.linting.registry import Hit, rule

POSE = ("pose",)


@rule("CF010", "flip-idx-missing", Severity.WARNING, Effect.REWRITES, POSE)
def flip_idx_missing(config: DataConfig) -> Iterator[Hit]:
    """`flip_idx` is missing in a pose dataset.

    Why: images cannot be mirrored, which is one of the most useful augmentations.
    Ultralytics: sets `fliplr` and `flipud` to 0, with a warning in the log.
    Example: `kpt_shape: [17, 3]` and no `flip_idx`.
    Fix: list for each keypoint the one that it becomes in a mirror: left eye and right eye change places.
    """
    if config.kpt_shape and not config.raw.get("flip_idx"):
        message = f"no 'flip_idx' for {config.kpt_shape[0]} keypoints: images are not mirrored"
        yield _hit(config, "kpt_shape", message)


@rule("CF011", "flip-idx-length", Severity.FATAL, Effect.CRASHES, POSE)
def flip_idx_length(config: DataConfig) -> Iterator[Hit]:
    """`flip_idx` has not one entry for each keypoint.

    Why: training does not start.
    Ultralytics: raises ValueError ("length must be equal to kpt_shape[0]").
    Example: `kpt_shape: [3, 3]` with `flip_idx: [1, 0]`.
    Fix: list for each keypoint the one that it becomes in a mirror.
    """
    flip = config.raw.get("flip_idx")
    if config.kpt_shape and flip and len(flip) != config.kpt_shape[0]:
        yield _hit(config, "flip_idx", f"'flip_idx' has {len(flip)} entries for {config.kpt_shape[0]} keypoints")


@rule("CF012", "flip-idx-unusable", Severity.FATAL, Effect.CRASHES, POSE)
def flip_idx_unusable(config: DataConfig) -> Iterator[Hit]:
    """An entry of `flip_idx` is not the number of a keypoint.

    Why: training ends in the first batch with a mirrored image.
    Ultralytics: raises IndexError in the loader; a true or false leaves keypoints out instead.
    Example: `flip_idx: [1, 2]` for two keypoints, counted from 0.
    Fix: count keypoints from 0, and write whole numbers.
    """
    flip = _flip(config)
    wrong = [entry for entry in flip if type(entry) is not int or not -len(flip) <= entry < len(flip)]
    if wrong:
        shown = ", ".join(repr(entry) for entry in wrong[:4])
        yield _hit(config, "flip_idx", f"keypoints are numbered 0 to {len(flip) - 1}; 'flip_idx' has {shown}")


@rule("CF013", "flip-idx-not-mutual", Severity.ERROR, Effect.GARBAGE, POSE)
def flip_idx_not_mutual(config: DataConfig) -> Iterator[Hit]:
    """`flip_idx` applied twice does not give back the keypoints.

    Why: in mirrored images keypoints get the places of others, or one twice.
    Ultralytics: takes the list as it is.
    Example: `flip_idx: [1, 2, 0]`, or `flip_idx: [0, 0]`.
    Fix: if a becomes b in a mirror, b becomes a: correct the pairs.
    """
    flip = _flip(config)
    usable = all(type(entry) is int and -len(flip) <= entry < len(flip) for entry in flip)
    wrong = [i for i, entry in enumerate(flip) if usable and (entry < 0 or flip[entry] != i)]
    if wrong:
        pairs = ", ".join(f"{i} becomes {flip[i]}" for i in wrong[:3])
        yield _hit(config, "flip_idx", f"{pairs}, but not the other way round")


@rule("CF014", "flip-idx-against-names", Severity.WARNING, Effect.GARBAGE, POSE)
def flip_idx_against_names(config: DataConfig) -> Iterator[Hit]:
    """`flip_idx` does not swap a keypoint named left with the one named right.

    Why: in mirrored images left and right are mixed up.
    Ultralytics: takes `flip_idx` as it is; names are for display only.
    Example: `kpt_names: {0: [nose, left_eye, right_eye]}` with `flip_idx: [0, 1, 2]`.
    Fix: correct the list, or the names.
    """
    flip = _flip(config)
    for names in _kpt_names(config):
        if len(names) != len(flip):
            continue
        place = {name.lower(): i for i, name in enumerate(names)}
        for i, name in enumerate(names):
            other = place.get(re.sub("left", "right", name.lower()))
            if "left" in name.lower() and other is not None and flip[i] != other:
                message = f"{name!r} ({i}) should become {names[other]!r} ({other}), but 'flip_idx' has {flip[i]!r}"
                yield _hit(config, "flip_idx", message)
                return


@rule("CF015", "kpt-sigmas-unusable", Severity.FATAL, Effect.CRASHES, POSE)
def kpt_sigmas_unusable(config: DataConfig) -> Iterator[Hit]:
    """`kpt_oks_sigmas` is not one positive number for each keypoint.

    Why: training ends at the first validation.
    Ultralytics: raises ValueError ("'kpt_oks_sigmas' must be 17 positive values").
    Example: `kpt_shape: [3, 3]` with `kpt_oks_sigmas: [0.1, 0.1]`.
    Fix: write one number above 0 for each keypoint, or remove the key.
    """
    given = config.raw.get("kpt_oks_sigmas")
    if not given or not config.kpt_shape:
        return
    sigmas = given if isinstance(given, list) else [given]
    fine = [s for s in sigmas if isinstance(s, (int, float)) and s > 0]
    if len(sigmas) != config.kpt_shape[0] or len(fine) != len(sigmas):
        message = f"{len(fine)} usable of {len(sigmas)} values for {config.kpt_shape[0]} keypoints"
        yield _hit(config, "kpt_oks_sigmas", message)


@rule("CF016", "kpt-names-count", Severity.INFO, Effect.ACCEPTS, POSE)
def kpt_names_count(config: DataConfig) -> Iterator[Hit]:
    """`kpt_names` has not one name for each keypoint.

    Why: the names go into the exported model, where they no longer fit the keypoints.
    Ultralytics: writes them as they are.
    Example: `kpt_shape: [3, 3]` with `kpt_names: {0: [nose, tail]}`.
    Fix: name all keypoints in their order.
    """
    for names in _kpt_names(config):
        if config.kpt_shape and len(names) != config.kpt_shape[0]:
            yield _hit(config, "kpt_names", f"{len(names)} names for {config.kpt_shape[0]} keypoints")
            return


def _flip(config: DataConfig) -> list[Any]:
    """`flip_idx` if its length is right, else an empty list."""
    flip = config.raw.get("flip_idx") or []
    return flip if config.kpt_shape and len(flip) == config.kpt_shape[0] else []


def _kpt_names(config: DataConfig) -> list[list[str]]:
    """The lists of keypoint names, one a class."""
    given = config.raw.get("kpt_names")
    lists = list(given.values()) if isinstance(given, dict) else [given]
    return [[str(name) for name in names] for names in lists if isinstance(names, list)]


def _hit(config: DataConfig, key: str, message: str) -> Hit:
    """A hit on a key of data.yaml."""
    return Hit(str(config.yaml_file), message, config.key_lines.get(key))
