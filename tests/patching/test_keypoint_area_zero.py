"""The keypoint patch in the real pose loss and in the one of 8.0.136, whose formula is older."""

from __future__ import annotations

import pytest
import torch
from ultralytics.cfg import get_cfg
from ultralytics.nn.tasks import PoseModel
from ultralytics.utils.loss import KeypointLoss

import yolo_nanfix
from yolo_nanfix.patching import tally

pytestmark = pytest.mark.usefixtures("unpatched")
NAME = "keypoint-area-zero"


def loss_and_gradient(predicted, target, area, sigma=0.025, visible=True):
    leaf = predicted.clone().requires_grad_(True)
    mask = torch.full(predicted.shape[:2], visible)
    value = KeypointLoss(sigmas=torch.full((predicted.shape[1],), sigma))(leaf, target, mask, area)
    value.backward()
    return value.detach(), leaf.grad


def test_an_object_without_area_is_nan_in_stock_float16_and_finite_in_ours():
    """The first keypoint is right, the second is not."""
    predicted, target = torch.tensor([[[3.0, 4], [5, 6]]]).half(), torch.tensor([[[3.0, 4], [5, 7]]]).half()
    area = torch.zeros(1, 1).half()
    value, _ = loss_and_gradient(predicted, target, area)
    assert value.isnan()
    tally.clear()
    with yolo_nanfix.patched(NAME):
        value, gradient = loss_and_gradient(predicted, target, area)
    assert value.item() == pytest.approx(0.5)
    assert torch.equal(gradient, torch.zeros_like(gradient))
    assert tally.read() == {NAME: 1}


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    model = PoseModel("yolov8n-pose.yaml", nc=1, data_kpt_shape=[17, 3], verbose=False)
    model.args = get_cfg()
    return model.train()


def pose_losses(model, sigma, centre=0.5, side=0.4):
    """The losses of one object whose keypoints lie where the model puts them, and the gradient of its head."""
    torch.manual_seed(0)
    model.kpt_oks_sigmas, model.criterion = [sigma] * 17, None
    image = torch.rand(1, 3, 96, 96)
    keypoints = torch.cat((torch.full((1, 17, 2), centre), torch.full((1, 17, 1), 2.0)), 2)
    batch = {"img": image, "cls": torch.zeros(1, 1), "batch_idx": torch.zeros(1), "keypoints": keypoints}
    loss, items = model.loss(batch | {"bboxes": torch.tensor([[centre, centre, side, side]])}, model(image))
    model.zero_grad()
    loss.sum().backward()
    gradient = torch.cat([p.grad.flatten() for p in model.model[-1].parameters() if p.grad is not None])
    return {name: float(value) for name, value in items.items()}, gradient


def test_a_constant_that_upstream_accepts_kills_the_real_pose_loss_in_stock_but_not_in_ours(model):
    """kpt_oks_sigmas of 1e-30 in the dataset's YAML: positive, but its square is 0."""
    losses, gradient = pose_losses(model, 1e-30)
    assert not gradient.isfinite().all()
    with yolo_nanfix.patched(NAME):
        losses, gradient = pose_losses(model, 1e-30)
    assert all(torch.tensor(list(losses.values())).isfinite()) and gradient.isfinite().all()


def test_the_real_pose_loss_is_bit_identical_on_a_healthy_object(model):
    losses, gradient = pose_losses(model, 0.05)
    tally.clear()
    with yolo_nanfix.patched(NAME):
        ours, our_gradient = pose_losses(model, 0.05)
    assert ours == losses and torch.equal(our_gradient, gradient)
    assert tally.read() == {}


@pytest.mark.parametrize("area", (0.0, 1e-9, 4.0))
@pytest.mark.parametrize("visible", (True, False))
def test_in_float32_every_area_from_zero_up_is_bit_identical(area, visible):
    random = torch.Generator().manual_seed(0)
    predicted, target = torch.rand(8, 17, 3, generator=random) * 12, torch.rand(8, 17, 3, generator=random) * 12
    expected = loss_and_gradient(predicted, target, torch.full((8, 1), area), visible=visible)
    with yolo_nanfix.patched(NAME):
        ours = loss_and_gradient(predicted, target, torch.full((8, 1), area), visible=visible)
    assert all(torch.equal(a, b) for a, b in zip(ours, expected, strict=True))


def test_the_constants_of_the_loss_are_its_own_again_after_the_call_and_after_an_error():
    sigmas = torch.full((2,), 0.025)
    loss = KeypointLoss(sigmas=sigmas)
    good = torch.ones(1, 2, 3), torch.zeros(1, 2, 3), torch.ones(1, 2), torch.ones(1, 1)
    with yolo_nanfix.patched(NAME):
        loss(*good)
        assert loss.sigmas is sigmas
        with pytest.raises(RuntimeError):
            loss(torch.ones(1, 2, 3), torch.ones(1, 5, 3), *good[2:])
    assert loss.sigmas is sigmas
