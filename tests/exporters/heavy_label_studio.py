"""Label Studio's tasks through the converter of label-studio-sdk, as YOLO, YOLO OBB and COCO."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from exporters.heavy import Heavy
from exporters.inputs import HEIGHT, NAMES, WIDTH, corners, disc, layout, picture, place

Result = dict[str, Any]
COUNT = 6


def percent(x: float, y: float) -> tuple[float, float]:
    """Pixels as Label Studio keeps places."""
    return 100 * x / WIDTH, 100 * y / HEIGHT


def result(kind: str, label: str, **value: Any) -> Result:
    """One object of a task; its control tag is named after its kind."""
    size = {"original_width": WIDTH, "original_height": HEIGHT, "image_rotation": 0}
    key = f"{kind}labels"
    name = f"{kind}{len(str(value))}"
    return {**size, "id": name, "from_name": kind, "to_name": "image", "type": key, "value": {**value, key: [label]}}


def box(label: str, x: float, y: float, width: float, height: float, rotation: float = 0) -> Result:
    """A rectangle, turned clockwise around its first corner."""
    (left, top), (wide, high) = percent(x, y), percent(width, height)
    return result("rectangle", label, x=left, y=top, width=wide, height=high, rotation=rotation)


def polygon(label: str, points: Sequence[tuple[float, float]]) -> Result:
    return result("polygon", label, points=[list(percent(x, y)) for x, y in points], closed=True)


def ellipse(label: str, x: float, y: float, rx: float, ry: float) -> Result:
    (left, top), (wide, high) = percent(x, y), percent(rx, ry)
    return result("ellipse", label, x=left, y=top, radiusX=wide, radiusY=high, rotation=0)


def pose(spots: int) -> Callable[[int], list[Result]]:
    """A box, and in it so many of the two keypoints."""

    def make(i: int) -> list[Result]:
        parent = {**box("nut", 30 + 10 * i, 30, 60, 60), "id": "parent"}
        places = [("left", 40 + 10 * i, 50), ("right", 80 + 10 * i, 70)][: spots if i == 1 else 2]
        return [parent, *(_keypoint(name, x, y) for name, x, y in places)]

    return make


def _keypoint(name: str, x: float, y: float) -> Result:
    left, top = percent(x, y)
    return {**result("keypoint", name, x=left, y=top, width=0.5), "id": name, "parentID": "parent"}


def draw(
    results: Callable[[int], list[Result]], kinds: Sequence[str], annotators: int = 1, keypoints: bool = False
) -> Callable[[Path], None]:
    """Six pictures with the objects that `results` gives, and the project's configuration."""

    def make(root: Path) -> None:
        tasks = []
        for i in range(COUNT):
            outlines = [disc(60 + 10 * i, 60, 30), corners(150 + 5 * i, 100 + 8 * i, 90, 50)]
            file = picture(root / "in" / f"{i}.png", i, outlines)
            made = [
                {"id": i * 10 + by, "completed_by": by, "result": _moved(results(i), by), "was_cancelled": False}
                for by in range(1, annotators + 1)
            ]
            tasks.append({"id": i + 1, "data": {"image": str(file)}, "annotations": made})
        (root / "tasks.json").write_text(json.dumps(tasks))
        tags = "".join(_tag(f"{kind.title()}Labels", kind, NAMES) for kind in kinds)
        if keypoints:
            tags += _tag("KeyPointLabels", "keypoint", ("left", "right"))
        (root / "config.xml").write_text(f'<View><Image name="image" value="$image"/>{tags}</View>')

    return make


def _tag(kind: str, name: str, labels: Sequence[str]) -> str:
    """A control tag of the configuration; the index says where a keypoint stands in a pose row."""
    inside = "".join(f'<Label value="{label}" model_index="{i}"/>' for i, label in enumerate(labels))
    return f'<{kind} name="{name}" toName="image">{inside}</{kind}>'


def _moved(results: list[Result], by: int) -> list[Result]:
    """The same objects as another person draws them, 2 pixels beside."""
    return [{**r, "value": {**r["value"], "x": r["value"]["x"] + 0.6 * (by - 1)}} if by > 1 else r for r in results]


