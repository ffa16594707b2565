"""`yolo-nanfix train` from the command line to `yolo-nanfix.json`, on data that stops stock Ultralytics."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import lab
import pytest
import yaml
from make_datasets import make_dataset, plant
from surroundings import LIMIT

import yolo_nanfix
from yolo_nanfix.cli.main import main

TINY = [
    f"model={lab.TINY}", "pretrained=False", "epochs=2", "imgsz=64", "batch=4", "nbs=4", "optimizer=SGD", "mosaic=0",
    "close_mosaic=0", "hsv_h=0", "hsv_s=0", "hsv_v=0", "plots=False", "workers=0", "device=cpu", "seed=0",
]  # fmt: skip


@pytest.fixture(scope="module")
def faulty(tmp_path_factory):
    """Sixteen train images, one of them shadowed by a float array with NaN pixels."""
    data = make_dataset(tmp_path_factory.mktemp("data") / "set", n_train=16, n_val=4, size=(64, 64), seed=1)
    plant(data.parent, "nan_pixels", index=5)
    return data


def tree(root):
    """Every file of the dataset with its bytes, Ultralytics' own label caches aside."""
    return {p: p.read_bytes() for p in sorted(Path(root).rglob("*")) if p.is_file() and p.suffix != ".cache"}


def train(data, tmp_path, *words):
    return main(["train", str(data), *TINY, f"project={tmp_path}", "name=run", "exist_ok=True", *words])


def report(tmp_path):
    return json.loads((tmp_path / "run" / "yolo-nanfix.json").read_text())


def test_stock_dies_of_it(faulty, tmp_path, unpatched):
    with lab.bare():
        stock = lab.train(faulty, tmp_path / "run", epochs=6, hsv_h=0.0, hsv_s=0.0, hsv_v=0.0)
    assert isinstance(stock.error, RuntimeError) and "NaN persisted" in str(stock.error)
    assert lab.is_zeroed(lab.checkpoint(stock.trainer.last))


def test_by_default_the_image_is_left_out_and_nothing_is_lost(faulty, tmp_path, capsys, unpatched):
    before = tree(faulty.parent)
    assert train(faulty, tmp_path) == 0
    out = capsys.readouterr().out
    assert "too early to tell whether it learns: 0 of 8 micro-batches dropped, 1 image left out" in out
    assert "0005.jpg: IM011" in out
    summary = report(tmp_path)
    assert summary["healthy"] and summary["outcome"] == "finished" and summary["on_fatal"] == "quarantine"
    assert [Path(image).name for image in summary["quarantined"]] == ["0005.jpg"]
    assert summary["guard"]["dropped_micro_batches"] == 0
    assert summary["lint"]["findings"]
    assert {p["state"] for p in summary["patches"].values()} <= {"on", "not-needed", "fixed"}
    assert set(summary["paths"]) == {"save_dir", "last", "best", "results", "steps", "report", "page"}
    assert summary["metrics"]["metrics/mAP50(B)"] >= 0
    assert tree(faulty.parent) == before
    assert yolo_nanfix.status().guard is None  # the command leaves nothing patched behind


def test_ignore_trains_on_it_and_drops_exactly_its_micro_batches(faulty, tmp_path, unpatched):
    assert train(faulty, tmp_path, "--on-fatal", "ignore") == 0
    summary = report(tmp_path)
    assert summary["guard"]["dropped_micro_batches"] == 2  # one an epoch
    for event in summary["guard"]["events"]:
        assert [Path(s["file"]).name for s in event["sources"] if s["suspect"]] == ["0005.jpg"]


def test_stop_does_not_train(faulty, tmp_path, capsys, unpatched):
    assert train(faulty, tmp_path, "--on-fatal", "stop") == 1
    assert not (tmp_path / "run").exists()
    assert "The run was stopped" in capsys.readouterr().out


