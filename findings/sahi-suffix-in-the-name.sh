#!/usr/bin/env bash
# sahi's YOLO export gives a picture whose name holds its own suffix twice a label file that no reader finds.
#
# Version: sahi 0.12.8.
# Expected: the labels of scan.png_1.png, a name as archives and crawlers make it, are written to scan.png_1.txt.
# Seen: the suffix is replaced wherever it stands in the whole path: they go to scan.txt_1.txt. Ultralytics looks for
#   scan.png_1.txt, finds none, and trains on the picture as background, with its object in it; nothing is logged but a
#   count. Where a folder's name holds the suffix, the export ends in FileNotFoundError.
# Way out: rename such pictures before the export, or compare the number of labels with that of pictures after it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -q sahi==0.12.8 pillow==13.0.0 numpy==2.4.6 >/dev/null 2>&1
cat > show.py <<'PY'
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from sahi.utils.coco import Coco

Path("images").mkdir()
whole = {"images": [], "annotations": [], "categories": [{"id": 0, "name": "nut", "supercategory": ""}]}
for number, name in enumerate(("plain.png", "scan.png_1.png"), 1):
    Image.fromarray(np.full((64, 64, 3), 60 * number, np.uint8)).save(f"images/{name}")
    whole["images"].append({"id": number, "file_name": name, "width": 64, "height": 64})
    box = {"bbox": [10, 10, 30, 20], "area": 600, "iscrowd": 0, "segmentation": []}
    whole["annotations"].append({"id": number, "image_id": number, "category_id": 0, **box})
Coco.from_coco_dict_or_path(whole, image_dir="images").export_as_yolo("set", train_split_rate=1, disable_symlink=True)
labels = sorted(p.name for p in Path("set/train").glob("*.txt"))
wanted = sorted(p.with_suffix(".txt").name for p in Path("set/train").glob("*.png"))
print("written:     ", *labels)
print("looked for:  ", *wanted)
if labels != ["plain.txt", "scan.txt_1.txt"] or wanted != ["plain.txt", "scan.png_1.txt"]:
    sys.exit("this has changed")
PY
venv/bin/python show.py 2>/dev/null
