"""What a plan is made of: files that are to change, and things that are left as they are."""

from __future__ import annotations

from typing import NamedTuple

from yolo_nanfix.findings import Finding
from yolo_nanfix.linting.autofix.file_changes import Seen


class Edit(NamedTuple):
    """One file that is to change: `seen` at `path` becomes `after` at `target` (the same path unless it is moved).

    Attributes:
        done: the findings that are mended by it.
        what: why, in a word or two.
        group: edits of one group are done all or none: the code of a finding about the whole set. Nothing for a file
            that stands for itself.
    """

    path: str
    target: str
    seen: Seen
    after: bytes
    done: tuple[Finding, ...]
    what: str
    group: str = ""


class Kept(NamedTuple):
    """One thing that is left as it is.

    Attributes:
        place: a file or `file:line`.
        code: that of the finding, or nothing.
        reason: why.
        to_unsafe: whether unsafe fixes would mend it.
    """

    place: str
    code: str
    reason: str
    to_unsafe: bool = False
