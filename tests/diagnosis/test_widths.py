"""Fine-tuned from weights for another number of classes, the commonest training: the model is rebuilt as it was."""

from __future__ import annotations

import warnings

import lab
import pytest
import torch
from make_datasets import make_dataset

import yolo_nanfix
from yolo_nanfix.diagnosis import rebuild
from yolo_nanfix.errors import DataError
from yolo_nanfix.incident import Incident

CLASSES = {"detect": "DetectionModel", "segment": "SegmentationModel", "pose": "PoseModel", "obb": "OBBModel"}
MODELS = (
    ("detect", lab.TINY),
    ("detect", "yolov5n.yaml"),
    ("detect", "yolov8n.yaml"),
    ("detect", "yolov9t.yaml"),
    ("detect", "yolov10n.yaml"),
    ("detect", "yolo11n.yaml"),
    ("detect", "yolo12n.yaml"),
    ("detect", "yolo26n.yaml"),
    ("segment", "yolov8n-seg.yaml"),
    ("pose", "yolo11n-pose.yaml"),
    ("obb", "yolov8n-obb.yaml"),
)


def tuned(task, name):
    """A model for 3 classes with the weights of one for 80, as Ultralytics loads them, and its incident."""
    from ultralytics.cfg import get_cfg
    from ultralytics.nn import tasks

    cls = getattr(tasks, CLASSES[task])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = cls(name, nc=3, verbose=False)
        model.load(cls(name, nc=80, verbose=False), verbose=False)
    model.args, model.nc = get_cfg(), 3
    facts = {
        "model": {"class": f"{cls.__module__}:{cls.__qualname__}", "yaml": model.yaml, "nc": 3, "ch": 3},
        "args": {},
    }
    return model.train(), Incident(facts, {f"model.{k}": v.clone() for k, v in model.state_dict().items()})


@pytest.mark.parametrize(("task", "name"), MODELS, ids=lambda value: str(value).rpartition("/")[2])
def test_the_class_branches_have_the_widths_of_the_checkpoint(task, name):
    model, incident = tuned(task, name)
    fresh = rebuild.build_model(incident)
    assert {k: v.shape for k, v in fresh.state_dict().items()} == {k: v.shape for k, v in model.state_dict().items()}
    images = torch.rand(2, 3, 64, 64)
    made, again = (list(_tensors(m(images))) for m in (model, fresh))
    assert len(made) == len(again) and all(torch.equal(a, b) for a, b in zip(made, again, strict=True))


def _tensors(outputs):
    if isinstance(outputs, torch.Tensor):
        yield outputs
    else:
        for value in outputs.values() if isinstance(outputs, dict) else outputs:
            yield from _tensors(value)


def test_widths_outside_of_the_class_branches_are_refused():
    _, incident = tuned("detect", lab.TINY)
    for name in ("model.model.0.conv.weight", "model.model.7.cv2.0.0.conv.weight", "model.model.7.cv3.0.2.weight"):
        odd = Incident(incident.facts, {**incident.tensors, name: torch.zeros(5, 3, 7, 7)})
        with pytest.raises(DataError, match=r"has the shape \(5, 3, 7, 7\)"):
            rebuild.build_model(odd)


def test_a_run_from_other_weights_is_diagnosed_with_a_model_built_anew(tmp_path, unpatched):
    data = make_dataset(tmp_path / "data", n_train=8, n_val=2, size=(64, 64), seed=3)
    yolo_nanfix.patch()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from ultralytics import YOLO

        YOLO(lab.TINY).save(tmp_path / "eighty.pt")
    arguments = {"model": str(tmp_path / "eighty.pt"), "pretrained": True, "epochs": 1}
    run = lab.train(data, tmp_path / "run", trainer=lab.poisoned("detect", {(0, 1)}), **arguments)
    assert run.error is None and run.trainer.model.model[-1].cv3[0][-1].in_channels == 80
    verdict = yolo_nanfix.diagnose(tmp_path / "run")
    assert verdict.tensor == "batch.img" and verdict.reproduced
