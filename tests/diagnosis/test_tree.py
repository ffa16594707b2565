"""The decision tree as a function: evidence in, verdict out."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from yolo_nanfix.diagnosis import scan as scans
from yolo_nanfix.diagnosis.bisect import Bisection
from yolo_nanfix.diagnosis.evidence import Evidence, Growth, Lack, growth, rise
from yolo_nanfix.diagnosis.label_lines import Origin
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
        evidence(facts={**FACTS, "checks": ["divergence"], "detail": "the loss is 0"}, outcome=Outcome(norm=1.0)),
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
    faulty = replace(CLEAN, pixels={0: "1 pixel values not finite"}, state=("w",))
    facts = {**FACTS, "precision": "float16"}
    given = evidence(facts=facts, scan=faulty, outcome=failed("batch.img"), healthy_in_float32=True)
    assert decide(given).cause is Cause.DATA
    assert decide(replace(given, scan=replace(faulty, pixels={}))).cause is Cause.STATE


def test_without_time_to_ask_image_by_image_those_that_look_faulty_are_named():
    verdict = decide(CASES["pixels"][0])
    assert (verdict.images, verdict.tensor) == (("b.jpg",), "batch.img")


def test_large_pixels_that_do_no_harm_are_not_blamed():
    scan = replace(CLEAN, pixels={0: "a pixel value of 2e+03, after division by 255"})
    verdict = decide(evidence(scan=scan, outcome=failed(), bisection=Bisection(said="no image fails alone")))
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


def test_settings_are_named_before_what_they_ruin():
    faulty = {"group": 1, "name": "weight_decay", "value": "nan", "epoch": 2, "step": 8}
    verdict = decide(evidence(groups=scans.OptimizerGroups(non_finite=(faulty,)), scan=replace(CLEAN, state=("w",))))
    assert (verdict.cause, verdict.tensor) == (Cause.SETTING, "optimizer.groups.1.weight_decay")
    assert "weight decay of optimizer group 1 is nan since step 8 (epoch 2)" in verdict.summary
    odd = scans.groups({"groups": [{"lr": 0.01, "weight_decay": 1e8}, {"lr": 0.01, "weight_decay": 0.0005}]})
    ruined = decide(evidence(groups=odd, scan=replace(CLEAN, state=("w",))))
    assert (ruined.cause, ruined.tensor) == (Cause.SETTING, "optimizer.groups.0.weight_decay")
    assert decide(evidence(groups=odd, outcome=Outcome(norm=4.0))).cause is Cause.NONDETERMINISTIC


@pytest.mark.parametrize(("healthy", "cause"), ((True, Cause.SETTING), (False, Cause.NUMERICS)))
def test_an_odd_argument_is_blamed_if_the_usual_one_is_healthy(healthy, cause):
    odd = scans.arguments({"box": 1e39, "cls": 0.7, "epochs": 100000}, {"box": 7.5, "cls": 0.5, "epochs": 100})
    assert odd == {"box": 1e39}
    given = evidence(outcome=failed(), odd_arguments=odd, usual_arguments={"box": 7.5})
    verdict = decide(replace(given, healthy_with_usual_arguments=healthy))
    assert verdict.cause is cause and (verdict.tensor == "args.box") is healthy


def test_a_weight_that_was_set_is_named_and_no_learning_rate():
    grown = Growth("w", 1e30, 1e29, jumped=("w",), rest=0.01, count=40)
    given = evidence(outcome=failed(), growth=grown, healthy_with_earlier_weights=True, healthy_without_large=True)
    verdict = decide(replace(given, large={"w": 1e30}))
    assert (verdict.cause, verdict.tensor) == (Cause.STATE, "w")
    driven = replace(grown, rest=0.6)
    assert decide(replace(given, growth=driven, large={"w": 1e30})).cause is Cause.LEARNING_RATE


def test_what_a_loss_keeps_is_named_with_the_incident_since_which():
    given = evidence(outcome=failed("criterion.proj"), kept={"criterion.proj": {"value": "nan", "since": 3}})
    verdict = decide(given)
    assert (verdict.cause, verdict.tensor) == (Cause.STATE, "criterion.proj")
    assert "not finite since incident 3" in verdict.summary


def test_a_healthy_replay_that_lacks_something_is_no_matter_of_hardware():
    given = evidence(
        outcome=Outcome(norm=4.0), lacks=(Lack("function", "ultralytics.utils.loss:bbox_iou", "run.py:6"),)
    )
    verdict = decide(given)
    assert verdict.cause is Cause.UNKNOWN and "run.py:6" in verdict.summary
    assert not any("hardware" in line for line in verdict.advice)


def test_a_number_that_is_not_finite_is_not_called_a_divisor():
    verdict = decide(
        evidence(outcome=failed(op="aten.div", code="own.py:3", given="nan", names=("mean",)), by_release=False)
    )
    assert verdict.cause is Cause.DEFINITION and "mean" in verdict.summary
    assert not any("divisor" in line for line in verdict.advice)


@pytest.mark.parametrize(("images", "cause"), [((), Cause.STATE), ((1,), Cause.NUMERICS)])
def test_a_kept_infinity_from_which_alone_a_nan_comes_is_state_unless_one_image_does_it(images, cause):
    weight = Leaf("criterion.bce.pos_weight", False, True)
    outcome = Outcome(bad=("loss",), phase="forward", root=Root(note(parents=(weight,)), None))
    kept = {weight.name: {"value": "1 of 2 values", "since": 1}}
    verdict = decide(evidence(outcome=outcome, kept=kept, bisection=Bisection(images)))
    assert (verdict.cause, verdict.tensor) == (cause, weight.name if cause is Cause.STATE else "")


@pytest.mark.parametrize(("float32", "wanted"), [(None, SEEN), (False, SURE), (True, SURE)])
def test_in_half_precision_own_code_is_blamed_with_full_confidence_only_after_float32(float32, wanted):
    facts = {**FACTS, "precision": "bfloat16"}
    outcome = failed(code="losses.py:3")
    verdict = decide(evidence(facts=facts, outcome=outcome, by_release=False, healthy_in_float32=float32))
    assert verdict.cause is (Cause.PRECISION if float32 else Cause.DEFINITION) and verdict.confidence == wanted


MAPS = replace(CLEAN, maps={1: "masks"})


@pytest.mark.parametrize(
    ("on_disk", "faulty", "cause", "images"),
    [
        ("finite", (1,), Cause.DEFINITION, ("b.jpg",)),
        ("not-finite", (1,), Cause.LABEL, ("b.jpg",)),
        ("finite", (), Cause.NUMERICS, ()),
    ],
)
def test_a_mask_is_blamed_if_its_image_alone_fails_and_the_file_if_it_is_so_on_disk(on_disk, faulty, cause, images):
    facts = {**FACTS, "sources": [{"on_disk": "finite"}, {"on_disk": on_disk}]}
    verdict = decide(evidence(facts=facts, scan=MAPS, outcome=failed(), bisection=Bisection(faulty)))
    assert (verdict.cause, verdict.images) == (cause, images)
    assert ("masks" in verdict.summary) is bool(faulty)
