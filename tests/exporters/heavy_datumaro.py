"""CVAT's and COCO's annotations through datumaro, as YOLO for Ultralytics."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from exporters.heavy import Heavy
from exporters.inputs import HEIGHT, NAMES, WIDTH, coco, corners, of_coco, picture, place

COUNT = {"train": 4, "val": 2}


def cvat_box(label: str, x: float, y: float, width: float, height: float, rotation: float = 0) -> str:
    """A box of CVAT, turned clockwise around its centre."""
    turn = f' rotation="{rotation}"' if rotation else ""
    frame = f'xtl="{x}" ytl="{y}" xbr="{x + width}" ybr="{y + height}"'
    return f'<box label="{label}" occluded="0" source="manual" {frame}{turn} z_order="0"></box>'


def ordinary(i: int) -> list[str]:
    return [cvat_box("nut", 30 + 10 * i, 30, 60, 60), cvat_box("bolt", 150 + 5 * i, 100 + 5 * i, 90, 50)]


def turned(i: int) -> list[str]:
    """The bolt of the second picture is turned."""
    boxes = ordinary(i)
    return [boxes[0], cvat_box("bolt", 150, 100, 90, 50, 30)] if i == 1 else boxes


def outside(i: int) -> list[str]:
    return [*ordinary(i), cvat_box("nut", 280, 200, 60, 60)] if i == 1 else ordinary(i)


def polygons(i: int) -> list[str]:
    """In the second picture both objects are outlined."""
    if i != 1:
        return ordinary(i)
    points = ("40,30;100,40;70,90", "155,105;245,105;245,155;155,155")
    return [
        f'<polygon label="{label}" source="manual" occluded="0" points="{spots}" z_order="0"></polygon>'
        for label, spots in zip(NAMES, points, strict=True)
    ]


def cvat(boxes: Callable[[int], Sequence[str]]) -> Callable[[Path], None]:
    """Four pictures for train and two for val, with an XML file of CVAT for images each."""

    def make(root: Path) -> None:
        number = 0
        for split, count in COUNT.items():
            images = []
            for _ in range(count):
                outlines = [corners(30 + 10 * number, 30, 60, 60), corners(150 + 5 * number, 100 + 5 * number, 90, 50)]
                picture(root / "images" / f"{number}.png", number, outlines)
                frame = f'id="{number}" name="{number}.png" width="{WIDTH}" height="{HEIGHT}"'
                images.append(f"<image {frame}>{''.join(boxes(number))}</image>")
                number += 1
            labels = "".join(f"<label><name>{name}</name><attributes></attributes></label>" for name in NAMES)
            meta = f"<meta><task><size>{count}</size><mode>annotation</mode><labels>{labels}</labels></task></meta>"
            text = f'<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version>{meta}'
            (root / f"{split}.xml").write_text(f"{text}{''.join(images)}</annotations>\n")

    return make


def coco_crowd(root: Path) -> None:
    """Ordinary objects in COCO, and a crowd in one picture."""
    number = 0
    for split, count in COUNT.items():
        made = []
        for i in range(count):
            made.append(of_coco(i + 1, 1, corners(30 + 10 * i, 30 + 5 * number, 60, 60)))
            made.append(of_coco(i + 1, 2, corners(170 + 5 * i, 20 + 5 * number, 90, 50)))
            number += 1
        crowd = of_coco(1, 2, corners(150, 130, 120, 90), iscrowd=1)
        file = coco(root / "coco" / split, [*made, *([crowd] if split == "train" else [])], count)
        whole = json.loads(file.read_text())
        for image in whole["images"]:
            own = f"{split}{image['file_name']}"
            for target in (root / "images" / own, root / "set" / "images" / split / own):
                place(file.parent / "images" / image["file_name"], target)
            image["file_name"] = own
        target = root / "set" / "annotations" / f"instances_{split}.json"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(json.dumps(whole))


def export(kind: str) -> Callable[[Path], None]:
    """`Dataset.export` as yolo_ultralytics, without the pictures."""

    def run(root: Path) -> None:
        from datumaro.components.dataset import Dataset

        if kind == "coco":
            made = Dataset.import_from(str(root / "set"), "coco_instances")
        else:
            parts = [Dataset.import_from(str(root / f"{split}.xml"), "cvat") for split in COUNT]
            made = Dataset.from_extractors(*parts)
        made.export(str(root / "out"), "yolo_ultralytics", save_media=False)

    return run


def finish(root: Path) -> Path:
    """The pictures where `save_media` puts them."""
    for label in (root / "out" / "labels").rglob("*.txt"):
        name = f"{label.stem}.png"
        place(root / "images" / name, root / "out" / "images" / label.parent.name / name)
    return root / "out" / "data.yaml"


CASES = {
    "boxes": Heavy(cvat(ordinary), export("cvat"), finish),
    "turned": Heavy(cvat(turned), export("cvat"), finish),
    "polygons": Heavy(cvat(polygons), export("cvat"), finish),
    "outside": Heavy(cvat(outside), export("cvat"), finish),
    "coco-crowd": Heavy(coco_crowd, export("coco"), finish),
}
