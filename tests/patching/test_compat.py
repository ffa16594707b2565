"""What old releases need beside today's torch, numpy and setuptools: each fails without its card and works with it."""

from __future__ import annotations

import json

from releases import run

START = "import json, sys; sys.modules['pkg_resources'] = None; import yolo_nanfix; said = []\n"
PKG = """
try:
    import ultralytics
except ImportError as error:
    said.append(str(error))
for name in [n for n in sys.modules if n.startswith("ultralytics")]:
    del sys.modules[name]
yolo_nanfix.patch("torchvision-operators-missing", "compat-pkg-resources")
from ultralytics.utils import checks
import pkg_resources as pkg
conflicts = []
for wanted in ("torch>=1.0", "torch<1.0", "no-such-package-here"):
    try:
        pkg.require(wanted)
    except (pkg.VersionConflict, pkg.DistributionNotFound) as error:
        conflicts.append(type(error).__name__)
parse = checks.pkg.parse_version
versions = [parse("8.0.9") >= parse("8.0.10"), parse("8.0.10") >= parse("8.0.9")]
names = [f"{x.name}{x.specifier}" for x in pkg.parse_requirements("a>=1 # why\\n\\n# no\\nb==2")]
yolo_nanfix.unpatch()
print(json.dumps([said, conflicts, versions, names, sys.modules.get("pkg_resources") is None]))
"""
TRAPZ = """
yolo_nanfix.patch("torchvision-operators-missing")
import numpy
from ultralytics.utils.metrics import compute_ap
recall, precision = numpy.linspace(0, 1, 9), numpy.linspace(1, 0.2, 9)
try:
    compute_ap(recall, precision)
except AttributeError as error:
    said.append(str(error))
with yolo_nanfix.patched("compat-numpy-trapz"):
    ap, mpre, _ = compute_ap(recall, precision)
    same = numpy.trapz is numpy.trapezoid
print(json.dumps([said, float(ap), same, hasattr(numpy, "trapz")]))
"""
LOAD = """
import pickle, torch
yolo_nanfix.patch("torchvision-operators-missing")
from ultralytics.nn.tasks import DetectionModel, attempt_load_one_weight
model = DetectionModel("yolov8n.yaml", nc=2, verbose=False)
torch.save({"model": model, "train_args": {}}, "whole.pt")
stock = torch.load
try:
    attempt_load_one_weight("whole.pt")
except pickle.UnpicklingError as error:
    said.append(str(error))
with yolo_nanfix.patched("compat-torch-load"):
    loaded, _ = attempt_load_one_weight("whole.pt")
    same = all(torch.equal(a, b) for a, b in zip(loaded.state_dict().values(), model.float().state_dict().values()))
    try:
        torch.load("whole.pt")
    except pickle.UnpicklingError as error:
        said.append("elsewhere: " + str(error))
print(json.dumps([said, same, torch.load is stock]))
"""


def test_pkg_resources():
    said, conflicts, versions, names, gone = json.loads(run("8.0.150", START + PKG).splitlines()[-1])
    assert len(said) == 1 and "pkg_resources" in said[0]
    assert conflicts == ["VersionConflict", "DistributionNotFound"]
    assert versions == [False, True] and names == ["a>=1", "b==2"] and gone


def test_numpy_trapz():
    said, ap, same, left = json.loads(run("8.3.29", START + TRAPZ).splitlines()[-1])
    assert len(said) == 1 and "trapz" in said[0]
    assert 0.5 < ap < 0.7 and same and not left


def test_torch_load_for_ultralytics_alone():
    said, same, restored = json.loads(run("8.1.47", START + LOAD).splitlines()[-1])
    assert "Weights only load failed" in said[0]
    assert said[1].startswith("elsewhere: Weights only load failed")
    assert same and restored and len(said) == 2
