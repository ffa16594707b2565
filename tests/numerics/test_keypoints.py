"""The stabilised keypoint loss: finite for every finite input, equal to stock on healthy input, NaN never hidden."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ultralytics.utils.loss import KeypointLoss

import yolo_nanfix
from yolo_nanfix.numerics.keypoint_loss import area_not_negative, positive_sigmas

COCO = 0.025


@pytest.fixture(scope="module", autouse=True)
def patch():
    with yolo_nanfix.patched("keypoint-area-zero"):
        yield


def value_and_gradient(predicted, target, mask, area, sigma=COCO):
    leaf = predicted.clone().requires_grad_(True)
    value = KeypointLoss(sigmas=torch.full((predicted.shape[1],), sigma))(leaf, target, mask, area)
    value.backward()
    return value.detach(), leaf.grad


anything = st.floats(width=32, allow_nan=False, allow_infinity=False)
telling = st.sampled_from([0.0, 1.0, 1e-45, 1e-20, 1e-7, -1e-3, 300.0, 65504.0, 1e20, -3e38])
number = st.one_of(telling, anything, st.floats(-20, 20, width=32))
point = st.tuples(number, number)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(point, min_size=2, max_size=2),
    st.lists(st.one_of(st.none(), point), min_size=2, max_size=2),
    st.lists(st.booleans(), min_size=2, max_size=2),
    st.one_of(number, st.floats(0, 2**-20, width=32)),
    st.one_of(st.sampled_from([COCO, 0.01, 1.0]), st.floats(0, 1, width=32)),
    st.sampled_from((torch.float32, torch.float16, torch.bfloat16)),
)
def test_value_and_gradient_are_finite_for_every_finite_input(predicted, target, visible, area, sigma, dtype):
    """A target of None lies on its prediction. float16 holds the gradients of constants from 0.01 on, as all are."""
    pred_kpts = torch.tensor([predicted]).to(dtype)
    gt_kpts = torch.tensor([[p if t is None else t for p, t in zip(pred_kpts[0].tolist(), target, strict=True)]])
    if pred_kpts.isfinite().all():
        sigma = max(sigma, 0.01) if dtype is torch.float16 else sigma
        value, gradient = value_and_gradient(pred_kpts, gt_kpts, torch.tensor([visible]), torch.tensor([[area]]), sigma)
        assert value.isfinite() and gradient.isfinite().all(), (value, gradient)


@pytest.mark.parametrize("bad", (float("nan"), float("inf"), float("-inf")))
@pytest.mark.parametrize("side", ("prediction", "target"))
def test_a_keypoint_that_is_not_finite_stays_visible(bad, side):
    good, faulty = torch.ones(1, 2, 3), torch.ones(1, 2, 3)
    faulty[0, 0, 0] = bad
    pair = (faulty, good) if side == "prediction" else (good, faulty)
    value, _ = value_and_gradient(*pair, torch.ones(1, 2, dtype=torch.bool), torch.ones(1, 1))
    assert value.isnan()


def test_areas_and_constants_that_can_be_are_untouched():
    area, sigmas = torch.tensor([[0.0], [1e-30], [7.0]]), torch.tensor([0.025, 0.107, 1e-5])
    kept, small = area_not_negative(area, half=False)
    assert torch.equal(kept, area) and not small.any()
    kept, short = positive_sigmas(sigmas)
    assert torch.equal(kept, sigmas) and not short.any()


def test_negative_areas_become_zero_and_areas_that_are_not_finite_stay():
    area = torch.tensor([-1.0, float("nan"), float("inf"), float("-inf")])
    kept, small = area_not_negative(area, half=False)
    assert kept[0] == 0 and small.tolist() == [True, False, False, False]
    assert torch.equal(kept[1:].nan_to_num(9.0, 5.0, -5.0), torch.tensor([9.0, 5.0, -5.0]))
