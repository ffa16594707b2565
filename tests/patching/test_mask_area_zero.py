"""The mask patch inside the real segmentation loss."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ultralytics.cfg import get_cfg
from ultralytics.nn.tasks import SegmentationModel
from ultralytics.utils.loss import v8SegmentationLoss

import yolo_nanfix

pytestmark = pytest.mark.usefixtures("unpatched")
IMGSZ = 96


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    model = SegmentationModel("yolov8n-seg.yaml", nc=2, verbose=False)
    model.args = get_cfg()
    return model.train()


def seg_losses(model, side):
    """The seg_loss of one square object of `side` px with an empty mask, over a grid of 16 x 16 positions."""
    torch.manual_seed(0)
    image = torch.rand(1, 3, IMGSZ, IMGSZ)
    outputs = model(image)
    grid = np.linspace(0.01, 0.99, 16)
    empty = torch.zeros(1, IMGSZ // 4, IMGSZ // 4)
    losses = []
    for x in grid:
        for y in grid:
            box = torch.tensor([[x, y, side / IMGSZ, side / IMGSZ]], dtype=torch.float32)
            batch = {"img": image, "cls": torch.zeros(1, 1), "bboxes": box, "batch_idx": torch.zeros(1)}
            batch |= {"masks": empty, "sem_masks": empty}
            with torch.no_grad():
                losses.append(float(model.loss(batch, dict(outputs))[1]["seg_loss"]))
    return np.array(losses)


def test_a_polygon_of_zero_area_is_nan_in_stock_at_some_places_and_nowhere_in_ours(model):
    stock = seg_losses(model, 0.0)
    assert np.isnan(stock).mean() > 0.05
    with yolo_nanfix.patched("mask-area-zero"):
        ours = seg_losses(model, 0.0)
    assert np.isfinite(ours).all()
    kept = np.isfinite(stock)
    assert np.array_equal(ours[kept], stock[kept])


@pytest.mark.parametrize("side", (2.0, 20.0))
def test_objects_that_the_augmenter_lets_through_are_bit_identical(model, side):
    stock = seg_losses(model, side)
    with yolo_nanfix.patched("mask-area-zero"):
        assert np.array_equal(seg_losses(model, side), stock)


def gradient(xyxy, area):
    pred = torch.ones(1, 4, requires_grad=True)
    proto = torch.linspace(-1, 1, 4 * 24 * 24).view(4, 24, 24)
    v8SegmentationLoss.single_mask_loss(torch.zeros(1, 24, 24), pred, proto, xyxy, area).backward()
    return pred.grad


def test_the_gradient_of_a_zero_area_is_zero_and_that_of_a_sub_pixel_area_bounded():
    point = torch.tensor([[5.0, 5, 5, 5]])
    assert not gradient(point, torch.zeros(1)).isfinite().all()
    with yolo_nanfix.patched("mask-area-zero"):
        assert torch.equal(gradient(point, torch.zeros(1)), torch.zeros(1, 4))
        sliver = torch.tensor([[5.0, 5, 5.01, 5.01]])
        assert gradient(sliver, torch.tensor([1e-4 / 576])).abs().max() < 10


def test_the_floor_is_a_parameter():
    sliver, area = torch.tensor([[5.0, 5, 6, 6]]), torch.tensor([0.5 / 576])
    with yolo_nanfix.patched("mask-area-zero"):
        small = gradient(sliver, area)
    with yolo_nanfix.patched("mask-area-zero", min_area_px=2.0):
        assert torch.allclose(gradient(sliver, area) * 4, small)
