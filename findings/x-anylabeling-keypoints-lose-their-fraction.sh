#!/usr/bin/env bash
# X-AnyLabeling's pose export cuts keypoints to whole pixels, always towards the top left; the box around them stays exact.
#
# Version: x-anylabeling-cvhub 4.2.1.
# Expected: a keypoint at 20.75, 30.75 is written as that place, as the corners of the rectangle are, with six decimals.
# Seen: int() cuts it to 20, 30. All keypoints move by half a pixel on average, and by up to one, in the same direction, so the
#   error does not average out: in an object 40 pixels wide that is 1 to 2 percent of its size, which OKS with small sigmas
#   (0.025 for eyes) feels. Boxes, polygons and turned boxes are written with their fractions.
# Way out: label at full resolution, or write pose rows from its JSON files oneself.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -q x-anylabeling-cvhub==4.2.1 >/dev/null 2>&1
cat > show.py <<'PY'
import json
import sys
from pathlib import Path

from anylabeling.views.labeling.label_converter import LabelConverter

SIZE, SPOT = 64, (20.75, 30.75)
box = [[10.75, 10.75], [50.75, 10.75], [50.75, 50.75], [10.75, 50.75]]
shapes = [
    {"label": "person", "points": box, "shape_type": "rectangle", "group_id": 1},
    {"label": "nose", "points": [list(SPOT)], "shape_type": "point", "group_id": 1},
]
Path("a.json").write_text(json.dumps({"imageWidth": SIZE, "imageHeight": SIZE, "shapes": shapes}))
Path("pose.yaml").write_text("has_visible: true\nclasses:\n  person: [nose]\n")
LabelConverter(pose_cfg_file="pose.yaml").custom_to_yolo("a.json", "a.txt", "pose")
row = [float(word) for word in Path("a.txt").read_text().split()]
corner = [round((row[i] - row[i + 2] / 2) * SIZE, 2) for i in (1, 2)]
spot = [round(row[i] * SIZE, 2) for i in (5, 6)]
print("corner of the box: drawn at 10.75 10.75, written as", *corner)
print("keypoint:          drawn at", *SPOT, "  written as", *spot)
if corner != [10.75, 10.75] or spot != [20.0, 30.0]:
    sys.exit("this has changed")
PY
HOME="$folder" QT_QPA_PLATFORM=offscreen venv/bin/python show.py 2>/dev/null
