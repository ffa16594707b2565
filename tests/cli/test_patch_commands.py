"""`yolo-nanfix patches`, `explain` and `doctor` as a user runs them."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import yolo_nanfix
from yolo_nanfix import cards, environment, upstream
from yolo_nanfix.cli.main import main
from yolo_nanfix.patching import engine

pytestmark = pytest.mark.usefixtures("unpatched")


def test_patches_lists_every_card_with_target_state_and_reason(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["patches"]) == 0
    out = capsys.readouterr().out
    for name, card in cards.load_all().items():
        line = next(line for line in out.splitlines() if line.startswith(name))
        assert card.targets[0].partition(":")[2] in line
        assert any(state in line for state in (" on ", " off ", " fixed ", " not-needed "))
    assert "guard on" in out and "\x1b" not in out
    assert engine.snapshot() == {}


def test_patches_as_json_is_the_status(capsys):
    assert main(["patches", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    with yolo_nanfix.patched() as status:
        assert told == json.loads(json.dumps(status.as_dict()))


def test_quiet_leaves_the_names_of_patches_that_are_on_and_checks_that_are_bad(capsys):
    assert main(["patches", "--quiet"]) == 0
    with yolo_nanfix.patched() as status:
        assert capsys.readouterr().out.split() == [patch.name for patch in status.patches if patch.state == "on"]
    assert main(["doctor", "--quiet"]) == 0
    assert capsys.readouterr().out == ""


def test_a_refused_patch_is_listed_and_makes_exit_code_1(capsys, monkeypatch):
    broken = {**cards.load_all()}
    gone = ("ultralytics.utils.metrics:gone",)
    broken["box-iou-half-precision"] = cards.Card(**{**vars(broken["box-iou-half-precision"]), "targets": gone})
    monkeypatch.setattr(engine, "load_all", lambda: broken)
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["patches"]) == 1
    assert "has no gone of its own" in capsys.readouterr().out
    assert main(["doctor"]) == 1
    assert "patch box-iou-half-precision: refused" in capsys.readouterr().out


@pytest.mark.parametrize("name", cards.load_all())
def test_explain_says_all_that_the_card_says(name, capsys):
    assert main(["explain", name]) == 0
    out = capsys.readouterr().out
    card = cards.load_all()[name]
    for text in (name, *card.targets, card.symptom, card.does, card.leaves, card.measured, *card.params):
        assert text in out
    assert "[bold]" not in out


def test_explain_knows_the_rules_of_lint(capsys):
    assert main(["explain", "bx004"]) == 0
    assert "box-side-zero" in capsys.readouterr().out


@pytest.mark.parametrize(("name", "says"), [("rect", "did you mean 'rect-validation'"), ("zzz", "known: amp-check")])
def test_explain_of_something_unknown(name, says, capsys):
    assert main(["explain", name]) == 2
    assert says in capsys.readouterr().err


def test_doctor_finds_nothing_bad_here_and_changes_nothing(capsys):
    assert main(["doctor", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["healthy"] and {c["state"] for c in told["checks"]} <= {"good", "note"}
    assert "ultralytics " + upstream.version() in told["checks"][0]["detail"]
    assert engine.snapshot() == {}


def test_doctor_tells_a_release_that_is_too_old(monkeypatch):
    monkeypatch.setattr(upstream, "version", lambda: "8.0.100")
    assert environment._release().state == "bad" and "rect validation" in environment._release().detail


@pytest.mark.parametrize(
    ("name", "state", "says"),
    [
        ("NVIDIA GeForce GTX 1660 Ti", "bad", "amp=False"),
        ("NVIDIA H200", "good", 'amp="bf16"'),
    ],
)
def test_doctor_knows_gpus_by_name(name, state, says, monkeypatch):
    """The name of the hardware is faked; nothing else can be, where there is none."""
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: name)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: (9, 0))
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: type("P", (), {"total_memory": 1 << 33}))
    (check,) = environment._devices()
    assert (check.state, check.name) == (state, "GPU 0") and says in check.advice and "8 GiB" in check.detail


def test_doctor_tells_of_little_shared_memory(monkeypatch, tmp_path):
    monkeypatch.setattr(environment, "SHARED_MEMORY", tmp_path)
    monkeypatch.setattr(environment.shutil, "disk_usage", lambda path: type("U", (), {"total": 64 << 20}))
    (check,) = environment._shared_memory()
    assert check.state == "note" and "64 MiB" in check.detail and "workers=0" in check.advice


def test_explain_needs_no_torch():
    code = "import sys; from yolo_nanfix.cli.main import main; main(['explain', 'rect-validation']); print(sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "'torch'" not in done.stdout and "'ultralytics'" not in done.stdout
