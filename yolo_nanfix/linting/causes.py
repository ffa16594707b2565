"""Which findings about rows and files follow from a finding about the set."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from yolo_nanfix.findings import Finding


class Explains(NamedTuple):
    """What a hit about the set explains: the findings of some rules, of its split if it has one.

    Attributes:
        codes: the codes of these rules.
        files: the label or image files that they must be about; None for all.
        without: places (file, line) with a defect of their own, which it does not explain.
    """

    codes: tuple[str, ...]
    files: frozenset[str] | None = None
    without: frozenset[tuple[str, int]] = frozenset()


class Cause(NamedTuple):
    """A finding about the set, by its code and split, and what it explains."""

    code: str
    split: str | None
    explains: Explains

    def reaches(self, finding: Finding) -> bool:
        """Whether a finding follows from it."""
        codes, files, without = self.explains
        place = finding.place
        return (
            finding.code in codes
            and finding.code != self.code
            and self.split in (None, finding.split)
            and (files is None or place.file in files or finding.image in files)
            and (place.file, place.line) not in without
        )


def explained(findings: Iterable[Finding], causes: Sequence[Cause]) -> list[Finding]:
    """The findings, with the code of its cause in each that follows from one; of several causes the first counts."""
    by_code: dict[str, list[Cause]] = {}
    for cause in causes:
        for code in cause.explains.codes:
            by_code.setdefault(code, []).append(cause)
    if not by_code:
        return list(findings)
    out: list[Finding] = []
    for finding in findings:
        near = by_code.get(finding.code, ())
        first = next((cause for cause in near if cause.reaches(finding)), None)
        out.append(finding if first is None else finding.explained(first.code))
    return out


def dumps(causes: Iterable[Cause]) -> str:
    """Causes as text."""
    return json.dumps(
        [
            (code, split, codes, None if files is None else sorted(files), sorted(without))
            for code, split, (codes, files, without) in causes
        ]
    )


def loads(text: str) -> list[Cause]:
    """The causes that `dumps` was given."""
    return [
        Cause(
            code,
            split,
            Explains(
                tuple(codes), None if files is None else frozenset(files), frozenset((f, line) for f, line in without)
            ),
        )
        for code, split, codes, files, without in json.loads(text)
    ]
