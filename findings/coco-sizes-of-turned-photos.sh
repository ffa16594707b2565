#!/usr/bin/env bash
# Three of four converters from YOLO to COCO take the stored size of a photo that EXIF turns, and so distort every box.
#
# Versions: globox 2.9.0, pylabel 0.1.55, panlabel 0.7.0, supervision 0.31.2; pillow 13.0.0, pandas 3.1.1.
# Expected: labels of YOLO are parts of the picture as it is shown, for Ultralytics reads it turned. A box of 100 x 40 pixels
#   in a picture shown as 120 x 240 stays one in COCO, and the image's width and height are those of the shown picture.
# Seen: supervision does that. globox, pylabel and panlabel read width and height from the file's header, 240 x 120, and
#   multiply by them: the box becomes 200 x 20. Whoever evaluates with such a file gets low AP on photos from phones alone;
#   converted back with the same sizes the labels are right again, so a round trip shows nothing.
# Way out: store photos upright before anything is labelled or converted (exiftran, ImageOps.exif_transpose).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -q globox==2.9.0 pylabel==0.1.55 panlabel==0.7.0 supervision==0.31.2 pillow==13.0.0 pandas==3.1.1 \
  opencv-python-headless >/dev/null 2>&1
cat > show.py <<'PY'
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import supervision
from globox import AnnotationSet
from PIL import Image
from pylabel import importer

for name in ("images", "labels"):
    Path("set", name).mkdir(parents=True)
shown = np.full((240, 120, 3), 30, np.uint8)
shown[20:60, 10:110] = 220  # the object, 100 x 40 pixels
tags = Image.Exif()
tags[274] = 6
stored = Image.fromarray(shown).transpose(Image.Transpose.ROTATE_90)
stored.save("set/images/a.jpg", quality=95, exif=tags)
Path("set/labels/a.txt").write_text(f"0 {60 / 120} {40 / 240} {100 / 120} {40 / 240}\n")
Path("set/data.yaml").write_text("path: .\ntrain: images\nval: images\nnames: [nut]\n")
seen = {}


def read(name, file):
    whole = json.loads(Path(file).read_text())
    image, box = whole["images"][0], whole["annotations"][0]["bbox"]
    seen[name] = (image["width"], image["height"], *(round(float(b)) for b in box))


AnnotationSet.from_yolo_v5("set/labels", image_folder="set/images").save_coco("globox.json", auto_ids=True)
read("globox", "globox.json")
made = importer.ImportYoloV5("set/labels", path_to_images="../images", cat_names=["nut"])
made.export.ExportToCoco("pylabel.json")
read("pylabel", "pylabel.json")
program = str(Path(sys.executable).parent / "panlabel")
options = ["-f", "yolo", "-t", "coco", "-i", "set", "-o", "panlabel.json", "--allow-lossy"]
subprocess.run([program, "convert", *options], check=True, capture_output=True)
read("panlabel", "panlabel.json")
made = supervision.DetectionDataset.from_yolo("set/images", "set/labels", "set/data.yaml")
made.as_coco(annotations_path="supervision.json")
read("supervision", "supervision.json")
for name, (width, height, *box) in seen.items():
    print(f"{name:12} image {width} x {height}, box x y w h = {box}")
right, wrong = (120, 240, 10, 20, 100, 40), (240, 120, 20, 10, 200, 20)
if seen != {"globox": wrong, "pylabel": wrong, "panlabel": wrong, "supervision": right}:
    sys.exit("this has changed")
PY
venv/bin/python -W ignore show.py 2>/dev/null