def export(kind: str) -> Callable[[Path], None]:
    """The sdk's converter; `kind` is yolo, obb or coco."""

    def run(root: Path) -> None:
        from label_studio_sdk.converter import Converter

        converter = Converter((root / "config.xml").read_text(), str(root), download_resources=False)
        given, out = str(root / "tasks.json"), str(root / "out")
        if kind == "coco":
            converter.convert_to_coco(given, out, is_dir=False)
        else:
            converter.convert_to_yolo(given, out, is_dir=False, is_obb=kind == "obb")

    return run


def as_yolo(root: Path) -> Path:
    """Beside the pictures, with the classes in the order of classes.txt."""
    names = (root / "out" / "classes.txt").read_text().split()
    return layout(root / "yolo", root / "in", root / "out" / "labels", names)


def as_pose(root: Path) -> Path:
    """The same with the two keypoints in data.yaml, which the user writes by hand."""
    names = (root / "out" / "classes.txt").read_text().split()
    more = {"kpt_shape": [2, 3], "flip_idx": [1, 0]}
    return layout(root / "yolo", root / "in", root / "out" / "labels", names, **more)


def as_coco(root: Path) -> Path:
    """The file and the pictures that it names."""
    for file in (root / "in").iterdir():
        place(file, root / "out" / "images" / file.name)
    file = root / "out" / "result.json"
    text = file.read_text().replace(str(root / "in"), "images")
    file.write_text(text.replace(str(root) + "\\/in", "images").replace(str(root / "in").replace("/", "\\/"), "images"))
    return file


def ordinary(i: int) -> list[Result]:
    return [box("nut", 30 + 10 * i, 30, 60, 60), box("bolt", 150 + 5 * i, 100 + 8 * i, 90, 50)]


def in_one(*odd: Result) -> Callable[[int], list[Result]]:
    """Ordinary boxes, and these in the second picture."""
    return lambda i: [*ordinary(i), *odd] if i == 1 else ordinary(i)


def alone(*odd: Result) -> Callable[[int], list[Result]]:
    """Ordinary boxes, but in the second picture nothing else than these."""
    return lambda i: list(odd) if i == 1 else ordinary(i)


def turned(i: int) -> list[Result]:
    return [box("nut", 60 + 10 * i, 60, 100, 40, 30), box("bolt", 200 - 5 * i, 120 + 6 * i, 60, 40, 15)]


TRIANGLE = polygon("bolt", [(40, 180), (120, 190), (80, 230)])
BOXES = ("rectangle", "polygon", "ellipse")
CASES = {
    "boxes": Heavy(draw(ordinary, BOXES), export("yolo"), as_yolo),
    "turned": Heavy(draw(turned, BOXES), export("yolo"), as_yolo),
    "turned-obb": Heavy(draw(turned, BOXES), export("obb"), as_yolo),
    "triangle-obb": Heavy(draw(lambda i: [*turned(i), *([TRIANGLE] if i == 1 else [])], BOXES), export("obb"), as_yolo),
    "polygons-among-boxes": Heavy(draw(in_one(TRIANGLE), BOXES), export("yolo"), as_yolo),
    "ellipse": Heavy(draw(alone(ellipse("nut", 100, 100, 30, 20)), BOXES), export("yolo"), as_yolo),
    "annotators": Heavy(draw(ordinary, BOXES, annotators=2), export("yolo"), as_yolo),
    "pose": Heavy(draw(pose(2), BOXES, keypoints=True), export("yolo"), as_pose),
    "pose-one-left-out": Heavy(draw(pose(0), BOXES, keypoints=True), export("yolo"), as_pose),
    "coco": Heavy(draw(ordinary, BOXES), export("coco"), as_coco),
    "coco-turned": Heavy(draw(turned, BOXES), export("coco"), as_coco),
    "coco-ellipse": Heavy(draw(alone(ellipse("nut", 100, 100, 30, 20)), BOXES), export("coco"), as_coco),
}
