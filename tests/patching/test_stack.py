"""Several cards on one function, patched functions in pickles, and the count of what patches do."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
import ultralytics.utils.loss as loss_module
from ultralytics.utils import metrics
from ultralytics.utils.loss import v8SegmentationLoss

import yolo_nanfix
from yolo_nanfix import upstream
from yolo_nanfix.patching import engine, stack, tally

pytestmark = pytest.mark.usefixtures("unpatched")
PATH = "ultralytics.utils.metrics:bbox_iou"


def adding(number):
    return lambda wrapped, instance, args, kwargs: wrapped(*args, **kwargs) * 10 + number


@pytest.fixture
def two_cards():
    stack.wrap_target(PATH, "one", adding(1))
    stack.wrap_target(PATH, "two", adding(2))
    yield
    for name in ("one", "two"):
        if PATH in stack._stacks and name in stack._stacks[PATH].wrappers:
            stack.unwrap_target(PATH, name)


BOXES = torch.tensor([[0.0, 0, 2, 2]]), torch.tensor([[10.0, 10, 12, 12]])


@pytest.mark.parametrize(("first", "left"), [("one", 2), ("two", 1)])
def test_two_cards_on_one_function_leave_in_any_order(first, left):
    before = metrics.bbox_iou
    stack.wrap_target(PATH, "one", adding(1))
    stack.wrap_target(PATH, "two", adding(2))
    assert int(metrics.bbox_iou(*BOXES, xywh=False)) == 12
    stack.unwrap_target(PATH, first)
    assert int(metrics.bbox_iou(*BOXES, xywh=False)) == left
    assert loss_module.bbox_iou is metrics.bbox_iou
    stack.unwrap_target(PATH, "two" if first == "one" else "one")
    assert metrics.bbox_iou is loss_module.bbox_iou is before


def test_the_original_is_what_upstream_made(two_cards):
    assert upstream.fingerprint(stack.original(PATH).raw) == upstream.fingerprint(metrics.bbox_iou)
    assert not isinstance(stack.original(PATH).raw, stack.Patched)


def test_what_another_library_put_on_top_stays(two_cards):
    patched = metrics.bbox_iou
    metrics.bbox_iou = theirs = lambda *args, **kwargs: patched(*args, **kwargs)
    try:
        stack.unwrap_target(PATH, "one")
        stack.unwrap_target(PATH, "two")
        assert metrics.bbox_iou is theirs
        assert not isinstance(loss_module.bbox_iou, stack.Patched)
    finally:
        metrics.bbox_iou = loss_module.bbox_iou


def test_a_patched_function_pickles_with_its_patch_set_and_copies_as_itself():
    yolo_nanfix.patch("box-iou-half-precision", "mask-area-zero", min_area_px=0.5)
    pickled = pickle.dumps(metrics.bbox_iou)
    assert copy.deepcopy(metrics.bbox_iou) is metrics.bbox_iou is copy.copy(metrics.bbox_iou)
    yolo_nanfix.unpatch()
    assert not engine.snapshot()
    assert pickle.loads(pickled) is metrics.bbox_iou  # noqa: S301 - our own; as in a new process
    assert {n: dict(p) for n, p in engine.snapshot().items()} == {
        "box-iou-half-precision": {},
        "mask-area-zero": {"min_area_px": 0.5},
    }


def test_what_a_patch_moves_is_counted_and_shown():
    tally.clear()
    mask, coefficients, prototypes = torch.ones(2, 8, 8), torch.zeros(2, 4), torch.zeros(4, 8, 8)
    boxes, areas = torch.tensor([[0.0, 0, 4, 4], [3, 3, 3, 3]]), torch.tensor([0.25, 0.0])
    with yolo_nanfix.patched("mask-area-zero") as status:
        assert {p.counted for p in status.patches} == {0}
        with torch.inference_mode():
            v8SegmentationLoss.single_mask_loss(mask, coefficients, prototypes, boxes, areas)
        v8SegmentationLoss.single_mask_loss(mask, coefficients, prototypes, boxes, areas)
        assert yolo_nanfix.status().as_dict()["patches"]["mask-area-zero"]["counted"] == 2
    tally.clear()
    assert tally.read() == {}
