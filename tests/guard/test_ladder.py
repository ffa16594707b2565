"""What the ladder keeps in force, and for how many steps: learning rate, clipping, credit for rollbacks."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from yolo_nanfix.events import Did
from yolo_nanfix.guard.escalation import Ladder
from yolo_nanfix.guard.guard_settings import GuardSettings
from yolo_nanfix.guard.policy import Decision, Rung


@pytest.fixture
def ladder():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.8)
    trainer = SimpleNamespace(optimizer=optimizer)
    return Ladder(trainer, GuardSettings(), None)


def lowered(ladder):
    return ladder.carry_out(Decision((Rung.LOWER_LR,), lr_factor=0.5), 9)


def steps(ladder, count, norm=None):
    for _ in range(count):
        ladder.good_step(norm)


def test_a_lowered_rate_rises_over_fifty_steps(ladder):
    (action,) = lowered(ladder)
    assert (action.did, action.factor, action.count) == (Did.LOWERED_RATE, 0.5, 50)
    rates = []
    for _ in range(52):
        rates.append(0.8 * ladder.rate)
        steps(ladder, 1)
    assert rates[0] == pytest.approx(0.4 / 51)
    assert rates[25] == pytest.approx(0.4 * 26 / 51)
    assert rates[49] == pytest.approx(0.4 * 50 / 51)
    assert rates[50] == rates[51] == 0.4


def test_clipping_at_three_medians_lasts_five_hundred_steps(ladder):
    for norm in (1.0, 2.0, 9.0):
        ladder.good_step(norm)
    (action,) = ladder.carry_out(Decision((Rung.CLIP,)), 9)
    assert (action.did, action.factor, action.count) == (Did.CLIPPED, 6.0, 500)
    assert ladder.clipped(10.0) == 6.0
    assert ladder.clipped(5.0) == 5.0
    steps(ladder, 499)
    assert ladder.clipped(10.0) == 6.0
    steps(ladder, 1)
    assert ladder.clipped(10.0) == 10.0


def test_without_a_norm_there_is_nothing_to_clip_at(ladder):
    assert ladder.carry_out(Decision((Rung.CLIP,)), 9) == []
    assert ladder.clipped(10.0) == 10.0


def test_the_norms_of_the_last_hundred_and_one_steps_count(ladder):
    steps(ladder, 50, 1.0)
    steps(ladder, 50, 2.0)
    steps(ladder, 1, 3.0)
    assert ladder.carry_out(Decision((Rung.CLIP,)), 9)[0].factor == 6.0
    steps(ladder, 50, 5.0)
    assert ladder.carry_out(Decision((Rung.CLIP,)), 9)[0].factor == 9.0


@pytest.mark.parametrize(("micro_batches", "wary"), [(1, 1), (3, 1), (4, 2), (19, 9), (20, 10), (21, 10), (1000, 10)])
def test_half_an_epoch_but_ten_steps_at_most_lie_between_wary_snapshots(ladder, micro_batches, wary):
    ladder.epoch(micro_batches)
    assert ladder.wary_steps == wary


@pytest.mark.parametrize(("clip_to", "left"), [(0.5, 7), (0.0, 0)])
def test_clipping_goes_on_at_the_norm_that_it_had(ladder, clip_to, left):
    ladder.take_up({**ladder.lasting(), "clip_to": clip_to, "clip_left": 7})
    assert ladder.lasting()["clip_left"] == left
    assert ladder.clipped(10.0) == (0.5 if left else 10.0)


@pytest.mark.parametrize(
    ("changed", "fits"),
    [
        *(({"lr_scale": value}, fits) for value, fits in ((1.0, True), (0.001, True), (0.0, False), (1.01, False))),
        *(({"warm_up": value}, fits) for value, fits in ((0, True), (50, True), (51, False), (-1, False))),
        *(({"clip_left": value}, fits) for value, fits in ((0, True), (500, True), (501, False), (-1, False))),
    ],
)
def test_what_an_earlier_part_of_the_run_left_is_taken_up_or_refused(ladder, changed, fits):
    kept = {**ladder.lasting(), "clip_to": 4.0, **changed}
    if not fits:
        with pytest.raises(ValueError, match="never sets"):
            ladder.take_up(kept)
        assert ladder.lasting()["lr_scale"] == 1.0
        return
    ladder.take_up(kept)
    held = ladder.lasting()
    assert (held["lr_scale"], held["warm_up"], held["clip_left"]) == (
        kept["lr_scale"],
        kept["warm_up"],
        kept["clip_left"],
    )
    assert held["clip_to"] == (4.0 if kept["clip_left"] else 0.0)
