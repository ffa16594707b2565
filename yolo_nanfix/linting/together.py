"""Which images of a dataset belong together: equal bytes, near copies, augmented copies of one original."""

from __future__ import annotations

from yolo_nanfix.dataset.table import Table
from yolo_nanfix.linting.rules.confirming import near_pairs
from yolo_nanfix.linting.rules.near_duplicates import same_groups
from yolo_nanfix.linting.rules.splits import originals


def together(table: Table) -> list[list[str]]:
    """Sets of image files that belong together, in any split; an image may be in several sets.

    Args:
        table: the dataset; near copies are found only if it was read with `deep=True`.
    """
    same = same_groups(table)
    pairs, _, _ = near_pairs(table, table.config.channels, {image for members in same for image in members[1:]})
    near = [[pair.first, pair.second] for pair in pairs]
    return [[table.files[image] for image in members] for members in (*same, *near, *originals(table))]