def test_dry_run_says_what_it_would_do_and_writes_nothing(faulty, tmp_path, capsys, unpatched):
    before = tree(faulty.parent)
    assert train(faulty, tmp_path, "--dry-run") == 0
    out = capsys.readouterr().out
    assert "Dry run: training would start" in out and "0005.jpg" in out
    assert list(tmp_path.iterdir()) == [] and tree(faulty.parent) == before


def test_the_python_call_gives_the_same_as_a_value(faulty, tmp_path, unpatched):
    words = dict(word.split("=") for word in TINY)
    typed = {k: yaml.safe_load(v) for k, v in words.items()}
    run = yolo_nanfix.train(faulty, on_fatal="stop", project=str(tmp_path), name="run", **typed)
    assert (run.outcome, run.healthy, run.exit_code) == ("stopped", False, 1)
    assert "IM011" in run.reasons[0]


def test_too_many_bad_batches_end_with_exit_code_1_and_a_report(faulty, tmp_path, capsys, unpatched):
    for index in range(16):
        plant(faulty.parent, "nan_pixels", index=index)
    try:
        assert train(faulty, tmp_path, "--on-fatal", "ignore", "--max-bad-in-a-row", "3") == 1
    finally:
        for array in (faulty.parent / "images" / "train").glob("*.npy"):
            if array.stem != "0005":
                array.unlink()
    out = capsys.readouterr().out
    assert "3 bad micro-batches in a row" in out
    summary = report(tmp_path)
    assert summary["outcome"] == "stopped" and not summary["healthy"]
    assert not lab.is_zeroed(lab.checkpoint(tmp_path / "run" / "weights" / "last.pt"))


