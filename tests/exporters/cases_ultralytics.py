"""COCO files, DOTA labels and mask images through Ultralytics' own converters, and its split."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from exporters.cases_coco_tools import ordinary, source
from exporters.inputs import (
    HEIGHT,
    NAMES,
    WIDTH,
    coco,
    corners,
    data_yaml,
    disc,
    flat,
    layout,
    mask,
    of_coco,
    picture,
    place,
    turned,
)

Annotations = Sequence[dict[str, Any]]


def converted(
    root: Path, file: Path, names: Sequence[str] = NAMES, more: dict[str, Any] | None = None, **options: Any
) -> Path:
    """`convert_coco` of one file, its labels laid out beside the images with a data.yaml."""
    from ultralytics.data.converter import convert_coco

    place(file, root / "json" / "instances_all.json")
    convert_coco(str(root / "json"), str(root / "out"), **options)
    return layout(root / "yolo", root / "in" / "images", root / "out" / "labels" / "all", names, **(more or {}))


def coco_boxes(root: Path) -> Path:
    return converted(root, source(root), cls91to80=False)


def coco_segments(root: Path) -> Path:
    return converted(root, source(root), cls91to80=False, use_segments=True)


def coco_default_mapping(root: Path) -> Path:
    """Ids 1, 2, and 13, 14: the default takes them for those of COCO's 80 classes."""
    names = {1: "nut", 2: "bolt", 13: "washer", 14: "screw"}
    more = [of_coco(i + 1, 13 + i % 2, corners(20 + 5 * i, 150, 60, 40)) for i in range(6)]
    file = coco(root / "in", [*ordinary(), *more], 6, names)
    return converted(root, file, tuple(names.values()))


def coco_ids_from_zero(root: Path) -> Path:
    return converted(root, source(root, first=0), cls91to80=False)


def coco_crowd(root: Path) -> Path:
    return converted(root, source(root, [of_coco(2, 1, corners(20, 130, 120, 90), iscrowd=1)]), cls91to80=False)


def coco_only_crowd(root: Path) -> Path:
    """The seventh image has nothing but a crowd."""
    crowd = of_coco(7, 1, corners(20, 130, 120, 90), iscrowd=1)
    return converted(root, source(root, [crowd], images=7), cls91to80=False)


def coco_unlabelled(root: Path) -> Path:
    return converted(root, source(root, images=7), cls91to80=False)


def coco_hole(root: Path) -> Path:
    """A ring in run lengths: convert_coco keeps the outer outline."""
    import pycocotools.mask

    ring = mask(disc(90, 150, 40), holes=[disc(90, 150, 18)])
    runs = pycocotools.mask.encode(np.asfortranarray(ring.astype(np.uint8)))
    held = {"size": runs["size"], "counts": runs["counts"].decode()}
    annotation = {**of_coco(2, 1, disc(90, 150, 40)), "segmentation": held}
    return converted(root, source(root, [annotation]), cls91to80=False, use_segments=True)


def coco_two_parts(root: Path) -> Path:
    parts = [flat(corners(20, 150, 40, 50)), flat(corners(100, 150, 40, 50))]
    annotation = {**of_coco(2, 1, corners(20, 150, 120, 50)), "segmentation": parts}
    return converted(root, source(root, [annotation]), cls91to80=False, use_segments=True)


def coco_no_outline(root: Path) -> Path:
    annotation = {**of_coco(2, 1, corners(20, 150, 120, 50)), "segmentation": []}
    return converted(root, source(root, [annotation]), cls91to80=False, use_segments=True)


def coco_keypoints(root: Path) -> Path:
    return converted(root, _people(root), ("person",), _POSE, cls91to80=False, use_keypoints=True)


def coco_keypoints_without(root: Path) -> Path:
    """In one image a person has no labelled keypoint: convert_coco leaves it out."""
    extra = [{**of_coco(2, 1, corners(200, 20, 60, 100)), "keypoints": [0] * 9, "num_keypoints": 0}]
    return converted(root, _people(root, extra), ("person",), _POSE, cls91to80=False, use_keypoints=True)


_POSE = {"kpt_shape": [3, 3], "flip_idx": [0, 2, 1]}


def _people(root: Path, more: Annotations = ()) -> Path:
    made = []
    for i in range(6):
        x, y = 40 + 12 * i, 40 + 6 * i
        spots = [x + 30, y + 10, 2, x + 10, y + 50, 2, x + 50, y + 50, 1]
        made.append({**of_coco(i + 1, 1, corners(x, y, 60, 100)), "keypoints": spots, "num_keypoints": 3})
    return coco(root / "in", [*made, *more], 6, {1: "person"})


def coco_outside(root: Path) -> Path:
    return converted(root, source(root, [of_coco(2, 1, corners(280, 200, 60, 60))]), cls91to80=False)


def coco_twice(root: Path) -> Path:
    """`instances_all.json` and `all.json` beside each other: both go to `labels/all`, and rows are appended."""
    from ultralytics.data.converter import convert_coco

    file = source(root)
    place(file, root / "json" / "instances_all.json")
    place(file, root / "json" / "all.json")
    convert_coco(str(root / "json"), str(root / "out"), cls91to80=False)
    return layout(root / "yolo", root / "in" / "images", root / "out" / "labels" / "all", NAMES)


