"""What is not finished yet: whole or not there; what dead processes left is cleared, what living ones write stays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from yolo_nanfix import files
from yolo_nanfix.files import write_text

WRITES = """
import sys, time
from pathlib import Path
from yolo_nanfix import files
what, place = sys.argv[1], Path(sys.argv[2])
if what == "file":
    with files.file(place) as fresh:
        fresh.write_text("half")
        print(fresh, flush=True)
        time.sleep(600)
elif what == "folder":
    with files.folder(place) as fresh:
        (fresh / "below").mkdir()
        (fresh / "below" / "a").write_text("half")
        print(fresh, flush=True)
        time.sleep(600)
else:
    with files.moved_away(place):
        print(place, flush=True)
        time.sleep(600)
"""


def writer(what: str, place: Path) -> subprocess.Popen[str]:
    """A process in the middle of writing."""
    process = subprocess.Popen([sys.executable, "-c", WRITES, what, str(place)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline()
    return process


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_whole_or_as_it_was(tmp_path: Path):
    place = tmp_path / "a.json"
    with files.file(place) as fresh:
        fresh.write_text("new")
        assert not place.exists() and fresh.parent == tmp_path
    with pytest.raises(KeyboardInterrupt), files.file(place) as fresh:
        fresh.write_text("ha")
        raise KeyboardInterrupt
    assert names(tmp_path) == ["a.json"] and place.read_text() == "new"


def test_a_folder_stays_only_under_another_name(tmp_path: Path):
    with files.folder(tmp_path / "out") as fresh:
        (fresh / "a").write_text("a")
        fresh.rename(tmp_path / "out")
    with pytest.raises(ValueError), files.folder(tmp_path / "other") as fresh:
        (fresh / "a").write_text("a")
        raise ValueError
    assert names(tmp_path) == ["out"] and names(tmp_path / "out") == ["a"]


@pytest.mark.parametrize("what", ["file", "folder"])
def test_what_a_living_process_writes_stays_and_what_a_dead_one_left_goes(what: str, tmp_path: Path):
    living = writer(what, tmp_path / "a")
    try:
        assert files.clear_leftovers(tmp_path) == 0 and len(names(tmp_path)) == 1
        write_text(tmp_path / "a.json", "beside")
        assert len(names(tmp_path)) == 2
    finally:
        kill(living)
    write_text(tmp_path / "b.json", "of another name")
    assert len(names(tmp_path)) == 3
    write_text(tmp_path / "a", "the same name")
    assert names(tmp_path) == ["a", "a.json", "b.json"]


def test_what_was_moved_away_comes_back(tmp_path: Path):
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(ValueError), files.moved_away(out):
        assert not out.exists()
        raise ValueError
    assert names(tmp_path) == ["out"] and files.waiting(out) is None
    killed = writer("moved", out)
    assert files.waiting(out) is None, "its process lives"
    kill(killed)
    waiting = files.waiting(out)
    assert waiting is not None and not out.exists()
    waiting.rename(out)
    with files.moved_away(out):
        out.mkdir()
        (out / "new").touch()
    assert names(tmp_path) == ["out"] and names(out) == ["new"]


def test_of_another_machine_only_what_is_old_is_cleared(tmp_path: Path):
    other = "00000000" if files.machine() != "00000000" else "11111111"
    young, old = (tmp_path / f".{name}.nanfix-{other}-1-0.tmp" for name in ("young", "old"))
    for file in (young, old):
        file.write_text("half")
    os.utime(old, (1, 1))
    assert files.clear_leftovers(tmp_path) == 1 and names(tmp_path) == [young.name]


def test_nothing_but_its_own_is_touched(tmp_path: Path):
    ours = f"nanfix-{files.machine()}-1-0.tmp"
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "kept").touch()
    (tmp_path / f".link.{ours}").symlink_to("elsewhere")
    os.mkfifo(tmp_path / f".pipe.{ours}")
    for name in (".notes.123.tmp", ".nanfix-ab-1.tmp", "a.tmp", ours):
        (tmp_path / name).touch()
    before = names(tmp_path)
    assert files.clear_leftovers(tmp_path) == 0 and files.clear_leftovers(tmp_path / "not there") == 0
    assert names(tmp_path) == before and names(tmp_path / "elsewhere") == ["kept"]


@pytest.mark.parametrize("name", ["x" * 255, "é" * 127, os.fsdecode(b"\xff" * 200), "a b\nc"])
def test_any_name_can_be_written(name: str, tmp_path: Path):
    killed = writer("file", tmp_path / name)
    kill(killed)
    assert killed.returncode == -signal.SIGKILL
    write_text(tmp_path / name, "whole")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_where_nothing_can_be_locked_age_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "fcntl", None)
    dead = tmp_path / f".a.nanfix-{files.machine()}-1-0.tmp"
    dead.touch()
    write_text(tmp_path / "a", "whole")
    assert dead.exists()
    os.utime(dead, (1, 1))
    write_text(tmp_path / "a", "whole")
    assert names(tmp_path) == ["a"]
