"""Putting and undoing patches: any order, twice, by name, refused, in modules loaded later."""

from __future__ import annotations

import contextlib
import importlib
import itertools
import subprocess
import sys
from dataclasses import replace

import pytest
import ultralytics.utils.loss as loss_module
import ultralytics.utils.metrics as metrics
import ultralytics.utils.tal as tal
from ultralytics.engine.trainer import BaseTrainer
from ultralytics.models.yolo.detect import DetectionTrainer
from ultralytics.utils.loss import v8SegmentationLoss

import yolo_nanfix
from yolo_nanfix import upstream
from yolo_nanfix.cards import load_all
from yolo_nanfix.errors import PatchRefused, UsageError
from yolo_nanfix.patching import engine
from yolo_nanfix.patching.fixes import load_fixes

pytestmark = pytest.mark.usefixtures("unpatched")


def standing():
    """The objects at every place that the default patches and the guard replace."""
    return [
        metrics.bbox_iou,
        loss_module.bbox_iou,
        tal.bbox_iou,
        vars(v8SegmentationLoss)["single_mask_loss"],
        vars(DetectionTrainer)["build_dataset"],
        vars(BaseTrainer)["__init__"],
    ]


def test_importing_changes_nothing():
    code = (
        "import ultralytics.utils.metrics as m, ultralytics.engine.trainer as t;"
        "a = m.bbox_iou, t.BaseTrainer.__init__; import yolo_nanfix, yolo_nanfix.api;"
        "assert a == (m.bbox_iou, t.BaseTrainer.__init__); assert not yolo_nanfix.status().guard"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_patch_replaces_every_holder_and_unpatch_restores_the_very_same_objects():
    before = standing()
    yolo_nanfix.patch()
    assert all(a is not b for a, b in zip(before, standing(), strict=True))
    assert metrics.bbox_iou is loss_module.bbox_iou is tal.bbox_iou
    yolo_nanfix.unpatch()
    assert all(a is b for a, b in zip(before, standing(), strict=True))


def test_torchvision_is_fixed_before_anything_imports_ultralytics():
    """Releases before 8.4 import torchvision when ultralytics is imported."""
    chosen = [card.name for card in engine._choose([], engine.Choice())]
    installing = [name for name in chosen if load_fixes()[name].install]
    assert "torchvision-operators-missing" in installing == chosen[: len(installing)]
    assert sorted(chosen) == sorted(name for name, card in load_all().items() if card.default != "off")


def test_twice_is_once():
    yolo_nanfix.patch(guard=False)
    once = standing()
    yolo_nanfix.patch(guard=False)
    assert all(a is b for a, b in zip(once, standing(), strict=True))


LATE = "ultralytics.models.utils.ops"
STEPS = {
    "import": lambda: _fresh(LATE),
    "patch": lambda: yolo_nanfix.patch(guard=False),
    "again": lambda: yolo_nanfix.patch(guard=False),
    "unpatch": yolo_nanfix.unpatch,
}


def _fresh(name):
    return importlib.import_module(name)


ORDERS = [
    pytest.param(order, id="-".join(order), marks=[pytest.mark.matrix] if i % 3 else [])
    for i, order in enumerate(itertools.permutations(STEPS))
]


@pytest.mark.parametrize("order", ORDERS)
def test_any_order_of_import_patch_and_unpatch(order, monkeypatch):
    before = standing()
    _fresh(LATE)
    monkeypatch.setattr(sys.modules["ultralytics.models.utils"], "ops", sys.modules[LATE])  # both come back after
    monkeypatch.delitem(sys.modules, LATE)
    for step in order:
        STEPS[step]()
    on = order.index("unpatch") < max(order.index("patch"), order.index("again"))
    late = sys.modules[LATE]
    assert (late.bbox_iou is not before[0]) == on
    assert late.bbox_iou is metrics.bbox_iou
    yolo_nanfix.unpatch()
    assert late.bbox_iou is before[0]
    assert all(a is b for a, b in zip(before, standing(), strict=True))


def test_patched_restores_after_an_exception_and_keeps_what_was_on():
    yolo_nanfix.patch("rect-validation", rect="stock")
    inside = vars(DetectionTrainer)["build_dataset"]
    with pytest.raises(KeyError), yolo_nanfix.patched(rect="off"):
        assert dict(engine.snapshot()["rect-validation"]) == {"rect": "off"}
        raise KeyError
    assert dict(engine.snapshot()) == {"rect-validation": {"rect": "stock"}}
    assert vars(DetectionTrainer)["build_dataset"] is not inside  # put anew, with the old parameters
    assert yolo_nanfix.status().guard is None


def test_a_named_set_comes_without_the_guard_and_a_default_set_with_it():
    assert yolo_nanfix.patch("mask-area-zero").guard is None
    assert yolo_nanfix.patch("mask-area-zero", guard=True, max_bad_in_a_row=3).guard.max_bad_in_a_row == 3
    states = {p.name: p.state for p in yolo_nanfix.status().patches}
    assert states["mask-area-zero"] == "on" and states["box-iou-half-precision"] == "off"
    assert states["attention-logits-half"] == "fixed"  # not chosen, but the release is told all the same
    assert yolo_nanfix.patch().guard.max_bad_in_a_row == 3  # what a call does not mention stays
    yolo_nanfix.unpatch()
    assert yolo_nanfix.patch().guard.max_bad_in_a_row == 10
    assert yolo_nanfix.patch("mask-area-zero").guard is not None
    assert yolo_nanfix.patch(guard=False).guard is None


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: yolo_nanfix.patch("rect-validaton"), "did you mean 'rect-validation'"),
        (lambda: yolo_nanfix.patch(rekt="off"), "did you mean 'rect'"),
        (lambda: yolo_nanfix.patch(rect="sometimes"), "must be one of off, auto, stock"),
        (lambda: yolo_nanfix.patch(min_area_px="big"), "must be a float"),
        (lambda: yolo_nanfix.patch(guard=False, max_bad_in_a_row=3), "add guard=True"),
        (lambda: yolo_nanfix.patch(max_bad_in_a_row=0), "at least 1"),
        (lambda: yolo_nanfix.patch(max_bad_in_a_row="x"), "must be an int"),
    ],
)
def test_wrong_names_and_values_change_nothing(call, says):
    before = standing()
    with pytest.raises(UsageError, match=says):
        call()
    assert all(a is b for a, b in zip(before, standing(), strict=True))


