"""Predictions that are not finite in validation: stock's metrics take them in, ours never see them, and say so."""

from __future__ import annotations

import json
from types import SimpleNamespace

import lab
import pytest
import torch
from make_datasets import make_dataset
from marks import matrix

import yolo_nanfix
from yolo_nanfix.guard import validation

pytestmark = pytest.mark.usefixtures("unpatched")
NAN = float("nan")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    tasks = ("detect", "segment", "pose", "obb")
    return {t: make_dataset(root / t, task=t, n_train=8, n_val=4, size=(64, 64), seed=1) for t in tasks}


def events(result):
    return json.loads((result.trainer.save_dir / "yolo-nanfix.json").read_text())["guard"]["events"]


def sure_nan(module, inputs, output):
    """Of the head: three boxes of NaN in the second image, all of them sure."""
    raw = output[0] if isinstance(output, (tuple, list)) else output
    raw = raw[0] if isinstance(raw, (tuple, list)) else raw
    if not module.training and len(raw) > 1:
        raw[1, :2, :3] = NAN
        raw[1, 4, :3] = 0.9


def unlike_anything(module, inputs, output):
    """Of a classifier: probabilities of NaN for the second image."""
    if not module.training and len(output[0]) > 1:
        output[0][1] = NAN


def spoilt(task, seen):
    """A user's trainer whose model gives sure boxes of NaN for the second val image; `seen` gets what metrics get."""

    class Spoilt(lab.trainer_class(task)):
        def get_validator(self):
            validator = super().get_validator()
            update = validator.update_metrics

            def update_metrics(made, batch):
                seen.extend(torch.cat([p["bboxes"].reshape(-1), p["conf"]]) for p in made)
                return update(made, batch)

            validator.update_metrics = update_metrics
            return validator

        def _setup_train(self, *args):
            super()._setup_train(*args)
            self.ema.ema.model[-1].register_forward_hook(sure_nan)

    return Spoilt


@pytest.mark.parametrize("task", ["detect", *matrix("segment", "pose", "obb")])
def test_boxes_of_nan_reach_stock_s_metrics_and_not_ours(task, data, tmp_path):
    stock_saw, saw = [], []
    settings = {"task": task, "epochs": 1, "model": lab.YOLOV8[task] if task != "detect" else lab.TINY}
    with lab.bare():
        lab.train(data[task], tmp_path / "stock", trainer=spoilt(task, stock_saw), **settings)
    with yolo_nanfix.patched():
        ours = lab.train(data[task], tmp_path / "ours", trainer=spoilt(task, saw), **settings)
    assert ours.error is None
    assert any(not bool(t.isfinite().all()) for t in stock_saw)
    assert len(saw) >= 4 and all(bool(t.isfinite().all()) for t in saw)
    event = next(e for e in events(ours) if e["checks"] == ["val-predictions"])
    assert (event["point"], event["epoch"]) == ("validation", 1) and lab.did(event)["predictions-left-out"]["count"] > 0
    (source,) = event["sources"]
    assert source["suspect"] == "6 predictions not finite" and source["file"].endswith(".jpg")


def test_a_validation_without_a_training(data, tmp_path):
    """Where nobody has patched, metrics get them."""
    from ultralytics import YOLO

    settings = {"data": str(data["detect"]), "imgsz": 64, "batch": 4, "device": "cpu", "plots": False, "workers": 0}
    settings |= {"project": str(tmp_path), "name": "val", "exist_ok": True, "verbose": False}

    def evaluated():
        seen = []
        model = YOLO(lab.TINY)
        model.model.model[-1].register_forward_hook(sure_nan)

        class Looks(model._smart_load("validator")):
            def update_metrics(self, made, batch):
                seen.extend(torch.cat([p["bboxes"].reshape(-1), p["conf"]]) for p in made)
                return super().update_metrics(made, batch)

        with lab.said() as messages:
            model.val(validator=Looks, **settings)
        return seen, [m for m in messages if "yolo-nanfix: predictions" in m]

    with lab.bare():
        stock, said = evaluated()
    assert not said and any(not bool(t.isfinite().all()) for t in stock)
    with yolo_nanfix.patched():
        ours, said = evaluated()
    assert len(said) == 1 and len(ours) == 4 and all(bool(t.isfinite().all()) for t in ours)
    with lab.bare():
        again, said = evaluated()
    assert not said and any(not bool(t.isfinite().all()) for t in again)


