"""Tiny trainings that follow a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lab

from yolo_nanfix import upstream
from yolo_nanfix.finetune import recipe as recipes
from yolo_nanfix.finetune import schedule
from yolo_nanfix.finetune.model_layers import LayerNames, layers_of
from yolo_nanfix.finetune.settled import RunFacts, Settled, settle
from yolo_nanfix.numerics.finite import unwrapped

MICRO = str(Path(__file__).with_name("micro.yaml"))
"""Layers 0 to 3 are its backbone, 4 to 6 its neck, 7 its head."""
EIGHT = LayerNames({"backbone": range(4), "neck": range(4, 7), "head": range(7, 8)}, frozenset(("7.cv2", "0.conv")))
"""They, and two of its modules."""
PLAIN = {"translate": 0.0, "scale": 0.0, "fliplr": 0.0, "hsv_h": 0.0, "hsv_s": 0.0, "hsv_v": 0.0}
"""Nothing is drawn while images are read, so that a resumed run sees what an uninterrupted one sees."""


def found(text: str, folder: Path, name: str = "mine") -> recipes.Recipe:
    """A recipe of this text."""
    file = folder / f"{name}.yaml"
    file.write_text(f"version: 1\n{text}\n")
    return recipes.read_recipe(file)


def fitted(recipe: recipes.Recipe | recipes.Plan, **own: Any) -> tuple[dict[str, Any], Settled]:
    """The training arguments that a recipe adds to a user's own, and what is left for the schedule."""
    from ultralytics import YOLO

    loaded = YOLO(own.get("model", MICRO))
    facts = RunFacts(own, upstream.default_arguments(), layers_of(loaded.model), str(loaded.task))
    return settle(recipe, facts)


def train(data: Path, run: Path, recipe: recipes.Recipe | None, **arguments: Any) -> tuple[lab.Result, dict[str, Any]]:
    """Train by a recipe under whatever is patched now; also what is in the report about it."""
    own = {"model": MICRO, "imgsz": 32, "epochs": 4, **PLAIN, **arguments}
    facts: dict[str, Any] = {}
    add, settled = fitted(recipe, **own) if recipe and not own.get("resume") else ({}, None)
    with schedule.applied(settled, facts, lambda fact: None):
        return lab.train(data, run, **{**add, **own}), facts


def weights_and_norms(trainer: Any, layers: range) -> dict[str, Any]:
    """Copies of parameters and buffers of some layers, of the model and of its moving average."""
    states = {"model": unwrapped(trainer.model), "ema": trainer.ema.ema}
    return {
        f"{owner}.{key}": value.clone()
        for owner, model in states.items()
        for key, value in model.state_dict().items()
        if schedule.layer_of(key) in layers
    }
