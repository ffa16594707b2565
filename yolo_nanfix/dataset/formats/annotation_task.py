"""Which task annotation files are for: told by what they hold."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from yolo_nanfix.tasks import Basis, TaskBasis

RECTANGLE = 8
"""Numbers of a polygon with four corners, which may be a box."""


@dataclass
class Tally:
    """What the annotations of a file tell of their task.

    Attributes:
        annotations: those that are objects.
        polygons: those of them with a polygon of more than four corners.
        keypoints: those with keypoints.
        zeros: those of the category 0.
    """

    annotations: int = 0
    polygons: int = 0
    keypoints: int = 0
    zeros: int = 0

    def add(self, entry: Any) -> None:
        """Count one annotation."""
        if isinstance(entry, dict):
            self.annotations += 1
            self.polygons += _is_outline(entry)
            self.keypoints += bool(entry.get("keypoints"))
            self.zeros += entry.get("category_id") == 0


def coco_basis(categories: Iterable[Any], tallies: Sequence[Tally]) -> Basis:
    """Keypoints mean pose; polygons of more than four corners, in more than half of the annotations, segment."""
    count, polygons = sum(tally.annotations for tally in tallies), sum(tally.polygons for tally in tallies)
    named = any(isinstance(entry, dict) and entry.get("keypoints") for entry in categories)
    keypoints = sum(tally.keypoints for tally in tallies) if named else 0
    task = "pose" if keypoints else "segment" if 2 * polygons > count else "detect"
    numbers = {"annotations": count, "polygons": polygons, "keypoints": keypoints}
    return Basis(TaskBasis.ANNOTATIONS, task, numbers)


def _is_outline(entry: dict[str, Any]) -> bool:
    """Whether an annotation has a polygon of more than four corners."""
    rings = entry.get("segmentation")
    return isinstance(rings, list) and any(isinstance(ring, list) and len(ring) > RECTANGLE for ring in rings)
