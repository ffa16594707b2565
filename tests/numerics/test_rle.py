"""The stabilised RLE loss: finite for every finite input, equal to stock on healthy input, NaN never hidden."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ultralytics.utils.loss import RLELoss

import yolo_nanfix
from yolo_nanfix.numerics.keypoint_loss import SMALLEST_DEVIATION, positive_sigma


@pytest.fixture(scope="module", autouse=True)
def patch():
    with yolo_nanfix.patched("rle-sigma-zero"):
        yield


def value_and_gradients(sigma, log_phi, error, weight):
    leaves = [x.clone().requires_grad_(True) for x in (sigma, log_phi, error)]
    value = RLELoss()(*leaves, weight)
    return value.detach(), torch.autograd.grad(value, leaves)


anything = st.floats(width=32, allow_nan=False, allow_infinity=False)
telling = st.sampled_from([0.0, 1e-45, 1e-20, 6e-8, 1.0, 100.0, -3e38, 3e38])
number = st.one_of(anything, telling)
sigma = st.one_of(st.floats(0, 1, width=32), st.sampled_from([0.0, 1e-45, 1e-38, 1e-9, 6e-8, 1.0]))


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(sigma, sigma, number, number, number), min_size=1, max_size=3),
    st.sampled_from([0.0, 1.0, 1.5]),
    st.sampled_from((torch.float32, torch.float16, torch.bfloat16)),
)
def test_value_and_gradient_are_finite_for_every_finite_input(rows, weight, dtype):
    """The weights are those that upstream has for the keypoints of COCO."""
    table = torch.tensor(rows).to(dtype)
    if table.isfinite().all():
        value, gradients = value_and_gradients(
            table[:, :2], table[:, 2], table[:, 3:], torch.full((len(table),), weight)
        )
        assert value.isfinite(), (value, table)
        assert all(g.isfinite().all() for g in gradients), (gradients, table)


@pytest.mark.parametrize("which", range(3))
@pytest.mark.parametrize("bad", (float("nan"), float("inf")))
def test_what_is_not_finite_stays_visible(which, bad):
    inputs = [torch.full((2, 2), 0.5), torch.ones(2), torch.ones(2, 2)]
    inputs[which].view(-1)[0] = bad
    value, _ = value_and_gradients(*inputs, torch.ones(2))
    assert not value.isfinite()


def test_sigmas_from_the_floor_up_are_untouched_and_smaller_ones_named():
    sigma = torch.tensor([[0.0, 1e-10], [SMALLEST_DEVIATION, 0.3]])
    floored, moved = positive_sigma(sigma)
    assert torch.equal(floored[1], sigma[1]) and (floored[0] == torch.tensor(SMALLEST_DEVIATION)).all()
    assert moved.tolist() == [[True, True], [False, False]]


def test_no_keypoint_at_all_is_a_loss_of_zero_as_in_stock():
    value, gradients = value_and_gradients(torch.zeros(0, 2), torch.zeros(0), torch.zeros(0, 2), torch.zeros(0))
    assert value == 0 and all(g.isfinite().all() for g in gradients)
