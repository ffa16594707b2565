"""The range test on curves whose optimum is known, on broken curves, and in a few steps on a real model."""

from __future__ import annotations

import math
from copy import deepcopy
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from yolo_nanfix.numerics import lr_range
from yolo_nanfix.numerics.lr_range import Curve, Sweep, coarse, group_ratios, set_rate, smooth, suggest

NAN, INF = float("nan"), float("inf")


def sweep(loss, low, high, steps):
    """The curve of a loss that depends on the rate alone."""
    plan = Sweep(low, high, steps)
    while not plan.done:
        plan.record(loss(plan.rate))
    return plan.curve()


def synthetic(optimum: float, blow_up: float, start: float = 10.0):
    """A loss that falls from `start` to a third around `optimum` (a logistic in the logarithm), then explodes."""

    def loss(rate: float) -> float:
        fall = 1 / (1 + (optimum / rate) ** 1.5)
        return start * (1 - 2 / 3 * fall) + start * (rate / blow_up) ** 4

    return loss


@pytest.mark.parametrize("bad", [NAN, INF, -INF])
def test_a_loss_that_is_not_finite_ends_the_curve_and_leaves_no_trace(bad):
    loss = synthetic(1e-3, 1.0)
    cut = sweep(lambda rate: bad if rate > 0.03 else loss(rate), 1e-6, 10.0, 100)
    whole = sweep(lambda rate: loss(rate), 1e-6, cut.rates[-1], len(cut.rates))
    assert cut.losses == pytest.approx(whole.losses) and cut.diverged_at == pytest.approx(0.03, rel=0.2)
    assert "the loss was" in cut.reason
    assert suggest(cut).lr <= cut.diverged_at / lr_range.MARGIN


def test_a_loss_that_collapses_to_zero_has_diverged():
    """Weights that ran away give logits whose loss is exactly 0: that is not a fall."""
    loss = synthetic(1e-3, 1e9)
    curve = sweep(lambda rate: 0.0 if rate > 1 else loss(rate), 1e-6, 10.0, 100)
    assert curve.diverged_at == pytest.approx(1.0, rel=0.2) and "collapsed" in curve.reason and min(curve.losses) > 0


def test_a_flat_curve_gives_no_rate_but_a_flat_one_that_blows_up_a_tenth_of_that():
    flat = suggest(sweep(lambda rate: 3.0, 1e-6, 1.0, 50))
    assert flat.lr is flat.low is flat.high is None and "no rate up to 1" in flat.reason
    blown = suggest(sweep(lambda rate: 3.0 + (rate / 0.1) ** 4, 1e-6, 10.0, 100), "AdamW")
    assert blown.lr == pytest.approx(blown.diverged_at / 10) and blown.low is None and "AdamW" in blown.reason


def test_a_loss_that_is_never_finite_is_not_blamed_on_the_rate():
    found = suggest(sweep(lambda rate: NAN, 1e-6, 1.0, 50))
    assert found.lr is None and "not a matter of the learning rate" in found.reason


def test_one_spike_moves_nothing():
    loss = synthetic(1e-3, 1.0)
    calm = suggest(sweep(loss, 1e-6, 10.0, 100))
    spiked = suggest(sweep(lambda rate: 3 * loss(rate) if 1e-4 < rate < 1.17e-4 else loss(rate), 1e-6, 10.0, 100))
    assert spiked.lr == pytest.approx(calm.lr, rel=0.1)


def test_a_fall_after_the_loss_had_risen_does_not_count():
    """Weights that ran away can give a low loss: at 1.2 MuSGD went from 17 to 0.04 (YOLOv8n, 128 px)."""
    loss = synthetic(1e-3, 0.1)
    told = suggest(sweep(lambda rate: loss(rate) if rate < 0.13 else 0.1, 1e-6, 10.0, 100))
    assert told.lr < 0.01 and told.high < 0.02


def test_smoothing_starts_at_the_first_value_and_moves_no_feature():
    assert smooth([7.0] * 20, 5) == pytest.approx([7.0] * 20)
    values = [2 + abs(i - 20) / 10 for i in range(41)]
    smoothed = smooth(values, 5)
    assert smoothed.index(min(smoothed)) in (19, 20, 21)
    assert smooth([], 5) == () and smooth([-1.0, 1.0], 1) == (-1.0, 1.0)


@pytest.mark.parametrize("limits", [(0, 1, 10), (1, 1, 10), (1, INF, 10), (NAN, 1, 10), (1e-3, 1, 1)])
def test_impossible_sweeps_are_refused(limits):
    with pytest.raises(ValueError, match=r"0 < lowest < highest|at least 2 steps"):
        Sweep(*limits)


def test_two_steps_are_the_shortest_sweep():
    assert Sweep(1e-3, 1.0, 2).planned == pytest.approx((1e-3, 1.0))


