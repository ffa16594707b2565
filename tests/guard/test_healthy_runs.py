"""Some of scripts/healthy_runs.py: healthy trainings of what users build are stock's bit for bit, without an event."""

from __future__ import annotations

import healthy_runs
import lab
import pytest
from healthy_specs import MODULES, OPTIMIZERS, SETTINGS, SPECS, TASKS, Spec
from marks import matrix

import yolo_nanfix

CASES = (
    "accumulation, GradScaler",
    "resume",
    *matrix("mask of -inf, not persistent", "FakeQuantize", "instance, group, frozen norms"),
)


def both(spec, folder):
    data = healthy_runs._dataset(spec, folder)
    with lab.bare():
        stock = healthy_runs.run(spec, data, folder / "stock")
    with yolo_nanfix.patched():
        return stock, healthy_runs.run(spec, data, folder / "ours")


@pytest.mark.parametrize("name", CASES)
def test_a_healthy_run_is_stock_s_bit_for_bit_and_without_an_event(name, tmp_path, unpatched):
    stock, ours = both(SPECS[name], tmp_path)
    assert not stock["error"] and len(stock["epochs"]) >= 2 and set(stock["files"]) == {"last", "best"}
    assert healthy_runs.differences(stock, ours) == []
    assert healthy_runs.events(ours, bool(SPECS[name].trap)) == []


@pytest.mark.slow
def test_another_learning_rate_is_seen_in_all_that_it_changes(tmp_path, unpatched):
    data = healthy_runs._dataset(Spec(), tmp_path)
    with lab.bare():
        one = healthy_runs.run(Spec(), data, tmp_path / "one")
        other = healthy_runs.run(Spec(args={"lr0": 0.02}), data, tmp_path / "other")
    said = healthy_runs.differences(one, other)
    assert said[0] == "after epoch 1: weights, attributes, EMA, optimizer"
    assert said[1:] == ["losses from micro-batch 2 on", "csv", "files"]


def test_every_optimizer_and_task_that_upstream_offers_is_run():
    from ultralytics.cfg import TASKS as OFFERED

    assert {spec.args.get("optimizer") for spec in SETTINGS.values()} >= set(OPTIMIZERS)
    assert {spec.task for spec in SPECS.values()} >= set(OFFERED)
    assert len(SPECS) == len(MODULES) + len(SETTINGS) + len(TASKS) >= 30
