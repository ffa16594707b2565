"""The IoU patch inside the real loss and assigner, under float16 autocast."""

from __future__ import annotations

import pytest
import torch
from ultralytics.cfg import get_cfg
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils import metrics
from ultralytics.utils.tal import make_anchors

import yolo_nanfix

pytestmark = pytest.mark.usefixtures("unpatched")
IMGSZ, OBJECT = 2560, 2400


@pytest.fixture(scope="module")
def head_of_a_large_object():
    """The criterion of a head without DFL, and the outputs of one that has learnt a 2400 px object perfectly."""
    model = DetectionModel("yolo26n.yaml", nc=2, verbose=False)
    model.args = get_cfg()
    model.args.epochs = 10
    criterion = model.init_criterion().one2many
    cells = [IMGSZ // s for s in (8, 16, 32)]
    feats = [torch.zeros(1, 1, n, n) for n in cells]
    points, strides = make_anchors(feats, torch.tensor([8.0, 16.0, 32.0]), 0.5)
    low, high = (IMGSZ - OBJECT) / 2, (IMGSZ + OBJECT) / 2
    distances = torch.cat((points - low / strides, high / strides - points), 1).T[None]
    scores = torch.full((1, 2, distances.shape[2]), 0.0)
    scores[:, 0] = 0.5
    scores[:, 0, : cells[0] ** 2] = 3.0
    return criterion, feats, distances, scores


def box_loss(head, half):
    criterion, feats, distances, scores = head
    dtype = torch.float16 if half else torch.float32
    leaf = distances.detach().clone().to(dtype).requires_grad_(True)
    batch = {
        "batch_idx": torch.zeros(1),
        "cls": torch.zeros(1, 1),
        "bboxes": torch.tensor([[0.5, 0.5, OBJECT / IMGSZ, OBJECT / IMGSZ]]),
    }
    outputs = {"boxes": leaf, "scores": scores.to(dtype), "feats": [f.to(dtype) for f in feats]}
    with torch.autocast("cpu", dtype=torch.float16, enabled=half):
        loss, items = criterion.loss(outputs, batch)
    (loss[0] / loss[0].numel()).backward()
    return float(items["box_loss"]), leaf.grad


def test_a_perfect_large_box_has_the_largest_loss_in_stock_and_almost_none_in_ours(head_of_a_large_object):
    exact, _ = box_loss(head_of_a_large_object, half=False)
    stock, stock_gradient = box_loss(head_of_a_large_object, half=True)
    assert exact < 0.01
    assert stock > 5 and not stock_gradient.any()
    with yolo_nanfix.patched("box-iou-half-precision"):
        ours, gradient = box_loss(head_of_a_large_object, half=True)
        ours_exact, _ = box_loss(head_of_a_large_object, half=False)
    assert ours < 0.05
    assert gradient.isfinite().all()
    assert ours_exact == exact


def test_tiny_boxes_far_from_the_origin_give_nan_gradients_in_stock_and_none_in_ours():
    """4 000 nearly right 1 px boxes at imgsz 2048, as float16 predictions against float32 targets."""
    random = torch.Generator().manual_seed(0)
    anchor = (torch.rand(4000, 2, generator=random) * 256).floor() + 0.5
    noise = 0.8 + 0.4 * torch.rand(4000, 4, generator=random)
    half_side = 0.0625
    predicted = torch.cat((anchor - half_side * noise[:, :2], anchor + half_side * noise[:, 2:]), 1).half()
    target = torch.cat((anchor - half_side, anchor + half_side), 1)

    def broken():
        leaf = predicted.clone().requires_grad_(True)
        with torch.autocast("cpu", dtype=torch.float16):
            iou = metrics.bbox_iou(leaf, target, xywh=False, CIoU=True)
        (1 - iou).sum().backward()
        return int((~leaf.grad.isfinite()).any(1).sum())

    assert broken() > 100
    with yolo_nanfix.patched("box-iou-half-precision"):
        assert broken() == 0


def test_broadcast_shapes_come_out_as_from_stock():
    a, b = torch.rand(5, 1, 4), torch.rand(1, 3, 4)
    expected = metrics.bbox_iou(a, b, xywh=True, GIoU=True)
    with yolo_nanfix.patched("box-iou-half-precision"):
        assert torch.equal(metrics.bbox_iou(a, b, xywh=True, GIoU=True), expected)
        assert torch.equal(metrics.bbox_iou(box1=a, box2=b, GIoU=True), expected)
        assert metrics.bbox_iou(torch.zeros(0, 4), torch.zeros(0, 4), xywh=False, CIoU=True).shape == (0, 1)
