"""Nothing that the guard does draws from anybody's random state: what comes after a fault is as it would have been."""

from __future__ import annotations

import json
import random

import lab
import numpy as np
import pytest
import torch
from make_datasets import make_dataset

import yolo_nanfix
from yolo_nanfix.guard import randomness

pytestmark = pytest.mark.usefixtures("unpatched")


def states():
    return hash((random.getstate(), str(np.random.get_state()), str(torch.get_rng_state().tolist())))


class Restless(torch.nn.SiLU):
    """A user's module that draws from everybody's generators in its forward pass, evaluated or not."""

    def forward(self, x):
        random.random()
        np.random.rand()
        torch.rand(1)
        return super().forward(x)


def trainer(seen):
    class Faulty(lab.poisoned("detect", {(0, 1), (1, 2), (2, 0)})):
        def _setup_train(self, *args):
            super()._setup_train(*args)
            for model in (self.model, self.ema.ema):
                model.model[0].act = Restless()
            self.add_callback("on_train_epoch_start", lambda t: seen.append(states()))

    return Faulty


def test_faults_and_what_is_done_about_them_leave_it_alone(tmp_path):
    data = make_dataset(tmp_path / "set", n_train=16, n_val=8, size=(64, 64), seed=1)
    faulty = lab.with_nan_pixels(data, tmp_path / "faulty", [1], "val")
    settings = {"epochs": 4, **lab.FLOATS}
    stock, ours = [], []
    with lab.bare():  # the scaler keeps stock's weights finite
        lab.train(faulty, tmp_path / "stock", trainer=trainer(stock), scaler=True, **settings)
    with yolo_nanfix.patched(rect="stock"):
        result = lab.train(faulty, tmp_path / "ours", trainer=trainer(ours), scaler=True, **settings)
    found = json.loads((result.trainer.save_dir / "yolo-nanfix.json").read_text())["guard"]
    assert found["dropped_micro_batches"] == 3 and found["verdicts"] and found["events_by_check"]["val-batch"] >= 3
    assert len(stock) == 4 and ours == stock


def test_what_is_drawn_inside_is_as_if_it_had_not_been():
    before = states()
    with pytest.raises(KeyError), randomness.untouched():
        random.random(), np.random.rand(3), torch.rand(2)
        assert states() != before
        raise KeyError
    assert states() == before
