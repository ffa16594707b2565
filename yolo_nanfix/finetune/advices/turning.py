"""Rotation and upside-down images, where classes are upright."""

from __future__ import annotations

from yolo_nanfix.finetune.advices.mirroring import CHARACTERS, characters
from yolo_nanfix.finetune.case import Answer, Case, Value, advises
from yolo_nanfix.plans import Reason, Source, Strength

UPRIGHT = frozenset(("up", "down", "top", "bottom", "upper", "lower", "upward", "downward"))
"""Words of class names that an upside-down image makes wrong."""
UPRIGHT_CLASSES = 2
"""From this many such classes on, the defaults are confirmed."""
SOURCE = Source(
    "Ultralytics: augmentation, flipud and degrees", "https://docs.ultralytics.com/guides/yolo-data-augmentation/"
)


def upright(names: tuple[str, ...]) -> list[str]:
    """The names that say up or down, or are characters, if these are many."""
    single = characters(names)
    found = [name for name in names if UPRIGHT & set(name.lower().replace("_", " ").replace("-", " ").split())]
    return found + (single if len(single) >= CHARACTERS else [])


@advises("flipud", SOURCE, Strength.MEASURED, silenced_by=("degrees",))
def advise(case: Case) -> Answer:
    """No upside-down or rotated images where class names say up and down, or are characters: as the defaults have it.

    6 and 9 are one shape, as are an arrow up and an arrow down. For other sets there is no published experiment that
    ties `flipud` or `degrees` to a figure of the set.
    """
    found = upright(case.figures.names)
    if len(found) < UPRIGHT_CLASSES:
        return None
    figures = {"classes": len(case.figures.names), "names": found}
    return Value(0.0, Reason.CLASSES_UPRIGHT, figures, {"flipud": 0.0, "degrees": 0.0})
