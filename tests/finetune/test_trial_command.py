"""`plan --trial`: real trainings of two recipes, the plan with the one that was chosen, and what goes wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from make_datasets import make_dataset
from scheduled import MICRO

from yolo_nanfix import finetuning
from yolo_nanfix.cli.main import main
from yolo_nanfix.finetune.recipe import find
from yolo_nanfix.finetune.repeats import Trained

GIVEN = [f"model={MICRO}", "imgsz=32", "batch=4", "workers=0", "device=cpu"]


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("trial") / "set", n_train=8, n_val=4, seed=0)


def trained(folder: Path) -> list[str]:
    return sorted(str(path.parent.relative_to(folder)) for path in folder.glob("*/*/repeat.json"))


def test_a_trial_trains_pairs_and_writes_the_plan_of_the_recipe_it_chose(data, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("yolo_nanfix.finetune.trial.MOST_SEEDS", 2)
    out = tmp_path / "out"
    words = ["plan", str(data), *GIVEN, "--trial", "30", "--recipes", "frozen", "--trial-epochs", "1"]
    assert main([*words, "--out", str(out), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["trial"]
    assert trained(out) == ["frozen/seed0", "frozen/seed1", "stock/seed0", "stock/seed1"]
    assert told["ending"] == "no-difference" and told["recipe"] == "stock" and told["best"] == "frozen"
    assert [one["seed"] for one in told["rounds"]] == [0, 1] and told["final"]["arms"][1]["name"] == "frozen"
    plan = find(out / "plan.yaml")
    assert plan.recipe.name == "stock" and plan.arguments["imgsz"] == 32
    page = (out / "plan.html").read_text()
    assert "Trial of recipes" in page and "No difference seen" in page
    frozen = json.loads((out / "frozen/seed1/run/yolo-nanfix.json").read_text())
    assert frozen["recipe"]["name"] == "frozen"
    assert "freeze: [0, 1, 2, 3]" in (out / "frozen/seed1/run/args.yaml").read_text().replace("\n- ", ", ").replace(
        "freeze:, 0, 1, 2, 3", "freeze: [0, 1, 2, 3]"
    )
    before = {path: path.stat().st_mtime_ns for path in out.rglob("repeat.json")}
    assert main([*words, "--out", str(out)]) == 0, "what is finished is taken as it is"
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert "No difference seen: the best recipe, frozen" in capsys.readouterr().out


def test_an_interrupted_trial_keeps_what_is_finished(data, tmp_path, monkeypatch):
    from yolo_nanfix import api
    from yolo_nanfix.finetune import trial

    plan = api.plan(data, **dict(word.split("=") for word in GIVEN[:1]), imgsz=32, batch=4, workers=0, device="cpu")
    done: list[str] = []

    def once(repeat, out) -> Trained:
        if done:
            raise KeyboardInterrupt
        done.append(f"{repeat.arm}/{repeat.name}")
        return real(repeat, out)

    real = trial.train_once
    given = {"recipes": ["frozen"], "epochs": 1, "out": tmp_path, "deep": False}
    monkeypatch.setattr(trial.trial, "__kwdefaults__", {**trial.trial.__kwdefaults__, "train": once})
    with pytest.raises(KeyboardInterrupt):
        finetuning.trial(plan, 30, **given)
    assert trained(tmp_path) == ["stock/seed0"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--recipes", "frosen"], "frozen"),
        (["--recipes", "stock"], "besides stock"),
        (["--trial-epochs", "0"], "0 epochs"),
        (["--output", "{tmp}/plan.txt"], ".yaml"),
    ],
)
def test_wrong_use_is_one_error_before_any_training(data, tmp_path, capsys, words, says):
    given = ["plan", str(data), *GIVEN, "--trial", "5", "--out", str(tmp_path / "out")]
    assert main([*given, *(word.format(tmp=tmp_path) for word in words)]) == 2
    assert says in capsys.readouterr().err and not (tmp_path / "out").exists()
