"""LabelMe files through labelme2yolo."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from exporters.inputs import corners, disc, labelme, picture, shape

Shapes = Sequence[dict[str, Any]]
OBJECTS = [shape("nut", disc(60, 60, 30)), shape("bolt", corners(150, 100, 90, 50))]


def convert(folder: Path, *options: str) -> Path:
    """Run the program; the split of a picture follows from the path as it is given, so a relative one is given."""
    program = shutil.which("labelme2yolo", path=os.fspath(Path(sys.executable).parent))
    assert program is not None
    command = [program, "--json_dir", folder.name, *options]
    subprocess.run(command, cwd=folder.parent, check=True, capture_output=True)
    return folder / "YOLODataset" / "dataset.yaml"


def written(root: Path, odd: Shapes, *options: str, blank: bool = False, name: str = "drawn") -> Path:
    """Six ordinary pictures and one with these shapes, converted; with this name of the folder 0 and 5 become val."""
    folder = root / name
    folder.mkdir()
    for i in range(6):
        moved = [(x + 5 * i, y + 3 * i) for x, y in OBJECTS[1]["points"]]
        labelme(folder, str(i), i, [shape("nut", disc(60 + 10 * i, 60, 30)), shape("bolt", moved)])
    labelme(folder, "odd", 9, odd)
    if blank:
        picture(folder / "blank.png", 77)
    return convert(folder, *options)


def polygons(root: Path) -> Path:
    return written(root, OBJECTS, "--output_format", "polygon")


def boxes(root: Path) -> Path:
    return written(root, OBJECTS)


def line(root: Path) -> Path:
    return written(root, [*OBJECTS, shape("bolt", [(30, 30), (200, 150)], "line")], "--output_format", "polygon")


def line_alone(root: Path) -> Path:
    return written(root, [shape("bolt", [(30, 30), (200, 150)], "line")], "--output_format", "polygon")


def point(root: Path) -> Path:
    return written(root, [*OBJECTS, shape("nut", [(40, 200)], "point")], "--output_format", "polygon")


def outside(root: Path) -> Path:
    return written(root, [shape("bolt", corners(280, 200, 60, 60)), shape("nut", corners(-10, 20, 60, 60))])


def triangle(root: Path) -> Path:
    return written(root, [shape("bolt", [(100, 50), (200, 80), (150, 200)])], "--output_format", "polygon")


def grouped(root: Path) -> Path:
    parts = [shape("bolt", corners(20, 20, 60, 60), group_id=1), shape("bolt", corners(200, 20, 60, 60), group_id=1)]
    return written(root, parts, "--output_format", "polygon")


def background(root: Path) -> Path:
    return written(root, OBJECTS, "--include_background", blank=True)


def background_elsewhere(root: Path) -> Path:
    written(root, OBJECTS, "--include_background", "--output_dir", "out", blank=True)
    return root / "out" / "dataset.yaml"


def empty_split(root: Path) -> Path:
    return written(root, OBJECTS, "--seed", "7", name="bench")
