"""Warm-up and mosaic of short runs: older releases get what the newest has, and only where they are asked to."""

from __future__ import annotations

import json

import pytest
from marks import matrix
from releases import run

import yolo_nanfix
from yolo_nanfix.finetune import recipe as recipes
from yolo_nanfix.run_recipe import patches

WARMUP, MOSAIC = "warmup-outlasts-run", "mosaic-never-closed"
CODE = """
import json, pathlib, sys
import yolo_nanfix
yolo_nanfix.patch(guard=False, enable=json.loads(sys.argv[1]))
import lab
from make_datasets import make_dataset
from yolo_nanfix.patching import tally
here = pathlib.Path.cwd()
data = make_dataset(here / "set", n_train=8, n_val=2, size=(64, 64), seed=1)
def course(name, **settings):
    seen = []
    def look(trainer):
        groups = trainer.optimizer.param_groups
        rates = sorted({round(float(g["lr"]), 9) for g in groups})
        momentum = {round(float(g["momentum"]), 9) for g in groups}
        closed = any("Closing dataloader mosaic" in message for message in messages)
        seen.append([rates, sorted(momentum), int(trainer.accumulate), closed])
    given = {"nbs": 16, "epochs": 3, "mosaic": 1.0, "close_mosaic": 0, "optimizer": "SGD", **settings}
    with lab.said() as messages:
        result = lab.train(data, here / name, callbacks={"on_train_batch_end": look}, **given)
    if result.error: raise result.error
    return [one[:3] for one in seen], result.trainer.args.close_mosaic, [one[3] for one in seen], result.losses
found = {
    "short": course("short", warmup_epochs=1.0),
    "longer": course("longer", warmup_epochs=9.0),
    "none": course("none", warmup_epochs=0.0, close_mosaic=1),
    "mosaic": course("mosaic", warmup_epochs=0.0, close_mosaic=10),
}
print(json.dumps([found, tally.read()]))
"""


@pytest.fixture(scope="module")
def newest():
    """What the installed release does."""
    return json.loads(run("8.4.190", CODE, "[]").splitlines()[-1])[0]


@pytest.mark.slow
@pytest.mark.parametrize("release", ["8.3.29", *matrix("8.0.136", "8.1.47", "8.4.79")])
def test_short_runs_have_the_schedule_of_the_newest_release(release, newest):
    stock, _ = json.loads(run(release, CODE, "[]").splitlines()[-1])
    ours, counted = json.loads(run(release, CODE, json.dumps([WARMUP, MOSAIC])).splitlines()[-1])
    for name in ("short", "longer"):
        assert stock[name][0] != newest[name][0]
        assert ours[name][0] == newest[name][0], name
    assert (stock["mosaic"][1], set(stock["mosaic"][2])) == (10, {False})
    assert ours["mosaic"][1] == 3 and set(ours["mosaic"][2]) == set(newest["mosaic"][2]) == {True}
    assert stock["none"] == ours["none"]  # nothing is to be fixed
    assert counted == {WARMUP: 2, MOSAIC: 1}


@pytest.mark.slow
def test_they_are_off_until_a_recipe_asks_for_them_and_are_undone(unpatched):
    code = """
import json
import yolo_nanfix
from yolo_nanfix import upstream
paths = ["ultralytics.engine.trainer:BaseTrainer._do_train", "ultralytics.engine.trainer:BaseTrainer._setup_train"]
before = [upstream.resolve(path).raw for path in paths]
off = {p.name: p.state for p in yolo_nanfix.patch().patches}
on = {p.name: p.state for p in yolo_nanfix.patch(enable=["warmup-outlasts-run", "mosaic-never-closed"]).patches}
during = [upstream.resolve(path).raw for path in paths]
yolo_nanfix.unpatch("warmup-outlasts-run")
yolo_nanfix.unpatch("mosaic-never-closed")
after = [upstream.resolve(path).raw for path in paths]
names = ["warmup-outlasts-run", "mosaic-never-closed"]
from yolo_nanfix import run_recipe
from yolo_nanfix.finetune import recipe
asked = {name: run_recipe.patches(recipe.find(name)) for name in recipe.names()}
same = [[a is b for a, b in zip(before, other)] for other in (during, after)]
print(json.dumps([[off[n] for n in names], [on[n] for n in names], same, asked]))
"""
    off, on, same, asked = json.loads(run("8.3.29", code).splitlines()[-1])
    assert (off, on) == (["off", "off"], ["on", "on"]) and same == [[False, False], [True, True]]
    assert asked["stock"] == asked["frozen"] == [] and asked["gradual"] == [WARMUP]
    assert asked["small"] == [MOSAIC, WARMUP]


def test_the_newest_release_needs_neither(unpatched):
    states = {p.name: p.state for p in yolo_nanfix.patch(guard=False, enable=[WARMUP, MOSAIC]).patches}
    assert states[WARMUP] == states[MOSAIC] == "fixed"
    assert [patches(recipes.find(name)) for name in recipes.names()] == [()] * len(recipes.names())
    assert patches(None) == ()
