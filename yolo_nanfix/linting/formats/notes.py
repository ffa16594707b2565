"""What the readers of annotation files note, for the rules in `rules/annotations.py` to say."""

from __future__ import annotations

from typing import NamedTuple


class Note(NamedTuple):
    """One thing wrong with an annotation file.

    Attributes:
        kind: the rule that says it, by its name (`image-id-repeated`).
        file: the annotation file.
        text: what is wrong, with the id of the entry.
        line: 1-based line in the file, where known.
        split: the split of the image that it is about.
        image: the image that it is about.
    """

    kind: str
    file: str
    text: str
    line: int | None = None
    split: str | None = None
    image: str | None = None


Notes = tuple[Note, ...]
