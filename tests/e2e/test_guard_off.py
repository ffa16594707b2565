"""A run whose guard is off says so first and last; what came with the dataset switches nothing off."""

from __future__ import annotations

import io
import json
from pathlib import Path

import lab
import pytest
import torch
from make_datasets import make_dataset, plant
from rich.console import Console

import yolo_nanfix
from yolo_nanfix import overrides
from yolo_nanfix.guard import adapter
from yolo_nanfix.overrides import What
from yolo_nanfix.report import run_text

pytestmark = pytest.mark.usefixtures("unpatched")
SETTINGS = "guard: false\ndisable: [mask-area-zero]\nlint: {ignore: [IM011, FS011]}\n"
SMALL = {"imgsz": 64, "batch": 2, "workers": 0, "epochs": 1, "plots": False, "device": "cpu"}


@pytest.fixture
def faulty(tmp_path: Path, monkeypatch) -> Path:
    """Four train images, one of them shadowed by an array with NaN pixels, below the current folder."""
    monkeypatch.chdir(tmp_path)
    data = make_dataset(tmp_path / "set", n_train=4, n_val=2, size=(64, 64), seed=1)
    plant(data.parent, "nan_pixels", index=1)
    return data


def dry_run(data: Path, **more: object) -> yolo_nanfix.runs.Run:
    return yolo_nanfix.train(data, model=lab.TINY, dry_run=True, imgsz=64, **more)


def text(summary: dict, *, quiet: bool = False) -> list[str]:
    page = io.StringIO()
    run_text.render(summary, Console(file=page, width=400, no_color=True), quiet=quiet)
    return page.getvalue().splitlines()


def test_what_came_with_the_dataset_decides_about_nothing(faulty: Path, monkeypatch):
    (faulty.parent / "nanfix.yaml").write_text(SETTINGS)
    monkeypatch.chdir(faulty.parent)
    summary = dry_run(faulty).summary
    assert summary["guard"]["settings"] is not None and summary["guard"]["off"] == ""
    assert list(summary["quarantined"]) == [str(faulty.parent / "images/train/0001.jpg")]
    assert summary["patches"]["mask-area-zero"]["state"] == "on"
    both = overrides.read_overrides(summary), overrides.read_overrides(summary, "lint")
    refused = [change for one in both for change in one.changes if not change.taken]
    assert {one.key for one in refused} == {"guard", "disable", "lint.ignore"}
    assert any("not taken: lint.ignore for 1 image with fatal findings" in line for line in text(summary, quiet=True))


@pytest.mark.parametrize("how", ["argument", "variable", "a file of the user's own"])
def test_what_is_trusted_counts_and_is_said(faulty: Path, monkeypatch, how: str):
    file = Path("nanfix.yaml") if how.startswith("a file") else faulty.parent / "nanfix.yaml"
    file.write_text(SETTINGS)
    monkeypatch.chdir(file.absolute().parent)
    if how == "variable":
        monkeypatch.setenv("YOLO_NANFIX_TRUST_DATASET_SETTINGS", "1")
    summary = dry_run(faulty, trust_dataset_settings=how == "argument").summary
    assert summary["guard"]["off"] == f"{file.absolute()}: guard" and summary["quarantined"] == {}
    assert summary["patches"]["mask-area-zero"]["state"] == "off"
    trained = overrides.read_overrides(summary, "lint").of(What.FATAL_TRAINED)
    assert [(one.key, one.names, one.count) for one in trained] == [("lint.ignore", ("IM011",), 1)]
    told = text(summary)
    framed = [line for line in told if "guard is off" in line]
    assert len(framed) == 3 and told[-1] == framed[-1]
    assert "1 image with fatal findings is trained on: IM011" in " ".join(told)


def test_a_file_above_counts_where_that_of_the_dataset_does_not(faulty: Path, monkeypatch):
    (faulty.parent / "nanfix.yaml").write_text("max_bad_in_a_row: 99999\n")
    Path("nanfix.yaml").write_text("max_bad_in_a_row: 3\n")
    monkeypatch.chdir(faulty.parent)
    summary = dry_run(faulty).summary
    assert summary["guard"]["settings"]["max_bad_in_a_row"] == 3
    assert [(c.value, c.taken) for c in overrides.read_overrides(summary).changes] == [("3", True), ("99999", False)]


