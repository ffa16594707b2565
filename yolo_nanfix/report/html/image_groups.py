"""Images that are the same or look alike, joined to groups from what findings say of pairs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from yolo_nanfix.findings import Finding


class Group(NamedTuple):
    """Images that belong together.

    Attributes:
        images: the files, each once; the one that others are held against first.
        findings: what says so.
    """

    images: tuple[str, ...]
    findings: tuple[Finding, ...]


def groups(findings: Iterable[Finding]) -> list[Group]:
    """The groups, the worst first, then the largest."""
    pairs = [(f.image, f.partner, f) for f in findings if f.image is not None and f.partner is not None]
    leader: dict[str, str] = {}

    def first(image: str) -> str:
        while (up := leader.setdefault(image, image)) != image:
            leader[image] = leader[up]
            image = up
        return image

    for image, other, _ in pairs:
        leader[first(image)] = first(other)
    members: dict[str, dict[str, None]] = {}
    said: dict[str, list[Finding]] = {}
    for image, other, finding in pairs:
        name = first(image)
        members.setdefault(name, {}).update({other: None, image: None})
        said.setdefault(name, []).append(finding)
    found = [Group(tuple(images), tuple(said[name])) for name, images in members.items()]
    return sorted(found, key=lambda g: (min(f.severity.rank for f in g.findings), -len(g.images)))
