"""Which defects can be mended, how, and how safe that is: data, for the planner, the README and `rule CODE`."""

from __future__ import annotations

from typing import NamedTuple

TOLERANCE = 0.01
"""A box that reaches out of its image by this part of it or less is clipped by a safe fix."""


class Fixer(NamedTuple):
    """How one defect is mended.

    Attributes:
        how: the name of the operation; `rows.OPERATIONS`, `texts.OPERATIONS` and `pictures.OPERATIONS` hold them.
        safety: `safe`, `unsafe`, or `safe to 1 %` (beyond that unsafe).
        text: what is done, in a few words.
    """

    how: str
    safety: str
    text: str


_CLIP = Fixer("clip", "safe to 1 %", "clips the box to the image")
_CLIP_FAR = Fixer("clip", "unsafe", "clips the box to the image")
_DROP = Fixer("drop", "unsafe", "drops the row")
_AWAY = Fixer("quarantine", "unsafe", "moves the file to quarantine")

FIXES: dict[str, Fixer] = {
    "TX001": Fixer("recode", "unsafe", "saves UTF-16 and Latin-1 labels as UTF-8"),
    "TX002": _DROP,
    "TX003": Fixer("commas", "unsafe", "replaces commas, or drops the row"),
    "TX004": Fixer("comment", "unsafe", "cuts the comment"),
    "TX005": Fixer("columns", "unsafe", "cuts a confidence behind a box, or drops the row"),
    "TX007": Fixer("seven", "unsafe", "cuts the rows to class x y width height"),
    "TX010": _DROP,
    "TX011": _DROP,
    "TX012": Fixer("spelling", "unsafe", "writes the number with plain digits"),
    "BX001": _CLIP_FAR,
    "BX002": _CLIP_FAR,
    "BX003": Fixer("sides", "unsafe", "makes the sides positive"),
    "BX004": _DROP,
    "BX005": _CLIP,
    "BX006": _CLIP,
    "BX007": Fixer("duplicate", "safe", "removes the repeated row"),
    "BX008": _DROP,
    "CL001": _DROP,
    "CL002": _DROP,
    "CL003": _DROP,
    "IM001": _AWAY,
    "IM002": _AWAY,
    "IM003": Fixer("complete", "unsafe", "ends a JPEG that lacks nothing else; moves any other file to quarantine"),
    "IM004": Fixer("end", "unsafe", "ends the JPEG at its end marker; the pixels stay, or it is encoded again"),
    "IM005": _AWAY,
    "IM006": _AWAY,
    "IM007": Fixer("rename", "unsafe", "renames the image to the suffix of its content"),
    "IM009": _AWAY,
    "IM011": _AWAY,
    "IM012": _AWAY,
    "IM013": _AWAY,
    "FS012": _AWAY,
}
"""The fixer of each rule code that has one."""


def safety(code: str) -> str:
    """`safe`, `unsafe`, `safe to 1 %`, or nothing where the defect has to be mended by hand."""
    return FIXES[code].safety if code in FIXES else ""
