"""What a lint knows of a dataset besides its findings, for those who show them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from yolo_nanfix.dataset.config import DataConfig
from yolo_nanfix.dataset.table import Table

Where = Callable[[int], tuple[int | None, str]]
"""From the number of a row in an annotation file to its line (None if unknown) and what it is called there."""


@dataclass(frozen=True)
class Studied:
    """One dataset.

    Attributes:
        config: its data.yaml, or what stands for it.
        task: the task whose labels were read.
        table: its images and rows.
        where: for each annotation file how findings call its rows; without an entry by their line.
    """

    config: DataConfig
    task: str
    table: Table
    where: Mapping[str, Where] = field(default_factory=dict)


Study = Callable[[Studied], None]
"""What is called with it, once for each dataset that was linted."""
