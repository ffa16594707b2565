"""The stabilised DFL: finite for every finite target, equal to stock on healthy ones, NaN and Inf never hidden."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ultralytics.utils.loss import DFLoss

import yolo_nanfix
from yolo_nanfix.numerics.targets import indexable

BINS = 16


@pytest.fixture(scope="module", autouse=True)
def patch():
    with yolo_nanfix.patched("dfl-target-not-finite"):
        yield


anything = st.floats(width=32, allow_nan=False, allow_infinity=False)
telling = st.sampled_from([0.0, -0.0, 1e-45, 1.0, 14.9375, 15.0, 16.0, -3.0, 65504.0, -65504.0, 3e38, -3e38])
number = st.one_of(telling, anything, st.floats(-20, 20, width=32))
logit = st.one_of(telling.filter(lambda x: abs(x) < 1e30), st.floats(-(2.0**100), 2.0**100, width=32))
"""From 1e37 on the sum of four losses is beyond float32 itself."""


@settings(max_examples=200, deadline=None)
@given(
    st.lists(number, min_size=4, max_size=4),
    st.lists(logit, min_size=BINS, max_size=BINS),
    st.sampled_from((torch.float32, torch.float16, torch.bfloat16)),
    st.sampled_from((torch.float32, torch.float16, torch.bfloat16)),
)
def test_value_and_gradient_are_finite_for_every_finite_input(target, logits, dtype, target_dtype):
    target = torch.tensor([target]).to(target_dtype)
    leaf = torch.tensor([logits] * 4).to(dtype).requires_grad_(True)
    if target.isfinite().all() and leaf.isfinite().all():
        value = DFLoss(BINS)(leaf, target)
        value.sum().backward()
        assert value.isfinite().all() and leaf.grad.isfinite().all(), (value, leaf.grad)


def test_targets_inside_the_bins_are_untouched():
    target = torch.tensor([[0.0, 14.99, 3.25, 7.5]])
    safe, finite = indexable(target, BINS)
    assert torch.equal(safe, target) and finite.all() and safe is not target


@pytest.mark.parametrize("bad", (float("nan"), float("inf"), float("-inf")))
def test_a_target_that_is_not_finite_is_an_index_and_its_row_is_named(bad):
    safe, finite = indexable(torch.tensor([[1.0, bad, 2, 3], [1, 2, 3, 4]]), BINS)
    assert safe[0].tolist() == [1, 0, 2, 3]
    assert finite.tolist() == [[False], [True]]


def test_the_last_target_of_bfloat16_is_moved_off_the_last_bin():
    target = torch.full((1, 4), 14.99).bfloat16()
    assert target[0, 0] == 15.0
    assert (indexable(target, BINS)[0] == torch.tensor(14.99)).all()
