"""Real runs are called healthy, degraded or failed by what was lost of them, and say what that was."""

from __future__ import annotations

import io
import json
from types import SimpleNamespace

import lab
import pytest
from make_datasets import make_dataset, plant
from rich.console import Console

import yolo_nanfix
from yolo_nanfix.report import run_text
from yolo_nanfix.report.html import run_advice
from yolo_nanfix.run_folder.read import read_run
from yolo_nanfix.runs import Run

pytestmark = pytest.mark.usefixtures("unpatched")
NAN = float("nan")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("data") / "set", n_train=16, n_val=4, size=(64, 64), seed=1)


def told(result):
    """The report of a run, the first line of its summary, and the sentence of its page."""
    folder = result.trainer.save_dir
    summary = json.loads((folder / "yolo-nanfix.json").read_text())
    console = Console(file=io.StringIO(), soft_wrap=True, no_color=True)
    run_text.render(summary, console)
    first = next(line for line in console.file.getvalue().splitlines() if line.startswith("The run "))
    return summary, first, run_advice.headline(read_run(folder)), run_advice.level(read_run(folder))


def exit_code(summary):
    return Run(summary["outcome"], summary["healthy"], tuple(summary["reasons"]), summary).exit_code


def kinds(summary):
    return {lost["kind"]: lost["state"] for lost in summary["lost"]}


def train(data, folder, where=(), **more):
    trainer = {"trainer": lab.poisoned("detect", set(where))} if where else {}
    with yolo_nanfix.patched(diagnose=False, quarantine_after=0, max_bad_in_a_row=50, snapshot_every=0):
        result = lab.train(data, folder, **{**trainer, **more})
    assert result.error is None, result.error
    return result


def test_most_micro_batches_dropped_is_a_failure(data, tmp_path):
    where = {(e, n) for e in range(2) for n in range(4)} - {(0, 0), (1, 3)}
    summary, first, sentence, level = told(train(data, tmp_path / "run", where))
    assert (summary["state"], summary["healthy"], exit_code(summary)) == ("failed", False, 1)
    assert summary["reasons"] == ["6 of 8 micro-batches dropped", "6 of 8 optimizer steps held back"]
    assert first.startswith("The run ended, but failed: 6 of 8 micro-batches dropped")
    assert "the run came to its end, but failed" in sentence and level == "fatal"


@pytest.mark.slow
def test_an_epoch_without_a_step_degrades_a_run_and_is_named_first(data, tmp_path):
    where = {(1, n) for n in range(4)}
    summary, first, sentence, level = told(train(data, tmp_path / "run", where, epochs=4))
    assert (summary["state"], summary["healthy"], exit_code(summary)) == ("degraded", False, 0)
    assert summary["guard"]["epochs_without_step"] == [2] and summary["guard"]["steps_refused"] == 4
    found = kinds(summary)
    assert found["micro-batches"] == found["epochs-without-step"] == found["epochs-without-loss"] == "degraded"
    assert first.startswith("The run ended degraded: 4 of 16 micro-batches dropped")
    assert "no optimizer step in epoch 2" in first and "train losses of epoch 2 not finite" in first
    assert "the run is degraded" in sentence and level == "warning"


def test_everything_rolled_back_to_the_start_is_a_failure(data, tmp_path):
    class Faulty(lab.trainer_class("detect")):
        def validate(self):
            return super().validate()

        def optimizer_step(self):
            super().optimizer_step()
            if self.epoch == 0:
                next(self.model.parameters()).data.view(-1)[0] = NAN

    with yolo_nanfix.patched(diagnose=False):
        run = lab.train(data, tmp_path / "run", trainer=Faulty, epochs=1)
    assert run.error is None
    summary, first, *_ = told(run)
    guard = summary["guard"]
    assert guard["rollbacks"] and guard["steps_undone"] == guard["steps_taken"] > 0
    assert summary["state"] == "failed" and exit_code(summary) == 1
    assert {"steps-undone", "no-step", "start-weights"} <= set(kinds(summary))
    assert "nothing was learnt" in " ".join(summary["reasons"]) and "micro-batches dropped" in first


def test_a_finite_model_that_learnt_nothing_is_not_healthy(data, tmp_path):
    """Without any fault: the settings asked for it, so that the run did not fail."""
    settings = {"lr0": 0.0, "warmup_bias_lr": 0.0, "weight_decay": 0.0}
    summary, first, sentence, level = told(train(data, tmp_path / "run", epochs=1, **settings))
    assert summary["state"] == "degraded" and exit_code(summary) == 0 and summary["guard"]["events"] == []
    assert kinds(summary)["start-weights"] == "degraded" and "nothing was learnt" in first
    assert "healthy" not in sentence and level == "warning"


@pytest.mark.slow
def test_trained_weights_that_find_nothing_are_degraded_and_a_fresh_model_is_young(data, tmp_path):
    """The same metric 0; a model from scratch may have it after four steps, so it is neither praised nor blamed."""
    fresh = train(data, tmp_path / "fresh", epochs=1)
    summary, first, sentence, level = told(fresh)
    assert summary["metrics"]["metrics/mAP50(B)"] == 0.0, "this test is about a model that finds nothing"
    assert (summary["state"], exit_code(summary), level) == ("healthy", 0, "")
    assert first.startswith("The run ended too early to tell whether it learns") and "healthy" not in sentence
    tuned = train(data, tmp_path / "tuned", epochs=1, model=str(fresh.trainer.last), pretrained=True)
    summary, first, *_ = told(tuned)
    assert (summary["state"], exit_code(summary)) == ("degraded", 0)
    assert "the model finds nothing in validation" in first


def test_train_says_first_what_a_degraded_run_lost(data, tmp_path, capsys):
    from yolo_nanfix.cli.main import main

    root = make_dataset(tmp_path / "set", n_train=16, n_val=4, size=(64, 64), seed=1)
    for index in (2, 5, 9):
        plant(root.parent, "nan_pixels", index=index)
    words = ["pretrained=False", "epochs=1", "imgsz=64", "batch=4", "nbs=4", "workers=0", "device=cpu", "plots=False"]
    words += ["optimizer=SGD", "mosaic=0", f"project={tmp_path}", "name=run", f"model={lab.TINY}"]
    assert main(["train", str(root), *words, "--quiet"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("The run")]
    assert lines and lines[0].startswith("The run ended degraded: ") and "3 of 16 images left out" in lines[0]


@pytest.mark.slow
def test_the_log_says_how_a_degraded_run_ended(data, tmp_path):
    with lab.said() as messages:
        train(data, tmp_path / "run", {(1, n) for n in range(4)}, epochs=4, verbose=True)
    (end,) = [m for m in messages if "yolo-nanfix: run finished" in m]
    assert "run finished, degraded, 4 of 16 micro-batches dropped" in end and "no optimizer step in epoch 2" in end
    standing = [m for m in messages if "yolo-nanfix guard: 4 of" in m]
    assert standing and all("1 epoch without a step" in m for m in standing)


def test_figures_of_a_validation_set_without_objects_say_nothing_of_the_model():
    from yolo_nanfix.run_listener import _metric

    metrics = {"metrics/mAP50(B)": 0.0}
    empty, some = (SimpleNamespace(metrics=SimpleNamespace(nt_per_class=found)) for found in ([0, 0], [0, 3]))
    assert _metric(SimpleNamespace(validator=empty, metrics=metrics)) is None
    assert _metric(SimpleNamespace(validator=some, metrics=metrics)) == 0.0