def test_to_train_on_fatal_findings_is_said(faulty: Path):
    (said,) = overrides.read_overrides(dry_run(faulty, on_fatal="ignore").summary).changes
    assert (said.what, said.key, said.value, said.names, said.count) == (
        What.FATAL_TRAINED, "on_fatal", "ignore", ("IM011",), 1,
    )  # fmt: skip


def test_a_run_without_guard_says_so_first_and_last(faulty: Path, tmp_path: Path, monkeypatch):
    (faulty.parent / "images/train/0001.npy").unlink()
    monkeypatch.setenv("YOLO_NANFIX_GUARD", "0")
    with lab.said() as messages:
        run = yolo_nanfix.train(faulty, model=lab.TINY, project=str(tmp_path / "runs"), name="off", **SMALL)
    ours = [message for message in messages if "guard is off (YOLO_NANFIX_GUARD)" in message]
    assert "NaN and Inf are not stopped" in ours[0] and "was not guarded" in ours[-1]
    saved = json.loads((tmp_path / "runs/off/yolo-nanfix.json").read_text())
    assert run.exit_code == 0 and saved["outcome"] == "finished"
    assert saved["guard"]["settings"] is None and saved["guard"]["off"] == "YOLO_NANFIX_GUARD"
    page = (tmp_path / "runs/off/yolo-nanfix.html").read_text()
    assert page.count("guard is off (YOLO_NANFIX_GUARD)") >= 2 and "Not guarded" in page
    assert "the model is healthy" not in page and "guard is off" in run._repr_html_()
    told = text(saved)
    assert "guard is off" in told[-1] and any("ended, without guard" in line for line in told)


def test_the_lines_of_a_run_without_guard_change_nothing_of_it(faulty: Path, tmp_path: Path):
    """Under `patch(guard=False)`; and a guarded run says nothing of it."""
    (faulty.parent / "images/train/0001.npy").unlink()
    shim = "torchvision-operators-missing"
    runs = []
    for named, guard in (((shim,), None), ((), False), ((), None)):
        with yolo_nanfix.patched(*named, guard=guard), lab.said() as messages:
            runs.append(lab.train(faulty, tmp_path / f"run{len(runs)}", epochs=1))
        assert runs[-1].error is None
        assert sum("guard is off (guard=False)" in message for message in messages) == (2 if guard is False else 0)
    first, *others = (lab.state(run.trainer) for run in runs)
    assert all(torch.equal(value, other[key]) for other in others for key, value in first.items())


@pytest.mark.parametrize("trust", [False, True])
def test_a_patch_that_knows_no_dataset_asks_when_a_trainer_is_built(faulty: Path, monkeypatch, trust: bool):
    (faulty.parent / "images/train/0001.npy").unlink()
    (faulty.parent / "nanfix.yaml").write_text("guard: false\n")
    monkeypatch.chdir(faulty.parent)
    guarded = []
    status = yolo_nanfix.patch(trust_dataset_settings=trust)
    assert status.guard is None and status.guard_off == f"{Path.cwd() / 'nanfix.yaml'}: guard"
    carried = adapter.in_force().from_dict(json.loads(json.dumps(adapter.in_force().as_dict())))
    assert carried == adapter.in_force()
    with lab.said() as messages:
        ends = {"on_train_start": lambda t: guarded.append("preprocess_batch" in vars(t))}
        result = lab.train(faulty, faulty.parent.parent / "run", epochs=1, callbacks=ends)
    assert result.error is None and guarded == [not trust]
    said = [m for m in messages if "guard is off" in m or "not taken: guard=false" in m]
    assert len(said) == (2 if trust else 1)
    assert yolo_nanfix.status().settings.of(What.GUARD_OFF) == () or trust


def test_named_patches_and_a_guard_that_is_on_announce_nothing(faulty: Path):
    assert yolo_nanfix.patch("rect-validation", guard=False).guard_off is None and adapter.in_force() is None
    assert yolo_nanfix.patch().guard_off is None
    assert yolo_nanfix.patch("rect-validation", guard=False).guard_off == "guard=False"
    assert yolo_nanfix.patch(guard=True).settings.guard_off is None
