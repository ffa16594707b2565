"""The ladder as a table: faults and what stands in, what to do out."""

from __future__ import annotations

import pytest

from yolo_nanfix.errors import UsageError
from yolo_nanfix.events import Check, Point
from yolo_nanfix.guard.fault import Fault, Kind
from yolo_nanfix.guard.guard_settings import GuardSettings
from yolo_nanfix.guard.policy import Rung, Standing, decide
from yolo_nanfix.verdicts import Cause

USUAL = GuardSettings()
DROP, STOP, ROLLBACK, LOWER_LR = Rung.DROP, Rung.STOP, Rung.ROLLBACK, Rung.LOWER_LR


def fault(kind, **known):
    return Fault(kind, Point.AFTER_LOSS, (Check.LOSS,), "", **known)


def run(faults, settings=USUAL):
    """The rungs of each fault in turn."""
    standing, rungs = Standing(), []
    for one in faults:
        decision, standing = decide(one, standing, settings)
        rungs.append(decision.rungs)
    return rungs, standing


def bad(**known):
    return fault(Kind.NOT_FINITE, **known)


def test_a_bad_micro_batch_is_dropped_and_nothing_else():
    assert run([bad(suspects=("a.jpg",))])[0] == [(DROP,)]


def test_the_limit_of_bad_ones_in_a_row_stops_the_run():
    three = GuardSettings(max_bad_in_a_row=3)
    assert run([bad(cause=Cause.DEFINITION)] * 3, three)[0] == [(DROP,), (DROP,), (DROP, STOP)]


def test_micro_batches_without_an_image_count_towards_the_limit():
    three = GuardSettings(max_bad_in_a_row=3)
    assert run([fault(Kind.EMPTY)] * 3, three)[0] == [(DROP,), (DROP,), (DROP, STOP)]


def test_a_step_between_them_starts_the_count_anew():
    three = GuardSettings(max_bad_in_a_row=3)
    standing = run([bad(cause=Cause.DATA)] * 2, three)[1].good_step()
    assert decide(bad(cause=Cause.DATA), standing, three)[0].rungs == (DROP,)


@pytest.mark.parametrize("after", (1, 2, 3))
def test_a_repeated_offender_is_quarantined_once(after):
    faults = [bad(suspects=("a.jpg", f"{i}.jpg")) for i in range(4)]
    rungs, _ = run(faults, GuardSettings(quarantine_after=after))
    if after == 1:
        assert all(Rung.QUARANTINE in r for r in rungs)  # each is the first offence of its second suspect
    else:
        assert [Rung.QUARANTINE in r for r in rungs] == [i == after - 1 for i in range(4)]
    decision, _ = decide(faults[0], Standing(offences={"a.jpg": after - 1, "0.jpg": 5}), GuardSettings())
    assert decision.quarantine == (("a.jpg",) if after == 2 else ())


def test_quarantine_can_be_off():
    assert run([bad(suspects=("a.jpg",))] * 5, GuardSettings(quarantine_after=0))[0] == [(DROP,)] * 5


def test_faults_of_float16_alone_leave_it():
    rungs, standing = run([bad(cause=Cause.PRECISION, float16=True)] * 3)
    assert rungs == [(DROP,), (DROP,), (DROP, Rung.LEAVE_FP16)]
    assert standing.bad_in_a_row == 0
    stay = GuardSettings(leave_fp16=False)
    assert all(r == (DROP,) for r in run([bad(cause=Cause.PRECISION, float16=True)] * 5, stay)[0])
    assert all(r == (DROP,) for r in run([bad(cause=Cause.PRECISION)] * 5)[0])  # it is in float32 already


def test_a_scale_that_keeps_falling_leaves_float16_or_stops():
    assert run([fault(Kind.SCALER)] * 12)[0] == [()] * 11 + [(Rung.LEAVE_FP16,)]
    stay = GuardSettings(leave_fp16=False)
    assert run([fault(Kind.SCALER)] * 12, stay)[0][-1] == (STOP,)
    standing = run([fault(Kind.SCALER)] * 11)[1].good_step()
    assert decide(fault(Kind.SCALER), standing, USUAL)[0].rungs == ()


