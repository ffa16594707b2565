"""Finite divergence in two real trainings that differ in the learning rate alone."""

from __future__ import annotations

import divergence_runs
import lab
import pytest
from calibrate_divergence import replay
from make_datasets import make_dataset


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """Two real trainings that differ in the learning rate alone."""
    folder = tmp_path_factory.mktemp("divergence")
    data = make_dataset(folder / "set", n_train=16, n_val=2, size=(64, 64), seed=3)
    found = {}
    for lr in (0.01, 1.0):
        recording = divergence_runs.Recording()
        with lab.bare():
            settings = {"lr0": lr, "epochs": 6, "val": False}
            result = lab.train(data, folder / f"run{lr}", callbacks=recording.callbacks, **settings)
        assert result.error is None
        found[lr] = recording
    return found


def test_a_real_divergent_training_alarms_within_ten_steps(recorded):
    result = replay(recorded[1.0].events, every=50, early=True)
    assert result.first is not None
    assert result.step <= 10
    assert recorded[1.0].metrics["metrics/mAP50(B)"] == 0


def test_its_healthy_twin_does_not(recorded):
    assert recorded[0.01].steps == 24
    assert not replay(recorded[0.01].events, every=5).alarms
    assert not replay(recorded[0.01].events, every=10).alarms
