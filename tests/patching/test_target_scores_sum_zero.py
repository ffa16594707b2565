"""Batches of backgrounds: Inf in 8.0.6 and fixed there; finite upstream in the installed release."""

from __future__ import annotations

import json
from functools import cache

import pytest
import torch
from releases import run
from ultralytics.cfg import get_cfg
from ultralytics.nn.tasks import DetectionModel

import yolo_nanfix

pytestmark = pytest.mark.usefixtures("unpatched")
NAME = "target-scores-sum-zero"

OLD = """
import json, sys
from types import SimpleNamespace
from unittest.mock import MagicMock
# of no concern to the loss: 8.0.6 imports them for its command line
for name in ("IPython", "hydra", "hydra.errors", "omegaconf", "omegaconf.errors"):
    sys.modules[name] = MagicMock()
import yolo_nanfix
yolo_nanfix.patch("torchvision-operators-missing", "compat-numpy-trapz", "compat-torch-load", "compat-pkg-resources")
import torch
from ultralytics.nn.tasks import DetectionModel, SegmentationModel
from ultralytics.yolo.v8.detect.train import Loss
from ultralytics.yolo.v8.segment.train import SegLoss
from yolo_nanfix.patching import tally

def build(kind, config, criterion):
    torch.manual_seed(0)
    model = kind(config, ch=3, nc=2, verbose=False).train()
    model.args = SimpleNamespace(box=7.5, cls=0.5, dfl=1.5)
    return model, criterion(model)

models = {
    "detect": build(DetectionModel, "yolov8n.yaml", Loss),
    "segment": build(SegmentationModel, "yolov8n-seg.yaml", SegLoss),
}
boxes = torch.tensor([[0.5, 0.5, 0.4, 0.6], [0.3, 0.3, 0.2, 0.2]])

def step(task, objects):
    model, criterion = models[task]
    assigner, bce = criterion.assigner, criterion.bce
    torch.manual_seed(1)
    batch = {"batch_idx": torch.arange(objects) * 1.0, "cls": torch.zeros(objects, 1), "bboxes": boxes[:objects]}
    batch["masks"] = torch.zeros(2, 24, 24) + (objects > 0)
    outputs = model(torch.rand(2, 3, 96, 96))
    loss, items = criterion(outputs, batch)
    model.zero_grad()
    loss.backward()
    norm = sum(float(p.grad.double().square().sum()) for p in model.parameters() if p.grad is not None)
    assert criterion.assigner is assigner and criterion.bce is bce
    maps = outputs if task == "detect" else outputs[0]
    logits = torch.cat([x.flatten(2)[:, -2:] for x in maps], 2)
    zeros = torch.zeros_like(logits)
    by_hand = 0.5 * torch.nn.functional.binary_cross_entropy_with_logits(logits, zeros, reduction="sum")
    return {"items": items.tolist(), "norm": norm, "by_hand": float(by_hand)}

def steps():
    return {f"{task} {objects}": step(task, objects) for task in models for objects in (0, 2)}

stock = steps()
state = {p.name: p.state for p in yolo_nanfix.patch("target-scores-sum-zero").patches}["target-scores-sum-zero"]
tally.clear()
print(json.dumps({"stock": stock, "ours": steps(), "state": state, "counted": tally.read()}))
"""


@cache
def results():
    return json.loads(run("8.0.6", OLD).splitlines()[-1])


@pytest.mark.parametrize(("task", "cls"), [("detect", 1), ("segment", 2)])
def test_two_backgrounds_are_infinite_in_8_0_6_and_have_the_loss_of_divisor_one_in_ours(task, cls):
    stock, ours = (results()[who][f"{task} 0"] for who in ("stock", "ours"))
    assert results()["state"] == "on"
    assert stock["items"][cls] == float("inf")
    assert ours["items"][cls] == pytest.approx(ours["by_hand"], rel=1e-5)
    assert torch.tensor([*ours["items"], ours["norm"]]).isfinite().all() and ours["norm"] > 0
    assert results()["counted"] == {NAME: 2}


@pytest.mark.parametrize("task", ("detect", "segment"))
def test_a_batch_with_objects_is_bit_identical_in_8_0_6(task):
    stock, ours = (results()[who][f"{task} 2"] for who in ("stock", "ours"))
    assert all(torch.tensor(stock["items"]).isfinite())
    assert ours == stock


def test_the_installed_release_has_a_divisor_of_its_own():
    torch.manual_seed(0)
    model = DetectionModel("yolov8n.yaml", nc=2, verbose=False).train()
    model.args = get_cfg()
    nothing = {"batch_idx": torch.zeros(0), "cls": torch.zeros(0, 1), "bboxes": torch.zeros(0, 4)}
    loss, items = model.loss(nothing | {"img": torch.rand(2, 3, 96, 96)})
    loss.sum().backward()
    assert all(value.isfinite() for value in items.values())
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)
    states = {p.name: p for p in yolo_nanfix.patch(NAME).patches}
    assert states[NAME].state == "fixed" and "8.0.35" in states[NAME].reason