@pytest.mark.parametrize(
    ("losses", "width", "diverged"),
    [
        ([1.0, 4.0], 1, False),
        ([1.0, 4.1], 1, True),
        ([0.2, 0.9], 1, True),
        ([0.0, 1.0], 1, False),
        ([0.0], 1, False),
        ([1.0, 1e-4], 1, True),
        ([1.0, 1.1e-4], 1, False),
        ([1.0, -0.9e-4], 1, True),
        ([1.0, 9.0], 3, False),
        ([1.0, 1.0, 1.0, 29.0], 2, True),
    ],
)
def test_a_loss_four_times_its_lowest_mean_or_a_ten_thousandth_of_the_first_has_diverged(losses, width, diverged):
    assert bool(lr_range._divergence(losses, width)) is diverged


@pytest.mark.parametrize(
    ("values", "width", "smoothed"),
    [
        ([1.0, 9.0, 1.0], 1, [1.0, 9.0, 1.0]),
        ([1.0, 9.0, 1.0], 2, [1.0] * 3),
        ([1.0, 9.0, 1.0], 1.5, [1.0] * 3),
        ([0.25, 0.25, 0.0625, 0.0625], 2, [0.2089, 0.1702, 0.1019, 0.0825]),
        ([0.0, 0.0, 4.0, 4.0], 2, [0.5181, 1.1102, 2.5905, 3.2]),
    ],
)
def test_positive_losses_are_averaged_as_logarithms_without_single_spikes(values, width, smoothed):
    assert smooth(values, width) == pytest.approx(smoothed, abs=1e-4)


@pytest.mark.parametrize(
    ("losses", "width", "steps"),
    [
        ([1.0, 1.25], 1, 2),
        ([1.0, 1.26], 1, 1),
        ([0.5, 1.0], 1, 1),
        ([0.0, 1.0], 1, 2),
        ([1.0, 9.0, 1.0], 1, 1),
        ([1.0, 9.0, 1.0, 1.0], 2, 4),
        ([1.0, 9.0, 1.0, 1.0], 1.5, 4),
    ],
)
def test_losses_count_until_their_mean_has_risen_by_a_quarter(losses, width, steps):
    assert lr_range._steps_before_rise(losses, width) == steps


@pytest.mark.parametrize(
    ("lowest", "noise", "falls"),
    [(98.0, 0.0, False), (97.9, 0.0, True), (98.5, 0.0, False), (90.0, 3.3, True), (90.0, 3.4, False)],
)
def test_a_fall_is_two_percent_and_twice_the_noise(lowest, noise, falls):
    losses = [100.0, lowest]
    curve = Curve((1e-3, 1e-2), tuple(loss + noise for loss in losses))
    assert lr_range._falls(curve, losses, 1) is falls


@pytest.mark.parametrize(("more", "falls"), [(0.0, False), (0.01, True)])
def test_a_fall_of_exactly_twice_the_noise_is_none(more, falls):
    losses = [2 * 1.4826 + more, 0.0]
    assert lr_range._falls(Curve((1e-3, 1e-2), tuple(loss + 1.0 for loss in losses)), losses, 1) is falls


def test_the_range_goes_from_a_tenth_to_nine_tenths_of_the_fall():
    rates = tuple(10.0 ** (i - 9) for i in range(10))
    found = suggest(Curve(rates, (10.0, 9.5, 8.65, 6.0, 4.0, 2.0, 1.2, 1.0, 1.05, 1.1)))
    assert (found.low, found.high) == (rates[2], rates[6])
    assert found.lr == pytest.approx(math.sqrt(rates[3] * rates[6]))


class Net(torch.nn.Module):
    """Regression with BatchNorm and dropout, so that a careless test would change buffers and random numbers."""

    def __init__(self):
        super().__init__()
        parts = torch.nn.Linear(8, 32), torch.nn.BatchNorm1d(32), torch.nn.ReLU(), torch.nn.Dropout(0.1)
        self.layers = torch.nn.Sequential(*parts, torch.nn.Linear(32, 1))

    def forward(self, x):
        return self.layers(x).squeeze(-1)


@pytest.fixture
def net():
    torch.manual_seed(0)
    x = torch.randn(64, 8)
    y = 5 * x[:, 0] - 3 * x[:, 1] + 7
    return Net(), lambda model: ((model(x) - y) ** 2).mean()


