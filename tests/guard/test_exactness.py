"""A dropped micro-batch leaves no trace in any bit of the state, in each precision and for each optimizer."""

from __future__ import annotations

import json

import lab
import pytest
import torch
from make_datasets import make_dataset
from marks import combined
from zoo_run import precision

import yolo_nanfix


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("data") / "set", n_train=16, n_val=4, size=(64, 64), seed=1)


class FaultyBackward:
    """A user's loss: finite, with a gradient that is not, in one micro-batch."""

    def __init__(self, stock, trainer):
        self.stock, self.trainer = stock, trainer

    def __call__(self, outputs, batch):
        loss, items = self.stock(outputs, batch)
        if self.trainer.seen == (1, 2):
            loss = loss + (loss - loss.detach()).abs().sum().sqrt()  # 0, with the slope of sqrt at 0
        return loss, items

    def __deepcopy__(self, memo):
        return self


def trainer_that_is_hit(how, before):
    class Hit(lab.poisoned("detect", {(1, 2)} if how == "forward" else set())):
        def preprocess_batch(self, batch):
            batch = super().preprocess_batch(batch)
            criterion = getattr(self.model, "criterion", None)
            if how == "backward" and self.seen == (1, 2):
                self.model.criterion = FaultyBackward(criterion, self)
            if how == "backward" and self.seen == (1, 3):
                self.model.criterion = criterion.stock
            if self.seen == (1, 2):
                before.update(lab.state(self))
            return batch

    return Hit


QUICK = [("forward", "float32", "SGD"), ("forward", "float16", "AdamW"), ("backward", "bfloat16", "SGD")]
OPTIMIZERS = ("SGD", "AdamW", "MuSGD")
CASES = [
    *combined(["forward"], ["float32", "float16", "bfloat16"], OPTIMIZERS, quick=QUICK[:2]),
    # in float16 the GradScaler skips, and halves its scale
    *combined(["backward"], ["float32", "bfloat16"], OPTIMIZERS, quick=QUICK[2:]),
]


@pytest.mark.parametrize(("how", "dtype", "optimizer"), CASES)
def test_every_bit_is_as_it_was(how, dtype, optimizer, data, tmp_path, unpatched):
    before, after = {}, {}

    def compare(trainer):
        if trainer.seen == (1, 2) and not after:
            after.update(lab.state(trainer))

    hit = trainer_that_is_hit(how, before)
    with yolo_nanfix.patched(diagnose=False), precision(dtype):
        result = lab.train(
            data, tmp_path / "run", trainer=hit, optimizer=optimizer, callbacks={"on_train_batch_end": compare}
        )
    assert result.error is None and before and before.keys() == after.keys()
    assert [k for k in before if not torch.equal(before[k], after[k])] == []
    report = json.loads((result.trainer.save_dir / "yolo-nanfix.json").read_text())
    assert report["guard"]["dropped_micro_batches"] == 1