def coco_same_stem(root: Path) -> Path:
    """`0.png` and `0.jpg` are two images of one file: their rows go to one label file."""
    file = source(root, [of_coco(7, 1, corners(20, 130, 60, 60))])
    whole = json.loads(file.read_text())
    whole["images"].append({"id": 7, "file_name": "0.jpg", "width": WIDTH, "height": HEIGHT})
    file.write_text(json.dumps(whole))
    picture(root / "in" / "images" / "0.jpg", 50, [corners(20, 130, 60, 60)])
    return converted(root, file, cls91to80=False)


# DOTA


def dota(root: Path, suffix: str = ".png", over: bool = False) -> Path:
    """`convert_dota_to_yolo_obb` of turned boxes of classes of DOTA; corners may lie outside as DOTA's crops have."""
    from ultralytics.data.converter import convert_dota_to_yolo_obb

    top = root / "dota"
    for i in range(6):
        split = "val" if i > 3 else "train"
        bars = [turned(100 + 10 * i, 100, 120, 40, 30), turned(230, 180 - 5 * i, 60, 30, 60)]
        if over and i == 0:
            bars.append(turned(310, 40, 60, 30, 30))
        picture(top / "images" / split / f"{i}{suffix}", i, bars)
        kinds = ("ship", "plane", "ship")[: len(bars)]
        rows = [f"{' '.join(f'{c:.1f}' for c in flat(b))} {kind} 0" for b, kind in zip(bars, kinds, strict=True)]
        target = top / "labels" / f"{split}_original" / f"{i}.txt"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text("\n".join(rows) + "\n")
    for split in ("train", "val"):
        (top / "labels" / split).mkdir(parents=True, exist_ok=True)
    convert_dota_to_yolo_obb(str(top))
    return data_yaml(top, ("plane", "ship"))


def dota_outside(root: Path) -> Path:
    return dota(root, over=True)


def dota_upper_case(root: Path) -> Path:
    return dota(root, suffix=".PNG")


# masks


def masks(root: Path, *more: np.ndarray) -> Path:
    """`convert_segment_masks_to_yolo_seg`: the values of a mask's pixels are class + 1."""
    from ultralytics.data.converter import convert_segment_masks_to_yolo_seg

    (root / "masks").mkdir()
    (root / "out").mkdir()
    for i in range(6):
        outlines = [disc(60 + 10 * i, 60, 30), corners(150 + 5 * i, 100 + 8 * i, 90, 50)]
        picture(root / "in" / "images" / f"{i}.png", i, outlines)
        values = np.zeros((HEIGHT, WIDTH), np.uint8)
        for value, outline in enumerate(outlines, 1):
            values[mask(outline)] = value
        for extra in more if i == 0 else ():
            values[extra] = 1
        cv2.imwrite(str(root / "masks" / f"{i}.png"), values)
    convert_segment_masks_to_yolo_seg(str(root / "masks"), str(root / "out"), classes=len(NAMES))
    return layout(root / "yolo", root / "in" / "images", root / "out", NAMES)


def masks_thin(root: Path) -> Path:
    return masks(root, mask(corners(20, 200, 100, 0)))


def masks_touching(root: Path) -> Path:
    """Two nuts that touch in the mask become one object."""
    return masks(root, mask(disc(100, 180, 30), disc(150, 180, 30)))


def masks_hole(root: Path) -> Path:
    ring = mask(disc(100, 180, 40), holes=[disc(100, 180, 18)])
    return masks(root, ring)


def masks_255(root: Path) -> Path:
    """A mask as editors paint it, 255 for the object: no class has that value."""
    from ultralytics.data.converter import convert_segment_masks_to_yolo_seg

    made = masks(root)
    for path in (root / "masks").iterdir():
        values = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        cv2.imwrite(str(path), np.where(values > 0, 255, 0).astype(np.uint8))
    convert_segment_masks_to_yolo_seg(str(root / "masks"), str(root / "out"), classes=len(NAMES))
    return layout(made.parent, root / "in" / "images", root / "out", NAMES)


# splits


def autosplit(root: Path) -> Path:
    """Ten pictures in one folder by the default weights 0.9, 0.1, 0."""
    from ultralytics.data.split import autosplit as stock_autosplit

    for i in range(10):
        outlines = [disc(60 + 10 * i, 60, 30)]
        picture(root / "images" / f"{i}.png", i, outlines)
        rows = f"0 {(60 + 10 * i) / WIDTH:.6f} 0.25 {60 / WIDTH:.6f} 0.25\n"
        (root / "labels").mkdir(exist_ok=True)
        (root / "labels" / f"{i}.txt").write_text(rows)
    stock_autosplit(root / "images")
    path = root / "data.yaml"
    path.write_text("train: autosplit_train.txt\nval: autosplit_val.txt\nnames: [nut]\n")
    return path
