"""The rect patch: a model with a grid-sized block that stock cannot validate trains to the end under it."""

from __future__ import annotations

import lab
import pytest
import torch
from make_datasets import make_dataset
from ultralytics.models.yolo.detect import DetectionTrainer
from ultralytics.nn.modules.block import SPPF

import yolo_nanfix

pytestmark = pytest.mark.usefixtures("unpatched")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("data") / "set", n_train=8, n_val=4, size=(96, 96), seed=1)


class Positioned(SPPF):
    """A block with a position embedding, sized by the training grid as ViT- and Swin-like blocks are."""

    def forward(self, x):
        return super().forward(x) + self.position


class PositionTrainer(DetectionTrainer):
    """A user's trainer whose model has such a block."""

    def get_model(self, *args, **kwargs):
        model = super().get_model(*args, **kwargs)
        model.model[9].__class__ = Positioned
        model.model[9].position = torch.nn.Parameter(torch.zeros(1, 256, 3, 3))
        return model


def run(data, path, **arguments):
    return lab.train(data, path, trainer=PositionTrainer, imgsz=96, epochs=1, **arguments)


def test_stock_raises_a_size_mismatch_and_ours_trains_through(data, tmp_path):
    with lab.bare():
        stock = run(data, tmp_path / "stock")
    assert isinstance(stock.error, RuntimeError) and "must match the size" in str(stock.error)
    with yolo_nanfix.patched():
        ours = run(data, tmp_path / "ours")
    assert ours.error is None
    assert ours.trainer.test_loader.dataset.rect is False
    assert ours.trainer.train_loader.dataset.rect is False


def test_rect_stock_leaves_everything_as_upstream_has_it(data, tmp_path):
    with yolo_nanfix.patched(rect="stock"):
        ours = run(data, tmp_path / "ours")
    assert isinstance(ours.error, RuntimeError) and "must match the size" in str(ours.error)


def test_the_users_own_rect_is_respected_with_a_notice(data, tmp_path, monkeypatch):
    from yolo_nanfix import upstream

    said = []
    monkeypatch.setattr(upstream, "log", said.append)
    with yolo_nanfix.patched("rect-validation", "torchvision-operators-missing"):
        ours = lab.train(data, tmp_path / "ours", imgsz=96, epochs=1, rect=True)
    assert ours.error is None
    assert ours.trainer.test_loader.dataset.rect is True
    assert any("rect=True is set by you" in line for line in said)


def test_the_training_losses_do_not_change(data, tmp_path):
    with yolo_nanfix.patched(rect="stock"):
        stock = lab.train(data, tmp_path / "stock", imgsz=96)
    with yolo_nanfix.patched():
        ours = lab.train(data, tmp_path / "ours", imgsz=96)
    assert stock.losses == ours.losses
