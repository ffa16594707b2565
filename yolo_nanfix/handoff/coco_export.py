"""COCO JSON, with the findings as `defects` of annotations and images."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from yolo_nanfix.findings import Finding
from yolo_nanfix.handoff.cvat import labels_of
from yolo_nanfix.scene import Album, Scene, Shape, called, plain

COCO_FILE = "annotations.json"


def coco_files(scenes: list[Scene], album: Album) -> dict[str, bytes]:
    """The files of the export by name: `annotations.json`. Images that cannot be opened are left out."""
    shown = [scene for scene in scenes if scene.width]
    labels = labels_of(album, shown)
    numbers = {label: number for number, label in enumerate(labels, 1)}
    categories: list[dict[str, Any]] = [{"id": n, "name": name, "supercategory": ""} for name, n in numbers.items()]
    if album.task == "pose" and album.kpt_shape:
        points = [str(i) for i in range(album.kpt_shape[0])]
        categories = [{**category, "keypoints": points, "skeleton": []} for category in categories]
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, scene in enumerate(shown, 1):
        size = {"width": scene.width, "height": scene.height}
        about = {"split": plain(scene.split), "defects": _defects(scene.defects)}
        images.append({"id": number, "file_name": scene.name, **size, **about})
        for shape in scene.shapes:
            owner = {"id": len(annotations) + 1, "image_id": number, "category_id": numbers[shape.label]}
            annotations.append({**owner, **_annotation(shape)})
    info = {"description": plain(f"images with findings of yolo-nanfix in {called(album)}")}
    whole = {"info": info, "licenses": [], "categories": categories, "images": images, "annotations": annotations}
    return {COCO_FILE: (json.dumps(whole, indent=1) + "\n").encode()}


def _annotation(shape: Shape) -> dict[str, Any]:
    """Box, outline and keypoints of one row, in pixels."""
    left, top, right, bottom = shape.box
    outline = [round(v, 2) for point in shape.polygon for v in point] if len(shape.polygon) > 2 else []
    found: dict[str, Any] = {
        "bbox": [round(v, 2) for v in (left, top, right - left, bottom - top)],
        "area": round((right - left) * (bottom - top), 2),
        "iscrowd": 0,
        "segmentation": [outline] if outline else [],
        "line": shape.line,
        "defects": _defects(shape.defects),
    }
    if shape.keypoints:
        points = [
            v for x, y, seen in shape.keypoints for v in ((round(x, 2), round(y, 2), seen) if seen else (0, 0, 0))
        ]
        found |= {"keypoints": points, "num_keypoints": sum(seen > 0 for *_, seen in shape.keypoints)}
    return found


def _defects(findings: Iterable[Finding]) -> list[dict[str, str]]:
    return [
        {"code": f.code, "name": f.name, "severity": f.severity.value, "message": plain(f.message), "fix": f.fix}
        for f in findings
    ]
