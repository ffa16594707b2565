"""`yolo-nanfix train --recipe`: what it changes is said and in the report, and what cannot be is one error."""

from __future__ import annotations

import json
from pathlib import Path

import lab
import pytest
import torch
import yaml
from make_datasets import make_dataset

from yolo_nanfix.cli.main import main

MICRO = Path(__file__).parents[1] / "finetune" / "micro.yaml"
pytestmark = pytest.mark.usefixtures("unpatched")
SETTINGS = {
    "model": MICRO,
    "imgsz": 32,
    "batch": 4,
    "nbs": 4,
    "epochs": 4,
    "workers": 0,
    "device": "cpu",
    "plots": False,
}
OWN = {**SETTINGS, "pretrained": False, "optimizer": "SGD", "seed": 0}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("data") / "set", n_train=8, n_val=2, size=(32, 32), seed=1)


def train(data, tmp_path, *words, **own):
    place = {"project": tmp_path, "name": "run", "exist_ok": True}
    settings = {**OWN, **place, **own}
    return main(["train", str(data), *(f"{k}={v}" for k, v in settings.items() if v is not None), *words])


def report(tmp_path):
    return json.loads((tmp_path / "run" / "yolo-nanfix.json").read_text())


def test_stock_under_the_guard_is_plain_ultralytics_bit_for_bit(data, tmp_path):
    names = ("mosaic", "hsv_h", "hsv_s", "hsv_v", "close_mosaic", "lr0", "warmup_epochs")
    drawn = dict(zip(names, (1.0, 0.015, 0.7, 0.4, 1, 0.01, 1.0), strict=True))
    with lab.bare():
        plain = lab.train(data, tmp_path / "plain", **{**OWN, **drawn, "model": str(MICRO)})
    assert plain.error is None and len(plain.losses) == 8
    torch.manual_seed(0)
    assert train(data, tmp_path, "--recipe", "stock", "--quiet", **drawn) == 0
    weights = lab.checkpoint(tmp_path / "run" / "weights" / "last.pt")
    assert all(torch.equal(weights[key], value) for key, value in lab.checkpoint(plain.trainer.last).items())
    columns = [
        [{k: v for k, v in row.items() if k != "time"} for row in rows] for rows in (plain.rows(), rows_of(tmp_path))
    ]
    assert columns[0] == columns[1]
    assert report(tmp_path)["recipe"] == {"name": "stock", "given": "stock", "changes": [], "happened": []}


def rows_of(tmp_path):
    lines = [line.strip().split(",") for line in (tmp_path / "run" / "results.csv").read_text().splitlines()]
    return [dict(zip(lines[0], line, strict=True)) for line in lines[1:]]


def test_what_a_recipe_changes_is_said_at_the_start_and_in_the_report(data, tmp_path, capsys):
    with lab.said() as messages:
        assert train(data, tmp_path, "--recipe", "gradual", close_mosaic=2) == 0
    told = report(tmp_path)["recipe"]
    keys = {change["key"]: change["value"] for change in told["changes"]}
    assert keys["warmup_epochs"] == 0.2 and keys["learning_rate"]["backbone"] == 0.1
    assert [phase["epoch"] for phase in keys["freeze"]] == [1, 2]
    assert [fact["frozen"] for fact in told["happened"]] == [[0, 1, 2, 3], [0, 1], []]
    assert report(tmp_path)["arguments"]["warmup_epochs"] == 0.2 and report(tmp_path)["arguments"]["close_mosaic"] == 2
    start = next(i for i, message in enumerate(messages) if "Starting training" in message)
    before = "\n".join(messages[:start])
    assert "warmup_epochs=0.2" in before and "layers 0-3" in before and "x0.1 in the backbone" in before
    assert any("layers 0-1 frozen" in message for message in messages[start:])
    assert "x0.1 in the backbone" in capsys.readouterr().out
    page = (tmp_path / "run" / "yolo-nanfix.html").read_text()
    assert "x0.1 in the backbone" in page and "--recipe gradual" in page and page.count("warmup_epochs=0.2") == 1


