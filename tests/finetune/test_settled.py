"""A recipe fitted to a run: shares become numbers, the user's own values win, and what cannot be is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from scheduled import EIGHT, fitted, found

from yolo_nanfix.errors import UsageError
from yolo_nanfix.finetune import recipe as recipes
from yolo_nanfix.finetune.model_layers import LayerNames
from yolo_nanfix.finetune.recipe import RecipeError
from yolo_nanfix.finetune.settled import RunFacts, Settled, settle


def run(recipe, **own):
    return settle(recipe, RunFacts(own, {"epochs": 100, "close_mosaic": 10}, EIGHT, "detect"))


def told(settled):
    return {change.key: (change.value, change.by, change.instead) for change in settled.changes}


SHARES = "warmup: 0.05\nmosaic: {probability: 0.5, close: 0.25}\narguments: {cos_lr: true}"


@pytest.mark.parametrize(("epochs", "warmup", "close"), [(100, 5.0, 25), (10, 0.5, 2), (2, 0.1, 1), (None, 5.0, 25)])
def test_shares_are_counted_in_the_epochs_of_the_run(epochs, warmup, close, tmp_path):
    own = {"epochs": epochs} if epochs else {}
    add, settled = run(found(SHARES, tmp_path), **own)
    assert add == {"warmup_epochs": warmup, "mosaic": 0.5, "close_mosaic": close, "cos_lr": True}
    assert told(settled)["close_mosaic"] == (close, "recipe", None) and not settled.acts
    assert [c.figure for c in settled.changes if c.key == "close_mosaic"] == [epochs or 100]


def test_what_the_user_gives_stands_and_is_told(tmp_path):
    text = f"{SHARES}\nfreeze:\n- {{layers: 3, until: 0.5}}\nlearning_rate: {{cap: {{images: 9, adam: 1, sgd: 1}}}}"
    own = {"warmup_epochs": 1, "mosaic": 1.0, "close_mosaic": 5, "cos_lr": False, "freeze": 5, "lr0": 0.1}
    add, settled = run(found(text, tmp_path), **own)
    assert add == {} and not settled.acts
    changes = told(settled)
    assert changes["mosaic.close"] == (5, "user", 0.25) and changes["cos_lr"] == (False, "user", True)
    assert changes["warmup"] == (1, "user", 0.05) and changes["mosaic.probability"] == (1.0, "user", 0.5)
    assert changes["freeze"][:2] == (5, "user") and changes["learning_rate.cap"][:2] == (0.1, "user")
    assert {by for _, by, _ in changes.values()} == {"user"}
    assert Settled.from_dict(json.loads(json.dumps(settled.as_dict()))).name == "mine"


def test_a_plan_stands_before_its_recipe_and_behind_the_user(tmp_path):
    found("mosaic: {close: 0.25}\nwarmup: 0.1", tmp_path, "own")
    (tmp_path / "plan.yaml").write_text(
        "# /// yolo-nanfix\n# version: 1\n# recipe: own.yaml\n# ///\nepochs: 40\nclose_mosaic: 3\nimgsz: 320\n"
    )
    add, settled = run(recipes.find(tmp_path / "plan.yaml"), imgsz=640)
    assert add == {"epochs": 40, "close_mosaic": 3, "warmup_epochs": 4.0}
    changes = told(settled)
    assert changes["mosaic.close"] == (3, "plan", 0.25) and changes["imgsz"] == (640, "user", 320)


@pytest.mark.parametrize(
    ("text", "epochs", "ends"),
    [
        ("- {layers: backbone, until: 0.2}\n- {layers: 2, until: 0.5}", 10, [2, 5]),
        ("- {layers: backbone, until: 0.2}\n- {layers: 2, until: 0.5}", 3, [1, 2]),
        ("- {layers: backbone, until: 0.2}\n- {layers: 2, until: 0.3}", 4, [1, 2]),
        ("- {layers: backbone, until: 3}\n- {layers: 2, until: 0.5}", 4, [3, 4]),
    ],
)
def test_each_phase_lasts_an_epoch_at_least(text, epochs, ends, tmp_path):
    _, settled = run(found(f"freeze:\n{text}", tmp_path), epochs=epochs)
    assert [phase["epoch"] for phase in settled.phases] == ends


def test_what_is_frozen_throughout_is_ultralytics_own_setting(tmp_path):
    add, settled = run(found("freeze:\n- {layers: [backbone, 7.cv2]}", tmp_path))
    assert add == {"freeze": [0, 1, 2, 3, "7.cv2"]} and settled.acts


LAYERS = {
    "9": ("8", 9),
    "0": ("0", 0),
    "-1": ("-1", [-1]),
    "8": ("8", [8]),
    "spine": ("spine", "spine"),
    "module": ("7.cv9", ["7.cv9"]),
    "all": ("all", ["backbone", "neck", "head"]),
    "nothing": ("", []),
    "share": ("share", {"backbone": 2}),
    "null": ("None", [None]),
}


@pytest.mark.parametrize("kind", LAYERS)
def test_layers_that_a_model_does_not_have_are_one_error(kind):
    part, wanted = LAYERS[kind]
    recipe = recipes.Recipe("mine", freeze=(recipes.Phase(wanted, recipes.Until()),))
    with pytest.raises(UsageError) as caught:
        run(recipe)
    assert "recipe 'mine'" in str(caught.value) and part in str(caught.value)


def test_layers_are_named_by_part_share_number_and_module():
    def named(wanted):
        return EIGHT.find(wanted, "a test")

    assert named("backbone") == named(4) == named({"backbone": 1.0}) == [0, 1, 2, 3]
    assert named({"backbone": 0.5}) == [0, 1] and named({"neck": 0.01}) == [4]
    assert named(["neck", 0, "7.cv2"]) == [0, 4, 5, 6, "7.cv2"]


@pytest.mark.parametrize(
    ("recipe", "own", "layers"),
    [
        (recipes.Recipe("mine", warmup=0.1), {"time": 1.0}, EIGHT),
        (recipes.Recipe("mine", arguments={"time": 1.0}, close=0.1), {}, EIGHT),
        (recipes.Recipe("mine", freeze=(recipes.Phase(3, recipes.Until(plateau=2)),)), {"val": False}, EIGHT),
        (recipes.Recipe("mine", freeze=(recipes.Phase(3, recipes.Until()),)), {}, None),
        (recipes.Recipe("mine", rates=recipes.Rates(backbone=0.1)), {}, None),
        (recipes.Recipe("mine", rates=recipes.Rates(neck=0.1)), {}, LayerNames({**EIGHT.parts, "neck": range(0)})),
    ],
)
def test_what_does_not_fit_the_run_is_refused(recipe, own, layers):
    with pytest.raises(RecipeError, match="recipe 'mine'"):
        settle(recipe, RunFacts(own, {}, layers, "detect"))


KEEPS = recipes.Recipe("mine", keeps=True, replay=0.5)


def test_added_classes_are_those_that_the_model_does_not_have():
    facts = RunFacts({}, {}, EIGHT, "detect", ("person", "Cat"), ("cat ", "dog", "Person", "hare"))
    _, settled = settle(KEEPS, facts)
    assert settled.added == (1, 3) and settled.replay == 0.5 and settled.acts


@pytest.mark.parametrize(
    ("old", "new", "copies"),
    [((), ("a",), True), (("a", "b"), ("a", "c"), True), (("a", "b"), ("a", "b"), True), (("a",), ("a", "b"), False)],
)
def test_no_class_is_added_where_old_ones_would_be_lost(old, new, copies):
    with pytest.raises(RecipeError, match="adds classes"):
        settle(KEEPS, RunFacts({}, {}, EIGHT, "detect", old, new, copies))


def test_the_values_of_a_model_of_its_own_definition(tmp_path):
    _, settled = fitted(found("freeze:\n- {layers: backbone, until: 2}", tmp_path))
    assert [list(phase["layers"]) for phase in settled.phases] == [[0, 1, 2, 3]]


@pytest.mark.parametrize("epochs", [0, -1, 2.5, "many", True])
def test_epochs_that_cannot_be_counted_are_refused(epochs):
    plan = recipes.Plan(Path("plan.yaml"), {"epochs": epochs}, recipes.Recipe("mine", warmup=0.1))
    if epochs:
        with pytest.raises(RecipeError, match="epochs"):
            run(plan)
    else:
        assert run(plan)[0]["warmup_epochs"] == 10.0  # 0 is as if it were not given
