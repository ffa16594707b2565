"""Which defects can be mended, how, and how safe that is: data, for the planner, the README and `rule CODE`."""

from __future__ import annotations

from typing import NamedTuple

TOLERANCE = 0.01
"""A box that reaches out of its image by this part of it or less is clipped by a safe fix."""


class Fixer(NamedTuple):
    """How one defect is mended.

    Attributes:
        how: the name of the operation: one of `rows.OPERATIONS`, `texts.WHOLE` or `plan.PICTURES` for a finding about
            one file, one of `sets.OPERATIONS` for a finding about the whole set.
        safety: `safe`, `unsafe`, or `safe to 1 %` (beyond that unsafe).
        text: what is done, in a few words.
    """

    how: str
    safety: str
    text: str


_CLIP = Fixer("clip", "safe to 1 %", "clips the box to the image")
_CLIP_FAR = Fixer("clip", "unsafe", "clips the box to the image")
_DROP = Fixer("drop", "unsafe", "drops the row")
_REREAD = Fixer("reread", "unsafe", "writes all coordinates as parts of the image, boxes by centre and size")
_AWAY = Fixer("quarantine", "unsafe", "moves the file to quarantine")

FIXES: dict[str, Fixer] = {
    "CF003": Fixer("renumber", "unsafe", "numbers the names from 0, and the classes of all labels with them"),
    "IM001": _AWAY,
    "IM002": _AWAY,
    "IM003": Fixer(
        "complete", "unsafe", "ends a labelled JPEG that lacks nothing else; moves any other file to quarantine"
    ),
    "IM004": Fixer("end", "unsafe", "ends the JPEG at its end marker; the pixels stay, or it is encoded again"),
    "IM005": _AWAY,
    "IM006": _AWAY,
    "IM007": Fixer("rename", "unsafe", "renames the image to the suffix of its content"),
    "IM009": _AWAY,
    "IM011": _AWAY,
    "IM012": _AWAY,
    "IM013": _AWAY,
    "IM019": _AWAY,
    "IM028": _AWAY,
    "IM029": _AWAY,
    "IM035": Fixer("unswap-turned", "unsafe", "divides the labels of turned images by the sides of the shown picture"),
    "IM036": Fixer("turn-labels", "unsafe", "turns the labels as EXIF turns their images, where that is proven"),
    "FS012": _AWAY,
    "TX001": Fixer("recode", "unsafe", "saves UTF-16 labels as UTF-8"),
    "TX002": _DROP,
    "TX003": Fixer("commas", "unsafe", "replaces commas, or drops the row"),
    "TX004": Fixer("comment", "unsafe", "cuts the comment"),
    "TX005": _DROP,
    "TX007": Fixer("seven", "unsafe", "cuts the rows to class x y width height"),
    "TX010": _DROP,
    "TX011": _DROP,
    "TX012": Fixer("spelling", "unsafe", "writes the number with plain digits"),
    "TX013": Fixer("columns", "unsafe", "cuts a confidence behind a box; in other tasks drops the row"),
    "TX015": _DROP,
    "TX016": Fixer("mark", "safe", "removes the mark"),
    "TX018": Fixer("bom", "safe", "removes the mark"),
    "TX019": Fixer("line-ends", "safe", "ends all lines with a line feed"),
    "BX001": _CLIP_FAR,
    "BX002": _CLIP_FAR,
    "BX003": Fixer("sides", "unsafe", "makes the sides positive"),
    "BX004": _DROP,
    "BX005": _CLIP,
    "BX006": _CLIP,
    "BX007": Fixer("duplicate", "safe", "removes the repeated row"),
    "BX008": _DROP,
    "BX010": _DROP,
    "BX011": _CLIP_FAR,
    "BX022": _REREAD,
    "BX023": _REREAD,
    "BX024": _REREAD,
    "BX025": _REREAD,
    "BX027": _REREAD,
    "BX028": _REREAD,
    "BX029": _REREAD,
    "KP013": Fixer("reread", "unsafe", "writes the keypoints as parts of the image"),
    "TX023": Fixer("without-number", "unsafe", "takes the number beside the class out of all rows"),
    "TX027": Fixer("without-behind", "unsafe", "cuts what stands behind box, outline or keypoints from all rows"),
    "SG001": Fixer("clip", "unsafe", "clips the polygon to the image"),
    "SG002": Fixer("clip-all", "safe", "clips the polygons of the file to the image"),
    "SG003": _DROP,
    "SG005": _DROP,
    "OB002": _DROP,
    "CL001": _DROP,
    "CL002": _DROP,
    "CL003": _DROP,
    "CL010": Fixer("shift-classes", "unsafe", "takes 1 from all class numbers"),
    "CL057": Fixer("shift-classes", "unsafe", "adds 1 to all class numbers"),
}
"""The fixer of each rule code that has one."""


def safety(code: str) -> str:
    """`safe`, `unsafe`, `safe to 1 %`, or nothing where the defect has to be mended by hand."""
    return FIXES[code].safety if code in FIXES else ""