def test_the_users_own_value_wins_and_is_said(data, tmp_path):
    with lab.said() as messages:
        assert train(data, tmp_path, "--recipe", "frozen", "--dry-run", freeze=2) == 0
    assert any("freeze=2" in message and "recipe frozen" in message for message in messages)
    assert not (tmp_path / "run").exists()
    (tmp_path / "own.yaml").write_text("freeze: 3\n")
    with lab.said() as messages:
        assert train(data, tmp_path, "--recipe", "frozen", "--dry-run", cfg=tmp_path / "own.yaml") == 0
    assert any("freeze=3" in message and "recipe frozen" in message for message in messages)
    assert train(data, tmp_path, "--recipe", "frozen", "--quiet", freeze=2, epochs=1) == 0
    (change,) = report(tmp_path)["recipe"]["changes"]
    assert (change["key"], change["value"], change["by"]) == ("freeze", 2, "user")
    assert report(tmp_path)["arguments"]["freeze"] == 2


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("freeze:\n- {layers: 40}", "40"),
        ("freeze:\n- {layers: spine}", "spine"),
        ("arguments: {mosaik: 1}", "mosaic"),
        ("arguments: {mosaic: x}", "mosaic"),
        ("mosaic: {close: 0.5}\narguments: {close_mosaic: 3}", "close_mosaic"),
        (None, "gradual"),
    ],
)
def test_what_cannot_be_is_one_error_and_nothing_is_written(text, part, data, tmp_path, capsys):
    own = tmp_path / "own.yaml"
    own.write_text(f"version: 1\n{text}\n")
    assert train(data, tmp_path, "--recipe", str(own) if text else "graduall") == 2
    error = capsys.readouterr().err
    assert part in error and error.count("\n") == 1
    assert not (tmp_path / "run").exists()


def plan(tmp_path, names, task="detect"):
    file = tmp_path / "plan.yaml"
    block = ["/// yolo-nanfix", "version: 1", "recipe: gradual", f"data: {{task: {task}, names: {names}}}", "///"]
    file.write_text("\n".join([*(f"# {line}" for line in block), f"task: {task}", "epochs: 2", f"model: {MICRO}", ""]))
    return file


def test_a_plan_brings_its_arguments_and_its_recipe(data, tmp_path):
    named = list(yaml.safe_load(data.read_text())["names"].values())
    file = plan(tmp_path, named)
    assert train(data, tmp_path, "--recipe", str(file), "--quiet", epochs=None, model=None) == 0
    assert report(tmp_path)["recipe"]["name"] == "gradual" and len(rows_of(tmp_path)) == 2


def test_what_plan_writes_is_taken_with_its_model_and_arguments(data, tmp_path):
    file = tmp_path / "written.yaml"
    assert main(["plan", str(data), f"model={MICRO}", "imgsz=32", "epochs=1", "--output", str(file), "--quiet"]) == 0
    given = {"device": "cpu", "workers": 0, "plots": False, "batch": 4, "pretrained": False}
    own = {**dict.fromkeys(OWN), **given}
    assert train(data, tmp_path, "--recipe", str(file), "--quiet", **own) == 0
    told = report(tmp_path)["recipe"]
    assert told["name"] == "stock" and {"imgsz", "epochs"} <= {c["key"] for c in told["changes"] if c["by"] == "plan"}
    assert report(tmp_path)["arguments"]["imgsz"] == 32 and len(rows_of(tmp_path)) == 1


def test_a_plan_of_another_set_or_task_is_refused(data, tmp_path, capsys):
    for file in (plan(tmp_path, "[cat]"), plan(tmp_path, "[nut]", "segment")):
        assert train(data, tmp_path, "--recipe", str(file)) == 2
        assert "plan for" in capsys.readouterr().err and not (tmp_path / "run").exists()


def test_a_resumed_run_goes_on_with_its_recipe_without_being_told(data, tmp_path, capsys, monkeypatch):
    from ultralytics.engine.trainer import BaseTrainer

    class CutError(Exception):
        pass

    def cut(trainer):
        if trainer.epoch == 2 and not trainer.resume:
            raise CutError

    stock = BaseTrainer._model_train
    monkeypatch.setattr(BaseTrainer, "_model_train", lambda trainer: (cut(trainer), stock(trainer))[1])
    assert train(data, tmp_path, "--recipe", "gradual") == 1
    last = tmp_path / "run" / "weights" / "last.pt"
    assert main(["train", str(data), f"model={last}", "resume=True", "--recipe", "small"]) == 2
    assert "gradual" in capsys.readouterr().err
    assert main(["train", str(data), f"model={last}", "resume=True", "--quiet"]) == 0
    told = report(tmp_path)["recipe"]
    assert told["name"] == "gradual" and [fact["epoch"] for fact in told["happened"]] == [1, 2, 3]
    assert [(fact["frozen"], fact["why"]) for fact in told["happened"]][-1] == ([], "resumed")
    assert len(rows_of(tmp_path)) == 4
