"""Class weights that are not finite, in the real losses and in a run."""

from __future__ import annotations

import lab
import numpy as np
import pytest
import torch
from make_datasets import make_dataset
from torch import nn
from ultralytics.cfg import get_cfg
from ultralytics.models.yolo.detect import DetectionTrainer
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils.loss import SemanticSegmentationLoss

import yolo_nanfix
from yolo_nanfix.patching import tally

pytestmark = pytest.mark.usefixtures("unpatched")
NAME = "class-weights-not-finite"
NAN, INF = float("nan"), float("inf")


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    made = DetectionModel("yolov8n.yaml", nc=3, verbose=False)
    made.args = get_cfg()
    return made.train()


def cls_loss(model, weights):
    """The class loss of one object, and the gradient that reaches the last class convolution."""
    model.class_weights = None if weights is None else torch.tensor(weights)
    torch.manual_seed(0)
    image = torch.rand(1, 3, 64, 64)
    batch = {"img": image, "cls": torch.zeros(1, 1), "bboxes": torch.tensor([[0.5, 0.5, 0.4, 0.4]])}
    model.zero_grad()
    loss, items = model.init_criterion()(model(image), batch | {"batch_idx": torch.zeros(1)})
    loss.sum().backward()
    return items["cls_loss"], model.model[-1].cv3[0][-1].weight.grad.clone()


@pytest.mark.parametrize(
    ("given", "taken", "count"),
    [
        ([1.0, INF, 2.0], [1.0, 1.0, 2.0], 1),
        ([-INF, 0.5, 2.0], [1.0, 0.5, 2.0], 1),
        ([0.0, NAN, 0.0], [1.0, 1.0, 1.0], 3),
    ],
    ids=("inf", "negative", "inf-divided-by-its-mean"),
)
def test_weights_that_are_not_finite_break_stock_and_count_as_one_in_ours(model, given, taken, count):
    stock, _ = cls_loss(model, given)
    assert not stock.isfinite()
    wanted, wanted_gradient = cls_loss(model, taken)
    tally.clear()
    with yolo_nanfix.patched(NAME):
        ours, gradient = cls_loss(model, given)
    assert torch.equal(ours, wanted) and torch.equal(gradient, wanted_gradient)
    assert ours.isfinite() and gradient.isfinite().all()
    assert tally.read() == {NAME: count}


@pytest.mark.parametrize("weights", (None, [1.0, 1.0, 1.0], [0.2, 2.5, 0.3], [0.0, 1.0, 2.0]))
def test_finite_weights_are_bit_identical(model, weights):
    stock, stock_gradient = cls_loss(model, weights)
    tally.clear()
    with yolo_nanfix.patched(NAME):
        ours, gradient = cls_loss(model, weights)
    assert torch.equal(ours, stock) and torch.equal(gradient, stock_gradient)
    assert tally.read() == {}


class Semantic(nn.Module):
    """As much of a semantic model as its loss looks at."""

    def __init__(self, weights):
        super().__init__()
        head = nn.Conv2d(3, 3, 1)
        head.nc = 3
        self.model, self.args = nn.ModuleList([head]), get_cfg()
        self.class_weights = torch.tensor(weights)


def test_the_semantic_loss_is_covered():
    def weight(weights):
        return SemanticSegmentationLoss(Semantic(weights)).ce.weight

    assert not weight([1.0, INF, 2.0]).isfinite().all()
    with yolo_nanfix.patched(NAME):
        assert weight([1.0, INF, 2.0]).tolist() == [1.0, 1.0, 2.0]
        assert weight([1.0, 0.0, 2.0]).tolist() == [1.0, 0.0, 2.0]


class Inverse(DetectionTrainer):
    """A user's trainer that weighs classes by 1 / count, and one class has no label."""

    def get_class_counts(self):
        return np.where(np.arange(self.data["nc"]) == 0, 0.0, super().get_class_counts()).astype(np.float32)

    def compute_class_weights(self, class_counts):
        with np.errstate(divide="ignore"):
            return 1 / class_counts


def test_a_run_with_an_absent_class_and_weights_of_the_users_own(tmp_path):
    data = make_dataset(tmp_path / "set", n_train=4, n_val=2, n_classes=3, size=(64, 64), seed=1)
    with lab.bare():
        stock = lab.train(data, tmp_path / "stock", trainer=Inverse, epochs=1, cls_pw=1.0)
        assert not np.isfinite(stock.losses).any()
        with yolo_nanfix.patched(NAME, guard=False):
            ours = lab.train(data, tmp_path / "ours", trainer=Inverse, epochs=1, cls_pw=1.0)
    assert ours.error is None and np.isfinite(ours.losses).all()
    assert lab.not_finite(lab.state(ours.trainer).values()) == 0


@pytest.mark.parametrize("power", (0.5, 1.0))
def test_the_weights_of_upstream_are_finite_also_for_absent_classes(power):
    trainer = DetectionTrainer.__new__(DetectionTrainer)
    trainer.args = get_cfg(overrides={"cls_pw": power})
    weights = trainer.compute_class_weights(np.array([0, 1e9, 1, 0], dtype=np.float32))
    assert np.isfinite(weights / weights.mean()).all()
