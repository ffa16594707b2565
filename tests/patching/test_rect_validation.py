"""The rect patch: a model with a grid-sized block that stock cannot validate trains to the end under it."""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil

import lab
import pytest
import releases
import torch
import ultralytics.models
from bench_rect import mixed_set
from make_datasets import make_dataset
from marks import matrix
from ultralytics.models.yolo.detect import DetectionTrainer
from ultralytics.nn.modules.block import SPPF

import yolo_nanfix
from yolo_nanfix import upstream
from yolo_nanfix.cards import load_all
from yolo_nanfix.patching.fixes.validation_in_training import FIXES

pytestmark = pytest.mark.usefixtures("unpatched")

MISMATCH = "must match the size"
SCRATCH = "WorldTrainerFromScratch", "YOLOETrainerFromScratch", "YOLOEVPTrainer"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("data") / "set", n_train=8, n_val=4, size=(96, 96), seed=1)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    return mixed_set(tmp_path_factory.mktemp("mixed"), ((96, 96), (96, 48), (48, 96)), n_train=2, n_val=4)


@pytest.fixture
def said(monkeypatch):
    lines = []
    monkeypatch.setattr(upstream, "log", lambda message, **_: lines.append(message))
    return lines


class Positioned(SPPF):
    """A block with a position embedding, sized by the training grid as ViT- and Swin-like blocks are."""

    def forward(self, x):
        return super().forward(x) + self.position


class TrainsOnly(SPPF):
    """A block that cannot be validated at any shape."""

    def forward(self, x):
        if not self.training:
            raise NotImplementedError("no inference yet")
        return super().forward(x)


def positioned(model, grid=3):
    block = next(m for m in model.modules() if isinstance(m, SPPF))
    block.__class__ = Positioned
    block.position = torch.nn.Parameter(torch.zeros(1, block.cv2.conv.out_channels, grid, grid))
    return model


class PositionTrainer(DetectionTrainer):
    """A user's trainer whose model has such a block."""

    def get_model(self, *args, **kwargs):
        return positioned(super().get_model(*args, **kwargs))


class TrainsOnlyTrainer(DetectionTrainer):
    """A user's trainer whose model has such a block."""

    def get_model(self, *args, **kwargs):
        model = super().get_model(*args, **kwargs)
        model.model[9].__class__ = TrainsOnly
        return model


def run(data, path, trainer=PositionTrainer, **arguments):
    return lab.train(data, path, trainer=trainer, **{"imgsz": 96, "epochs": 1, **arguments})


def built(name, data, path):
    """The validation set that a trainer class of upstream builds for its own model with a position embedding."""
    module = "world.train_world" if name == "WorldTrainerFromScratch" else "world" if "World" in name else "yoloe.train"
    trainer_class = getattr(importlib.import_module(f"ultralytics.models.yolo.{module}"), name)
    config = "yoloe-v8s.yaml" if "YOLOE" in name else "yolov8s-world.yaml"
    both = {"yolo_data": [str(data)]}
    given = {"train": both, "val": both} if name in SCRATCH else str(data)
    settings = {"task": "detect", "imgsz": 96, "device": "cpu", "project": str(path), "verbose": False}
    trainer = trainer_class(overrides={"model": config, "data": given, **settings})
    trainer.model = positioned(trainer.get_model(cfg=config, verbose=False))
    return trainer.build_dataset(trainer.data["val"], "val", 4)


@pytest.mark.parametrize("amp", [False, *matrix(True)])
def test_stock_raises_a_size_mismatch_and_ours_trains_through(data, tmp_path, said, amp):
    with lab.bare():
        stock = run(data, tmp_path / "stock", scaler=amp)
    assert isinstance(stock.error, RuntimeError) and MISMATCH in str(stock.error)
    with yolo_nanfix.patched():
        ours = run(data, tmp_path / "ours", scaler=amp)
    assert ours.error is None
    assert ours.trainer.test_loader.dataset.rect is False
    assert ours.trainer.train_loader.dataset.rect is False
    assert any("fails at the rectangular shape 128x128 (RuntimeError: The size of tensor" in line for line in said)


