"""8.0.35 to 8.0.135: the rect patch and what the release needs to run at all; the rest is refused by name."""

from __future__ import annotations

import json

from releases import run

CODE = """
import json
import yolo_nanfix
from yolo_nanfix.errors import PatchRefused
status = yolo_nanfix.patch()
said = {}
for call in (lambda: yolo_nanfix.patch("mask-area-zero"), lambda: yolo_nanfix.patch(guard=True)):
    try:
        call()
    except PatchRefused as refusal:
        said[refusal.name] = str(refusal)
print(json.dumps([{p.name: p.state for p in status.patches}, status.guard_refused, said]))
"""


def test_rect_is_on_and_everything_else_is_refused_or_not_needed():
    states, guard, said = json.loads(run("8.0.100", CODE).splitlines()[-1])
    assert states["rect-validation"] == "on"
    compat = {"compat-numpy-trapz", "compat-pkg-resources", "compat-torch-load", "torchvision-operators-missing"}
    assert {name for name, state in states.items() if state == "on"} <= {"rect-validation", *compat}
    assert states["mask-area-zero"] == states["box-iou-half-precision"] == states["checkpoint-zeroed"] == "refused"
    assert "8.0.100" in guard
    assert set(said) == {"mask-area-zero", "guard"} and "ultralytics.utils" in said["mask-area-zero"]
