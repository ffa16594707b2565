"""All patches on, nothing wrong: losses, gradients and everything that training changes are stock's, bit for bit."""

from __future__ import annotations

import cv2
import lab
import numpy as np
import pytest
import torch
from make_datasets import make_dataset
from marks import matrix

import yolo_nanfix

pytestmark = pytest.mark.usefixtures("unpatched")


def run(data, folder, task):
    """One epoch, and the gradients that each optimizer step saw."""
    gradients: list[torch.Tensor] = []

    def record(optimizer, *_):
        found = [p.grad.flatten() for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        gradients.append(torch.cat(found).clone())

    result = lab.train(
        data,
        folder,
        task=task,
        model=lab.YOLOV8[task],
        epochs=1,
        callbacks={"on_train_start": lambda trainer: trainer.optimizer.register_step_pre_hook(record)},
    )
    if result.error:
        raise result.error
    return result, gradients


def dataset(task, root):
    if task != "classify":
        return make_dataset(root, task=task, n_train=8, n_val=4, size=(64, 64), seed=3)
    noise = np.random.default_rng(3)
    for split, count in (("train", 4), ("val", 2)):
        for channel, name in enumerate(("blue", "red")):
            folder = root / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                image = noise.integers(0, 120, (64, 64, 3), dtype=np.uint8)
                image[..., 2 * channel] += 130
                cv2.imwrite(str(folder / f"{number}.png"), image)
    return root


@pytest.mark.parametrize("task", ["detect", *matrix(*(task for task in lab.MODELS if task != "detect"))])
def test_a_healthy_training_is_bit_identical(task, tmp_path):
    data = dataset(task, tmp_path / "set")
    with lab.bare():
        stock, stock_gradients = run(data, tmp_path / "stock", task)
    with yolo_nanfix.patched(guard=False) as status:
        ours, gradients = run(data, tmp_path / "ours", task)
        counted = {p.name: p.counted for p in yolo_nanfix.status().patches if p.counted}
    assert sum(p.state == "on" for p in status.patches) > 20
    assert len(gradients) == len(stock_gradients) == 2
    assert all(torch.equal(a, b) for a, b in zip(gradients, stock_gradients, strict=True))
    assert ours.losses == stock.losses
    before, after = lab.state(stock.trainer), lab.state(ours.trainer)
    assert before.keys() == after.keys() and all(torch.equal(before[key], after[key]) for key in before)
    assert counted == {}
