"""What the guard reads from the device in healthy steps: nothing more than stock does."""

from __future__ import annotations

from collections import Counter

import lab
import pytest
from make_datasets import make_dataset
from marks import matrix
from torch.utils._python_dispatch import TorchDispatchMode

import yolo_nanfix

READS = ("aten._local_scalar_dense", "aten.nonzero")


class HostReads(TorchDispatchMode):
    """Counts the operations that make the host wait for a device."""

    def __init__(self):
        super().__init__()
        self.counts = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = str(func.overloadpacket)
        self.counts[name] += name in READS
        return func(*args, **(kwargs or {}))


def reads_of_each_step(data, run, **settings):
    steps, modes = [], []

    def start(trainer):
        modes.append(HostReads())
        modes[-1].__enter__()

    def end(trainer):
        modes[-1].__exit__(None, None, None)
        steps.append({name: modes[-1].counts[name] for name in READS})

    callbacks = {"on_train_batch_start": start, "on_train_batch_end": end}
    result = lab.train(data, run, callbacks=callbacks, epochs=2, val=False, save=False, **settings)
    assert result.error is None
    return steps


@pytest.mark.parametrize(("scaler", "nbs"), [(False, 4), *matrix((False, 16), (True, 4))])
def test_no_host_read_is_added_to_a_healthy_step(scaler, nbs, tmp_path, unpatched):
    data = make_dataset(tmp_path / "set", n_train=16, n_val=4, size=(64, 64), seed=1)
    with lab.bare():
        stock = reads_of_each_step(data, tmp_path / "stock", scaler=scaler, nbs=nbs)
    with yolo_nanfix.patched("torchvision-operators-missing", guard=True, snapshot_every=3):
        ours = reads_of_each_step(data, tmp_path / "ours", scaler=scaler, nbs=nbs)
    assert len(stock) == 8 and sum(s["aten._local_scalar_dense"] for s in stock) > 0
    assert ours[2:] == stock[2:]  # at first it looks at what modules and the loss keep
