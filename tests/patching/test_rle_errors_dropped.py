"""The count of left-out keypoints in the real loss of a YOLO26 pose model."""

from __future__ import annotations

import pytest
import torch
from ultralytics.cfg import get_cfg
from ultralytics.nn.tasks import PoseModel

import yolo_nanfix
from yolo_nanfix.patching import tally

pytestmark = pytest.mark.usefixtures("unpatched")
NAME = "rle-errors-dropped"


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    model = PoseModel("yolo26n-pose.yaml", nc=1, data_kpt_shape=[17, 3], verbose=False)
    model.args = get_cfg()
    model.args.epochs = 10
    return model.train()


@pytest.fixture(scope="module")
def criterion(model):
    return model.init_criterion().one2many


def keypoints(count=8):
    """Predictions (x, y, visibility, two sigma logits) and targets of 17 keypoints each, and which are visible."""
    random = torch.Generator().manual_seed(0)
    predicted, target = torch.randn(count, 17, 5, generator=random), torch.randn(count, 17, 3, generator=random)
    return predicted, target, torch.rand(count, 17, generator=random) > 0.3


def loss_and_gradient(criterion, predicted, target, visible):
    leaf = predicted.clone().requires_grad_(True)
    loss = criterion.calculate_rle_loss(leaf, target, visible)
    loss.backward()
    return loss.detach(), leaf.grad


def test_healthy_keypoints_are_bit_identical_and_none_is_counted(criterion):
    expected = loss_and_gradient(criterion, *keypoints())
    tally.clear()
    with yolo_nanfix.patched(NAME):
        ours = loss_and_gradient(criterion, *keypoints())
    assert all(torch.equal(a, b) for a, b in zip(ours, expected, strict=True))
    assert tally.read() == {}


def test_what_stock_leaves_out_in_silence_is_counted(criterion):
    predicted, target, visible = keypoints()
    visible[:2] = True
    predicted[:2, :, 0] = torch.inf
    assert criterion.calculate_rle_loss(predicted, target, visible).isfinite()
    tally.clear()
    with yolo_nanfix.patched(NAME):
        loss = criterion.calculate_rle_loss(predicted, target, visible)
    assert loss.isfinite() and tally.read() == {NAME: 34}


def test_where_nothing_is_left_everything_is_counted(criterion):
    predicted, target, visible = keypoints()
    predicted[..., 0] = torch.nan
    tally.clear()
    with yolo_nanfix.patched(NAME):
        assert criterion.calculate_rle_loss(predicted, target, visible) == 0
        assert criterion.calculate_rle_loss(predicted, target, torch.zeros_like(visible)) == 0
    assert tally.read() == {NAME: int(visible.sum())}


def test_the_loss_keeps_no_hook_after_an_error(criterion):
    predicted, target, visible = keypoints()
    with yolo_nanfix.patched(NAME), pytest.raises(IndexError):
        criterion.calculate_rle_loss(predicted, target, visible[:3])
    assert not criterion.rle_loss._forward_pre_hooks


def test_a_whole_step_of_the_model_is_bit_identical(model):
    torch.manual_seed(0)
    image = torch.rand(2, 3, 96, 96)
    points = torch.cat((torch.full((2, 17, 2), 0.5), torch.full((2, 17, 1), 2.0)), 2)
    batch = {"img": image, "cls": torch.zeros(2, 1), "batch_idx": torch.arange(2.0), "keypoints": points}
    batch |= {"bboxes": torch.tensor([[0.5, 0.5, 0.4, 0.4]] * 2)}

    def losses():
        torch.manual_seed(0)
        model.criterion = None
        return model.loss(batch, model(image))[0].detach()

    expected = losses()
    assert expected[-1] > 0
    with yolo_nanfix.patched(NAME, "rle-sigma-zero", "keypoint-area-zero"):
        assert torch.equal(losses(), expected)
