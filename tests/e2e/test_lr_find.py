"""`yolo-nanfix lr-find` on a real model: the suggestion trains, far lower hardly learns, far higher ruins the run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import lab
import pytest
import torch
from make_datasets import make_dataset, plant
from marks import matrix

import yolo_nanfix
from yolo_nanfix import upstream
from yolo_nanfix.cli.main import main
from yolo_nanfix.errors import NanfixError
from yolo_nanfix.finetune.lr_range_test import lr_find
from yolo_nanfix.patching import engine

pytestmark = pytest.mark.usefixtures("unpatched")
TINY = {
    "model": lab.TINY, "pretrained": False, "imgsz": 128, "batch": 4, "nbs": 4, "workers": 0, "device": "cpu",
    "seed": 0, "mosaic": 0.0, "hsv_h": 0.0, "hsv_s": 0.0, "hsv_v": 0.0,
}  # fmt: skip
WORDS = [f"{key}={value}" for key, value in TINY.items()]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Eight images of 128 px: at 64 px the loss of an untrained detector rises before it falls."""
    return make_dataset(tmp_path_factory.mktemp("data") / "set", n_train=8, n_val=2, size=(128, 128), seed=1)


def tree(root: Path) -> dict[Path, bytes]:
    return {p: p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def reports(data):
    """The range test of YOLOv8n for SGD and AdamW, 40 steps each."""
    threads = torch.get_num_threads()
    model = {**TINY, "model": lab.YOLOV8["detect"]}
    found = {name: lr_find(data, optimizer=name, steps=40, min_lr=1e-5, **model) for name in ("SGD", "AdamW")}
    torch.set_num_threads(threads)
    return found


def loss_after(data, run, optimizer, rate, epochs=10):
    """The mean training loss of the last three epochs at a fixed rate."""
    with yolo_nanfix.patched(guard=False):
        size = {"imgsz": 128, "epochs": epochs, "lrf": 1.0, "val": False, "save": False}
        result = lab.train(data, run, optimizer=optimizer, lr0=rate, model=lab.YOLOV8["detect"], **size)
    if result.error:
        return float("inf"), result
    losses = [sum(float(v) for k, v in row.items() if k.startswith("train/")) for row in result.rows()]
    return sum(losses[-3:]) / 3, result


@pytest.mark.slow
@pytest.mark.parametrize(("name", "decade"), [("SGD", (1e-3, 1e-1)), *matrix(("AdamW", (1e-4, 1e-2)))])
def test_the_suggestion_trains_better_than_a_hundredth_of_it_and_a_hundredfold_ruins_the_run(
    name, decade, data, reports, tmp_path
):
    found = reports[name].suggestion
    assert decade[0] <= found.lr <= decade[1] and found.low <= found.lr <= found.high < found.diverged_at / 9
    good, healthy = loss_after(data, tmp_path / "good", name, found.lr)
    slow, _ = loss_after(data, tmp_path / "slow", name, found.lr / 100)
    wild, ruined = loss_after(data, tmp_path / "wild", name, found.lr * 100)
    assert lab.not_finite(lab.state(healthy.trainer).values()) == 0
    assert good < 0.75 * slow
    collapsed = wild < 0.1 * good  # logits beyond all scale: every loss is 0, and nothing is learnt
    assert ruined.error or collapsed or wild > 1.5 * good


@pytest.mark.slow
def test_musgd_sweeps_all_its_groups(data):
    report = lr_find(data, optimizer="MuSGD", steps=12, min_lr=1e-3, max_lr=1.0, **TINY)
    assert report.optimizer == "MuSGD" and {"muon", "bias", "bn"} <= {name for name, _ in report.groups}
    assert sorted({multiple for _, multiple in report.groups}) == pytest.approx([1.0, 3.0])
    assert 1e-3 <= report.suggestion.lr <= 1e-1 and report.arguments == {"lr0": float(f"{report.suggestion.lr:.2g}")}


def test_auto_is_resolved_as_training_would_and_the_advice_says_how_to_keep_the_rate(data):
    """With optimizer=auto Ultralytics ignores lr0, so the advice must name the optimizer too."""
    report = lr_find(data, steps=12, min_lr=1e-5, **{**TINY, "nbs": 16})
    assert (report.optimizer, report.automatic, report.micro_batches) == ("AdamW", True, 4)
    assert report.default_lr == pytest.approx(0.002 * 5 / (4 + 1), rel=0.01)
    assert report.arguments == {**report.arguments, "optimizer": "AdamW", "momentum": 0.9, "warmup_bias_lr": 0.0}


def test_nothing_of_the_user_s_is_written_and_nothing_stays_patched(tmp_path, monkeypatch):
    data = make_dataset(tmp_path / "set", n_train=4, n_val=2, size=(64, 64), seed=1)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    before = tree(tmp_path)
    lr_find(data, optimizer="SGD", steps=10, **{**TINY, "imgsz": 64})
    assert tree(tmp_path) == before  # not even Ultralytics' label caches
    stock = upstream.resolve("ultralytics.data.dataset:save_dataset_cache_file").raw
    assert stock.__name__ == "save_dataset_cache_file"
    assert yolo_nanfix.status().guard is None and engine.snapshot() == {}


def test_batches_that_are_not_finite_are_left_out_and_named(tmp_path):
    data = make_dataset(tmp_path / "set", n_train=8, n_val=2, size=(128, 128), seed=1)
    faulty = plant(data.parent, "nan_pixels", index=3).with_suffix(".jpg").name
    report = lr_find(data, optimizer="SGD", steps=12, min_lr=1e-3, **TINY)
    assert report.batches_left_out >= 3 and faulty in {Path(file).name for file in report.left_out}
    assert report.suggestion.diverged_at is None or report.suggestion.diverged_at > 0.03


def test_data_without_a_good_batch_is_not_blamed_on_the_rate(tmp_path):
    data = make_dataset(tmp_path / "set", n_train=4, n_val=2, size=(64, 64), seed=1)
    for index in range(4):
        plant(data.parent, "nan_pixels", index=index)
    with pytest.raises(NanfixError, match="yolo-nanfix lint"):
        lr_find(data, optimizer="SGD", steps=10, **{**TINY, "imgsz": 64})


def test_the_command_prints_a_curve_and_writes_the_plot(data, tmp_path, capsys):
    plot = tmp_path / "curve.png"
    words = ["lr-find", str(data), *WORDS, "optimizer=SGD", "--steps", "30", "--min-lr", "1e-4", "--plot", str(plot)]
    assert main(words) == 0
    out, err = capsys.readouterr()
    assert "Suggested lr0: 0.0" in out and "Train with: lr0=0.0" in out and "learning rate" in out
    assert "*" in out and " |" in out and "\x1b" not in out and out.isascii()  # no terminal: no drawn lines
    assert plot.read_bytes().startswith(b"\x89PNG") and list(tmp_path.iterdir()) == [plot] and str(plot) in err


@pytest.mark.slow
def test_json_holds_the_curve(data):
    """In a process of its own: nothing that Ultralytics logs may stand before it."""
    words = ["lr-find", str(data), *WORDS, "optimizer=SGD", "--steps", "10", "--min-lr", "0.001", "--max-lr", "0.01"]
    done = subprocess.run([sys.executable, "-m", "yolo_nanfix", *words, "--json"], capture_output=True, text=True)
    told = json.loads(done.stdout)
    assert done.returncode == (0 if told["suggestion"]["lr"] else 1), done.stderr
    assert len(told["curve"]["rates"]) == len(told["curve"]["losses"]) == 10 and told["groups"][0]["multiple"] == 1
    assert told["curve"]["rates"][0] == pytest.approx(1e-3) and told["curve"]["rates"][-1] == pytest.approx(1e-2)


BAD = {
    "unknown key": (["epoch=3"], "did you mean 'epochs'"),
    "what is looked for": (["lr0=0.1"], "lr0 cannot be given to lr-find"),
    "a run folder": (["project=x"], "project cannot be given"),
    "several devices": (["device=0,1"], "one device"),
    "bounds": (["--min-lr", "1", "--max-lr", "0.1"], "0 < min_lr < max_lr"),
    "bound that is no number": (["--max-lr", "nan"], "0 < min_lr < max_lr"),
    "steps": (["--steps", "3"], "at least 10"),
    "plot that is no png": (["--plot", "{tmp}/curve.svg"], "name a .png file"),
    "plot folder that is not there": (["--plot", "{tmp}/none/curve.png"], "cannot be written"),
    "no data": (["--steps", "20"], "none.yaml"),
    "empty data": (["--steps", "20"], "hollow"),
    "data of another machine": (["--steps", "20"], "where nothing is; yolo-nanfix lint"),
}


@pytest.mark.parametrize("case", BAD)
def test_wrong_use_is_one_clear_error_before_training(case, data, tmp_path, capsys):
    words, says = BAD[case]
    yamls = {"no data": "none.yaml", "empty data": "hollow/data.yaml", "data of another machine": "hollow/far.yaml"}
    where = tmp_path / yamls[case] if case in yamls else data
    for split in ("train", "val"):
        (tmp_path / "hollow" / "images" / split).mkdir(parents=True)
    (tmp_path / "hollow" / "data.yaml").write_text("train: images/train\nval: images/val\nnames: [a]\n")
    (tmp_path / "hollow" / "far.yaml").write_text("path: /a/b\ntrain: images/train\nval: images/val\nnames: [a]\n")
    before = tree(tmp_path)
    model = [] if case == "several devices" else ["device=cpu"]
    found = ["lr-find", str(where), "model=yolov8n.yaml", *model, *[w.format(tmp=tmp_path) for w in words]]
    assert main(found) == 2
    error = capsys.readouterr().err
    assert says in error and "Traceback" not in error and tree(tmp_path) == before
