"""Settings of the optimizer that are not finite: the step is refused, the weights stay, group and setting are named."""

from __future__ import annotations

import json
import math
from pathlib import Path

import lab
import pytest
import torch
from make_datasets import make_dataset
from marks import matrix

import yolo_nanfix
from yolo_nanfix.guard.param_groups import Groups

NAN, INF = float("nan"), float("inf")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("groups"), n_train=8, n_val=2, size=(64, 64), seed=5)


def spoil(key, weights):
    """After the first epoch a callback sets a setting of all groups to NaN; the weights of that moment are kept."""

    def end(trainer):
        if trainer.epoch == 0:
            weights.update({k: v.clone() for k, v in lab.state(trainer).items() if k.startswith("model.")})
            for group in trainer.optimizer.param_groups:
                group[key] = NAN
            trainer.scheduler.base_lrs = [NAN if key == "lr" else rate for rate in trainer.scheduler.base_lrs]

    return {"on_train_epoch_end": end}


@pytest.mark.parametrize(("key", "nbs"), (("lr", 4), *matrix(("weight_decay", 8))))
def test_the_step_is_refused_where_stock_makes_nan_of_every_weight(key, nbs, data, tmp_path, unpatched):
    with lab.bare():
        stock = lab.train(data, tmp_path / "stock", callbacks=spoil(key, {}), nbs=nbs)
    assert lab.not_finite(stock.trainer.model.parameters()) > 1000
    before: dict[str, torch.Tensor] = {}
    yolo_nanfix.patch()
    ours = lab.train(data, tmp_path / "ours", callbacks=spoil(key, before), nbs=nbs)
    now = dict(ours.trainer.model.named_parameters())
    assert all(torch.equal(before[f"model.{name}"], weight) for name, weight in now.items())
    held = json.loads((Path(ours.trainer.save_dir) / "yolo-nanfix.json").read_text())
    (verdict,) = held["guard"]["verdicts"]
    assert (verdict["cause"], verdict["tensor"]) == ("setting", f"optimizer.groups.0.{key}")
    assert "(epoch 1)" in verdict["summary"] and any("test_groups.py" in line for line in verdict["advice"])
    assert not held["healthy"] and held["guard"]["steps_refused"] == 8 // nbs


def test_what_schedules_keep_and_numbers_that_are_meant_are_left_alone():
    weight = torch.nn.Parameter(torch.zeros(2))
    optimizer = torch.optim.AdamW([weight], lr=0.1)
    (group,) = optimizer.param_groups
    groups = Groups()
    group["initial_lr"], group["own_limit"] = NAN, INF
    assert groups.defects(optimizer, 1, 1) == ()
    group["betas"] = (0.9, NAN)
    (found,) = groups.defects(optimizer, 2, 7)
    assert (found.group, found.name, found.epoch, found.step) == (0, "betas", 1, 1)
    group["betas"], group["lr"] = (0.9, 0.99), torch.tensor(INF)
    assert [s.name for s in groups.defects(optimizer, 2, 8)] == ["lr"]
    assert groups.refused_in_a_row == 2 and math.isinf(float(group["lr"]))
