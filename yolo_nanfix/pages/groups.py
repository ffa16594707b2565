"""Images that are the same or look alike, joined to groups from what findings say of pairs."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from yolo_nanfix.findings import Finding

_SAYS = {
    "SP001": re.compile(r"the same bytes as (.+)", re.DOTALL),
    "SP002": re.compile(r"the same bytes as (.+) \(\w+\)", re.DOTALL),
    "SP003": re.compile(
        r"the same image has (?:\d+ labels here and \d+|other boxes or classes here than) in (.+) \(\w+\)", re.DOTALL
    ),
    "SP004": re.compile(r"looks like (.+) \(\w+\), [^()]*\(\d+% alike\)", re.DOTALL),
    "SP005": re.compile(r"looks like (.+), [^()]*\(\d+% alike\)", re.DOTALL),
}
"""How findings of these rules name the other image."""


class Group(NamedTuple):
    """Images that belong together.

    Attributes:
        images: the files, each once; the one that others are held against first.
        findings: what says so.
    """

    images: tuple[str, ...]
    findings: tuple[Finding, ...]


def partner(finding: Finding) -> str | None:
    """The other image that a finding about a pair names; None for findings that name none."""
    says = _SAYS.get(finding.code)
    named = says.fullmatch(finding.message) if says else None
    return named[1] if named else None


def groups(findings: Iterable[Finding]) -> list[Group]:
    """The groups, the worst first, then the largest."""
    pairs = [(f.image, other, f) for f in findings if f.image is not None and (other := partner(f)) is not None]
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
