"""What the guard writes down of each micro-batch: the very numbers of the run, bounded, over faults and resumes."""

from __future__ import annotations

import io
import json
import math
from contextlib import contextmanager

import lab
import pandas
import polars
import pytest
import torch
from make_datasets import make_dataset
from marks import matrix

import yolo_nanfix
from yolo_nanfix.errors import GuardStop
from yolo_nanfix.guard import sensors
from yolo_nanfix.guard.step_log import StepLog
from yolo_nanfix.run_folder.csv_tables import STEPS_NAME, read_steps

TERMS = ("box_loss", "cls_loss", "dfl_loss")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("data") / "set", n_train=16, n_val=4, size=(64, 64), seed=1)


def written(result):
    return read_steps(result.trainer.save_dir / STEPS_NAME)


def filled(rows, *, limit=8, **gaps):
    readings = StepLog(limit)
    for step in range(1, rows + 1):
        norm = {"grad_norm": 2.0 * step} if step % 2 else {}
        readings.add(step, 1 + step // 10, step % 10, {"box_loss": gaps.get(f"at{step}", float(step)), **norm})
    return readings


def columns(readings, tmp_path):
    path = tmp_path / STEPS_NAME
    path.write_text(readings.text())
    return read_steps(path)


@pytest.mark.parametrize("rows", [1, 7, 8, 9, 16, 17, 100, 1000])
def test_long_runs_are_merged_into_means_of_neighbours(rows, tmp_path):
    readings = filled(rows)
    read = columns(readings, tmp_path)
    assert 1 <= len(read["step"]) <= 8 and read["step"][-1] == rows
    begin = 0
    for step, epoch, loss, norm in zip(read["step"], read["epoch"], read["box_loss"], read["grad_norm"], strict=True):
        inside = range(begin + 1, step + 1)
        assert epoch == 1 + step // 10
        assert loss == pytest.approx(sum(inside) / len(inside), rel=1e-5)
        odd = [2 * s for s in inside if s % 2]
        assert norm == (pytest.approx(sum(odd) / len(odd), rel=1e-5) if odd else None)
        begin = step
    assert set(read["lr"]) == {None}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_survives_merging(value, tmp_path):
    read = columns(filled(500, at77=value), tmp_path)
    faulty = [
        (step, loss) for step, loss in zip(read["step"], read["box_loss"], strict=True) if not math.isfinite(loss)
    ]
    assert len(faulty) == 1 and str(faulty[0][1]) == str(value) and 77 <= faulty[0][0] < 77 + 128


def test_frames_read_what_is_not_finite_as_numbers_and_steps_read_what_older_releases_wrote(tmp_path):
    text = filled(8, at2=math.nan, at3=math.inf, at4=-math.inf).text()
    columns = [column for column in text.splitlines()[0].split(",") if column not in ("loss", "loss_scale", "lr")]
    frame = polars.read_csv(io.StringIO(text))
    assert all(frame[column].dtype.is_numeric() for column in columns), frame.dtypes
    other = pandas.read_csv(io.StringIO(text))
    for values in (frame["box_loss"].to_list(), other["box_loss"].tolist()):
        assert math.isnan(values[1]) and values[2:5] == [math.inf, -math.inf, 5.0]
    old = tmp_path / STEPS_NAME
    old.write_text(text.replace("NaN", "nan"))
    assert math.isnan(read_steps(old)["box_loss"][1])


def test_rows_are_laid_out_alike_whether_the_text_was_asked_for_before_or_not():
    asked, once = StepLog(8), StepLog(8)
    for step in range(1, 60):
        values = {"loss": step / 7, **({"late_term": 1.0} if step > 5 else {})}
        for readings in (asked, once):
            readings.add(step, 1, step, values)
            readings.norm(step / 3)
        asked.text()
    assert asked.text() == once.text()


def test_terms_with_names_that_need_quotes_come_back(tmp_path):
    readings = StepLog()
    readings.add(1, 1, 1, {'a,"b"\nc': 1.5, "step": 9.0})
    assert columns(readings, tmp_path) == {
        **{"step": [1], "epoch": [1], "batch": [1], 'a,"b"\nc': [1.5]},
        **{name: [None] for name in ("loss", "grad_norm", "loss_scale", "lr")},
    }


def test_columns_keep_their_order_over_a_resume(tmp_path):
    first, second = StepLog(), StepLog()
    first.add(1, 1, 1, {"box_loss": 1.0, "cls_loss": 2.0, "dfl_loss": 3.0, "angle_loss": 4.0, "loss": 10.0})
    second.go_on(columns(first, tmp_path), epochs=1)
    assert second.text() == first.text()


def test_a_run_goes_on_after_the_epochs_that_it_had(tmp_path):
    whole, first, second = filled(60, limit=16), filled(45, limit=16), StepLog(16)
    assert second.go_on(columns(first, tmp_path), epochs=3) == 7
    assert second.before == 28
    for step in range(29, 61):
        norm = {"grad_norm": 2.0 * step} if step % 2 else {}
        second.add(step, 1 + step // 10, step % 10, {"box_loss": float(step), **norm})
    assert second.text() == whole.text()


def stock_numbers(data, run, **settings):
    """What stock itself computed: terms, loss and learning rate of each micro-batch, the norm of each step."""
    rows, norms = [], []

    def batch_end(trainer):
        group = max(trainer.optimizer.param_groups, key=lambda g: sum(p.numel() for p in g["params"]))
        terms = {k: float(v) for k, v in trainer.loss_items.items()}
        rows.append({**terms, "loss": float(trainer.loss), "lr": group["lr"]})

    with lab.bare(), overheard(norms):
        result = lab.train(data, run, callbacks={"on_train_batch_end": batch_end}, **settings)
    assert result.error is None
    return rows, norms


@contextmanager
def overheard(norms):
    clip = torch.nn.utils.clip_grad_norm_

    def clipped(*args, **kwargs):
        norm = clip(*args, **kwargs)
        norms.append(float(norm))
        return norm

    torch.nn.utils.clip_grad_norm_ = clipped
    try:
        yield
    finally:
        torch.nn.utils.clip_grad_norm_ = clip


@pytest.mark.parametrize(("scaler", "nbs"), [(False, 8), *matrix((True, 4))])
def test_the_rows_of_a_healthy_run_are_stock_s_own_numbers(scaler, nbs, data, tmp_path, unpatched):
    settings = {"scaler": scaler, "nbs": nbs, "warmup_epochs": 1, "optimizer": "AdamW"}
    stock, norms = stock_numbers(data, tmp_path / "stock", **settings)
    with yolo_nanfix.patched("torchvision-operators-missing", guard=True):
        ours = lab.train(data, tmp_path / "ours", **settings)
    assert ours.error is None
    read = written(ours)
    assert list(read) == ["step", "epoch", "batch", *TERMS, "loss", "grad_norm", "loss_scale", "lr"]
    assert read["step"] == list(range(1, 9))
    assert list(zip(read["epoch"], read["batch"], strict=True)) == [(e, b) for e in (1, 2) for b in (1, 2, 3, 4)]
    for name in (*TERMS, "loss", "lr"):
        assert read[name] == [pytest.approx(row[name], rel=1e-5) for row in stock]
    assert [norm for norm in read["grad_norm"] if norm is not None] == pytest.approx(norms, rel=1e-5)
    assert len(norms) == (8 if nbs == 4 else len(norms)) and 4 <= len(norms) <= 8
    assert read["loss_scale"] == ([None] + [65536.0] * 7 if scaler else [None] * 8)


@pytest.mark.parametrize(("scaler", "wanted"), matrix((False, 16), (True, 10)))
def test_the_rows_take_no_read_of_their_own(scaler, wanted, data, tmp_path, unpatched, monkeypatch):
    """One a micro-batch, and one a step for the norm; of a GradScaler's only the last norm of an epoch."""
    reads, read = [], sensors.host_values
    monkeypatch.setattr(sensors, "host_values", lambda scalars: reads.append(set(scalars)) or read(scalars))
    with yolo_nanfix.patched():
        ours = lab.train(data, tmp_path / "run", scaler=scaler)
    assert ours.error is None and len(reads) == wanted
    assert all(name is not None for name in written(ours)["grad_norm"])
    together = [names for names in reads if "loss" in names]
    assert len(together) == 8 and all({"row.box_loss", "row.cls_loss", "row.dfl_loss"} <= names for names in together)
    assert sum("step.norm" in names for names in together) == (6 if scaler else 0)


def test_the_rows_of_another_run_in_the_folder_are_gone(data, tmp_path, unpatched):
    def stop(trainer):
        raise RuntimeError("no epoch")

    (tmp_path / "run").mkdir()
    (tmp_path / "run" / STEPS_NAME).write_text("step,epoch,batch\n1,1,1\n")
    with yolo_nanfix.patched():
        ours = lab.train(data, tmp_path / "run", callbacks={"on_train_epoch_start": stop})
    assert str(ours.error) == "no epoch"
    assert not (tmp_path / "run" / STEPS_NAME).exists()


@pytest.mark.slow
def test_a_classifier_whose_only_term_is_the_loss_has_one_column_of_it(tmp_path, unpatched):
    make_dataset(tmp_path / "set", n_train=8, n_val=4, size=(64, 64), seed=1)
    for split in ("train", "val"):
        for i, image in enumerate(sorted((tmp_path / "set" / "images" / split).iterdir())):
            target = tmp_path / "classes" / split / "ab"[i % 2] / image.name
            target.parent.mkdir(parents=True, exist_ok=True)
            image.rename(target)
    with yolo_nanfix.patched():
        ours = lab.train(tmp_path / "classes", tmp_path / "run", task="classify", epochs=1)
    assert ours.error is None
    read = written(ours)
    assert list(read) == ["step", "epoch", "batch", "loss", "grad_norm", "loss_scale", "lr"]
    assert read["loss"] == [pytest.approx(loss, rel=1e-5) for loss in ours.losses]


@pytest.mark.parametrize("scaler", (False, *matrix(True)))
def test_a_bad_micro_batch_shows_and_its_event_names_step_and_incident(scaler, data, tmp_path, unpatched):
    with yolo_nanfix.patched():
        ours = lab.train(data, tmp_path / "run", trainer=lab.poisoned("detect", {(1, 2)}), scaler=scaler)
    read = written(ours)
    assert [step for step, loss in zip(read["step"], read["loss"], strict=True) if math.isnan(loss)] == [7]
    assert all(math.isnan(read[name][6]) for name in TERMS) and read["grad_norm"][6] is None
    report = json.loads((ours.trainer.save_dir / "yolo-nanfix.json").read_text())
    (event,) = report["guard"]["events"]
    assert event["step"] == 7 and report["trackers"] == {}
    assert [p.name for p in (ours.trainer.save_dir / "incidents").iterdir()] == [event["incident"]]


def test_a_gradient_that_is_not_finite_shows(data, tmp_path, unpatched):
    class FaultyBackward(lab.trainer_class("detect")):
        def preprocess_batch(self, batch):
            weight = next(self.model.parameters())
            if self.epoch == 1:
                weight.register_hook(lambda grad: grad * float("nan"))
            return super().preprocess_batch(batch)

    with yolo_nanfix.patched(diagnose=False, max_bad_in_a_row=2, incidents=1):
        ours = lab.train(data, tmp_path / "run", trainer=FaultyBackward)
    assert isinstance(ours.error, GuardStop)
    read = written(ours)  # of the epoch that the run did not end, too
    assert read["step"] == [1, 2, 3, 4, 5, 6]
    assert [math.isnan(norm) for norm in read["grad_norm"]] == [False] * 4 + [True] * 2
    assert all(map(math.isfinite, read["loss"]))
    events = json.loads((ours.trainer.save_dir / "yolo-nanfix.json").read_text())["guard"]["events"]
    assert [e["step"] for e in events] == [5, 6]
    kept = [p.name for p in (ours.trainer.save_dir / "incidents").iterdir()]
    assert [e["incident"] for e in events] == ["", *kept]  # the first file made room for the second


def test_a_resumed_run_goes_on_in_the_same_file(data, tmp_path, unpatched):
    def stop(trainer):
        if trainer.epoch == 1:
            raise RuntimeError("power cut")

    with yolo_nanfix.patched():
        first = lab.train(data, tmp_path / "run", epochs=3, callbacks={"on_train_epoch_end": stop})
        assert str(first.error) == "power cut"
        assert written(first)["step"] == list(range(1, 9))
        faulty = lab.poisoned("detect", {(2, 0)})
        again = lab.train(data, tmp_path / "run", model=str(first.trainer.last), resume=True, trainer=faulty)
    assert again.error is None
    read = written(again)
    assert read["epoch"] == [1] * 4 + [2] * 4 + [3] * 4  # epoch 2 was trained once more, after its last checkpoint
    assert read["step"] == list(range(1, 13))
    (event,) = json.loads((again.trainer.save_dir / "yolo-nanfix.json").read_text())["guard"]["events"]
    assert event["step"] == 9 and math.isnan(read["loss"][8])


@pytest.mark.slow
def test_a_resumed_run_without_its_file_says_so(data, tmp_path, unpatched):
    def stop(trainer):
        if trainer.epoch == 1:
            raise RuntimeError("power cut")

    with yolo_nanfix.patched():
        first = lab.train(data, tmp_path / "run", callbacks={"on_train_epoch_start": stop})
        path = first.trainer.save_dir / STEPS_NAME
        path.write_text("a,b\n1,2\n")
        with lab.said() as messages:
            again = lab.train(data, tmp_path / "run", model=str(first.trainer.last), resume=True)
    assert again.error is None
    assert written(again)["epoch"] == [2] * 4
    (message,) = [m for m in messages if "the curves of this run begin where it was resumed" in m]
    assert f"{path}:1: not a steps file" in message
