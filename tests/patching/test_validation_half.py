"""Validation in float16 inside real trainings of old releases: the EMA patch and the patch of the loss.

These releases cast to float16 on a GPU alone, so the tests fix the validator's `args.half`, which it sets itself.
"""

from __future__ import annotations

import json

import pytest
from marks import matrix
from releases import run

COMMON = """
import json
from pathlib import Path

import lab
import torch
from make_datasets import make_dataset

import yolo_nanfix

COMPAT = [f"compat-{name}" for name in ("numpy-trapz", "pkg-resources", "torch-load")]
yolo_nanfix.patch("torchvision-operators-missing", *COMPAT)


def halved(validator):
    "A validator that casts to float16 on the CPU too."
    always = property(lambda self: True, lambda self, value: None)
    validator.args.__class__ = type("Halved", (type(validator.args),), {"half": always})
    return validator
"""

TRAININGS = """
from ultralytics.models.yolo.detect import DetectionTrainer

NAME = "ema-halved-in-validation"
data = make_dataset(Path("set"), n_train=8, n_val=4, size=(64, 64), seed=1)


class Trainer(DetectionTrainer):
    "A trainer that validates in float16 and leaves out the last validation, which is of another model."

    def get_validator(self):
        return halved(super().get_validator())

    def final_eval(self):
        pass


def widen(trainer):
    "One channel of the EMA has a large, finite variance in the first validation."
    if trainer.epoch == 0:
        trainer.ema.ema.model[1].bn.running_var[0] = 1e5


def result(trainer, callbacks=None, **arguments):
    torch.manual_seed(0)
    done = lab.train(data, Path("runs/x"), trainer=trainer, callbacks=callbacks, **arguments)
    if done.error and "no checkpoint was saved" not in str(done.error):
        raise done.error
    ema = done.trainer.ema.ema
    rows = [{k.strip(): v for k, v in row.items()} for row in done.rows()]
    return {
        "inf": lab.not_finite(ema.state_dict().values()),
        "dtypes": sorted({str(v.dtype) for v in ema.state_dict().values()}),
        "left on the model": sorted({"half", "float", "forward"} & set(vars(ema))),
        "val": [float(rows[-1][f"val/{name}_loss"]) for name in ("box", "cls", "dfl")],
        "train": done.losses,
    }


answer = {}
for who in ("stock", "ours"):
    if who == "ours":
        yolo_nanfix.patch(NAME, "torchvision-operators-missing", *COMPAT)
    answer[who] = {
        "half": result(Trainer, {"on_train_epoch_end": widen}),
        "full": result(None),
    }
print(json.dumps(answer))
"""


@pytest.fixture(scope="module", params=(*matrix("8.1.47"), "8.4.60"))
def trainings(request):
    return json.loads(run(request.param, COMMON + TRAININGS).splitlines()[-1])


def test_a_wide_channel_stays_finite_in_the_ema(trainings):
    assert trainings["stock"]["half"]["inf"] >= 1
    ours = trainings["ours"]["half"]
    assert ours["inf"] == 0
    assert ours["left on the model"] == []
    assert ours["dtypes"] == ["torch.float32", "torch.int64"]


def test_validation_gives_the_losses_of_float32(trainings):
    """To the rounding of float16 in the network; stock's losses are rounded once more, in the loss."""
    exact = trainings["stock"]["full"]["val"]
    assert trainings["stock"]["half"]["val"] != pytest.approx(exact, rel=0.2)
    assert trainings["ours"]["half"]["val"] == pytest.approx(exact, rel=5e-3)


def test_training_and_float32_validation_are_bit_identical(trainings):
    assert trainings["stock"]["full"] == trainings["ours"]["full"]
    assert trainings["ours"]["half"]["train"] == trainings["ours"]["full"]["train"]


LOSSES = """
from ultralytics.cfg import get_cfg
from ultralytics.nn.tasks import DetectionModel, RTDETRDetectionModel

NAME = "val-loss-half-precision"


def in_float16(x):
    if isinstance(x, (list, tuple)):
        return type(x)(map(in_float16, x))
    return x.half() if isinstance(x, torch.Tensor) and x.is_floating_point() else x


def losses(model, half):
    "What a validator adds up for one batch: the loss items of a model in evaluation mode, float16 or float32."
    torch.manual_seed(0)
    vars(model).pop("criterion", None)  # is made anew for each dtype
    vars(model)["_modules"].pop("criterion", None)
    images = torch.rand(1, 3, 320, 320)
    with torch.no_grad():
        outputs = model.float()(images)
        model = model.half() if half else model
        if half and model is detect:
            outputs = model(images.half())
        elif half:  # the deformable attention of torch gives NaN at random in float16 on a CPU
            outputs = in_float16(outputs)
    batch = {
        "img": images.half() if half else images,
        "cls": torch.zeros(1, 1),
        "bboxes": torch.tensor([[0.5, 0.5, 0.3, 0.3]]),
        "batch_idx": torch.zeros(1),
    }
    with torch.no_grad():
        items = model.loss(batch, outputs)[1]
    return [str(items.dtype), items.tolist()]


torch.manual_seed(0)
detect = DetectionModel("yolov8n.yaml", nc=80, verbose=False).eval()
detect.args = get_cfg()
for head in detect.model[-1].cv3:
    torch.nn.init.zeros_(head[-1].bias)
layers = [[-1, 1, "Conv", [channels, 3, 2]] for channels in (16, 32, 64, 64)]
small = {"nc": 80, "backbone": layers, "head": [[[2, 3], 1, "RTDETRDecoder", ["nc", 64, 50, 4, 4, 3]]]}
rtdetr = RTDETRDetectionModel(small, verbose=False).eval()
rtdetr.nc = 80
answer = {}
for name, model in (("detect", detect), ("rtdetr", rtdetr)):
    stock = [losses(model, half) for half in (True, False)]
    with yolo_nanfix.patched(NAME):
        ours = [losses(model, half) for half in (True, False)]
    answer[name] = [stock, ours]
print(json.dumps(answer))
"""


@pytest.fixture(scope="module", params=(*matrix("8.0.191"), "8.4.60"))
def losses(request):
    return json.loads(run(request.param, COMMON + LOSSES).splitlines()[-1])


def test_the_sum_over_classes_is_inf_in_stock_and_that_of_float32_in_ours(losses):
    """320 px, 80 classes at a probability of one half: 2 100 anchors x 80 x ln 2 is 116 000."""
    (stock, exact), (ours, _) = losses["detect"]
    assert stock[1][1] == float("inf")
    assert ours[1] == pytest.approx(exact[1], rel=2e-3)
    assert ours[0] == "torch.float32"


def test_the_loss_of_rtdetr_is_computed_in_float32_too(losses):
    (stock, exact), (ours, _) = losses["rtdetr"]
    assert ours[0] == "torch.float32"
    assert stock[1] != pytest.approx(exact[1], rel=3e-3)
    assert ours[1] == pytest.approx(exact[1], rel=1e-3)


@pytest.mark.parametrize("model", ("detect", "rtdetr"))
def test_losses_of_float32_predictions_are_bit_identical(losses, model):
    (_, stock), (_, ours) = losses[model]
    assert stock == ours
