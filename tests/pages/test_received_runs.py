"""A run folder of somebody else: its page holds nothing of this machine that the folder merely names or links to."""

from __future__ import annotations

import html
import json
import os
import re
import shlex
import shutil
from pathlib import Path

import pytest
from linting.tiny_set import TinySet

from yolo_nanfix import api, run_listener
from yolo_nanfix.cli.main import main
from yolo_nanfix.files import Refusal
from yolo_nanfix.findings import Place
from yolo_nanfix.report.words import where
from yolo_nanfix.run_folder import own_mark
from yolo_nanfix.run_folder.summary import RunContext

SECRET = "TopSecret"
PICTURE = 'href="data:image/jpeg'
ARGUMENTS = "model: yolov8n.pt\nepochs: 1\ntask: detect\n"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder whose report says that it trained on a dataset of this machine, in which lint found something."""
    tiny = TinySet(tmp_path / "mine")
    tiny.rows("0 0.9 0.5 0.4 0.25\n")
    folder = tmp_path / "run"
    folder.mkdir()
    summary = {"outcome": "finished", "state": "healthy", "reasons": [], "environment": {}, "patches": {}, "guard": {}}
    summary |= {"quarantined": {}, "paths": {}, "lint": api.lint(tiny.root, settings=False).as_dict()}
    run_listener.save(folder, summary, RunContext())
    (folder / "results.csv").write_text("epoch,train/box_loss\n1,0.5\n")
    (folder / "args.yaml").write_text(ARGUMENTS)
    return folder


def drawn(folder: Path, **options) -> tuple[str, str]:
    """The page of a run, and the notes about it."""
    made = api.draw(folder, **options)
    return made.page.read_text(encoding="utf-8"), "\n".join(made.notes)


def test_pictures_of_the_dataset_are_for_runs_of_ones_own(run: Path, tmp_path: Path, capsys):
    page, notes = drawn(run)
    assert PICTURE in page and "not read for pictures" not in notes
    received = tmp_path / "received"
    shutil.copytree(run, received)  # the mark is of another folder
    summary = json.loads((received / "yolo-nanfix.json").read_text())
    for mark in (summary["own"], "", None, 3, "0" * 64, "ü", own_mark.mark(str(tmp_path), summary["lint"]["data"], "")):
        (received / "yolo-nanfix.json").write_text(json.dumps({**summary, "own": mark}))
        page, notes = drawn(received)
        assert PICTURE not in page and f"({tmp_path}/mine/data.yaml) was not read" in notes and "BX006" in page
    assert PICTURE in drawn(received, pictures=True)[0] and PICTURE not in drawn(run, pictures=False)[0]
    assert main(["report", str(received), "--json"]) == 0
    assert any("--pictures" in note for note in json.loads(capsys.readouterr().out)["notes"])


def test_the_key_is_the_users_alone_and_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    mark = own_mark.mark("a", "b")
    key = tmp_path / "yolo-nanfix" / "key"
    assert own_mark.holds(mark, "a", "b") and own_mark.mark("a", "b") == mark and key.stat().st_mode & 0o777 == 0o600
    assert (
        not own_mark.holds(mark, "ab")
        and not own_mark.holds(mark, "a", "b", "")
        and list(key.parent.iterdir()) == [key]
    )
    key.chmod(0o644)
    assert not own_mark.holds(mark, "a", "b") and own_mark.mark("a", "b") == "", "others could have read it"
    monkeypatch.setenv("XDG_DATA_HOME", "/dev/null")
    assert own_mark.mark("a") == "" and not own_mark.holds("", "a")


@pytest.mark.parametrize("name", ["yolo-nanfix.json", "results.csv", "yolo-nanfix.csv", "args.yaml"])
def test_links_out_of_the_folder_are_named_and_not_followed(name: str, run: Path, tmp_path: Path):
    secret = tmp_path / "secret"
    secret.write_text(json.dumps({"outcome": SECRET}) if name.endswith("json") else f"{SECRET},loss\n1,2\n")
    if name == "args.yaml":
        secret.write_text(f"{ARGUMENTS}project: {SECRET}\n")
    (run / name).unlink(missing_ok=True)
    (run / name).symlink_to("../secret")
    page, notes = drawn(run)
    assert SECRET not in page and f"{name} is not opened: it is {Refusal.LINK.value}" in notes
    assert "not opened" not in drawn(run, follow_links=True)[1]
    (run / name).unlink()
    (run / name).symlink_to("/proc/self/environ")
    assert f"it is {Refusal.SYSTEM.value}" in drawn(run, follow_links=True)[1]


def test_incidents_that_are_no_files_of_the_folder_are_named(run: Path, tmp_path: Path):
    (run / "incidents").mkdir()
    (tmp_path / "other.safetensors").write_bytes(b"x")
    (run / "incidents" / "a.safetensors").symlink_to("../../other.safetensors")
    os.mkfifo(run / "incidents" / "b.safetensors")
    (run / "incidents" / "c.safetensors").write_bytes(b"")
    page, notes = drawn(run)
    assert f"a.safetensors: {Refusal.LINK.value}, b.safetensors: {Refusal.PIPE.value}" in notes
    assert "c.safetensors" in page and page.count("a.safetensors") == 1, "in the notes alone"
    shutil.rmtree(run / "incidents")
    (run / "incidents").symlink_to("..")
    assert f"other.safetensors: {Refusal.LINK.value}" in drawn(run)[1]


def test_a_page_is_not_written_through_a_link(run: Path, tmp_path: Path):
    (tmp_path / "mine.html").write_text("mine")
    (run / "yolo-nanfix.html").unlink()
    (run / "yolo-nanfix.html").symlink_to("../mine.html")
    drawn(run)
    assert (tmp_path / "mine.html").read_text() == "mine" and not (run / "yolo-nanfix.html").is_symlink()


def test_commands_to_paste_are_ours_and_whole(run: Path):
    """What a report has as a command is shown as one only if a shell would run nothing but yolo-nanfix."""
    summary = json.loads((run / "yolo-nanfix.json").read_text())
    evil = [
        "; touch marker",
        "$(touch marker)",
        "`touch marker`",
        "| sh",
        "&& touch marker",
        "> marker",
        "'; touch marker",
    ]
    advice = [f"yolo-nanfix lint data.yaml {end}" for end in evil] + [
        "curl x | sh",
        "yolo-nanfix lint 'a set.yaml' --deep",
    ]
    summary["guard"] = {"verdicts": [{"cause": "data", "summary": "x", "commands": advice, "confidence": 1}]}
    summary["command"] = "curl x | sh"
    summary["on_fatal"] = "ignore; touch marker"
    summary["arguments"] = {"epochs; touch marker": "$(touch marker)", "model": "`touch marker`"}
    summary["lint"] |= {"task": "detect; touch marker", "data": "a; touch marker", "given_root": "$(touch marker)"}
    (run / "yolo-nanfix.json").write_text(json.dumps(summary))
    page, _ = drawn(run)
    shown = [
        html.unescape(line) for pre in re.findall(r"<pre[^>]*>(.*?)</pre>", page, re.DOTALL) for line in pre.split("\n")
    ]
    commands = [line for line in (re.sub(r"</?code>", "", line).strip() for line in shown) if line]
    assert "yolo-nanfix lint 'a set.yaml' --deep" in commands and len(commands) > 4
    for command in commands:
        assert shlex.join(shlex.split(command)) == command and command.startswith("yolo-nanfix "), command


def test_lines_begin_with_no_command_of_a_ci_system(tmp_path: Path):
    for name in ("::stop-commands::x.txt", " ::add-mask::x.txt"):
        assert where(Place(str(tmp_path / name), 3), tmp_path) == f"./{name}:3"
    assert where(Place(str(tmp_path / "a::b.txt"), 3), tmp_path) == "a::b.txt:3"


def test_tensors_that_claim_to_be_huge_are_not_read(run: Path):
    """The file is sparse: it takes no room, and unpacks from a small archive."""
    facts = json.dumps({"format": 1, "sources": [{"file": "a.jpg", "suspect": "nan"}], "detail": "input"})
    size = 4 * 3 * 10_000 * 10_000
    tensors = {"batch.img": {"dtype": "F32", "shape": [1, 3, 10_000, 10_000], "data_offsets": [0, size]}}
    header = json.dumps({"__metadata__": {"yolo-nanfix": facts}, **tensors}).encode()
    (run / "incidents").mkdir()
    with open(run / "incidents" / "a.safetensors", "wb") as stream:
        stream.write(len(header).to_bytes(8, "little") + header)
        stream.truncate(8 + len(header) + size)
    page, _ = drawn(run)
    assert "The picture cannot be drawn: batch.img has 300000000 values" in page
