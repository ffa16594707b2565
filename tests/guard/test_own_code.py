"""Faults of code of the user's own in real runs: a loss, a hook on a weight, a module with state of its own."""

from __future__ import annotations

import json
import os
from pathlib import Path

import lab
import pytest
import torch
import warm_python
from make_datasets import make_dataset
from marks import matrix
from own_loss import OwnModel
from surroundings import LIMIT

import yolo_nanfix
from yolo_nanfix.incident import load_incident, newest


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("own"), n_train=8, n_val=2, size=(64, 64), seed=3)


def verdicts(result):
    held = json.loads((Path(result.trainer.save_dir) / "yolo-nanfix.json").read_text())
    return held["guard"]["verdicts"], held


class OwnLossTrainer(lab.trainer_class("detect")):
    """A trainer whose model has a loss of the user's own, which reads the names of the images."""

    def get_model(self, cfg=None, weights=None, verbose=True):
        return OwnModel(cfg, nc=self.data["nc"], ch=3, verbose=False)


@pytest.fixture(scope="module")
def own_loss(data, tmp_path_factory):
    run = tmp_path_factory.mktemp("loss") / "run"
    with yolo_nanfix.patched():
        return lab.train(data, run, trainer=OwnLossTrainer, epochs=1)


def test_a_loss_that_reads_the_names_of_the_images_is_replayed_and_named(own_loss):
    (verdict,), held = verdicts(own_loss)
    assert (verdict["cause"], verdict["op"]) == ("definition", "aten.log")
    assert verdict["code"].partition(":")[0].endswith("own_loss.py")
    assert [Path(image).stem for image in verdict["images"]] == [OwnModel.marked]
    assert held["guard"]["quarantined"] == [] and held["guard"]["dropped_micro_batches"] == 1
    assert verdict["reproduced"]


def diagnose(run, *options):
    code = "import sys; from yolo_nanfix.cli.main import main; sys.exit(main(sys.argv[1:]))"
    paths = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    there = {**os.environ, "PYTHONPATH": paths}
    return warm_python.run(code, ("diagnose", str(run), "--json", *options), there, str(Path.cwd()), LIMIT)


def test_another_process_replays_it_with_the_names(own_loss):
    refused = diagnose(own_loss.trainer.save_dir)
    assert refused.returncode == 2 and "--import own_loss" in refused.stderr
    done = diagnose(own_loss.trainer.save_dir, "--import", "own_loss")
    assert done.returncode == 0, done.stderr
    (verdict,), _ = verdicts(own_loss)
    again = json.loads(done.stdout)
    assert {k: again[k] for k in ("cause", "op", "images")} == {k: verdict[k] for k in ("cause", "op", "images")}
    assert again["reproduced"]


def spoil(at):
    """A hook on the first weight that gives NaN in one micro-batch."""
    seen = {"count": -1}

    def count(trainer):
        seen["count"] += 1

    def begin(trainer):
        weight = next(p for p in trainer.model.parameters() if p.requires_grad)
        weight.register_hook(lambda g: g * float("nan") if seen["count"] == at else g)

    return {"on_train_start": begin, "on_train_batch_start": count}


@pytest.mark.parametrize("nbs", [8, *matrix(4)])
def test_a_hook_on_a_weight_is_named_and_not_the_hardware(nbs, data, tmp_path, unpatched):
    yolo_nanfix.patch()
    result = lab.train(data, tmp_path / "run", callbacks=spoil(1), epochs=1, nbs=nbs)
    (verdict,), _ = verdicts(result)
    assert (verdict["cause"], verdict["op"], verdict["module"]) == ("definition", "aten.mul", "model.0.conv")
    assert "test_own_code.py:" in verdict["code"] and "hook on model.0.conv.weight" in verdict["summary"]
    assert not any("hardware" in line for line in verdict["advice"]) and verdict["images"] == []
    facts = load_incident(newest(result.trainer.save_dir)).facts
    assert "model.0.conv.weight" in facts["gradients"]["bad"] and facts["own"]["hooks"][0]["kind"] == "tensor"
    elsewhere = json.loads(diagnose(result.trainer.save_dir).stdout)  # where there is no such hook
    assert (elsewhere["cause"], elsewhere["code"]) == ("definition", verdict["code"])
    assert any("lacks the hook" in line for line in elsewhere["evidence"].values())


class Counting(torch.nn.Module):
    """A module that keeps a count and a running mean of its own; 0/0 in its third step."""

    def __init__(self, inner):
        super().__init__()
        self.inner, self.count, self.i, self.f, self.type, self.np = inner, 0, inner.i, inner.f, "Counting", inner.np
        self.register_buffer("mean", torch.zeros(1))

    def forward(self, x):
        made = self.inner(x)
        if self.training:
            self.count += 1
            spread = made.detach().std() * (self.count != 3)
            self.mean.mul_(0.9).add_(0.1 * (spread / spread))
        return made + 0 * self.mean


class CountingTrainer(lab.trainer_class("detect")):
    """A trainer whose model has such a module."""

    def get_model(self, *args, **kwargs):
        model = super().get_model(*args, **kwargs)
        model.model[2] = Counting(model.model[2])
        return model


