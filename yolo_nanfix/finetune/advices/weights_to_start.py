"""Pretrained weights for a model definition."""

from __future__ import annotations

from pathlib import PurePath

from yolo_nanfix import training
from yolo_nanfix.finetune.case import Answer, Case, Value, advises
from yolo_nanfix.plans import Reason, Source, Strength

FEW_IMAGES = 5000
"""Below this many train images a model is not to begin with random weights."""
SOURCE = Source(
    "Ultralytics: tips for best training results, model selection",
    "https://docs.ultralytics.com/yolov5/tutorials/tips_for_best_training_results/",
)


@advises("pretrained", SOURCE, Strength.RULE)
def advise(case: Case) -> Answer:
    """Pretrained weights where `model` is a definition of Ultralytics' own and the set is small.

    The guide recommends pretrained weights for small and medium sets, and random ones for sets as large as COCO. With
    `model=X.yaml` Ultralytics begins with random weights, also under its default `pretrained=True`.
    """
    model = PurePath(case.model)
    if model.suffix not in (".yaml", ".yml") or case.images >= FEW_IMAGES:
        return None
    weights = model.with_suffix(".pt").name
    if not training.is_published(weights):
        return None
    figures = {"model": model.name, "images": case.images, "few": FEW_IMAGES}
    return Value(weights, Reason.FROM_SCRATCH, figures)
