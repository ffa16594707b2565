"""What training starts from: fixed with notice, or refused, by the setting `repair`. Stock trains on and dies."""

from __future__ import annotations

import json

import lab
import pytest
import torch
from make_datasets import make_dataset
from marks import matrix

import yolo_nanfix
from yolo_nanfix.errors import PoisonedState

NAN = float("nan")
pytestmark = pytest.mark.usefixtures("unpatched")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("data") / "set", n_train=8, n_val=4, size=(64, 64), seed=1)


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    """Two epochs of three, as an interrupted run leaves them: its folder."""

    def stop(trainer):
        if trainer.epoch == 1:
            raise InterruptedError

    with lab.bare():
        run = tmp_path_factory.mktemp("first") / "run"
        lab.train(data, run, epochs=3, optimizer="AdamW", callbacks={"on_model_save": stop})
    return run / "weights" / "last.pt"


def changed(trained, tmp_path, change):
    """A copy of the checkpoint in a run folder of its own, with one fault."""
    saved = torch.load(trained, weights_only=False)
    change(saved)
    saved["train_args"] |= {"project": str(tmp_path), "name": "run", "save_dir": str(tmp_path / "run")}
    path = tmp_path / "run" / "weights" / "last.pt"
    path.parent.mkdir(parents=True)
    torch.save(saved, path)
    return path


def report(run):
    return json.loads((run / "yolo-nanfix.json").read_text())


def start_events(run):
    return [(e["checks"][0], e["values"], *lab.did(e)) for e in report(run)["guard"]["events"] if e["point"] == "start"]


def first_norm(saved, key="ema"):
    return next(m for m in saved[key].modules() if isinstance(m, torch.nn.BatchNorm2d))


def spoil_norm(value):
    def change(saved):
        first_norm(saved).running_var[3] = value

    return change


def spoil_weight(saved):
    next(saved["ema"].parameters()).data.view(-1)[0] = NAN


def zero(saved):
    for tensor in saved["ema"].state_dict().values():
        tensor.zero_()


def spoil_optimizer(saved):
    saved["optimizer"]["state"][5]["exp_avg"].view(-1)[0] = NAN


@pytest.mark.parametrize("value", [NAN, *matrix(float("inf"), -1.0)])
def test_a_faulty_running_variance_ruins_stock_and_starts_anew_in_ours(value, trained, data, tmp_path):
    faulty = changed(trained, tmp_path, spoil_norm(value))
    if value != value:
        with lab.bare():
            stock = lab.train(data, tmp_path / "stock", model=str(faulty), pretrained=True, epochs=1)
        assert lab.not_finite(stock.trainer.model.buffers())
    with yolo_nanfix.patched():
        ours = lab.train(data, tmp_path / "ours", model=str(faulty), pretrained=True, epochs=1)
    assert ours.error is None and lab.not_finite(lab.state(ours.trainer).values()) == 0
    checks = start_events(tmp_path / "ours")
    assert {c for c, _, _ in checks} == {"batchnorm"} and checks[0][1]["layer"] == "model.0.bn"
    with yolo_nanfix.patched(repair="none"):
        refused = lab.train(data, tmp_path / "refused", model=str(faulty), pretrained=True, epochs=1)
    assert isinstance(refused.error, PoisonedState) or value == -1.0


def test_a_faulty_weight_is_refused_and_with_all_starts_anew(trained, data, tmp_path):
    faulty = changed(trained, tmp_path, spoil_weight)
    with yolo_nanfix.patched():
        refused = lab.train(data, tmp_path / "refused", model=str(faulty), pretrained=True, epochs=1)
    assert isinstance(refused.error, PoisonedState)
    assert "model.0.conv.weight" in str(refused.error) and "repair=all" in str(refused.error)
    (verdict,) = report(tmp_path / "refused")["guard"]["verdicts"]
    assert (verdict["cause"], verdict["tensor"]) == ("state", "model.0.conv.weight")
    with yolo_nanfix.patched(repair="all"):
        ours = lab.train(data, tmp_path / "ours", model=str(faulty), pretrained=True, epochs=1)
    assert ours.error is None and lab.not_finite(lab.state(ours.trainer).values()) == 0
    assert start_events(tmp_path / "ours")[0][:2] == ("weights", {"count": 1, "tensor": "model.0.conv.weight"})


def test_a_faulty_optimizer_in_a_resumed_checkpoint_is_set_to_zero(trained, data, tmp_path):
    faulty = changed(trained, tmp_path, spoil_optimizer)
    with yolo_nanfix.patched():
        ours = lab.train(data, tmp_path / "run", model=str(faulty), resume=True)
    assert ours.error is None and ours.trainer.start_epoch == 2
    assert lab.not_finite(lab.state(ours.trainer).values()) == 0
    assert start_events(tmp_path / "run") == [("optimizer", {"count": 1, "numbers": [5]}, "optimizer-reset")]


def test_a_zeroed_checkpoint_is_not_resumed(trained, data, tmp_path):
    faulty = changed(trained, tmp_path, zero)
    (faulty.parent / "best.pt").write_bytes(trained.read_bytes())
    with yolo_nanfix.patched():
        refused = lab.train(data, tmp_path / "run", model=str(faulty), resume=True)
    assert isinstance(refused.error, PoisonedState)
    assert "all tensors are zero" in str(refused.error) and "best.pt" in str(refused.error)


class Scaled(torch.nn.Module):
    """A layer with a user's factor behind it, which no model's definition knows."""

    def __init__(self, inner):
        super().__init__()
        self.inner, self.factor = inner, torch.nn.Parameter(torch.tensor(NAN))
        self.i, self.f, self.type = inner.i, inner.f, "Scaled"

    def forward(self, x):
        return self.inner(x) * self.factor


class OwnLayer(lab.trainer_class("detect")):
    def get_model(self, *args, **kwargs):
        model = super().get_model(*args, **kwargs)
        model.model[0] = Scaled(model.model[0])
        return model


def test_a_faulty_weight_that_cannot_start_anew_is_refused_without_the_offer_that_was_taken(data, tmp_path):
    with yolo_nanfix.patched(repair="all"):
        refused = lab.train(data, tmp_path / "run", trainer=OwnLayer)
    assert isinstance(refused.error, PoisonedState)
    assert "model.0.factor" in str(refused.error) and "repair=all" not in str(refused.error)
