"""Label Studio: tasks with annotations, and the labelling setup.

Label Studio names the labels that it exports as YOLO by the image file without its folder. If two folders have images
of one name, each folder is a separate file of tasks for its own project, so that no labels are overwritten.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree as ET

from yolo_nanfix.handoff.cvat import labels_of
from yolo_nanfix.scene import Album, Scene, Shape, describe, plain

TASKS_FILE, SETUP = "tasks.json", "label_config.xml"
_SLUG = re.compile(r"[^A-Za-z0-9]+")
_LONGEST_SLUG = 60
SERVED = "/data/local-files/?d="
"""Start of Label Studio's URL of a file below LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT, which may not be `/`."""


def studio_files(scenes: list[Scene], album: Album, place: Callable[[Scene], str]) -> dict[str, bytes]:
    """The files of the export by name. Images that cannot be opened are left out.

    Args:
        scenes: the images.
        album: the dataset.
        place: the path of the image of a scene, relative to the folder that Label Studio serves.
    """
    shown = [scene for scene in scenes if scene.width]
    codes = sorted({f"{f.code} {f.name}" for scene in shown for f in scene.findings})
    points = album.kpt_shape[0] if album.task == "pose" and album.kpt_shape else 0
    setup = ET.tostring(_setup(labels_of(album, shown), codes, points), encoding="utf-8", xml_declaration=False)
    files: dict[str, bytes] = {}
    for name, project in _projects(shown).items():
        tasks = [_task(scene, number, place(scene)) for number, scene in enumerate(project, 1)]
        files[name] = (json.dumps(tasks, indent=1) + "\n").encode()
    return {**files, SETUP: setup + b"\n"}


def _projects(scenes: list[Scene]) -> dict[str, list[Scene]]:
    """The files of tasks: one, or one per folder if images in different folders have the same stem."""
    stems = {PurePosixPath(scene.name).stem for scene in scenes}
    if len(stems) == len(scenes):
        return {TASKS_FILE: scenes}
    by_folder: dict[str, list[Scene]] = {}
    for scene in scenes:
        by_folder.setdefault(str(PurePosixPath(scene.name).parent), []).append(scene)
    if len(by_folder) == 1:
        return {TASKS_FILE: scenes}
    return {
        f"tasks-{number}-{_SLUG.sub('-', folder)[-_LONGEST_SLUG:].strip('-')}.json": by_folder[folder]
        for number, folder in enumerate(sorted(by_folder), 1)
    }


def _setup(labels: list[str], codes: list[str], points: int) -> ET.Element:
    """The labelling setup: boxes, polygons, so many keypoints, a checkbox per defect, a note."""
    view = ET.Element("View")
    ET.SubElement(view, "Image", name="image", value="$image", zoom="true")
    for name, kind in (("box", "RectangleLabels"), ("polygon", "PolygonLabels")):
        control = ET.SubElement(view, kind, name=name, toName="image")
        for label in labels:
            ET.SubElement(control, "Label", value=label)
    if points:  # only then: with keypoints Label Studio's converter merges categories
        control = ET.SubElement(view, "KeyPointLabels", name="keypoint", toName="image")
        for number in range(points):
            ET.SubElement(control, "Label", value=_keypoint(number), model_index=str(number))
    if codes:
        choices = ET.SubElement(view, "Choices", name="defects", toName="image", choice="multiple")
        for code in codes:
            ET.SubElement(choices, "Choice", value=code)
        ET.SubElement(view, "TextArea", name="note", toName="image", editable="true")
    ET.indent(view)
    return view


def _task(scene: Scene, number: int, path: str) -> dict[str, Any]:
    """One image with its boxes; the findings are at the box, as choices, and as a note."""
    size = {"original_width": scene.width, "original_height": scene.height, "image_rotation": 0, "to_name": "image"}
    result: list[dict[str, Any]] = []
    for shape in scene.shapes:
        result += [{**size, **region} for region in _regions(shape, scene)]
    codes = sorted({f"{f.code} {f.name}" for f in scene.findings})
    notes = [describe(f) for f in scene.findings]
    if codes:
        result.append({**_result(f"d{number}", "choices", "defects", {"choices": codes}), "to_name": "image"})
        result.append({**_result(f"n{number}", "textarea", "note", {"text": notes}), "to_name": "image"})
    data = {"image": SERVED + quote(path, errors="surrogateescape"), "name": scene.name}
    data |= {"split": plain(scene.split), "defects": "\n".join(notes)}
    told = {"annotations": [{"id": number, "result": result}]} if result else {}
    return {"id": number, "data": data, **told}


def _regions(shape: Shape, scene: Scene) -> list[dict[str, Any]]:
    """The regions of one row, in percent of the image; the defects are the meta text of the first one."""
    name, regions = f"r{shape.line}", []
    if len(shape.polygon) > 2:
        points = [[100 * x / scene.width, 100 * y / scene.height] for x, y in shape.polygon]
        value: dict[str, Any] = {"points": points, "closed": True, "polygonlabels": [shape.label]}
        regions.append(_result(name, "polygonlabels", "polygon", value))
    else:
        left, top, right, bottom = shape.box
        value = {"x": 100 * left / scene.width, "y": 100 * top / scene.height, "rotation": 0}
        value |= {"width": 100 * (right - left) / scene.width, "height": 100 * (bottom - top) / scene.height}
        regions.append(_result(name, "rectanglelabels", "box", {**value, "rectanglelabels": [shape.label]}))
    if shape.defects:
        regions[0]["meta"] = {"text": [describe(f) for f in shape.defects]}
    for number, (x, y, visible) in enumerate(shape.keypoints):
        if visible:
            value = {"x": 100 * x / scene.width, "y": 100 * y / scene.height, "width": 0.5}
            value["keypointlabels"] = [_keypoint(number)]
            regions.append({**_result(f"{name}k{number}", "keypointlabels", "keypoint", value), "parentID": name})
    return regions


def _keypoint(number: int) -> str:
    """The label of a keypoint."""
    return f"keypoint {number}"


def _result(name: str, kind: str, control: str, value: dict[str, Any]) -> dict[str, Any]:
    return {"id": name, "type": kind, "from_name": control, "value": value}
