"""The stabilised focal losses: finite for every finite logit, equal to stock on healthy ones, NaN never hidden."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ultralytics.utils.loss import FocalLoss, VarifocalLoss

import yolo_nanfix
from yolo_nanfix.numerics.focal import focal_logits, varifocal_logits

GAMMAS = (0.0, 0.01, 0.5, 1.0, 1.5, 2.0)


@pytest.fixture(scope="module", autouse=True)
def patch():
    with yolo_nanfix.patched("focal-loss-edge", "varifocal-loss-edge"):
        yield


def focal(logit, label, gamma):
    return FocalLoss(gamma, 0.25)(logit, label)


def varifocal(logit, label, gamma):
    return VarifocalLoss(gamma, 0.75)(logit, label, (label > 0).to(label.dtype))


def value_and_gradient(loss, logit, label, gamma):
    leaf = logit.clone().requires_grad_(True)
    value = loss(leaf, label, gamma)
    value.backward()
    return value.detach(), leaf.grad


anything = st.floats(width=32, allow_nan=False, allow_infinity=False)
telling = st.sampled_from([0.0, 1e-45, 15.0, -17.0, 20.0, -104.0, -200.0, 104.0, 65504.0, -65504.0, 3e38, -3e38])
logit = st.one_of(telling, anything, st.floats(-200, 200, width=32))
label = st.one_of(st.sampled_from([0.0, 1.0, 1 - 2.0**-24, 1e-45]), st.floats(0, 1, width=32))
half = st.sampled_from((torch.float32, torch.float16, torch.bfloat16))


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(logit, label), min_size=1, max_size=4),
    st.sampled_from(GAMMAS),
    st.sampled_from((focal, varifocal)),
    half,
)
def test_value_and_gradient_are_finite_for_every_finite_logit(pairs, gamma, loss, dtype):
    logits, labels = torch.tensor([pairs]).to(dtype).unbind(-1)
    if logits.isfinite().all():
        value, gradient = value_and_gradient(loss, logits, labels, gamma)
        assert value.isfinite() and gradient.isfinite().all(), (value, gradient, logits, labels)


@pytest.mark.parametrize("loss", (focal, varifocal))
@pytest.mark.parametrize("bad", (float("nan"), float("inf"), float("-inf")))
def test_a_logit_that_is_not_finite_stays_visible(bad, loss):
    value, _ = value_and_gradient(loss, torch.tensor([[bad, 1.0]]), torch.tensor([[0.0, 1.0]]), 0.5)
    assert value.isnan()


def test_with_the_gammas_of_upstream_no_logit_of_a_network_is_moved():
    logits = torch.linspace(-1e4, 1e4, 2001)
    for kept, moved in (varifocal_logits(logits, 1.5), focal_logits(logits, torch.zeros(2001), 1.5)):
        assert torch.equal(kept, logits) and not moved.any()


def test_with_a_gamma_under_one_only_the_sure_and_right_answers_are_moved():
    logits = torch.tensor([-20.0, -14.9, 14.9, 20.0])
    kept, moved = focal_logits(logits, torch.zeros(4), 0.5)
    assert kept.tolist() == [-15.0, *logits[1:].tolist()] and moved.tolist() == [True, False, False, False]
    kept, moved = focal_logits(logits, torch.ones(4), 0.5)
    assert kept.tolist() == [*logits[:3].tolist(), 15.0] and moved.tolist() == [False, False, False, True]
    assert varifocal_logits(torch.tensor([-79.0, -80.0, -81.0]), 0.5)[1].tolist() == [False, False, True]


@pytest.mark.parametrize("logits", [focal_logits, varifocal_logits])
@pytest.mark.parametrize(
    ("logit", "gamma", "kept", "moved"),
    [
        (-2e30, 0.5, None, True),
        (-1e30, 1.0, -1e30, False),
        (1.1e30, 1.0, 1e30, True),
        (-200.0, 0.0, -200.0, False),
        (-200.0, 1.0, -200.0, False),
        (-200.0, 0.999, None, True),
    ],
)
def test_logits_are_moved_beyond_the_largest_and_for_a_gamma_between_zero_and_one(logits, logit, gamma, kept, moved):
    asked = torch.tensor([logit])
    found, told = logits(asked, gamma) if logits is varifocal_logits else logits(asked, torch.zeros(1), gamma)
    smallest = -80.0 if logits is varifocal_logits else -15.0
    assert found.tolist() == [pytest.approx(smallest if kept is None else kept)] and bool(told.any()) is moved


@pytest.mark.parametrize(("units", "moved"), [(3, True), (4, False), (5, False)])
def test_an_answer_is_sure_within_four_units_of_one(units, moved):
    """The label is exactly as far from 1 as the distance from a sure answer shall be."""
    label = torch.tensor([1 - units * 2.0**-24])
    assert focal_logits(torch.tensor([30.0]), label, 0.5)[1].tolist() == [moved]