def test_poisoned_state_is_rolled_back_at_the_same_rate_and_lowered_if_it_comes_again():
    state = bad(cause=Cause.STATE)
    assert run([state])[0] == [(DROP, ROLLBACK)]
    assert run([fault(Kind.POISONED)] * 2)[0] == [(ROLLBACK,), (ROLLBACK, LOWER_LR)]


def test_divergence_is_rolled_back_with_ever_lower_rates_until_the_limit():
    standing, factors = Standing(), []
    for _ in range(6):
        decision, standing = decide(fault(Kind.DIVERGING), standing, USUAL)
        factors.append(decision.lr_factor if ROLLBACK in decision else None)
    assert factors == [0.5, 0.25, 0.125, 0.0625, 0.03125, None]
    assert decision.rungs == (STOP,)


def test_without_a_snapshot_there_is_nothing_to_roll_back_to():
    assert run([fault(Kind.POISONED, can_roll_back=False)])[0] == [(STOP,)]
    assert run([bad(cause=Cause.UNKNOWN, can_roll_back=False)] * 4)[0] == [(DROP,)] * 4


def test_faults_without_a_reason_in_the_data_roll_the_run_back():
    assert run([bad()] * 4)[0] == [(DROP,), (DROP,), (DROP, ROLLBACK, LOWER_LR), (DROP,)]
    assert run([bad(suspects=(f"{i}.jpg",)) for i in range(4)])[0] == [(DROP,)] * 4


def test_spikes_clip_harder_at_the_third():
    assert run([fault(Kind.SPIKE)] * 4)[0] == [(), (), (Rung.CLIP,), ()]


@pytest.mark.parametrize(
    "values",
    [
        {"max_bad_in_a_row": 0},
        {"max_bad_in_a_row": 1.5},
        {"max_bad_in_a_row": True},
        {"snapshot_every": -1},
        {"diagnose": 1},
        {"repair": "some"},
        {"max_bad": 3},
    ],
)
def test_settings_that_cannot_work_are_refused(values):
    with pytest.raises(UsageError, match=next(iter(values))):
        GuardSettings.from_mapping(values)


def after(standing, steps, **options):
    for _ in range(steps):
        standing = standing.good_step(**options)
    return standing


def test_a_rollback_counts_until_good_steps_have_made_it_good():
    poisoned = fault(Kind.POISONED)
    decision, standing = decide(poisoned, Standing(), USUAL)
    assert decision.rungs == (ROLLBACK,)
    assert after(standing, 49).rollbacks == 1
    assert after(standing, 50).rollbacks == 0
    for _ in range(20):  # far more than `max_rollbacks`, each after enough good steps of a short epoch
        decision, standing = decide(poisoned, after(standing, 2, credit_after=2), USUAL)
        assert decision.rungs == (ROLLBACK,)


@pytest.mark.parametrize(("rollbacks", "lowered"), [(1, False), (2, True), (3, True)])
def test_the_rate_counts_as_lowered_until_the_last_rollback_is_made_good(rollbacks, lowered):
    standing = after(Standing(rollbacks=rollbacks, lowered=True), 50, credit_after=2)
    assert (standing.rollbacks, standing.lowered, standing.good_steps) == (rollbacks - 1, lowered, 0)


def test_rollbacks_without_good_steps_between_them_stop_the_run():
    rungs, _ = run([fault(Kind.POISONED)] * (USUAL.max_rollbacks + 1))
    assert rungs[0] == (ROLLBACK,) and rungs[1] == (ROLLBACK, LOWER_LR) and rungs[-1] == (STOP,)


def test_a_run_that_diverges_again_and_again_earns_nothing_in_the_warm_ups_between():
    standing = Standing()
    for _ in range(USUAL.max_rollbacks):
        decision, standing = decide(fault(Kind.DIVERGING), after(standing, 5, credit_after=2), USUAL)
        assert decision.rungs == (ROLLBACK, LOWER_LR)
    assert decide(fault(Kind.DIVERGING), after(standing, 5, credit_after=2), USUAL)[0].rungs == (STOP,)
