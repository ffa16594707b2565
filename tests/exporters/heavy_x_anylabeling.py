"""X-AnyLabeling's files through its own converter (`anylabeling.views.labeling.label_converter`)."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from exporters.heavy import Heavy
from exporters.inputs import HEIGHT, NAMES, WIDTH, corners, disc, layout, picture, shape, turned

Shapes = list[dict[str, Any]]
COUNT = 6


def ordinary(i: int) -> Shapes:
    nut, bolt = corners(30 + 10 * i, 30, 60, 60), corners(150 + 5 * i, 100 + 8 * i, 90, 50)
    return [shape("nut", nut, "rectangle"), shape("bolt", bolt, "rectangle")]


def outlined(i: int) -> Shapes:
    nut, bolt = disc(60 + 10 * i, 60, 30), corners(150 + 5 * i, 100 + 8 * i, 90, 50)
    return [shape("nut", nut), shape("bolt", bolt)]


def rotated(i: int) -> Shapes:
    bars = [turned(100 + 10 * i, 100, 120, 40, 30), turned(230, 180 - 5 * i, 60, 30, 60)]
    return [shape(name, bar, "rotation", direction=0.5) for name, bar in zip(NAMES, bars, strict=True)]


def posed(i: int) -> Shapes:
    """A rectangle with two keypoints between pixels; its group joins them."""
    x, y = 40.75 + 12 * i, 40.75 + 6 * i
    parts = [shape("nut", corners(x, y, 60, 100), "rectangle"), shape("left", [(x + 10, y + 50)], "point")]
    return [{**part, "group_id": 1} for part in (*parts, shape("right", [(x + 50, y + 60)], "point"))]


def in_second(usual: Callable[[int], Shapes], odd: Shapes) -> Callable[[int], Shapes]:
    return lambda i: [*usual(i), *odd] if i == 1 else usual(i)


def draw(shapes: Callable[[int], Shapes], blank: bool = False) -> Callable[[Path], None]:
    """Six pictures with a file of X-AnyLabeling each; and one that nobody has labelled."""

    def make(root: Path) -> None:
        for i in range(COUNT):
            made = shapes(i)
            outlines: Sequence[Any] = [one["points"] for one in made if len(one["points"]) > 2]
            picture(root / "in" / f"{i}.png", i, outlines)
            frame = {"imagePath": f"{i}.png", "imageData": None, "imageHeight": HEIGHT, "imageWidth": WIDTH}
            whole = {"version": "4.2.1", "flags": {}, "shapes": made, **frame}
            (root / "in" / f"{i}.json").write_text(json.dumps(whole))
        if blank:
            picture(root / "in" / "blank.png", 77, [disc(100, 100, 40)])
        (root / "classes.txt").write_text("\n".join(NAMES))

    return make


def export(mode: str) -> Callable[[Path], None]:
    """As its dialogue for exports calls it: for each picture, with its default of empty files."""

    def run(root: Path) -> None:
        from anylabeling.views.labeling.label_converter import LabelConverter

        (root / "out").mkdir()
        pose = root / "pose.yaml"
        pose.write_text("has_visible: true\nclasses:\n  nut: [left, right]\n")
        given = {"pose_cfg_file": str(pose)} if mode == "pose" else {"classes_file": str(root / "classes.txt")}
        converter = LabelConverter(**given)
        for image in sorted((root / "in").glob("*.png")):
            converter.custom_to_yolo(str(image.with_suffix(".json")), str(root / "out" / f"{image.stem}.txt"), mode)

    return run


def finish(root: Path) -> Path:
    return layout(root / "yolo", root / "in", root / "out", NAMES)


def finish_pose(root: Path) -> Path:
    more = {"kpt_shape": [2, 3], "flip_idx": [1, 0]}
    return layout(root / "yolo", root / "in", root / "out", NAMES[:1], **more)


CASES = {
    "boxes": Heavy(draw(ordinary), export("hbb"), finish),
    "polygons": Heavy(draw(outlined), export("seg"), finish),
    "turned": Heavy(draw(rotated), export("obb"), finish),
    "outside": Heavy(
        draw(in_second(ordinary, [shape("nut", corners(280, 200, 60, 60), "rectangle")])), export("hbb"), finish
    ),
    "turned-outside": Heavy(
        draw(in_second(rotated, [shape("nut", turned(300, 40, 60, 30, 30), "rotation", direction=0.5)])),
        export("obb"),
        finish,
    ),
    "pose": Heavy(draw(posed), export("pose"), finish_pose),
    "unlabelled": Heavy(draw(ordinary, blank=True), export("hbb"), finish),
    "polygons-as-boxes": Heavy(draw(in_second(ordinary, [shape("bolt", disc(60, 180, 30))])), export("hbb"), finish),
}
