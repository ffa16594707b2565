"""Mirroring, where it turns one class into another."""

from __future__ import annotations

import re

from yolo_nanfix.finetune.case import Answer, Case, Value, advises
from yolo_nanfix.plans import Reason, Source, Strength

MIRRORED_CLASSES = 1
"""From this many classes on whose name says left or right, images are not mirrored."""
CHARACTERS = 10
"""From this many classes on whose name is one letter or digit, the classes are taken for characters."""
SIDES = {"left": "right", "right": "left", "l": "r", "r": "l"}
"""Words of a name that a mirror swaps; `l` and `r` count only if both names exist."""
_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+|\W|_")
SOURCE = Source(
    "ultralytics issue 3109: fliplr=0 for left and right hands",
    "https://github.com/ultralytics/ultralytics/issues/3109",
)


def plain(name: str) -> str:
    """A name in lowercase, as `swapped` writes it."""
    return "".join(_words(name))


def swapped(name: str) -> str:
    """A name with its words for left and right exchanged, in lowercase: `Left hand` -> `right hand`."""
    return "".join(SIDES.get(word, word) for word in _words(name))


def _words(name: str) -> list[str]:
    return [word.lower() for word in _WORDS.findall(name)]


def mirrored(names: tuple[str, ...]) -> list[str]:
    """The names that say left or right, or that another one becomes when `l` and `r` are exchanged."""
    known = set(map(plain, names))
    return [
        name
        for name in names
        if {"left", "right"} & set(_words(name)) or ({"l", "r"} & set(_words(name)) and swapped(name) in known)
    ]


def characters(names: tuple[str, ...]) -> list[str]:
    """The names that are one letter or digit."""
    return [name for name in names if len(name) == 1 and name.isalnum()]


@advises("fliplr", SOURCE, Strength.MEASURED)
def advise(case: Case) -> Answer:
    """No mirrored images where class names say left and right, or are letters and digits.

    Half of the images are mirrored by default, and their classes stay: a left hand becomes a right one that is labelled
    left, and characters become none.
    """
    names = case.figures.names
    sides, single = mirrored(names), characters(names)
    if len(single) >= CHARACTERS:
        return Value(0.0, Reason.CLASSES_ARE_CHARACTERS, {"classes": len(names), "names": single})
    if len(sides) >= MIRRORED_CLASSES:
        return Value(0.0, Reason.CLASSES_MIRRORED, {"classes": len(names), "names": sides})
    return None