BAD = {
    "missing yaml": (["train", "{tmp}/none.yaml"], "none.yaml"),
    "broken yaml": (["train", "{tmp}/broken.yaml"], "broken.yaml"),
    "yaml without train": (["train", "{tmp}/empty.yaml"], "train"),
    "unknown argument": (["train", "{data}", "epoch=3"], "unknown training argument 'epoch'; did you mean 'epochs'?"),
    "value of a wrong type": (["train", "{data}", "epochs=many"], "epochs"),
    "value out of range": (["train", "{data}", "dropout=3"], "dropout"),
    "not key=value": (["train", "{data}", "epochs"], "'epochs' is not of the form key=value"),
    "key twice": (["train", "{data}", "epochs=1", "epochs=2"], "'epochs' is given twice"),
    "data twice": (["train", "{data}", "data=x.yaml"], "data is the first argument"),
    "unknown model file": (["train", "{data}", "model={tmp}/none.pt"], "none.pt cannot be loaded"),
    "model of another kind": (["train", "{data}", "model=model.onnx"], "neither weights (.pt) nor a model definition"),
    "model that is no model": (["train", "{data}", "model={tmp}/empty.yaml"], "empty.yaml cannot be loaded"),
    "unknown task": (["train", "{data}", "task=detct"], "unknown task 'detct'"),
    "empty dataset": (["train", "{tmp}/hollow/data.yaml", "model=yolov8n.yaml"], "images"),
    "run folder that cannot be": (["train", "{data}", *TINY, "project={tmp}/file"], "project="),
    "bad limit": (["train", "{data}", "model=yolov8n.yaml", "--max-bad-in-a-row", "0"], "at least 1"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_clear_error_with_exit_code_2_and_nothing_written(case, faulty, tmp_path, capsys, unpatched):
    (tmp_path / "broken.yaml").write_text("train: [images\nval: x", encoding="utf-8")
    (tmp_path / "empty.yaml").write_text("names: [a]\n", encoding="utf-8")
    (tmp_path / "file").write_text("not a folder")
    for split in ("train", "val"):
        (tmp_path / "hollow" / "images" / split).mkdir(parents=True)
    (tmp_path / "hollow" / "data.yaml").write_text("train: images/train\nval: images/val\nnames: [a]\n")
    before = sorted(tmp_path.rglob("*"))
    words, says = BAD[case]
    assert main([word.format(tmp=tmp_path, data=faulty) for word in words]) == 2
    error = capsys.readouterr().err
    assert says in error and "Traceback" not in error
    assert sorted(tmp_path.rglob("*")) == before


def test_wrong_flags_have_exit_code_2(capsys):
    for words in (
        ["train", "d.yaml", "--on-fatal", "maybe"],
        ["train"],
        ["nothing"],
        ["train", "d.yaml", "--flag"],
    ):
        assert main(words) == 2
    assert main([]) == 2


def begun(faulty, tmp_path, *before):
    """A training of 3000 epochs, after its first one."""
    command = [
        *before,
        sys.executable,
        "-m",
        "yolo_nanfix",
        "train",
        str(faulty),
        *[w for w in TINY if "epochs" not in w],
    ]
    words = ["epochs=3000", f"project={tmp_path}", "name=run", "exist_ok=True"]
    process = subprocess.Popen(
        [*command, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=os.environ
    )
    wait_for(process, tmp_path / "run" / "weights" / "last.pt", 0)
    return process


def wait_for(process, path, size):
    """Until a file is there and larger than `size` bytes."""
    deadline = time.monotonic() + LIMIT
    while not (path.exists() and path.stat().st_size > size) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)


OURS = {"yolo-nanfix.json", "yolo-nanfix-state.json", "yolo-nanfix.csv", "yolo-nanfix.html"}
WHOLE = {"args.yaml", "results.csv", "weights", "last.pt", "best.pt", *OURS}


def left(run):
    """The names of all that is in a run folder, hidden folders included."""
    return {path.name for path in run.rglob("*")}


def test_interrupt_ends_with_130_and_the_last_checkpoint_intact(faulty, tmp_path):
    process = begun(faulty, tmp_path)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=LIMIT)
    assert process.returncode == 130, output[-2000:]
    assert lab.not_finite(lab.checkpoint(tmp_path / "run/weights/last.pt").values()) == 0
    assert not lab.is_zeroed(lab.checkpoint(tmp_path / "run/weights/last.pt"))
    assert report(tmp_path)["outcome"] == "interrupted"
    assert left(tmp_path / "run") <= WHOLE


@pytest.mark.slow
def test_where_the_interrupt_is_ignored_the_run_goes_on_and_says_what_ends_it(faulty, tmp_path):
    process = begun(faulty, tmp_path, "bash", "-c", "trap '' INT; exec \"$@\"", "bash")
    rows = tmp_path / "run" / "results.csv"
    process.send_signal(signal.SIGINT)
    for _ in range(3):  # epochs that begin after it
        wait_for(process, rows, rows.stat().st_size)
    assert process.poll() is None
    process.terminate()
    output, _ = process.communicate(timeout=LIMIT)
    assert process.returncode == 143, output[-2000:]
    assert "The run was ended by SIGTERM" in output and "resume=True" in output
    assert (report(tmp_path)["outcome"], report(tmp_path)["signal"]) == ("interrupted", "SIGTERM")
    assert left(tmp_path / "run") <= WHOLE
    assert f"yolo-nanfix: Ctrl-C is ignored here; kill {process.pid} ends the run." in output
    assert lab.not_finite(lab.checkpoint(tmp_path / "run/weights/last.pt").values()) == 0


def test_a_training_of_your_own_keeps_its_signals(faulty, tmp_path, unpatched):
    """A library takes none: what stands in a process stays, in the loop and after it."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before, seen = [signal.getsignal(number) for number in numbers], []
    look = {"on_train_batch_end": lambda trainer: seen.append([signal.getsignal(number) for number in numbers])}
    with yolo_nanfix.patched():
        assert lab.train(faulty, tmp_path / "run", epochs=1, callbacks=look).error is None
    assert seen and all(handlers == before for handlers in seen)
    assert [signal.getsignal(number) for number in numbers] == before