def test_rect_off_never_asks_the_model_and_leaves_no_trace(data, tmp_path, said):
    module = inspect.getmodule(DetectionTrainer)
    builder = module.build_yolo_dataset
    with yolo_nanfix.patched(rect="off"):
        ours = lab.train(data, tmp_path / "ours", imgsz=96, epochs=1)
    assert ours.error is None
    assert ours.trainer.test_loader.dataset.rect is False
    assert module.build_yolo_dataset is builder
    assert not any("rect-validation: this model" in line for line in said)


def test_rect_stock_leaves_everything_as_upstream_has_it(data, tmp_path):
    with yolo_nanfix.patched(rect="stock"):
        ours = run(data, tmp_path / "ours")
    assert isinstance(ours.error, RuntimeError) and MISMATCH in str(ours.error)


@pytest.mark.parametrize("rect", ["auto", *matrix("off")])
def test_the_users_own_rect_is_respected_with_a_notice(data, tmp_path, said, rect):
    with yolo_nanfix.patched("rect-validation", "torchvision-operators-missing", rect=rect):
        ours = lab.train(data, tmp_path / "ours", imgsz=96, epochs=1, rect=True)
    assert ours.error is None
    assert ours.trainer.test_loader.dataset.rect is True
    assert any("rect=True is set by you" in line for line in said)


def test_a_healthy_run_is_bit_identical_under_auto(mixed, tmp_path):
    with lab.bare():
        stock = lab.train(mixed, tmp_path / "stock", imgsz=96)
    with lab.bare(), yolo_nanfix.patched("rect-validation", guard=False):
        ours = lab.train(mixed, tmp_path / "ours", imgsz=96)
    theirs = stock.trainer.test_loader.dataset
    assert len({tuple(shape) for shape in theirs.batch_shapes}) > 1
    assert (ours.trainer.test_loader.dataset.batch_shapes == theirs.batch_shapes).all()
    assert ours.losses == stock.losses
    for a, b in zip(stock.rows(), ours.rows(), strict=True):
        assert {k: v for k, v in a.items() if k != "time"} == {k: v for k, v in b.items() if k != "time"}
    before, after = lab.state(stock.trainer), lab.state(ours.trainer)
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.slow
def test_the_training_losses_do_not_change_under_off(mixed, tmp_path):
    with yolo_nanfix.patched(rect="stock"):
        stock = lab.train(mixed, tmp_path / "stock", imgsz=96)
    with yolo_nanfix.patched(rect="off"):
        ours = lab.train(mixed, tmp_path / "ours", imgsz=96)
    assert stock.losses == ours.losses


def test_the_probe_forward_leaves_model_and_rng_alone(mixed, tmp_path):
    with lab.bare():
        trainer = lab.train(mixed, tmp_path / "run", imgsz=96, epochs=1, val=False).trainer
    model = trainer.model.train()
    model.model[0].eval()  # as a frozen layer's BatchNorm is
    flags, weights = [m.training for m in model.modules()], {k: v.clone() for k, v in model.state_dict().items()}
    remembered, rng = model.model[-1].shape, torch.get_rng_state()
    with yolo_nanfix.patched("rect-validation", guard=False):
        assert trainer.build_dataset(trainer.data["val"], mode="val", batch=4).rect is True
    assert [m.training for m in model.modules()] == flags
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    assert model.model[-1].shape == remembered
    assert torch.equal(torch.get_rng_state(), rng)


def test_a_model_that_fails_at_square_shapes_too_is_not_rects_fault(data, tmp_path, said):
    with yolo_nanfix.patched("rect-validation", "torchvision-operators-missing", guard=False):
        ours = run(data, tmp_path / "ours", TrainsOnlyTrainer, model=lab.YOLOV8["detect"])
    assert isinstance(ours.error, NotImplementedError)
    assert ours.trainer.test_loader.dataset.rect is True
    assert not any("rect-validation: this model" in line for line in said)


