"""RT-DETR, which computes with infinities on purpose, and classification, which has no label rows."""

from __future__ import annotations

import copy
import warnings

import pytest
import torch

from yolo_nanfix.diagnosis.examine import examine
from yolo_nanfix.incident import Incident
from yolo_nanfix.verdicts import Cause


def incident_of(model, batch):
    torch.manual_seed(1)
    rng = torch.get_rng_state()
    before = {f"model.{k}": v.clone() for k, v in model.state_dict().items()}
    _, items = copy.deepcopy(model)({k: v.clone() for k, v in batch.items()})
    facts = {"precision": "float32", "loss": {k: float(v) for k, v in items.items()}}
    facts["sources"] = [{"file": f"{i}.jpg"} for i in range(len(batch["img"]))]
    return Incident(facts, {**before, "rng.cpu": rng, **{f"batch.{k}": v for k, v in batch.items()}})


@pytest.fixture(scope="module")
def rtdetr():
    from ultralytics.nn.tasks import RTDETRDetectionModel

    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = RTDETRDetectionModel("yolov8n-rtdetr.yaml", nc=4, verbose=False)
    model.nc = 4
    batch = {"img": torch.rand(2, 3, 64, 64), "batch_idx": torch.tensor([0.0, 0, 1])}
    return model.train(), batch | {"cls": torch.tensor([[0.0], [1], [2]]), "bboxes": torch.rand(3, 4) * 0.4 + 0.2}


def test_a_healthy_rtdetr_is_not_blamed_for_its_infinite_anchors(rtdetr, bench):
    model, batch = rtdetr
    verdict = examine(incident_of(model, batch), model)
    assert verdict.cause is Cause.NONDETERMINISTIC and verdict.reproduced


def test_a_faulty_weight_in_its_decoder_is_named_not_the_anchors(rtdetr, bench):
    model, batch = copy.deepcopy(rtdetr[0]), rtdetr[1]
    model.model[-1].decoder.layers[1].linear1.weight.data[0, 0] = float("nan")
    verdict = examine(incident_of(model, batch), model)
    name = f"model.{len(model.model) - 1}.decoder.layers.1.linear1"
    assert (verdict.cause, verdict.tensor, verdict.module) == (Cause.STATE, f"{name}.weight", name)
    assert verdict.op in ("aten.addmm", "aten.linear", "aten.mm")


@pytest.mark.parametrize("value", (float("nan"), 1e30))
def test_the_image_of_a_classifier_is_named(value, bench):
    from ultralytics.nn.tasks import ClassificationModel

    torch.manual_seed(0)
    model = ClassificationModel("yolov8n-cls.yaml", nc=4, verbose=False).train()
    batch = {"img": torch.rand(4, 3, 64, 64), "cls": torch.tensor([0, 1, 2, 3])}
    batch["img"][2, 0, :9] = value
    verdict = examine(incident_of(model, batch), model)
    assert (verdict.cause, verdict.images) == (Cause.DATA, ("2.jpg",))
