"""IM039: how the decoder makes one grey channel of colours."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from yolo_nanfix.dataset.config import DataConfig
from yolo_nanfix.dataset.image_header import chunks
from yolo_nanfix.dataset.table import Table
from yolo_nanfix.findings import Effect, Severity
from yolo_nanfix.linting.registry import Hit, rule
from yolo_nanfix.linting.rules.file_set import some

LOOKED_AT = 400
"""So many colour PNGs are looked at, from all over the set: whether they are of two kinds shows in a part of them."""
_LINEAR, _NEAR = 100_000, 5_000
"""A gamma of 1 as a gAMA chunk has it: nothing is to be bent. libpng takes what is within 5 % for it."""


@rule("IM039", "grey-by-gamma", Severity.WARNING, Effect.REWRITES)
def grey_by_gamma(table: Table, config: DataConfig) -> Iterator[Hit]:
    """With one channel, some colour images become grey by the gamma in their file, others without.

    Why: equal colours become grey values up to 70 of 255 apart, by no more than the program that saved the file.
    Ultralytics: reads with `channels: 1` by `IMREAD_GRAYSCALE`, for which libpng obeys sRGB and gAMA chunks.
    Example: screenshots with an sRGB chunk among PNGs or JPEGs of another program.
    Fix: save all images as grey, or save the PNGs again without gAMA and sRGB chunks.
    """
    if config.channels != 1:
        return
    colour = np.flatnonzero(~table.grey & (table.width > 0)).tolist()
    png = [i for i in colour if table.files[i].lower().endswith(".png")]
    looked = [png[i] for i in np.unique(np.linspace(0, len(png) - 1, LOOKED_AT).astype(np.int64))] if png else []
    bent = [i for i in looked if bends(table.files[i])]
    if bent and (len(bent) < len(looked) or len(png) < len(colour)):
        others = len(looked) - len(bent) + len(colour) - len(png)
        message = (
            f"{len(bent)} of {len(looked)} colour PNGs that were looked at have an sRGB or gAMA chunk and become grey "
            f"by it, {others} colour images do not: {some(table.files[i] for i in bent)}"
        )
        yield Hit(str(config.yaml_file), message)


def bends(file: str) -> bool:
    """Whether a PNG has a chunk by which libpng bends its colours on their way to grey; False if it is no PNG."""
    gamma = _LINEAR
    for name, data in chunks(file):
        if name == b"sRGB":
            return True
        if name == b"gAMA" and len(data) == 4:
            gamma = int.from_bytes(data, "big")
    return abs(gamma - _LINEAR) > _NEAR
