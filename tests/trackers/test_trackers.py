"""What real trainings left in TensorBoard and MLflow, read back by their own readers in another process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from releases import ROOT
from surroundings import LIMIT

HERE = Path(__file__).parent
CHECKS = ("loss", "batchnorm", "pixels", "outputs")


BOTH = "tensorboard+mlflow"
RUNS = {"faulty": BOTH, "stock": BOTH, "healthy": BOTH}


def python(out, script, *words):
    """Run a script as a user would, not as a test, which Ultralytics hides from trackers."""
    hidden = ("PYTEST_CURRENT_TEST", "PYTEST_VERSION")
    env = {name: value for name, value in os.environ.items() if name not in hidden}
    env["PYTHONPATH"] = os.pathsep.join(str(p) for p in (HERE, HERE.parent, ROOT / "scripts", ROOT))
    env |= {"YOLO_CONFIG_DIR": str(out), "OMP_NUM_THREADS": "1"}
    env |= {"MLFLOW_ALLOW_FILE_STORE": "true", "MLFLOW_DISABLE_TELEMETRY": "true"}
    command = [sys.executable, str(HERE / script), *map(str, words)]
    done = subprocess.run(command, cwd=out, env=env, capture_output=True, text=True, timeout=LIMIT)
    assert done.returncode == 0, done.stderr[-3000:]
    return done


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The folder of the runs, and their reports."""
    out, _, reports = trained(tmp_path_factory.mktemp("tracked"), RUNS)
    return out, reports


def trained(out, runs):
    """Do some runs; their folder, what they logged, and their reports."""
    done = python(out, "tracked_runs.py", out, *(f"{name}={trackers}" for name, trackers in runs.items()))
    reports = {path.parent.name: json.loads(path.read_text()) for path in out.glob("*/yolo-nanfix.json")}
    return out, done.stdout + done.stderr, reports


@pytest.fixture(scope="module")
def faulty(runs):
    """A run of eight micro-batches, the second and the seventh faulty: its report, and what each tracker has of it."""
    out, reports = runs
    done = python(out, "read_back.py", out / "faulty", (out / "ml-faulty").as_uri())
    return reports["faulty"], json.loads(done.stdout.splitlines()[-1])


def test_both_have_the_guard_s_readings_at_events_and_epoch_ends(faulty):
    report, found = faulty
    for tracker in ("tensorboard", "mlflow"):
        scalars = found[tracker]["scalars"]
        assert scalars["nanfix/dropped_micro_batches"] == [[2, 1], [4, 1], [7, 2], [8, 2]]
        for name in ("events", *(f"events_{check}" for check in CHECKS)):
            assert scalars[f"nanfix/{name}"] == scalars["nanfix/dropped_micro_batches"]
        assert [step for step, _ in scalars["nanfix/grad_norm"]] == [2, 4, 7, 8]
        assert [step for step, _ in scalars["nanfix/loss"]] == [4, 8]  # the faulty ones were nan
        assert not [name for name in scalars if name.startswith("nanfix/loss_scale")]  # no GradScaler
    rows = (Path(report["paths"]["steps"])).read_text().splitlines()
    norms = {row.split(",")[0]: float(row.split(",")[7]) for row in rows[1:] if row.split(",")[7]}
    written = dict(found["tensorboard"]["scalars"]["nanfix/grad_norm"])
    assert written[4] == pytest.approx(norms["4"], rel=1e-4) and written[8] == pytest.approx(norms["8"], rel=1e-4)
    assert found["mlflow"]["scalars"]["nanfix/grad_norm"] == [
        [step, pytest.approx(value, rel=1e-6)] for step, value in written.items()
    ]


def test_both_have_the_events_as_text(faulty):
    report, found = faulty
    details = [event["detail"] for event in report["guard"]["events"]]
    texts = found["tensorboard"]["texts"]
    assert [step for step, _ in texts] == [2, 7]
    for (_, text), detail in zip(texts, details, strict=True):
        assert text.startswith("    epoch ") and detail in text  # indented: code in Markdown, so nothing is markup
    (text,) = found["mlflow"]["texts"]
    assert all(detail in text for detail in details) and text.count("micro-batch dropped") == 2


def test_both_have_the_faulty_images_with_their_nan_pixel_in_magenta(faulty):
    _, found = faulty
    assert found["tensorboard"]["images"] == [[2, [64, 64], [255, 0, 255]], [7, [64, 64], [255, 0, 255]]]
    assert found["mlflow"]["images"] == [
        ["nanfix/suspect-step000002-1.png", [64, 64], [255, 0, 255]],
        ["nanfix/suspect-step000007-2.png", [64, 64], [255, 0, 255]],
    ]


def test_ultralytics_own_numbers_are_there_as_ever_and_the_report_counts_ours(faulty):
    report, found = faulty
    for tracker in ("tensorboard", "mlflow"):
        assert len(found[tracker]["scalars"]["train/box_loss"]) == 2
    assert found["mlflow"]["status"] == "FINISHED"
    took = {"scalars": 4, "notes": 2, "pictures": 2, "left_out": ""}
    assert report["trackers"] == {"TensorBoard": took, "MLflow": took}


def test_a_healthy_run_trains_the_same_weights_under_trackers_as_stock(runs):
    out, reports = runs
    took = {"scalars": 6, "notes": 0, "pictures": 0, "left_out": ""}  # each second micro-batch, and at epoch ends
    assert reports["healthy"]["trackers"] == {"TensorBoard": took, "MLflow": took}
    assert "stock" not in reports
    assert (out / "stock" / "hash.json").read_text() == (out / "healthy" / "hash.json").read_text()


@pytest.mark.slow
def test_a_tracker_that_raises_is_left_out_said_once_and_counted(tmp_path):
    _, log, reports = trained(tmp_path, {"full": BOTH})
    full = reports["full"]
    assert full["outcome"] == "finished" and full["healthy"]
    nothing = {"scalars": 0, "notes": 0, "pictures": 0}
    assert full["trackers"]["TensorBoard"] == {**nothing, "left_out": "OSError: No space left on device"}
    assert full["trackers"]["MLflow"] == {"scalars": 4, "notes": 2, "pictures": 2, "left_out": ""}
    assert log.count("TensorBoard did not take the guard's readings: OSError: No space left on device") == 1
