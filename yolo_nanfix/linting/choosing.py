"""Chooses the images that are worth labelling: those that are sound, and no copies of others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from yolo_nanfix.choices import Choice
from yolo_nanfix.findings import Effect, Finding

UNSOUND = (Effect.DROPS, Effect.CRASHES, Effect.POISONS)
SPOILT = ("IM014", "IM015", "IM016", "IM017", "IM028", "IM029", "IM030")
"""Images whose pixels are damaged, or are trained as others than they were: labels on them are wasted."""


def choose(files: Sequence[str], findings: Iterable[Finding]) -> tuple[Choice, ...]:
    """What is to be done with images that have no label file.

    Args:
        files: the images.
        findings: what was found; of two that are the same or alike the one is left out that has no label.
    """
    bare = set(files)
    codes: dict[str, dict[str, None]] = {}
    partners: dict[str, str] = {}
    for finding in findings:
        image, partner = finding.image, finding.partner
        if image is None:
            continue
        if finding.effect in UNSOUND or finding.code in SPOILT:
            codes.setdefault(image, {})[finding.code] = None
        if partner is not None:
            if image not in bare and partner in bare:
                image, partner = partner, image
            codes.setdefault(image, {})[finding.code] = None
            partners.setdefault(image, partner)
    return tuple(Choice(file, file not in codes, tuple(codes.get(file, ())), partners.get(file)) for file in files)