OPTIMIZERS = {
    "SGD": lambda m: torch.optim.SGD(m.parameters(), lr=0.1, momentum=0.9, nesterov=True),
    "AdamW": lambda m: torch.optim.AdamW(m.parameters(), lr=0.1),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_coarse_finds_a_rate_that_trains_in_a_few_steps(net, name):
    model, loss = net
    forwards = []
    found = coarse(model, lambda m: forwards.append(1) or loss(m), OPTIMIZERS[name], high=10.0)
    assert len(forwards) <= 8 and found.lr is not None and name in found.reason

    def after(rate: float, steps: int = 60) -> float:
        probe = deepcopy(model)
        optimizer = OPTIMIZERS[name](probe)
        for group in optimizer.param_groups:
            group["lr"] = rate
        for _ in range(steps):
            optimizer.zero_grad()
            loss(probe).backward()
            optimizer.step()
        return float(loss(probe).detach())

    assert after(found.lr) < 0.3 * after(found.lr / 100)
    assert not after(found.lr * 1000) < 2 * after(found.lr)


def test_coarse_leaves_the_model_its_gradients_and_the_random_numbers_as_they_are(net):
    model, loss = net
    loss(model).backward()
    state = {k: v.clone() for k, v in model.state_dict().items()}
    grads = [p.grad.clone() for p in model.parameters()]
    random = torch.get_rng_state()
    assert coarse(model, loss, OPTIMIZERS["SGD"]).lr
    assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())
    assert all(torch.equal(p.grad, g) for p, g in zip(model.parameters(), grads, strict=True))
    assert torch.equal(torch.get_rng_state(), random) and model.training


def test_coarse_takes_seven_steps_from_1e_5_on_with_clipped_gradients():
    """The gradient is 1000, and is clipped to 10: each step moves the weight by ten times its rate."""
    model = torch.nn.Linear(1, 1, bias=False, dtype=torch.float64)
    weights = []

    def loss(probe: torch.nn.Module) -> torch.Tensor:
        weights.append(float(probe.weight.detach()))
        return 1e6 + 1000 * probe.weight.sum()

    coarse(model, loss, lambda probe: torch.optim.SGD(probe.parameters(), lr=1.0), high=10.0)
    moved = [(before - after) / 10 for before, after in pairwise(weights)]
    assert moved == pytest.approx([10.0**power for power in range(-5, 2)], rel=1e-3)


def test_coarse_keeps_to_its_time(net):
    model, loss = net
    forwards = []
    coarse(model, lambda m: forwards.append(1) or loss(m), OPTIMIZERS["SGD"], seconds=0.0)
    assert len(forwards) == 1


def test_coarse_from_poisoned_weights_does_not_blame_the_rate(net):
    model, loss = net
    model.layers[0].weight.data[0, 0] = NAN
    found = coarse(model, loss, OPTIMIZERS["SGD"])
    assert found.lr is None and "before the first step" in found.reason


def test_groups_keep_their_ratios():
    weights = [torch.nn.Parameter(torch.ones(1)) for _ in range(2)]
    optimizer = torch.optim.SGD([{"params": weights[:1], "lr": 0.03}, {"params": weights[1:], "lr": 0.01}], lr=1.0)
    ratios = group_ratios(optimizer)
    set_rate(optimizer, ratios, 0.5)
    assert ratios == pytest.approx([3, 1]) and [g["lr"] for g in optimizer.param_groups] == pytest.approx([1.5, 0.5])


def test_a_curve_of_one_loss_can_be_read():
    assert suggest(Curve((1e-3,), (2.0,))).lr is None


@settings(max_examples=60, deadline=None)
@given(
    exponent=st.floats(-4.5, -1.5),
    room=st.floats(1.2, 3.0),
    start=st.floats(1e-3, 1e3),
    steps=st.sampled_from((20, 50, 100, 200)),
    noise=st.floats(0, 0.05),
    seed=st.integers(0, 9999),
)
def test_the_suggestion_is_near_the_optimum_and_far_below_the_blow_up(exponent, room, start, steps, noise, seed):
    optimum, blow_up = 10**exponent, 10 ** (exponent + room)
    loss, jitter = synthetic(optimum, blow_up, start), torch.Generator().manual_seed(seed)
    curve = sweep(lambda r: loss(r) * (1 + noise * float(torch.randn((), generator=jitter))), 1e-7, 100.0, steps)
    found = suggest(curve)
    assert curve.diverged_at is not None and blow_up / 3 < curve.diverged_at < blow_up * 10
    assert found.lr is not None and optimum / 10 < found.lr < optimum * 10
    assert found.low <= found.lr <= found.high <= curve.diverged_at / lr_range.MARGIN


ODD = st.one_of(st.floats(allow_nan=True, allow_infinity=True), st.sampled_from((NAN, INF, -INF, 0.0, 1e308)))


@settings(max_examples=200, deadline=None)
@given(st.lists(ODD, min_size=1, max_size=60), st.integers(2, 60))
def test_whatever_the_losses_only_finite_ones_count_and_the_suggestion_is_finite_or_none(losses, steps):
    plan = Sweep(1e-6, 1.0, steps)
    for loss in losses:
        if not plan.done:
            plan.record(loss)
    curve = plan.curve()
    assert all(map(math.isfinite, curve.losses)) and len(curve.rates) == len(curve.losses) <= steps
    found = suggest(curve, "SGD")
    numbers = [x for x in (found.lr, found.low, found.high) if x is not None]
    assert all(0 < x <= 1 for x in numbers) and found.reason
    if found.lr and curve.diverged_at:
        assert found.lr <= curve.diverged_at / lr_range.MARGIN * 1.0001
