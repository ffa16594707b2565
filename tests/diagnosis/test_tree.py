"""The decision tree as a function: evidence in, verdict out."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from yolo_nanfix.diagnosis.bisect import Guilt
from yolo_nanfix.diagnosis.evidence import Evidence, Growth, growth, rise
from yolo_nanfix.diagnosis.labels import Origin
from yolo_nanfix.diagnosis.replay import Outcome
from yolo_nanfix.diagnosis.scan import Scan
from yolo_nanfix.diagnosis.trace import Leaf, Note, Root
from yolo_nanfix.diagnosis.tree import LOOKED, SEEN, SURE, decide
from yolo_nanfix.incident import Incident
from yolo_nanfix.verdicts import Cause

CLEAN = Scan({}, (), {}, {}, (), (), (0, 1))
FACTS = {
    "precision": "float32",
    "lr": [0.01],
    "base_lr": 0.01,
    "args": {"lr0": 0.01, "model": "yolov8n.pt", "data": "data.yaml"},
}
FILES = ("a.jpg", "b.jpg")


def note(**changes):
    made = {"number": 0, "op": "aten.log", "module": "loss", "code": "ultralytics/utils/loss.py:5", "phase": "forward"}
    made |= {"dtype": "float32", "nan": True, "parents": (), "constant": False, "largest": 3.0, "smallest": -1.0}
    return Note(**{**made, "changed": False, **changes})


def failed(leaf="", phase="forward", **changes):
    made = note(phase=phase, **changes)
    return Outcome(bad=("loss",), phase=phase, root=Root(made, Leaf(leaf, True) if leaf else None))


def evidence(**changes):
    return Evidence(**{"facts": FACTS, "files": FILES, "scan": CLEAN, "by_release": True, **changes})


CASES = {
    "pixels": (
        evidence(scan=replace(CLEAN, pixels={1: "2 pixel values not finite"}), outcome=failed("batch.img")),
        (Cause.DATA, SURE),
    ),
    "pixels beyond float16": (
        evidence(scan=replace(CLEAN, pixels={1: "a pixel value of 4e+05"}, beyond=(1,)), outcome=failed()),
        (Cause.DATA, SURE),
    ),
    "labels": (
        evidence(
            scan=replace(CLEAN, rows={0: "bboxes not finite"}), outcome=Outcome(), origins=(Origin("a.txt:1", "a.jpg"),)
        ),
        (Cause.LABEL, SURE),
    ),
    "weights": (
        evidence(scan=replace(CLEAN, state=("model.0.conv.weight",)), outcome=failed("model.0.conv.weight")),
        (Cause.STATE, SURE),
    ),
    "optimizer": (evidence(scan=replace(CLEAN, optimizer=("w.momentum_buffer",))), (Cause.STATE, SURE)),
    "grown weights": (
        evidence(outcome=failed(), healthy_with_earlier_weights=True, growth=Growth("w", 50.0, 3.0)),
        (Cause.LEARNING_RATE, SURE),
    ),
    "grown weights that are not the reason": (
        evidence(outcome=failed(), healthy_with_earlier_weights=False, growth=Growth("w", 50.0, 3.0)),
        (Cause.NUMERICS, SEEN),
    ),
    "divergence": (
        evidence(facts={**FACTS, "check": "divergence", "detail": "the loss is 0"}, outcome=Outcome(norm=1.0)),
        (Cause.LEARNING_RATE, LOOKED),
    ),
    "explosion": (
        evidence(outcome=failed(phase="backward", largest=1e30, nan=False)),
        (Cause.GRADIENT, SEEN),
    ),
    "norm": (evidence(outcome=Outcome(norm=1e25)), (Cause.GRADIENT, SEEN)),
    "half": (
        evidence(facts={**FACTS, "precision": "float16"}, outcome=failed(), healthy_in_float32=True),
        (Cause.PRECISION, SURE),
    ),
    "half is not the reason": (
        evidence(facts={**FACTS, "precision": "float16"}, outcome=failed(), healthy_in_float32=False),
        (Cause.NUMERICS, SEEN),
    ),
    "own code": (evidence(outcome=failed(code="losses.py:3"), by_release=False), (Cause.DEFINITION, SURE)),
    "healthy": (evidence(outcome=Outcome(norm=4.0)), (Cause.NONDETERMINISTIC, LOOKED)),
    "no replay": (evidence(why_not="no batch"), (Cause.UNKNOWN, 0.0)),
}


@pytest.mark.parametrize("name", CASES)
def test_cause_and_confidence(name):
    given, wanted = CASES[name]
    verdict = decide(given)
    assert (verdict.cause, verdict.confidence) == wanted
    assert verdict.advice and len(verdict.evidence) >= 2
    assert decide(given) == verdict


def test_data_comes_before_state_and_state_before_precision():
    sick = replace(CLEAN, pixels={0: "1 pixel values not finite"}, state=("w",))
    facts = {**FACTS, "precision": "float16"}
    given = evidence(facts=facts, scan=sick, outcome=failed("batch.img"), healthy_in_float32=True)
    assert decide(given).cause is Cause.DATA
    assert decide(replace(given, scan=replace(sick, pixels={}))).cause is Cause.STATE


def test_without_time_to_ask_image_by_image_those_that_look_sick_are_named():
    verdict = decide(CASES["pixels"][0])
    assert (verdict.images, verdict.tensor) == (("b.jpg",), "batch.img")


def test_large_pixels_that_do_no_harm_are_not_blamed():
    scan = replace(CLEAN, pixels={0: "a pixel value of 2e+03, after division by 255"})
    verdict = decide(evidence(scan=scan, outcome=failed(), guilt=Guilt(said="no image fails alone")))
    assert verdict.cause is Cause.NUMERICS and verdict.images == ()


def test_the_learning_rate_is_proposed_by_what_was_given_for_it():
    given = CASES["grown weights"][0]
    assert "lr0=0.00123" in decide(given, lambda e: 0.00123).advice[0]
    assert "lr0=0.001 " in decide(given).advice[0]


def test_the_patch_of_the_function_is_named():
    verdict = decide(evidence(outcome=failed(), patches=("mask-area-zero",)))
    assert any("yolo_nanfix.patch('mask-area-zero')" in line for line in verdict.advice)


def test_growth_and_rise():
    now, then = {"w": torch.full((4,), 30.0)}, {"w": torch.ones(4)}
    tensors = {f"model.{k}": v for k, v in now.items()} | {f"earlier.{k}": v for k, v in then.items()}
    seen = growth(Incident({}, tensors))
    assert (seen.name, seen.factor, seen.distance) == ("w", 30.0, 29.0)
    assert growth(Incident({}, {"model.w": now["w"]})) is None
    assert rise([{"loss": v} for v in (1.0, 1.0, 2.0, 40.0)], "loss") == 40.0
    assert rise([{"loss": 1.0}], "loss") is None and rise([{"loss": 1.0, "norm": None}] * 6, "norm") is None
