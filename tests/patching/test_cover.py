"""Functions of the user's own in the place of patched ones are found and named, however and whenever they got there."""

from __future__ import annotations

import functools
import json
import sys
import types

import lab
import pytest
import torch
from make_datasets import make_dataset

import yolo_nanfix

pytestmark = pytest.mark.usefixtures("unpatched")
IOU, SAVE = "box-iou-half-precision", "checkpoint-zeroed"


@pytest.fixture(scope="module")
def stock():
    with lab.bare():
        from ultralytics.engine.trainer import BaseTrainer
        from ultralytics.utils import loss, metrics, tal

        yield types.SimpleNamespace(loss=loss, metrics=metrics, tal=tal, iou=metrics.bbox_iou, trainer=BaseTrainer)


@pytest.fixture
def mine(stock, monkeypatch):
    """Puts things in Ultralytics' places for one test."""
    yield monkeypatch
    monkeypatch.undo()
    yolo_nanfix.unpatch()
    for module in (stock.loss, stock.metrics, stock.tal):
        module.bbox_iou = stock.iou  # where the test unpatched itself, `undo` brought the patched one back


def own(box1, box2, **settings):
    """A user's measure of how well boxes agree: of their sizes alone."""
    return torch.minimum(box1[..., 2:], box2[..., 2:]).prod(-1, keepdim=True)


def put_before(stock, mine):
    mine.setattr(stock.loss, "bbox_iou", own)
    yolo_nanfix.patch(IOU, SAVE)


def put_after(stock, mine):
    yolo_nanfix.patch(IOU, SAVE)
    mine.setattr(stock.loss, "bbox_iou", own)


def around_the_stock_one(stock, mine):
    mine.setattr(stock.loss, "bbox_iou", functools.wraps(stock.iou)(lambda *boxes, **more: stock.iou(*boxes, **more)))
    yolo_nanfix.patch(IOU, SAVE)


def partial(stock, mine):
    yolo_nanfix.patch(IOU, SAVE)
    mine.setattr(stock.loss, "bbox_iou", functools.partial(own, eps=1e-3))


def callable_object(stock, mine):
    class Iou:
        def __call__(self, box1, box2, **settings):
            return own(box1, box2)

    yolo_nanfix.patch(IOU, SAVE)
    mine.setattr(stock.loss, "bbox_iou", Iou())


def at_the_target(stock, mine):
    yolo_nanfix.patch(IOU, SAVE)
    mine.setattr(stock.metrics, "bbox_iou", own)


def in_a_module_of_a_loss_of_their_own(stock, mine):
    module = types.ModuleType("my_loss")
    module.bbox_iou = own
    module.Loss = type("Loss", (stock.loss.v8DetectionLoss,), {"__module__": "my_loss"})
    mine.setitem(sys.modules, "my_loss", module)
    yolo_nanfix.patch(IOU, SAVE)


@pytest.mark.parametrize(
    ("put", "where"),
    [
        (put_before, "ultralytics.utils.loss"),
        (put_after, "ultralytics.utils.loss"),
        (around_the_stock_one, "ultralytics.utils.loss"),
        (partial, "ultralytics.utils.loss"),
        (callable_object, "ultralytics.utils.loss"),
        (at_the_target, "ultralytics.utils.metrics"),
        (in_a_module_of_a_loss_of_their_own, "my_loss"),
    ],
)
def test_status_names_a_function_of_the_users_own(put, where, stock, mine):
    put(stock, mine)
    states = {p.name: p for p in yolo_nanfix.status().patches}
    assert states[IOU].state == "partly-on"
    assert f"on, but {where} uses your own bbox_iou" in states[IOU].reason
    assert states[SAVE].state == "on"
    holder = sys.modules[where]
    theirs = holder.bbox_iou
    yolo_nanfix.unpatch()
    assert stock.tal.bbox_iou is stock.iou and holder.bbox_iou is theirs
    assert "partly-on" not in {p.state for p in yolo_nanfix.status().patches}


def test_where_none_is_left_the_patch_is_replaced(stock, mine):
    yolo_nanfix.patch(IOU, SAVE)
    for module in (stock.loss, stock.tal, stock.metrics):
        mine.setattr(module, "bbox_iou", own)
    for module in [m for m in sys.modules.values() if getattr(m, "__name__", "").startswith("ultralytics.")]:
        if "bbox_iou" in vars(module):
            mine.setattr(module, "bbox_iou", own)
    (state,) = [p for p in yolo_nanfix.status().patches if p.name == IOU]
    assert state.state == "replaced" and "nothing to act on" in state.reason


def test_what_wraps_the_patched_function_is_no_replacement(stock, mine):
    yolo_nanfix.patch(IOU, SAVE)
    patched = stock.loss.bbox_iou

    @functools.wraps(patched)
    def counted(*boxes, **settings):
        return patched(*boxes, **settings)

    mine.setattr(stock.loss, "bbox_iou", counted)
    mine.setattr(stock.tal, "bbox_iou", functools.partial(patched, eps=1e-3))
    assert {p.state for p in yolo_nanfix.status().patches if p.name == IOU} == {"on"}


def test_methods_on_a_class_a_subclass_and_an_object(stock, mine):
    def save_model(self):
        return False

    class Mine(stock.trainer):
        def save_model(self):
            return None

    class Calls(stock.trainer):
        def save_model(self):
            return super().save_model()

    def reasons():
        return [p.reason for p in yolo_nanfix.status().patches if p.name == SAVE and p.state != "on"]

    yolo_nanfix.patch(SAVE)
    calls = Calls.__new__(Calls)
    assert reasons() == [], "a subclass without an object, and one that calls the patched method"
    kept = Mine.__new__(Mine)
    assert "Mine uses your own save_model" in reasons()[0]
    del kept
    calls.save_model = types.MethodType(save_model, calls)
    assert "an object of" in reasons()[0] and "Calls uses your own save_model" in reasons()[0]
    del calls.save_model
    mine.setattr(stock.trainer, "save_model", save_model)
    assert "BaseTrainer uses your own save_model" in reasons()[0]


def test_the_report_of_a_run_says_it_and_a_run_without_does_not(stock, mine, tmp_path):
    data = make_dataset(tmp_path / "set", n_train=4, n_val=2, size=(64, 64), seed=1)

    def patches(name):
        with yolo_nanfix.patched(diagnose=False):
            run = lab.train(data, tmp_path / name, epochs=1)
        assert run.error is None
        return json.loads((run.trainer.save_dir / "yolo-nanfix.json").read_text())["patches"]

    assert {p["state"] for p in patches("without").values()} <= {"on", "fixed", "not-needed", "off"}
    mine.setattr(stock.loss, "bbox_iou", lambda *boxes, **settings: stock.iou(*boxes, **settings))
    told = patches("with")[IOU]
    assert told["state"] == "partly-on" and "the patch" not in told["reason"]
    assert "ultralytics.utils.loss uses your own bbox_iou (test_cover.py:" in told["reason"]
