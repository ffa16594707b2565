"""supervision's DetectionDataset, written as YOLO and as COCO."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from exporters.inputs import NAMES, corners, disc, layout, mask, picture, turned, turned_photos

ROUND, BAR = disc(60, 60, 30), corners(150, 100, 90, 50)
TURNED = turned(160, 120, 120, 40, 30)


def boxes_of(outlines: Sequence[Any]) -> np.ndarray:
    """The boxes around outlines as x1 y1 x2 y2."""
    found = [[*np.min(outline, axis=0), *np.max(outline, axis=0)] for outline in outlines]
    return np.array(found, np.float32).reshape(-1, 4)


def detections(outlines: Sequence[Any], **more: Any) -> Any:
    """The objects of a picture, nut and bolt by turns."""
    import supervision

    classes = np.arange(len(outlines)) % len(NAMES)
    return supervision.Detections(xyxy=boxes_of(outlines), class_id=classes, **more)


def saved(root: Path, objects: Sequence[Any], **options: Any) -> Path:
    """The objects of each picture written as YOLO, and laid out with a data.yaml for training."""
    made = dataset(root, objects)
    made.as_yolo(annotations_directory_path=str(root / "out"), **options)
    return layout(root / "yolo", root / "in", root / "out", NAMES)


def dataset(root: Path, objects: Sequence[Any]) -> Any:
    """A DetectionDataset of supervision with a picture for each group of objects."""
    import supervision

    files = []
    for i, group in enumerate(objects):
        outlines = [corners(x1, y1, x2 - x1, y2 - y1) for x1, y1, x2, y2 in group.xyxy]
        files.append(str(picture(root / "in" / f"{i}.png", i, outlines)))
    annotations = dict(zip(files, objects, strict=True))
    return supervision.DetectionDataset(classes=list(NAMES), images=files, annotations=annotations)


def ordinary(count: int = 5, masks: bool = False) -> list[Any]:
    """Pictures with a nut and a bolt, each at places of its own."""
    groups = []
    for i in range(count):
        outlines = [disc(60 + 10 * i, 60, 30), corners(150 + 5 * i, 100 + 5 * i, 90, 50)]
        more = {"mask": np.array([mask(o) for o in outlines])} if masks else {}
        groups.append(detections(outlines, **more))
    return groups


def masked(root: Path, *shapes: np.ndarray, coco: bool = False, **options: Any) -> Path:
    """Ordinary masks in five pictures, and these ones in a sixth."""
    outlines = []
    for shape in shapes:
        ys, xs = np.nonzero(shape)
        outlines.append([(xs.min(), ys.min()), (xs.max() + 1, ys.max() + 1)])
    objects = [*ordinary(masks=True), detections(outlines, mask=np.array(shapes))]
    return as_coco(root, objects) if coco else saved(root, objects, **options)


def as_coco(root: Path, objects: Sequence[Any]) -> Path:
    """Written as COCO, pictures beside it."""
    dataset(root, objects).as_coco(str(root / "coco" / "images"), str(root / "coco" / "annotations.json"))
    return root / "coco"


def boxes(root: Path) -> Path:
    return saved(root, ordinary())


def masks(root: Path) -> Path:
    return masked(root, mask(ROUND), mask(BAR))


def hole(root: Path) -> Path:
    return masked(root, mask(ROUND, holes=[disc(60, 60, 12)]), mask(BAR))


def two_parts(root: Path) -> Path:
    return masked(root, mask(ROUND, corners(250, 180, 40, 40)), mask(BAR))


def thin(root: Path) -> Path:
    return masked(root, mask(ROUND), mask(corners(150, 100, 90, 0)))


def turned_as_boxes(root: Path) -> Path:
    return saved(root, [*ordinary(), detections([TURNED], data={"xyxyxyxy": np.array([TURNED], np.float32)})])


def turned_corners(root: Path) -> Path:
    groups = []
    for i in range(6):
        bars = [turned(100 + 10 * i, 100, 120, 40, 30), turned(230, 180 - 5 * i, 60, 30, 60)]
        groups.append(detections(bars, data={"xyxyxyxy": np.array(bars, np.float32)}))
    return saved(root, groups, is_obb=True)


def outside(root: Path) -> Path:
    return saved(root, [*ordinary(), detections([corners(280, 200, 60, 60)])])


def nothing_on_it(root: Path) -> Path:
    return saved(root, [*ordinary(), detections([])])


def coco_boxes(root: Path) -> Path:
    return as_coco(root, ordinary())


def coco_masks(root: Path) -> Path:
    return masked(root, mask(ROUND), mask(BAR), coco=True)


def coco_hole(root: Path) -> Path:
    return masked(root, mask(ROUND, holes=[disc(60, 60, 12)]), mask(BAR), coco=True)


def coco_two_parts(root: Path) -> Path:
    return masked(root, mask(ROUND, corners(250, 180, 40, 40)), mask(BAR), coco=True)


def coco_turned_photos(root: Path) -> Path:
    """The train split from YOLO to COCO."""
    import supervision

    data = turned_photos(root)
    images, labels = (data.parent / kind / "train" for kind in ("images", "labels"))
    made = supervision.DetectionDataset.from_yolo(str(images), str(labels), str(data))
    made.as_coco(annotations_path=str(images / "coco.json"))
    return images / "coco.json"
