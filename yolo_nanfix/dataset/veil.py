"""Text of files that links lead to out of the dataset is not quoted: findings are passed on."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from yolo_nanfix.dataset.config import DataConfig
from yolo_nanfix.dataset.grounds import ground
from yolo_nanfix.dataset.labels import BadRow, Labels, OddNumber

QUOTED = ("number", "comma", "comment")
"""The kinds of bad rows whose text stands in messages."""
_LETTER, _DIGIT = re.compile(r"[^\W\d_]"), re.compile(r"\d")


def veiled(labels: Labels, config: DataConfig, root: Path | None) -> Labels:
    """The labels with each letter an `x` and each digit a `9` in what is quoted of files outside of the dataset.

    What is wrong with a row can still be told from that.

    Args:
        labels: of some images.
        config: their dataset.
        root: the folder that the command names for its images.
    """
    spoken = {bad.file for bad in labels.bad if bad.kind in QUOTED} | {odd.file for odd in labels.odd}
    if not spoken:
        return labels
    within = ground(config, root)
    held = dict(zip(spoken, within.hold(labels.files[file].path for file in spoken), strict=True))
    if all(held.values()):
        return labels
    return replace(
        labels,
        bad=tuple(_bad(bad) if bad.kind in QUOTED and not held[bad.file] else bad for bad in labels.bad),
        odd=tuple(odd if held[odd.file] else _odd(odd) for odd in labels.odd),
    )


def _bad(row: BadRow) -> BadRow:
    return row._replace(text=_DIGIT.sub("9", _LETTER.sub("x", row.text)), veiled=True)


def _odd(number: OddNumber) -> OddNumber:
    return number._replace(text=_DIGIT.sub("9", number.text), veiled=True)
