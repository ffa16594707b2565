#!/usr/bin/env bash
# copy.deepcopy keeps the hooks of a module and loses those of its parameters.
#
# Version: torch 2.13.0.
# Expected: a deep copy of a model behaves as the model does; forward and backward hooks of modules are copied, so hooks
#   that were registered on a parameter (register_hook, register_post_accumulate_grad_hook) are copied too.
# Seen: the copy's parameters have neither. A hook that spoils a gradient spoils it in the model and not in its copy, so
#   whoever looks for the cause on a copy (an averaged model, a replayed step) finds a healthy gradient.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -q torch==2.13.0 numpy >/dev/null 2>&1
cat > show.py <<'PY'
import copy
import sys

import torch
from torch import nn


def gradient(model):
    model.zero_grad()
    model(torch.ones(1, 1)).sum().backward()
    return float(model.weight.grad)


model = nn.Linear(1, 1)
calls = []
model.register_forward_hook(lambda *given: calls.append("forward"))
model.register_full_backward_hook(lambda *given: calls.append("backward"))
model.weight.register_hook(lambda grad: grad * float("nan"))
model.weight.register_post_accumulate_grad_hook(lambda parameter: calls.append("accumulated"))
twin = copy.deepcopy(model)
own = gradient(model)
of_model, calls[:] = sorted(calls), []
other = gradient(twin)
of_twin = sorted(calls)
print("model: gradient", own, "hooks that ran:", of_model)
print("copy:  gradient", other, "hooks that ran:", of_twin)
kept = of_model == ["accumulated", "backward", "forward"] and of_twin == ["backward", "forward"]
if not (own != own and other == 1.0 and kept):
    sys.exit("this has changed")
PY
venv/bin/python show.py
