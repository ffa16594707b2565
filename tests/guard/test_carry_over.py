"""A resumed run knows its earlier parts, also one that was killed: counts, events, images left out, a lower rate."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import lab
import pytest
from make_datasets import make_dataset, plant

import yolo_nanfix
from yolo_nanfix.events import Action, Check, Did, Event, Point, Source
from yolo_nanfix.guard import carry_over
from yolo_nanfix.guard.carry_over import STATE_NAME, CarryOver
from yolo_nanfix.guard.escalation import Ladder
from yolo_nanfix.guard.fault import Fault, Kind
from yolo_nanfix.guard.guard_settings import GuardSettings
from yolo_nanfix.guard.policy import Decision, Rung
from yolo_nanfix.guard.recorder import Recorder
from yolo_nanfix.verdicts import Cause, Verdict

KILLED = """
import os, signal, sys
import lab, yolo_nanfix

def kill(trainer):
    trainer.seen = getattr(trainer, "seen", 0) + 1
    if trainer.seen == 10:  # the second micro-batch of the third epoch
        os.kill(os.getpid(), signal.SIGKILL)

with yolo_nanfix.patched(diagnose=False):
    lab.train(sys.argv[1], lab.Path(sys.argv[2]), epochs=4, hsv_h=0.0, hsv_s=0.0, hsv_v=0.0,
              callbacks={"on_train_batch_end": kill})
