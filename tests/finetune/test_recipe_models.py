"""Recipes on every kind of model and task, and on older releases: what is frozen stays, and all train in the end."""

from __future__ import annotations

import json
import warnings

import lab
import pytest
import yaml
from healthy_specs import RTDETR as RTDETR_TINY
from make_datasets import make_dataset
from marks import matrix
from releases import ROOT, run
from scheduled import found, train, weights_and_norms

from yolo_nanfix.finetune import schedule
from yolo_nanfix.finetune.model_layers import layers_of
from yolo_nanfix.finetune.settled import RunFacts, settle

pytestmark = pytest.mark.usefixtures("unpatched")
DEFINITIONS = {
    "yolov8n.yaml": 10, "yolov5nu.yaml": 10, "yolov8n-seg.yaml": 10, "yolov8n-cls.yaml": 9, "yolov8n-pose.yaml": 10,
    "yolov8n-obb.yaml": 10, "yolov9t.yaml": 10, "yolov10n.yaml": 11, "yolo11n.yaml": 11, "yolo12n.yaml": 9,
    "yolo26n.yaml": 11, "rtdetr-l.yaml": 10,
}  # fmt: skip


def built(name):
    """A model of a definition."""
    import ultralytics

    return (ultralytics.RTDETR if "rtdetr" in name else ultralytics.YOLO)(name).model


@pytest.mark.parametrize("name", ["yolov8n.yaml", *matrix(*list(DEFINITIONS)[1:])])
def test_the_parts_are_those_of_the_definition(name):
    model = built(name)
    layers = layers_of(model)
    assert len(layers.parts["backbone"]) == DEFINITIONS[name] == len(model.yaml["backbone"])
    assert layers.count == len(model.model) == len(model.yaml["backbone"]) + len(model.yaml["head"])
    head = type(model.model[layers.parts["head"][0]]).__name__
    assert any(kind in head for kind in ("Detect", "Segment", "Pose", "OBB", "Classify", "RTDETRDecoder"))


TEXT = "freeze:\n- {layers: backbone, until: 1}\nlearning_rate: {backbone: 0.5, decay: 0.9}\nema: {tau: 50}"
OTHERS = ("yolov5nu.yaml", "yolov9t.yaml", "yolov10n.yaml", "yolo11n.yaml", "yolo12n.yaml", "yolo26n.yaml")


def course(seen, backbone):
    """Callbacks that keep copies of the backbone before the first epoch and after each."""

    def keep(trainer):
        seen.append(weights_and_norms(trainer, range(backbone)))

    return {"on_train_start": keep, "on_train_epoch_end": keep}


def check(seen, facts, backbone):
    """The backbone did not move in the first epoch, and did in the second."""
    start, first, second = seen
    assert all(value.equal(first[key]) for key, value in start.items())
    moved = {key for key in start if not second[key].equal(first[key])}
    assert any("running_mean" in key for key in moved) and len(moved) > len(start) / 2
    assert [len(fact["frozen"]) for fact in facts["happened"]] == [backbone, 0]


@pytest.mark.slow
@pytest.mark.parametrize(("task", "model"), [*lab.YOLOV8.items(), *matrix(*(("detect", name) for name in OTHERS))])
def test_the_backbone_stays_until_it_is_unfrozen(task, model, tmp_path):
    seen, recipe = [], found(TEXT, tmp_path)
    data = make_classes(tmp_path) if task == "classify" else make_set(tmp_path, task)
    settings = {"model": model, "imgsz": 64, "epochs": 2, "task": task, "optimizer": "auto"}
    with lab.bare():
        result, facts = train(data, tmp_path / "run", recipe, callbacks=course(seen, DEFINITIONS[model]), **settings)
    assert result.error is None
    check(seen, facts, DEFINITIONS[model])


@pytest.mark.slow
def test_so_it_is_with_rtdetr(tmp_path):
    from ultralytics.models.rtdetr.model import RTDETR
    from ultralytics.nn.tasks import RTDETRDetectionModel

    model = tmp_path / "tiny-rtdetr.yaml"
    model.write_text(yaml.safe_dump({**RTDETR_TINY, "nc": 4}))
    seen, facts, backbone = [], {}, len(RTDETR_TINY["backbone"])
    layers = layers_of(RTDETRDetectionModel(str(model), nc=4, verbose=False))
    _, settled = settle(found(TEXT, tmp_path), RunFacts({"epochs": 2}, {}, layers, "detect"))
    one = RTDETR(str(model))
    for event, function in course(seen, backbone).items():
        one.add_callback(event, function)
    settings = {"imgsz": 64, "batch": 4, "nbs": 4, "epochs": 2, "warmup_epochs": 0, "workers": 0, "device": "cpu"}
    settings |= {"plots": False, "optimizer": "AdamW"}
    place = {"data": str(make_set(tmp_path, "detect")), "project": str(tmp_path), "name": "run", "verbose": False}
    with warnings.catch_warnings(), lab.bare(), schedule.applied(settled, facts, lambda fact: None):
        warnings.simplefilter("ignore")
        one.train(**settings, **place)
    check(seen, facts, backbone)


def make_set(folder, task):
    return make_dataset(folder / "set", n_train=4, n_val=2, size=(64, 64), seed=1, task=task)


def make_classes(folder):
    """Two classes as folders of pictures."""
    import cv2
    import numpy as np

    for split in ("train", "val"):
        for number, name in enumerate(("dark", "light")):
            place = folder / "classes" / split / name
            place.mkdir(parents=True)
            for i in range(4):
                cv2.imwrite(str(place / f"{i}.png"), np.full((64, 64, 3), 50 + 150 * number + i, np.uint8))
    return folder / "classes"


RELEASE = """
import json, sys, pathlib
sys.path.insert(0, "HERE")
import yolo_nanfix
yolo_nanfix.patch()
import lab
from make_datasets import make_dataset
from scheduled import found, train, weights_and_norms
here, seen = pathlib.Path.cwd(), []
data = make_dataset(here / "set", n_train=8, n_val=2, size=(64, 64), seed=1)
def look(trainer):
    weights = {k: v for k, v in weights_and_norms(trainer, range(7)).items() if k.startswith("model.")}
    rates = sorted({g["initial_lr"] for g in trainer.optimizer.param_groups})
    seen.append((weights, rates, trainer.ema.decay(50)))
text = "freeze:\\n- {layers: backbone, until: 2}\\nlearning_rate: {backbone: 0.1}\\nema: {tau: 50}\\nwarmup: 0.1"
settings = {"model": lab.TINY, "imgsz": 64, "epochs": 4, "optimizer": "SGD"}
events = {"on_train_epoch_start": look, "on_train_epoch_end": look}
result, facts = train(data, here / "run", found(text, here), callbacks=events, **settings)
if result.error: raise result.error
def same(a, b):
    return all(v.equal(seen[b][0][k]) for k, v in seen[a][0].items())
print(json.dumps([same(0, 1), same(1, 3), same(3, 5), seen[-1][1:], [len(f["frozen"]) for f in facts["happened"]]]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("release", ["8.3.29", *matrix("8.0.150", "8.1.47", "8.4.79")])
def test_older_releases_follow_it_too(release):
    code = RELEASE.replace("HERE", str(ROOT / "tests" / "finetune"))
    told = json.loads(run(release, code).splitlines()[-1])
    frozen, still, moved, (rates, decay), happened = told
    assert (frozen, still, moved) == (True, True, False) and happened == [7, 0]
    assert rates == [0.001, 0.01] and decay == pytest.approx(0.9999 * (1 - 2.718281828459045**-1))
