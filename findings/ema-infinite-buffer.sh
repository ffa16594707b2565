#!/usr/bin/env bash
# An attention mask of -inf becomes NaN in Ultralytics' averaged model, and how soon an Inf does depends on lerp's weight.
#
# Versions: ultralytics 8.4.190, torch 2.13.0.
# Expected: the average of -inf and -inf is -inf, as it was with the older formula d * average + (1 - d) * model, which
#   earlier releases used; a buffer that begins at +inf (a running minimum) and is finite from the first step on becomes
#   finite or stays +inf, the same in each step.
# Seen: the average is taken by torch._foreach_lerp_, which computes a difference first. (-inf) - (-inf) is NaN, so a
#   persistent mask is NaN after one update, and so is everything that validation and the checkpoint compute from it.
#   For +inf beside a finite value lerp has two formulas: with a weight of at least 0.5 the result is +inf, below it NaN.
#   The weight is 1 - decay and starts near 1, so a buffer reads +inf for over a thousand updates, then turns NaN.
# Way out: register_buffer(..., persistent=False) keeps a mask out of the state_dict, which is all that is averaged.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -q torch==2.13.0 numpy opencv-python-headless pillow pyyaml matplotlib psutil requests polars >/dev/null 2>&1
venv/bin/pip install -q --no-deps ultralytics==8.4.190 ultralytics-thop torchvision==0.28.0 >/dev/null 2>&1
cat > show.py <<'PY'
import sys
import types
from importlib.machinery import ModuleSpec

import torch
from torch import nn

# torchvision is not needed here, and its build would have to match torch's; an empty module is enough for the import.
for name in ("torchvision", "torchvision.ops", "torchvision.transforms"):
    sys.modules.setdefault(name, types.ModuleType(name)).__spec__ = ModuleSpec(name, None)

from ultralytics.utils.torch_utils import ModelEMA  # noqa: E402


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4))
        self.register_buffer("mask", torch.full((4, 4), float("-inf")).triu(1))
        self.register_buffer("smallest", torch.tensor(float("inf")))


model = Attention()
ema = ModelEMA(model)
model.smallest.fill_(0.25)
ema.update(model)
mask, smallest = ema.ema.mask, ema.ema.smallest
print("after 1 update: mask NaN in", int(mask.isnan().sum()), "of 6 places, smallest", float(smallest))
first = int(mask.isnan().sum()) == 6 and float(smallest) == float("inf")
turned = 1
while not bool(smallest.isnan()) and turned < 5000:
    ema.update(model)
    turned += 1
print("smallest turned NaN in update", turned, "at a weight of", 1 - ema.decay(ema.updates))
older = torch.tensor(float("-inf")) * 0.5 + torch.tensor(float("-inf")) * 0.5
print("the older formula gives", float(older))
if not (first and 1000 < turned < 2000 and float(older) == float("-inf")):
    sys.exit("this has changed")
PY
YOLO_CONFIG_DIR="$folder" YOLO_OFFLINE=1 YOLO_AUTOINSTALL=false venv/bin/python show.py
