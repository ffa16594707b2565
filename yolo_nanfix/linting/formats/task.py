"""Which task annotation files are for: told by what they hold."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from yolo_nanfix.tasks import Basis, TaskBasis

RECTANGLE = 8
"""Numbers of a polygon with four corners, which may be a box."""


def coco_basis(categories: Iterable[Any], annotations: Iterable[Any]) -> Basis:
    """Keypoints mean pose; polygons of more than four corners, in more than half of the annotations, segment."""
    entries = [entry for entry in annotations if isinstance(entry, dict)]
    named = any(isinstance(entry, dict) and entry.get("keypoints") for entry in categories)
    keypoints = sum(bool(entry.get("keypoints")) for entry in entries) if named else 0
    polygons = sum(map(_is_outline, entries))
    task = "pose" if keypoints else "segment" if 2 * polygons > len(entries) else "detect"
    numbers = {"annotations": len(entries), "polygons": polygons, "keypoints": keypoints}
    return Basis(TaskBasis.ANNOTATIONS, task, numbers)


def _is_outline(entry: dict[str, Any]) -> bool:
    """Whether an annotation has a polygon of more than four corners."""
    rings = entry.get("segmentation")
    return isinstance(rings, list) and any(isinstance(ring, list) and len(ring) > RECTANGLE for ring in rings)
