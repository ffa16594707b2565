#!/usr/bin/env bash
# A transform that was added to a training set of Ultralytics is gone when mosaic closes, in short runs before batch 1.
#
# Version: ultralytics 8.4.190.
# Expected: close_mosaic turns mosaic, mix-up and copy-paste off; a transform that a trainer's build_dataset appended to
#   dataset.transforms (an own augmentation, a normalisation) stays where it is.
# Seen: close_mosaic builds the list of transforms anew from the settings, so everything that was appended is gone, without
#   a word. The trainer closes mosaic close_mosaic epochs (10 by default) before the end, and a run of 10 epochs or fewer
#   before its first batch: there the appended transform never runs at all.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -q torch==2.13.0 numpy opencv-python-headless pillow pyyaml matplotlib psutil requests polars >/dev/null 2>&1
venv/bin/pip install -q --no-deps ultralytics==8.4.190 ultralytics-thop torchvision==0.28.0 >/dev/null 2>&1
cat > show.py <<'PY'
import sys
from pathlib import Path

import cv2
import numpy as np
import torch

# The registry's torchvision may be built for another torch; its operators are not needed, but it asks for their names.
torch.library.Library("torchvision", "DEF").define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

from ultralytics.cfg import get_cfg  # noqa: E402
from ultralytics.data.dataset import YOLODataset  # noqa: E402

for folder in ("images", "labels"):
    Path("set", folder).mkdir(parents=True)
for i in range(4):
    cv2.imwrite(f"set/images/{i}.png", np.full((64, 64, 3), 60 * i, np.uint8))
    Path(f"set/labels/{i}.txt").write_text("0 0.5 0.5 0.5 0.5\n")
settings = get_cfg(overrides={"imgsz": 64, "mosaic": 1.0})
dataset = YOLODataset("set/images", imgsz=64, augment=True, hyp=settings, data={"names": {0: "a"}, "channels": 3})
ran = []
dataset.transforms.append(lambda labels: ran.append(1) or labels)
dataset[0]
before = len(ran)
dataset.close_mosaic(settings)
dataset[0]
after = len(ran) - before
print("the appended transform ran", before, "time with mosaic and", after, "times once mosaic was closed")
if (before, after) != (1, 0):
    sys.exit("this has changed")
PY
YOLO_CONFIG_DIR="$folder" YOLO_OFFLINE=1 YOLO_AUTOINSTALL=false venv/bin/python show.py