def with_card(monkeypatch, name, **changes):
    cards = dict(load_all())
    cards[name] = replace(cards[name], **changes)
    monkeypatch.setattr(engine, "load_all", lambda: cards)


def test_an_unknown_text_is_put_after_the_probe_and_says_so(monkeypatch, caplog):
    with_card(monkeypatch, "box-iou-half-precision", fingerprints={})
    said = []
    monkeypatch.setattr(upstream, "log", said.append)
    yolo_nanfix.patch("box-iou-half-precision")
    assert "parity probe passed" in said[0]
    reasons = {p.name: p.reason for p in yolo_nanfix.status().patches}
    assert "parity probe passed" in reasons["box-iou-half-precision"]


def keyword_only(a, b, *, xywh=True, **options):
    """A future release that no longer takes `xywh` by position."""
    return a.sum(-1) + b.sum(-1)


def restless(a, b, xywh=True, **options):
    """A future release that gives another number at every call."""
    restless.calls = getattr(restless, "calls", 0) + 1
    return a.sum(-1) * restless.calls


@pytest.mark.parametrize(("future", "says"), [(keyword_only, "raised TypeError"), (restless, "differs from stock")])
def test_a_probe_that_fails_refuses_by_name_and_undoes_the_call(future, says, monkeypatch):
    with_card(monkeypatch, "box-iou-half-precision", fingerprints={})
    monkeypatch.setattr(metrics, "bbox_iou", future)
    before = standing()
    with pytest.raises(PatchRefused, match=f"box-iou-half-precision.*{says}") as refusal:
        yolo_nanfix.patch("mask-area-zero", "box-iou-half-precision")
    assert refusal.value.name == "box-iou-half-precision"
    assert all(a is b for a, b in zip(before, standing(), strict=True))


def test_a_refused_default_patch_is_reported_by_status(monkeypatch):
    said = []
    monkeypatch.setattr(upstream, "log", said.append)
    with_card(monkeypatch, "mask-area-zero", targets=("ultralytics.utils.loss:v8SegmentationLoss.gone",))
    states = {p.name: p for p in yolo_nanfix.patch(guard=False).patches}
    assert states["mask-area-zero"].state == "refused"
    assert "has no gone" in states["mask-area-zero"].reason
    assert states["rect-validation"].state == "on"
    assert "refused" in str(yolo_nanfix.status())
    assert any("refused here: mask-area-zero;" in line for line in said)


def test_a_release_without_the_defect_is_left_alone(monkeypatch):
    monkeypatch.setattr(upstream, "version", lambda: "8.3.0")
    names = ("class-weights-not-finite", "compat-pkg-resources")
    states = {p.name: p for p in yolo_nanfix.patch(*names).patches}
    assert states[names[0]].state == "not-needed" and "8.3.0" in states[names[0]].reason
    assert states[names[1]].state == "fixed" and "8.0.187" in states[names[1]].reason


def test_every_card_has_code_and_every_code_a_card():
    assert set(load_fixes()) == set(load_all())
    for name, fix in load_fixes().items():
        assert (fix.install is None) == (fix.wrapper is not None)
        assert fix.install or fix.probe, f"{name} cannot be put on a release of unknown text"


def test_every_fingerprint_of_this_release_is_known():
    for card in load_all().values():
        for path in card.targets if card.fingerprints else ():
            with contextlib.suppress(LookupError):
                target = upstream.resolve(path)
                if path.startswith("ultralytics."):
                    assert upstream.fingerprint(target.raw) in card.fingerprints, path
