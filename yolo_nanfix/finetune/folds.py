"""Folds of a dataset for cross-validation: images that belong together stay together, classes are spread evenly.

scikit-learn's `StratifiedGroupKFold` makes the folds. It wants one class an image; an image counts as the rarest of its
classes, so that rare classes are spread first.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from yolo_nanfix.errors import UsageError

FEWEST = 2


@dataclass(frozen=True)
class Folds:
    """K folds of n images.

    Attributes:
        of: (n,) int64, the fold in which each image is validated; it trains in all others.
        groups: (n,) int64, the group of each image; no group is in two folds.
        counts: (K, classes) int64, labels of each class that each fold validates.
    """

    of: np.ndarray
    groups: np.ndarray
    counts: np.ndarray

    def split(self, fold: int) -> tuple[np.ndarray, np.ndarray]:
        """Positions of the images that train and that validate in a fold; each ascending."""
        return np.flatnonzero(self.of != fold), np.flatnonzero(self.of == fold)


def rarest(image_of: np.ndarray, classes: np.ndarray, images: int) -> np.ndarray:
    """(images,) int64, the class of each image that the fewest images have; -1 for an image without labels.

    Args:
        image_of: (rows,) position of the image of each label.
        classes: (rows,) class number of each label.
        images: number of images.
    """
    rare = np.full(images, -1, np.int64)
    if not len(classes):
        return rare
    pairs = np.unique(np.column_stack([image_of, classes]).astype(np.int64), axis=0)
    numbers, having = np.unique(pairs[:, 1], return_counts=True)
    commonness = dict(zip(numbers.tolist(), having.tolist(), strict=True))
    for image, number in sorted(pairs.tolist(), key=lambda pair: -commonness[pair[1]]):  # the rarest is written last
        rare[image] = number
    return rare


def make(
    count: int,
    groups: np.ndarray,
    image_of: np.ndarray,
    classes: np.ndarray,
    names: Mapping[int, str],
    *,
    seed: int = 0,
) -> Folds:
    """Split images into folds.

    Args:
        count: number of folds.
        groups: (n,) the group of each image.
        image_of: (rows,) position of the image of each label.
        classes: (rows,) class number of each label.
        names: class number -> name.
        seed: of the shuffle.

    Raises:
        UsageError: there are fewer groups than folds, or fewer groups with a class than folds; or scikit-learn is
            not installed.
    """
    try:
        from sklearn.model_selection import StratifiedGroupKFold  # type: ignore[import-untyped]
    except ImportError as error:
        raise UsageError("folds need scikit-learn: pip install 'yolo-nanfix[bench]'") from error
    if count < FEWEST:
        raise UsageError(f"--folds {count}: at least {FEWEST} are needed; --seeds N repeats one split")
    _check(count, groups, image_of, classes, names)
    of = np.zeros(len(groups), np.int64)
    kind = rarest(image_of, classes, len(groups))
    splitter = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that fewer images than folds count as some class
        for fold, (_, validated) in enumerate(splitter.split(groups, kind, groups)):
            of[validated] = fold
    counts = np.zeros((count, max(names, default=-1) + 1), np.int64)
    np.add.at(counts, (of[image_of], classes.astype(np.int64)), 1)
    return Folds(of, groups, counts)


def _check(count: int, groups: np.ndarray, image_of: np.ndarray, classes: np.ndarray, names: Mapping[int, str]) -> None:
    if (own := len(np.unique(groups))) < count:
        raise UsageError(f"--folds {count}: only {own} groups of images belong to nothing else; choose fewer folds")
    few: Sequence[str] = [
        f"{names[number]} ({having})"
        for number in sorted(names)
        if 0 < (having := len(np.unique(groups[image_of[classes == number]]))) < count
    ]
    if few:
        raise UsageError(f"--folds {count}: fewer groups of images hold {', '.join(few)}; choose fewer folds")
