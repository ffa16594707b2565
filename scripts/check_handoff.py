"""Read handoffs with the tools they are for: datumaro's CVAT and COCO readers, pycocotools, Label Studio's converter.

    pip install datumaro label-studio-sdk pycocotools           # in an environment of their own
    yolo-nanfix handoff data.yaml OUT --to cvat --copy-images   # and the other forms; datumaro wants images
    python scripts/check_handoff.py OUT ...

Each reader must find the images, classes and boxes of the `handoff.csv` beside the file, within a pixel. Exit code 1 if
one does not. This script imports nothing of yolo-nanfix.
"""

from __future__ import annotations

import argparse
import csv
import json
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

MISSING = "\N{REPLACEMENT CHARACTER}"


class Read(NamedTuple):
    """What a reader found: names of images, and image, class, left, top, right, bottom of each box."""

    images: set[str]
    boxes: list[tuple[str, str, float, float, float, float]]


def wanted(out: Path) -> Read:
    """The images that can be opened, and all boxes, as the CSV lists them."""
    with open(out / "handoff.csv", encoding="utf-8", newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["width"] != "0"]
    sides = ("left", "top", "right", "bottom")
    boxes = [(r["image"], r["class"], *(float(r[s]) for s in sides)) for r in rows if r["class"]]
    return Read({row["image"] for row in rows}, boxes)


def by_datumaro(out: Path, form: str) -> Read:
    """What datumaro reads; of polygons the boxes around them."""
    from datumaro.components.annotation import AnnotationType
    from datumaro.components.dataset import Dataset

    names = {str(Path(name).with_suffix("")): name for name in wanted(out).images}
    with tempfile.TemporaryDirectory() as folder:
        source, target = {
            "cvat": ("annotations.xml", "annotations.xml"),
            "coco_instances": ("annotations.json", "annotations/instances_default.json"),
        }[form]
        (Path(folder) / target).parent.mkdir(exist_ok=True)
        (Path(folder) / target).write_bytes((out / source).read_bytes())
        shutil.copytree(out / "images", Path(folder) / "images")
        dataset = Dataset.import_from(folder, form)
        labels = dataset.categories()[AnnotationType.label]
        found = Read(set(), [])
        for item in dataset:
            found.images.add(names.get(item.id, item.id))
            drawn = set()  # an outline in COCO is read as a polygon and as a box of the same id
            for annotation in item.annotations:
                if annotation.id and annotation.id in drawn:
                    continue
                drawn.add(annotation.id)
                if annotation.type in (AnnotationType.bbox, AnnotationType.polygon):
                    x, y, w, h = annotation.get_bbox()
                    box = (x, y, x + w, y + h)
                    found.boxes.append((names.get(item.id, item.id), labels[annotation.label].name, *box))
    return found


def by_pycocotools(out: Path) -> Read:
    """What pycocotools reads."""
    from pycocotools.coco import COCO

    coco = COCO(str(out / "annotations.json"))
    return _of_coco(coco.dataset, {i: image["file_name"] for i, image in coco.imgs.items()})


def by_label_studio(out: Path) -> Read:
    """What Label Studio's own converter makes of the tasks, as COCO."""
    from label_studio_sdk.converter import Converter

    tasks = json.loads((out / "tasks.json").read_text(encoding="utf-8"))
    served = {task["data"]["image"]: task["data"]["name"] for task in tasks}
    with tempfile.TemporaryDirectory() as folder:
        converter = Converter(str(out / "label_config.xml"), None, download_resources=False)
        converter.convert_to_coco(str(out / "tasks.json"), folder, is_dir=False)
        whole = json.loads((Path(folder) / "result.json").read_text(encoding="utf-8"))
    return _of_coco(whole, {image["id"]: served.get(image["file_name"], MISSING) for image in whole["images"]})


def _of_coco(whole: dict[str, Any], names: dict[int, str]) -> Read:
    """The boxes of a COCO dataset."""
    labels = {category["id"]: category["name"] for category in whole["categories"]}
    boxes = [
        (names[a["image_id"]], labels[a["category_id"]], x, y, x + w, y + h)
        for a in whole["annotations"]
        if "keypoints" not in a or a["keypoints"] is None or labels[a["category_id"]] != "default"
        for x, y, w, h in (a["bbox"],)
    ]
    return Read(set(names.values()), boxes)


def differences(found: Read, expected: Read) -> list[str]:
    """How what was read differs from what should be there."""
    lines = [f"image {name!r} is only on one side" for name in sorted(found.images ^ expected.images)]
    if len(found.boxes) != len(expected.boxes):
        lines.append(f"{len(found.boxes)} boxes, not {len(expected.boxes)}")
    for ours, theirs in zip(_sorted(expected.boxes), _sorted(found.boxes), strict=False):
        if ours[:2] != theirs[:2] or max(abs(a - b) for a, b in zip(ours[2:], theirs[2:], strict=True)) > 1:
            lines.append(f"{ours} was read as {theirs}")
    return lines


def _sorted(boxes: Iterable[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return sorted(boxes, key=lambda box: (*box[:2], *(round(side) for side in box[2:])))


def readers(out: Path) -> dict[str, Any]:
    """The readers for the form of a folder."""
    if (out / "annotations.xml").exists():
        return {"datumaro's CVAT reader": lambda: by_datumaro(out, "cvat")}
    if (out / "annotations.json").exists():
        return {
            "datumaro's COCO reader": lambda: by_datumaro(out, "coco_instances"),
            "pycocotools": lambda: by_pycocotools(out),
        }
    return {"Label Studio's converter": lambda: by_label_studio(out)}


def main() -> int:
    """Check each folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", nargs="+", type=Path)
    logging.disable(logging.WARNING)
    bad = 0
    for out in parser.parse_args().out:
        expected = wanted(out)
        for name, read in readers(out).items():
            stdout, sys.stdout = sys.stdout, open(os.devnull, "w")  # noqa: SIM115 - pycocotools talks
            try:
                found = read()
            finally:
                sys.stdout = stdout
            lines = differences(found, expected)
            bad += bool(lines)
            what = f"{len(found.images)} images, {len(found.boxes)} boxes"
            print(f"{out}: {name}: {what}: {'as written' if not lines else 'DIFFERENT'}")
            print(*(f"  {line}" for line in lines[:10]), sep="\n", end="\n" if lines else "")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