def test_a_module_with_a_count_of_its_own_is_replayed_at_that_count(data, tmp_path, unpatched):
    yolo_nanfix.patch()
    result = lab.train(data, tmp_path / "run", trainer=CountingTrainer)
    found, held = verdicts(result)
    assert (found[0]["cause"], found[0]["op"], found[0]["module"]) == ("definition", "aten.div", "model.2")
    assert "test_own_code.py:" in found[0]["code"] and held["guard"]["dropped_micro_batches"] == 1


def spoils(parameter):
    parameter.grad.mul_(float("nan"))


def enlarges(parameter):
    parameter.grad.sign_().mul_(1e30)


HOOKS = {
    "nan afterwards": (lambda p: p.register_post_accumulate_grad_hook(spoils), "not finite"),
    "huge afterwards": (lambda p: p.register_post_accumulate_grad_hook(enlarges), "up to 1e+30"),
    "huge on its way": (lambda p: p.register_hook(lambda g: g.sign() * 1e30), "up to 1e+30"),
}


@pytest.mark.parametrize("name", ["huge on its way", *matrix("nan afterwards", "huge afterwards")])
def test_a_hook_that_no_replay_has_is_named_by_the_gradient_that_it_spoilt(name, data, tmp_path, unpatched):
    plant, said = HOOKS[name]
    held = []

    def begin(trainer):
        weight = trainer.model.get_parameter("model.1.conv.weight")
        held.append(plant(weight))

    yolo_nanfix.patch()
    result = lab.train(data, tmp_path / "run", callbacks={"on_train_start": begin}, epochs=1, nbs=4)
    verdict, facts = verdicts(result)[0][0], load_incident(newest(result.trainer.save_dir)).facts
    assert (verdict["cause"], verdict["tensor"]) == ("definition", "model.1.conv.weight"), verdict
    assert "test_own_code.py:" in verdict["code"] and said in verdict["summary"] and "hook" in verdict["summary"]
    assert verdict["images"] == [] and not any("hardware" in line for line in verdict["advice"])
    sizes = facts["gradients"]["largest"]
    assert facts["gradients"]["bad"] == (["model.1.conv.weight"] if "nan" in name else [])
    assert any(0 < sizes[other] < 1e3 for other in sizes if other != "model.1.conv.weight")  # those before clipping


@pytest.mark.slow
def test_a_hook_that_does_no_harm_leaves_every_bit_as_stock_has_it(data, tmp_path, unpatched):
    def begin(trainer):
        trainer.model.get_parameter("model.1.conv.weight").register_hook(lambda g: g * 0.5)

    stock = lab.train(data, tmp_path / "stock", callbacks={"on_train_start": begin}, epochs=1, nbs=4)
    yolo_nanfix.patch()
    ours = lab.train(data, tmp_path / "ours", callbacks={"on_train_start": begin}, epochs=1, nbs=4)
    pairs = zip(stock.trainer.model.parameters(), ours.trainer.model.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs) and verdicts(ours)[0] == []


def now_and_then(kind, factor, at=None):
    """A callback that puts a hook on a module which multiplies what it sees by `factor`, in pass `at` or in each."""
    seen = {"count": 0}

    def changed(value):
        seen["count"] += 1
        return value * factor if at in (None, seen["count"]) and value is not None else value

    def all_of(values):
        return tuple(map(changed, values))

    hooks = {
        "forward": lambda module, given, made: changed(made),
        "forward_pre": lambda module, given: all_of(given),
        "full_backward": lambda module, gradients, _: all_of(gradients),
        "full_backward_pre": lambda module, gradients: all_of(gradients),
    }
    return lambda trainer: getattr(trainer.model.model[2], f"register_{kind}_hook")(hooks[kind])


@pytest.mark.parametrize("kind", ["forward", *matrix("forward_pre", "full_backward", "full_backward_pre")])
def test_a_hook_on_a_module_that_spoils_one_pass_is_named_and_not_the_hardware(kind, data, tmp_path, unpatched):
    def train(name, factor, at):
        callbacks = {"on_train_start": now_and_then(kind, factor, at)}
        return lab.train(data, tmp_path / name, callbacks=callbacks, epochs=1, val=False)

    with lab.bare():
        stock, healthy = train("stock", float("nan"), 2), train("healthy", 0.5, None)
    with yolo_nanfix.patched():
        ours, same = train("ours", float("nan"), 2), train("same", 0.5, None)
    assert lab.not_finite(stock.trainer.model.parameters()) or lab.not_finite(map(torch.tensor, stock.losses))
    assert ours.error is None and not lab.not_finite(ours.trainer.model.parameters())
    (verdict,), _ = verdicts(ours)
    assert verdict["cause"] == "unknown" and "test_own_code.py:" in verdict["summary"]
    assert "hook" in verdict["summary"] and "model.2" in verdict["summary"]
    assert "hooks" in verdict["advice"][0] and "hardware" not in json.dumps(verdict)
    theirs = lab.state(healthy.trainer)
    assert all(torch.equal(value, theirs[name]) for name, value in lab.state(same.trainer).items())
