"""A seeded subset of scripts/bench_verdicts.py: operation, module, and image or parameter are all exact."""

from __future__ import annotations

import random
from pathlib import Path

import injections
import pytest
from marks import matrix

from yolo_nanfix.diagnosis.examine import examine
from yolo_nanfix.verdicts import Cause

CASES = (
    ("yolov8n", "pixels-not-finite", 0),
    ("yolov8n-seg", "label-without-area", 3),
    ("yolov8n-obb", "weight", 4),
    ("yolov8n", "batchnorm", 5),
    ("yolo26n", "activation", 6),
    ("yolov8n", "backward-only", 7),
    ("yolov8n", "amp-forward", 8),
    ("yolov8n", "optimizer-state", 10),
    ("yolov8n", "learning-rate", 11),
    ("yolov8n-obb", "custom-loss", 13),
    ("yolov8n", "head-overflow", 14),
    ("yolov8n", "not-repeated", 15),
)
MORE = (("yolov8n", "pixels-huge", 1), ("yolov8n-pose", "label-not-finite", 2), ("yolov8n-pose", "amp-backward", 9))


@pytest.mark.parametrize(
    ("name", "kind", "seed"), [*CASES, *matrix(*MORE)], ids=[f"{kind}-{name}" for name, kind, _ in (*CASES, *MORE)]
)
def test_a_planted_fault_is_named_exactly(name, kind, seed, bench):
    case = injections.inject(kind, bench(name), seed)
    verdict = examine(case.incident, case.model)
    assert verdict.cause is case.truth.cause, verdict
    assert case.truth.exact(verdict), (verdict, case.truth)
    assert verdict.phase == case.truth.phase
    assert verdict.advice and verdict.summary and 0 < verdict.confidence <= 1
    assert verdict.reproduced is not False


def test_a_label_is_named_by_file_and_line(bench):
    case = injections.inject("label-not-finite", bench("yolov8n"), 2)
    verdict = examine(case.incident, case.model)
    (place,) = verdict.labels
    file, _, line = place.rpartition(":")
    row = int((~case.incident.tensors["batch.bboxes"].isfinite().all(1)).nonzero())
    text = Path(file).read_text().splitlines()[int(line) - 1].split()
    assert float(text[0]) == float(case.incident.tensors["batch.cls"][row])
    assert [file] == [i.replace("/images/", "/labels/").replace(".jpg", ".txt") for i in verdict.images]
    assert any(place in advice for advice in verdict.advice)


def test_a_budget_of_nothing_still_gives_the_first_replay_and_says_so(bench):
    case = injections.inject("activation", bench("yolov8n"), 3)
    verdict = examine(case.incident, case.model, budget=1e-9)
    assert verdict.cause is Cause.UNKNOWN and verdict.replays == 0
    assert "time was up" in verdict.evidence["replay"]


def test_in_half_precision_float32_is_asked_first_even_if_time_is_up(bench, monkeypatch):
    """Time passes for the first replay alone."""
    case = injections.inject("amp-forward", bench("yolov8n"), 8)
    clock = iter([0.0, 0.0, 0.0])
    monkeypatch.setattr("yolo_nanfix.diagnosis.replay.time.perf_counter", lambda: next(clock, 1e3))
    verdict = examine(case.incident, case.model, budget=1.0)
    assert (verdict.cause, verdict.replays) == (Cause.PRECISION, 2), verdict


def test_healthy_steps_blame_nobody(bench):
    for seed in range(3):
        case = injections.inject("not-repeated", bench("yolov8n"), 40 + seed)
        verdict = examine(case.incident, case.model)
        assert verdict.cause is Cause.NONDETERMINISTIC
        assert (verdict.op, verdict.module, verdict.tensor, verdict.images, verdict.labels) == ("", "", "", (), ())
        assert verdict.reproduced


def test_two_faulty_images_are_both_named(bench):
    setup = bench("yolov8n")
    fault = injections.Fault(setup, setup.model(), setup.batch(random.Random(0)))
    for image in (0, 2):
        fault.batch["img"][image, 0, 5, 5] = float("nan")
    incident, bad = fault.incident()
    assert bad
    verdict = examine(incident, fault.model)
    assert verdict.images == (fault.batch["im_file"][0], fault.batch["im_file"][2])


def test_a_learning_rate_is_proposed_from_the_run_s_own_batch(bench):
    case = injections.inject("learning-rate", bench("yolov8n"), 11)
    before = {k: v.clone() for k, v in case.model.state_dict().items()}
    verdict = examine(case.incident, case.model)
    (advice,) = [a for a in verdict.advice if a.startswith("lr0=")]
    proposed = float(advice.removeprefix("lr0=").split()[0])
    assert 1e-6 < proposed < float(case.incident.facts["args"]["lr0"])
    assert all(v.equal(before[k]) or not v.isfinite().all() for k, v in case.model.state_dict().items())