@pytest.mark.parametrize("name", ["WorldTrainer", "YOLOETrainer", *SCRATCH])
def test_every_trainer_with_its_own_copy_is_covered(name, data, tmp_path, said):
    with lab.bare():
        stock = built(name, data, tmp_path)
        with yolo_nanfix.patched("rect-validation", guard=False):
            ours = built(name, data, tmp_path)
    assert stock.rect is (name not in SCRATCH)  # upstream's own choice for those since 8.3.120
    assert ours.rect is False
    assert len([line for line in said if "rect-validation: this model fails" in line]) == (name not in SCRATCH)


def test_no_other_trainer_asks_for_rect():
    """The card's targets are all methods of this release that pass `rect=mode == "val"`."""
    paths = set()
    for found in pkgutil.walk_packages(ultralytics.models.__path__, "ultralytics.models."):
        if found.name.endswith((".train", ".train_world")):
            module = importlib.import_module(found.name)
            for owner in [c for c in vars(module).values() if inspect.isclass(c) and c.__module__ == found.name]:
                for name, method in vars(owner).items():
                    if inspect.isfunction(method) and 'rect=mode == "val"' in inspect.getsource(method):
                        paths.add(f"{found.name}:{owner.__name__}.{name}")
    assert paths and paths <= set(load_all()["rect-validation"].targets)


def test_the_probe_knows_a_method_that_no_longer_passes_rect():
    stock = DetectionTrainer.__dict__["build_dataset"]
    probe = FIXES["rect-validation"].probe
    assert probe(stock, stock) is None
    assert "no longer passes rect" in probe(DetectionTrainer.__dict__["preprocess_batch"], None)
    assert "takes rect" in probe(lab.train, None)


OLD = """
import importlib, json, logging, sys
from pathlib import Path
import torch
import yolo_nanfix
from make_datasets import make_dataset

compat = ["compat-numpy-trapz", "compat-pkg-resources", "compat-torch-load", "torchvision-operators-missing"]
yolo_nanfix.patch(*compat, guard=False)
home = importlib.import_module(sys.argv[1])
from ultralytics.nn.modules import SPPF
logging.disable(logging.CRITICAL)

class Positioned(SPPF):
    def forward(self, x):
        return super().forward(x) + self.position

class PositionTrainer(home.DetectionTrainer):
    def get_model(self, *args, **kwargs):
        model = super().get_model(*args, **kwargs)
        model.model[9].__class__ = Positioned
        model.model[9].position = torch.nn.Parameter(torch.zeros(1, 256, 3, 3))
        return model

def run():
    trainer = PositionTrainer(overrides=settings)
    try:
        trainer.train()
    except RuntimeError as error:
        return bool(trainer.test_loader.dataset.rect), str(error)
    return bool(trainer.test_loader.dataset.rect), ""

data = make_dataset(Path("set").resolve(), n_train=2, n_val=2, size=(96, 96), seed=1)
settings = {"model": "yolov8n.yaml", "data": str(data), "imgsz": 96, "epochs": 1, "batch": 2, "workers": 0}
settings |= {"device": "cpu", "plots": False, "project": "run", "mosaic": 0.0}
stock = run()
yolo_nanfix.patch("rect-validation", guard=False)
print(json.dumps([stock, run()]))
"""
"""Trains the model with a position embedding under an old release, stock and patched. argv: the trainer's module."""


@pytest.mark.parametrize(
    ("release", "home"),
    matrix(
        ("8.0.60", "ultralytics.yolo.v8.detect.train"),
        ("8.0.100", "ultralytics.yolo.v8.detect.train"),
        ("8.1.47", "ultralytics.models.yolo.detect.train"),
    ),
)
def test_old_releases_fail_and_are_cured_too(release, home):
    (rect, error), ours = json.loads(releases.run(release, OLD, home).splitlines()[-1])
    assert rect and MISMATCH in error
    assert ours == [False, ""]