@pytest.mark.slow
def test_probabilities_of_nan_in_classification(data, tmp_path):
    import shutil

    for split in ("train", "val"):
        for i, source in enumerate(sorted((data["detect"].parent / "images" / split).glob("*.jpg"))):
            target = tmp_path / "classes" / split / "ab"[i % 2] / source.name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)

    targets = []

    class Spoilt(lab.trainer_class("classify")):
        def _setup_train(self, *args):
            super()._setup_train(*args)
            self.ema.ema.model[-1].register_forward_hook(unlike_anything)

        def validate(self):
            result = super().validate()
            targets.append(sum(map(len, self.validator.targets)))
            return result

    with yolo_nanfix.patched():
        ours = lab.train(tmp_path / "classes", tmp_path / "ours", task="classify", trainer=Spoilt, epochs=1)
    assert ours.error is None and targets == [3]
    found = [e for e in events(ours) if e["checks"] == ["val-predictions"]]  # in the epoch, and in the last evaluation
    assert all(lab.did(e) == {"predictions-left-out": {"did": "predictions-left-out"}} for e in found)


def test_rows_that_are_finite_stay_the_very_same():
    rows = {"bboxes": torch.rand(3, 4), "conf": torch.rand(3), "cls": torch.zeros(3), "keypoints": torch.rand(3, 2, 3)}
    made, gone = validation.finite_rows([rows, rows], {})
    assert gone == 0 and made[0] is rows
    faulty = {**rows, "keypoints": rows["keypoints"].clone()}
    faulty["keypoints"][1, 0, 0] = NAN
    made, gone = validation.finite_rows([rows, faulty], {1: 1})
    assert gone == 1 and made[0] is rows and torch.equal(made[1]["conf"], rows["conf"][[0, 2]])
    masks = {"conf": torch.rand(2), "masks": torch.tensor([[[True]], [[False]]])}
    assert validation.finite_rows([masks], {0: 4})[1] == 1 and validation.finite_rows([masks], {})[1] == 0
    old = [torch.tensor([[1.0, 2.0, 3.0, 4.0, 0.9, 0.0], [NAN, 2.0, 3.0, 4.0, 0.9, 0.0]])]
    (kept,), gone = validation.finite_rows(old, {})
    assert gone == 1 and len(kept) == 1
    pair, gone = validation.finite_rows((old, torch.zeros(1)), {})
    assert gone == 1 and len(pair) == 2
    assert validation.finite_rows(SimpleNamespace(), {})[1] == 0


def test_class_maps_and_depth_lose_the_image():
    made, batch = (
        torch.rand(3, 4, 4),
        {"img": torch.rand(3, 3, 4, 4), "semantic_mask": torch.arange(3)},
    )
    kept, part = validation.measured(lambda *given: given, made, {**batch, "im_file": ["a", "b", "c"]}, {1: 5})
    assert torch.equal(kept, made[[0, 2]]) and part["im_file"] == ["a", "c"]
    assert part["semantic_mask"].tolist() == [0, 2]
    assert validation.measured(lambda *given: given, made, batch, {0: 1, 1: 1, 2: 1}) is None


def test_one_read_tells_losses_and_predictions():
    good, bad = torch.zeros(2, 3), torch.tensor([[0.0, NAN, 1.0], [0.0, 0.0, 0.0]])
    assert validation.both_finite([torch.tensor(1.0)], good) == (True, True)
    assert validation.both_finite([torch.tensor(NAN)], (good, {"feats": bad})) == (False, True)
    assert validation.both_finite([], ((good, bad), None)) == (True, False)
    assert validation.both_finite([], None) == (True, True)
    assert validation.bad_images(bad, 2) == {0: 1}
