#!/usr/bin/env bash
# A resumed Ultralytics run goes on from its moving average in half precision: the weights that trained are saved nowhere.
#
# Version: ultralytics 8.4.190, torch 2.13.0.
# Expected: last.pt of an interrupted run holds the weights that were training, beside their moving average (EMA), so that
#   resume=True goes on as if nothing had happened.
# Seen: the checkpoint has the EMA alone, rounded to float16, and the resumed run puts it in place of the weights as well.
#   They jump to where the average was: an interrupted and resumed run is another run than an uninterrupted one, the more so
#   the further its average lags behind.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -q torch==2.13.0 numpy opencv-python-headless pillow pyyaml matplotlib psutil requests polars scipy >/dev/null 2>&1
venv/bin/pip install -q --no-deps ultralytics==8.4.190 ultralytics-thop torchvision==0.28.0 >/dev/null 2>&1
cat > show.py <<'PY'
import sys
from pathlib import Path

import cv2
import numpy as np
import torch

# The registry's torchvision may be built for another torch; its operators are not needed, but it asks for their names.
library = torch.library.Library("torchvision", "DEF")
for name in ("nms", "qnms"):
    library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

from ultralytics import YOLO  # noqa: E402

for folder in ("images", "labels"):
    Path("set", folder).mkdir(parents=True)
random = np.random.default_rng(0)
for i in range(8):
    cv2.imwrite(f"set/images/{i}.png", random.integers(0, 255, (64, 64, 3), np.uint8))
    Path(f"set/labels/{i}.txt").write_text("0 0.5 0.5 0.5 0.5\n")
Path("data.yaml").write_text(f"path: {Path('set').resolve()}\ntrain: images\nval: images\nnames: [a]\n")
seen = {}


def flat(model):
    return torch.cat([p.detach().float().flatten() for p in model.parameters()]).clone()


class Interrupted(Exception):
    pass


def saved(trainer):
    if trainer.epoch == 39:
        seen["live"], seen["average"] = flat(trainer.model), flat(trainer.ema.ema)
        raise Interrupted


def resumed(trainer):
    seen["resumed"] = flat(trainer.model)
    raise Interrupted


arguments = {"data": "data.yaml", "epochs": 80, "imgsz": 64, "batch": 4, "workers": 0, "device": "cpu", "val": False}
model = YOLO("yolov8n.yaml")
model.add_callback("on_model_save", saved)
try:
    model.train(**arguments, plots=False, optimizer="SGD", lr0=0.05, warmup_epochs=0, project=str(Path("runs").resolve()), name="run")
except Interrupted:
    pass
model = YOLO("runs/run/weights/last.pt")
model.add_callback("on_train_start", resumed)
try:
    model.train(resume=True)
except Interrupted:
    pass
rounded = seen["average"].half().float()
print("weights of the resumed run that are those that trained:", f"{(seen['resumed'] == seen['live'].half().float()).float().mean():.1%}")
print("weights of the resumed run that are the average in float16:", f"{(seen['resumed'] == rounded).float().mean():.1%}")
print("largest jump of a weight:", f"{(seen['resumed'] - seen['live']).abs().max():.4f}")
if not torch.equal(seen["resumed"], rounded) or torch.equal(seen["resumed"], seen["live"].half().float()):
    sys.exit("this has changed")
PY
YOLO_CONFIG_DIR="$folder" YOLO_OFFLINE=1 YOLO_AUTOINSTALL=false YOLO_VERBOSE=false venv/bin/python show.py
