"""Recipes and plans as files: what is read, and the one clear error for each thing that is wrong with them."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

import pytest
import yaml
from fuzz_core import Box
from fuzz_damage import damaged
from fuzz_values import mutated
from fuzz_yaml import tricks, written
from scheduled import EIGHT, found

from yolo_nanfix.errors import UsageError
from yolo_nanfix.finetune import recipe as recipes
from yolo_nanfix.finetune.recipe import Cap, Phase, Plan, Rates, Recipe, RecipeError, Until
from yolo_nanfix.finetune.settled import RunFacts, settle
from yolo_nanfix.report.recipe_text import lines

ALL = """\
summary: in
  short
evidence: none
arguments: {cos_lr: true}
freeze:
- {layers: backbone, until: {plateau: 3}}
- {layers: 3, until: 0.4}
- {layers: [0, 7.cv2], until: 9}
- {layers: {backbone: 0.5}}
learning_rate: {backbone: 0.1, decay: 0.9, cap: {images: 500, adam: 0.002, sgd: 0.01}}
warmup: 0.05
mosaic: {probability: 0.5, close: 0.3}
ema: {tau: 200}
classes: {keep: true, replay: 0.5}
"""


def test_every_key_is_read(tmp_path):
    assert found(ALL, tmp_path) == Recipe(
        name="mine",
        summary="in short",
        evidence="none",
        arguments={"cos_lr": True},
        freeze=(
            Phase("backbone", Until(plateau=3)),
            Phase(3, Until(share=0.4)),
            Phase([0, "7.cv2"], Until(epoch=9)),
            Phase({"backbone": 0.5}, Until()),
        ),
        rates=Rates(backbone=0.1, decay=0.9),
        cap=Cap(500, 0.002, 0.01),
        warmup=0.05,
        mosaic=0.5,
        close=0.3,
        tau=200,
        keeps=True,
        replay=0.5,
    )


def test_the_recipes_that_come_along_are_whole_and_stock_changes_nothing():
    wanted = {"stock", "small", "frozen", "gradual", "far-domain", "tiny-objects", "add-class"}
    assert wanted <= set(recipes.names())
    for name in recipes.names():
        one = recipes.find(name)
        assert isinstance(one, Recipe) and one.name == name and one.summary and one.evidence
    stock = recipes.find("stock")
    assert stock == Recipe("stock", stock.summary, stock.evidence)


WRONG = {
    "key": ("speed: 3", "speed"),
    "key within": ("mosaic: {closing: 0.3}", "closing"),
    "type": ("warmup: often", "warmup"),
    "range": ("warmup: 1.5", "warmup"),
    "bool": ("ema: {tau: true}", "tau"),
    "null": ("ema: {tau: null}", "tau"),
    "mapping": ("mosaic: 0.5", "mosaic"),
    "cap": ("learning_rate: {cap: {images: 500}}", "cap"),
    "list": ("freeze: backbone", "freeze"),
    "layers": ("freeze:\n- {until: 3}", "layers"),
    "until": ("freeze:\n- {layers: head, until: soon}", "until"),
    "whole share": ("freeze:\n- {layers: head, until: 1.0}", "until"),
    "no epoch": ("freeze:\n- {layers: head, until: 0}", "until"),
    "patience": ("freeze:\n- {layers: head, until: {plateau: 0}}", "plateau"),
    "endless first": ("freeze:\n- {layers: head}\n- {layers: 3}", "until"),
    "backwards": ("freeze:\n- {layers: head, until: 0.5}\n- {layers: 3, until: 0.4}", "until"),
    "twice": ("freeze:\n- {layers: head}\narguments: {freeze: 3}", "freeze"),
    "twice, mosaic": ("mosaic: {close: 0.3}\narguments: {close_mosaic: 3}", "close_mosaic"),
    "twice, warm-up": ("warmup: 0.1\narguments: {warmup_epochs: 3}", "warmup_epochs"),
    "twice, rate": ("learning_rate: {cap: {images: 9, adam: 1, sgd: 1}}\narguments: {lr0: 0.1}", "lr0"),
    "of a run": ("arguments: {epochs: 3}", "epochs"),
    "replay": ("classes: {replay: 0.5}", "keep"),
    "repeated": ("warmup: 0.1\nwarmup: 0.2", "warmup"),
    "no YAML": ("warmup: [", "YAML"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_wrong_with_a_recipe_is_one_error_that_names_file_and_key(kind, tmp_path):
    text, key = WRONG[kind]
    with pytest.raises(RecipeError) as caught:
        found(text, tmp_path)
    assert key in str(caught.value) and str(tmp_path / "mine.yaml") in str(caught.value)
    assert "\n" not in str(caught.value) and isinstance(caught.value, UsageError)


def test_other_versions_and_files_that_are_none_are_refused(tmp_path):
    (tmp_path / "later.yaml").write_text("version: 2\n")
    (tmp_path / "list.yaml").write_text("- 1\n")
    (tmp_path / "data.yaml").write_text("names: [a]\n")
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    for name in ("later", "list", "data", "bytes", "missing"):
        with pytest.raises(RecipeError, match=f"{name}.yaml"):
            recipes.find(tmp_path / f"{name}.yaml")
    with pytest.raises(RecipeError, match="did you mean 'gradual'"):
        recipes.find("gradua")
    with pytest.raises(RecipeError) as caught:
        recipes.find("xyz")
    assert all(name in str(caught.value) for name in recipes.names())


PLAN = """\
# A plan.
# /// yolo-nanfix
# recipe: small
# version: 1
# data:
#   task: detect
#   names: [coin, nut]
#   images: {train: 160, val: 40}
# ///
task: detect
epochs: 40
imgsz: 320
"""


def test_a_plan_is_ultralytics_arguments_and_a_block_that_names_the_recipe(tmp_path):
    from ultralytics.cfg import get_cfg

    file = tmp_path / "plan.yaml"
    file.write_text(PLAN)
    data = {"task": "detect", "names": ["coin", "nut"], "images": {"train": 160, "val": 40}}
    assert recipes.read_plan_block(file) == {"recipe": "small", "version": 1, "data": data}
    plan = recipes.find(file)
    assert isinstance(plan, Plan) and plan.recipe == recipes.find("small")
    assert (plan.arguments, plan.data) == ({"epochs": 40, "imgsz": 320}, data)
    assert get_cfg(str(file)).epochs == 40
    recipes.check_plan(plan, "detect", ("coin", "nut"))
    for images in ({"train": 160}, {"train": 320}, {"train": 80}, {}):
        recipes.check_size(plan, images)


@pytest.mark.parametrize(
    "check",
    [
        lambda plan: recipes.check_plan(plan, "segment", ("coin", "nut")),
        lambda plan: recipes.check_plan(plan, "detect", ("nut", "coin")),
        lambda plan: recipes.check_plan(plan, "detect", ("coin",)),
        lambda plan: recipes.check_size(plan, {"train": 321}),
        lambda plan: recipes.check_size(plan, {"train": 79}),
    ],
)
def test_a_plan_of_another_task_or_set_is_refused(check, tmp_path):
    (tmp_path / "plan.yaml").write_text(PLAN)
    with pytest.raises(RecipeError, match="plan for"):
        check(recipes.find(tmp_path / "plan.yaml"))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("# version: 1", "# version: 2"),
        ("# recipe: small", "# recipe: smal"),
        ("# recipe: small", "# recipe: plan.yaml"),
        ("# recipe: small", "# recipes: small"),
        ("# recipe: small", "# recipe: [small"),
        ("# ///\n", "# ///\n# /// yolo-nanfix\n# version: 1\n# ///\n"),
        ("imgsz: 320", "project: runs"),
        ("imgsz: 320", "epochs: 3"),
    ],
)
def test_what_is_wrong_with_a_plan_is_one_error(old, new, tmp_path):
    assert old in PLAN
    (tmp_path / "plan.yaml").write_text(PLAN.replace(old, new))
    with pytest.raises(RecipeError):
        recipes.find(tmp_path / "plan.yaml")


def test_a_plan_may_name_a_recipe_beside_it(tmp_path):
    found("warmup: 0.5", tmp_path, "own")
    (tmp_path / "plan.yaml").write_text(PLAN.replace("recipe: small", "recipe: own.yaml"))
    assert recipes.find(tmp_path / "plan.yaml").recipe.warmup == 0.5
    (tmp_path / "plan.yaml").write_text(PLAN.replace("# recipe: small\n", ""))
    assert recipes.find(tmp_path / "plan.yaml").recipe.name == "stock"


def test_the_examples_of_the_documentation_are_valid(tmp_path):
    text = (Path(__file__).parents[2] / "docs" / "reference" / "recipes.md").read_text(encoding="utf-8")
    own, plan = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    (tmp_path / "own.yaml").write_text(own)
    (tmp_path / "plan.yaml").write_text(plan)
    example = recipes.find(tmp_path / "own.yaml")
    assert example.tau == 200 and example.replay == 0.5 and len(example.freeze) == 2
    assert recipes.find(tmp_path / "plan.yaml").data["images"]["train"] == 160


def test_odd_files_end_in_the_one_error(tmp_path):
    """Values of every type at every place, YAML's own tricks and damaged bytes: read and fitted, or refused."""
    box = Box(tmp_path)
    box.make()
    rng, refused = random.Random(15), 0
    for number in range(150):
        block, document = rng.choice(
            (("", yaml.safe_load(ALL)), (PLAN.partition("task:")[0], {"epochs": 40, "imgsz": 320}))
        )
        way = rng.randrange(6)
        document = {"version": 1, **document}
        content = tricks(rng, box) if way == 0 else written(mutated(document, rng, box), rng)
        whole = (block + content).encode(errors="replace")
        file = tmp_path / f"{number}.yaml"
        file.write_bytes(damaged(whole, rng) if way == 1 else whole)
        try:
            _, settled = settle(recipes.find(file), RunFacts({"epochs": 7}, {}, EIGHT, "detect", ("a",), ("a", "b")))
            assert json.loads(json.dumps(settled.as_dict(), default=str))["name"]
            assert lines({"name": settled.name, "changes": settled.as_dict()["changes"]})
        except UsageError as error:
            refused += 1
            assert 0 < len(str(error)) < 2000 and "\n" not in str(error)
    assert 50 < refused < 150 and not (box.outside / "owned").exists()