"""


@pytest.fixture(scope="module")
def faulty(tmp_path_factory):
    data = make_dataset(tmp_path_factory.mktemp("data") / "set", n_train=16, n_val=4, size=(64, 64), seed=1)
    plant(data.parent, "nan_pixels", index=5)
    return data


@pytest.fixture(scope="module")
def killed(faulty, tmp_path_factory):
    """The folder of a run of 4 epochs that was killed in the third, after it had left an image out."""
    folder = tmp_path_factory.mktemp("killed") / "run"
    here = Path(lab.__file__).parent
    path = os.pathsep.join([str(here), str(here.parent / "scripts"), str(here.parent)])
    command = [sys.executable, "-c", KILLED, str(faulty), str(folder)]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    return folder


def report(folder):
    return json.loads((folder / "yolo-nanfix.json").read_text())


def resume(faulty, folder):
    with yolo_nanfix.patched(diagnose=False), lab.said() as messages:
        again = lab.train(faulty, folder, model=str(folder / "weights" / "last.pt"), resume=True)
    assert again.error is None, again.error
    return report(folder), [m for m in messages if "yolo-nanfix" in m]


def test_after_a_kill_the_report_covers_the_whole_run_and_the_image_stays_out(faulty, killed, unpatched):
    folder = killed.parent / "resumed"
    shutil.copytree(killed, folder)
    last = folder / "weights" / "last.pt"
    moved(last, folder)
    told, _ = resume(faulty, folder)
    guard = told["guard"]
    assert (guard["micro_batches"], guard["dropped_micro_batches"]) == (16, 2)
    assert guard["steps_taken"] + guard["steps_refused"] == 16 and guard["resumed_after_epochs"] == [2]
    assert [Path(image).name for image in guard["quarantined"]] == ["0005.jpg"]
    assert [(event["epoch"]) for event in guard["events"]] == [1, 2] and guard["epochs_unknown"] == 0
    assert Path(lab.did(guard["events"][1])["quarantined"]["images"][0]).name == "0005.jpg"
    assert not (folder / STATE_NAME).exists(), "a run that came to its end cannot be resumed"


def test_a_run_that_begins_anew_in_the_folder_inherits_nothing(faulty, killed, unpatched):
    folder = killed.parent / "anew"
    shutil.copytree(killed, folder)
    assert (folder / STATE_NAME).exists()
    with yolo_nanfix.patched(diagnose=False):
        anew = lab.train(faulty, folder, epochs=1, hsv_h=0.0, hsv_s=0.0, hsv_v=0.0)
    assert anew.error is None
    guard = report(folder)["guard"]
    assert (guard["micro_batches"], guard["dropped_micro_batches"], guard["quarantined"]) == (4, 1, [])
    assert guard["resumed_after_epochs"] == [] and guard["epochs_unknown"] == 0


def test_a_state_of_another_run_is_said_and_ignored(faulty, killed, unpatched):
    """The same folder, but its results are those of a later run without yolo-nanfix."""
    folder = killed.parent / "other"
    shutil.copytree(killed, folder)
    moved(folder / "weights" / "last.pt", folder)
    results = folder / "results.csv"
    lines = results.read_text().splitlines()
    lines[1] = lines[1].replace("1,", "1,9", 1)
    results.write_text("\n".join(lines) + "\n")
    told, messages = resume(faulty, folder)
    assert any(f"{STATE_NAME} is ignored" in m and "of another run" in m for m in messages)
    assert told["guard"]["epochs_unknown"] == 2 and told["guard"]["micro_batches"] == 8
    assert any(lost["kind"] == "earlier-part" for lost in told["lost"])


def moved(last, folder):
    """Let a checkpoint name the folder that it was copied to as that of its run."""
    import torch

    saved = torch.load(last, map_location="cpu", weights_only=False)
    saved["train_args"] |= {"name": folder.name, "project": str(folder.parent), "save_dir": str(folder)}
    torch.save(saved, last)


def test_images_that_lint_left_out_stay_out_of_a_run_that_is_resumed_without_it(faulty, tmp_path, unpatched):
    def fail(trainer):
        raise ValueError("the power went")

    words = {"model": lab.TINY, "pretrained": False, "epochs": 2, "imgsz": 64, "batch": 4, "nbs": 4, "workers": 0}
    quiet = {"plots": False, "device": "cpu", "mosaic": 0.0, "close_mosaic": 0, "optimizer": "SGD", "verbose": False}
    from ultralytics.utils.callbacks.base import default_callbacks

    default_callbacks["on_model_save"].append(fail)
    try:
        with pytest.raises(ValueError, match="the power went"):
            yolo_nanfix.train(faulty, project=str(tmp_path), name="run", exist_ok=True, **words, **quiet)
    finally:
        default_callbacks["on_model_save"].remove(fail)
    told, _ = resume(faulty, tmp_path / "run")
    assert [Path(image).name for image in told["quarantined"]] == ["0005.jpg"]
    assert told["guard"]["dropped_micro_batches"] == 0 and told["guard"]["micro_batches"] == 8
    (left_out,) = [lost for lost in told["lost"] if lost["kind"] == "images"]
    assert (left_out["count"], left_out["of"]) == (1, 16)


EVENT = Event(
    Point.AFTER_LOSS,
    (Check.LOSS,),
    1,
    2,
    (Source("a.jpg", "nan", ("b.jpg",)),),
    "{terms} not finite",
    {"terms": ("box", "cls")},
    (Action(Did.DROPPED, count=1),),
    2,
    "one",
)


def lived():
    """A recorder with three epochs behind it, of which the third was not saved."""
    recorder = Recorder()
    for epoch in (1, 2, 3):
        for _ in range(4):
            recorder.micro_batches += 1
            recorder.steps_taken += 1
        undone = replace(EVENT, actions=(*EVENT.actions, Action(Did.ROLLED_BACK, step=1, count=epoch)))
        recorder.add(undone, Verdict(Cause.DATA, "a.jpg", images=("a.jpg",), lr0=0.5, seconds=1.0))
        recorder.epoch_over(epoch)
    recorder.quarantined, recorder.start, recorder.pretrained = ["a.jpg"], {"w": 7}, True
    return recorder


def carried(recorder):
    return json.loads(json.dumps(recorder.lasting()))


def test_what_went_wrong_counts_and_what_is_trained_again_counts_once():
    again = Recorder()
    again.resumed.append(2)
    again.take_up(carried(lived()), 2)
    assert (again.micro_batches, again.micro_batches_redone, again.step) == (8, 4, 8)
    assert (again.steps_taken, again.steps_undone, again.rollbacks, again.dropped) == (8, 3, 3, 3)
    assert again.events == lived().events
    assert again.latest == {"loss": again.events[2]} and again.last == again.events[2]
    assert again.counts == {"loss": 3} and again.counts["other"] == 0
    assert [v.images for v in again.verdicts] == [("a.jpg",)] and again.quarantined == ["a.jpg"]
    assert again.start == {"w": 7} and again.pretrained is True and again.resumed == [2] and not again.finished
    third = Recorder()
    third.resumed.append(2)
    third.take_up(carried(again), 2)
    assert third.resumed == [2, 2] and third.micro_batches == 8


@pytest.mark.parametrize(
    "spoil",
    (
        lambda held: held.pop("events"),
        lambda held: held.update(events=[{"point": "nowhere"}]),
        lambda held: held.update(verdicts=[{"cause": "weather"}]),
        lambda held: held["plain"].update(dropped="many"),
        lambda held: held["plain"].update(quarantined=3),
        lambda held: held.update(marks=[[1, 2]]),
        lambda held: held.update(latest=None),
    ),
)
def test_a_damaged_state_changes_nothing(spoil):
    held, fresh = carried(lived()), Recorder()
    spoil(held)
    with pytest.raises(carry_over.DAMAGED):
        fresh.take_up(held, 2)
    assert fresh.as_dict() == Recorder().as_dict()


def ladder():
    return Ladder(SimpleNamespace(), GuardSettings(), [])


def test_what_is_in_force_is_in_force_again():
    fault = Fault(Kind.NOT_FINITE, Point.AFTER_LOSS, (Check.LOSS,), "", suspects=("a.jpg",))
    before = ladder()
    before.norms.extend([1.0, 2.0, 3.0])
    before.judge(fault)
    before.carry_out(Decision((Rung.CLIP, Rung.LOWER_LR), lr_factor=0.25), 0)
    before.quarantined["b.jpg"] = 2
    held = json.loads(json.dumps(before.lasting()))
    after = ladder()
    after.take_up(held)
    assert after.lr_scale == 0.25 and after.rate == before.rate and after.clipped(10.0) == 6.0
    assert after.quarantined == {"b.jpg": 2} and after.standing.offences == {"a.jpg": 1}
    assert (before.standing.bad_in_a_row, after.standing.bad_in_a_row) == (1, 0)
    assert Rung.QUARANTINE in after.judge(fault)
    fresh = ladder()
    for key, value in (("lr_scale", 2.0), ("lr_scale", "nan"), ("standing", []), ("clip_left", 10**9)):
        with pytest.raises(carry_over.DAMAGED):
            fresh.take_up({**held, key: value})
    assert fresh.lasting() == ladder().lasting()


@pytest.mark.parametrize("content", (b"", b"{", b"[]", b'{"format": 99}', b"\xff\xfe", b'{"format": 1}'))
def test_a_file_that_is_no_state_is_said_and_ignored(content, tmp_path):
    (tmp_path / STATE_NAME).write_bytes(content)
    trainer = SimpleNamespace(resume=True, save_dir=tmp_path, csv=tmp_path / "results.csv", start_epoch=3)
    with lab.said() as messages:
        earlier = CarryOver(trainer)
    assert earlier.held is None and len(messages) == 1 and "is ignored" in messages[0]
    recorder = Recorder()
    earlier.take_up(recorder)
    assert (recorder.epochs_unknown, recorder.resumed) == (3, [3])
