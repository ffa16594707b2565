"""Which images of a dataset belong together: copies, near copies, augmented copies, and names that say so.

Images that belong together must not stand on both sides of a split, and count once in an interval.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import numpy as np

from yolo_nanfix.errors import UsageError


def group(images: Sequence[str], known: Iterable[Sequence[str]] = (), pattern: str | None = None) -> np.ndarray:
    """The group of each image; what belongs together with the same image belongs together.

    Args:
        images: paths.
        known: sets of images that belong together, as `api.together` finds them.
        pattern: a regular expression, searched in each path; images of which it finds the same text (its first group,
            if it has groups) belong together, those in which it finds nothing stay on their own.

    Returns:
        (n,) int64, numbers from 0 in the order in which the groups are met.

    Raises:
        UsageError: the pattern is not a regular expression.
    """
    from scipy.cluster.hierarchy import DisjointSet  # type: ignore[import-untyped]

    position = {image: i for i, image in enumerate(images)}
    sets = DisjointSet(range(len(images)))
    named = _by_name(images, pattern).values()
    for members in [*([position[one] for one in some if one in position] for some in known), *named]:
        for other in members[1:]:
            sets.merge(members[0], other)
    numbers: dict[int, int] = {}
    return np.array([numbers.setdefault(sets[i], len(numbers)) for i in range(len(images))], np.int64)


def _by_name(images: Sequence[str], pattern: str | None) -> dict[str, list[int]]:
    if pattern is None:
        return {}
    try:
        searched = re.compile(pattern)
    except re.error as error:
        raise UsageError(f"--group-by {pattern!r} is not a regular expression: {error}") from error
    found: dict[str, list[int]] = {}
    for i, image in enumerate(images):
        if match := searched.search(image):
            found.setdefault(str(match.group(1 if searched.groups else 0)), []).append(i)
    return found
