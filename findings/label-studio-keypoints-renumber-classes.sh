#!/usr/bin/env bash
# The classes of Label Studio's YOLO export get other numbers as soon as the project has a tag for keypoints.
#
# Version: label-studio-sdk 2.1.2 (its converter, which Label Studio exports with).
# Expected: the number of a class depends on the classes of the project; adding keypoints to it leaves the boxes as they are.
# Seen: without keypoints the classes are numbered in alphabetical order, with them in the order of the configuration. Labels
#   that were exported before and after the tag was added, without one object being touched, contradict each other: 0 is
#   "bolt" in one and "nut" in the other. classes.txt of each export is right for itself; a data.yaml written for the first
#   one is wrong for the second.
# Way out: read the order of names from classes.txt of the very export that one trains on.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -q label-studio-sdk==2.1.2 >/dev/null 2>&1
cat > show.py <<'PY'
import json
import sys
from pathlib import Path

from label_studio_sdk.converter import Converter

BOXES = '<RectangleLabels name="box" toName="image"><Label value="nut"/><Label value="bolt"/></RectangleLabels>'
SPOTS = '<KeyPointLabels name="spot" toName="image"><Label value="tip" model_index="0"/></KeyPointLabels>'


def box(label, x):
    value = {"x": x, "y": 10, "width": 20, "height": 30, "rotation": 0, "rectanglelabels": [label]}
    frame = {"original_width": 640, "original_height": 480, "image_rotation": 0}
    return {**frame, "id": label, "from_name": "box", "to_name": "image", "type": "rectanglelabels", "value": value}


Path("a.png").write_bytes(b"")  # the converter asks only whether it is there
annotation = {"id": 1, "completed_by": 1, "result": [box("nut", 10), box("bolt", 60)], "was_cancelled": False}
task = {"id": 1, "data": {"image": str(Path("a.png").absolute())}, "annotations": [annotation]}
Path("tasks.json").write_text(json.dumps([task]))


def exported(name, tags):
    """The names in classes.txt, and the class of the box at the left, which is the nut."""
    config = f'<View><Image name="image" value="$image"/>{tags}</View>'
    Converter(config, ".", download_resources=False).convert_to_yolo("tasks.json", name, is_dir=False)
    rows = [line.split() for line in Path(name, "labels/a.txt").read_text().splitlines()]
    names = Path(name, "classes.txt").read_text().split()
    left = min(rows, key=lambda row: float(row[1]))
    print(f"{name:8} classes.txt {names}, the nut is class {left[0]}")
    return names, int(left[0])


before, after = exported("before", BOXES), exported("after", BOXES + SPOTS)
if before != (["bolt", "nut"], 1) or after != (["nut", "bolt"], 0):
    sys.exit("this has changed")
PY
venv/bin/python show.py 2>/dev/null
