"""Undo with journals that are damaged, of moved datasets, of others: what it writes, and what it says."""

from __future__ import annotations

import os
import random
import shutil
import signal
from collections import Counter
from pathlib import Path

import pytest
from fixing.test_fix import snapshot
from journal_damage import damage
from linting.tiny_set import TinySet

import yolo_nanfix
from yolo_nanfix.errors import UsageError

SPILL = "0 0.5 0.5 0.2 1.005\n"
CASES = 100


class Place:
    """A fixed dataset with its journal, and files of the user beside it."""

    def __init__(self, root: Path, journals: Path) -> None:
        """Fix it, and change one file after that."""
        self.root, self.journals = root, journals
        self.tiny = TinySet(root / "set")
        self.tiny.rows(SPILL * 2)
        self.tiny.put("labels/val/b.txt", SPILL)
        for name in "cde":
            self.tiny.put(
                f"images/train/{name}.jpg", (self.tiny.root / "images/train/a.jpg").read_bytes() * (name != "e")
            )
            self.tiny.put(f"labels/train/{name}.txt", SPILL)
        (root / "mine").mkdir()
        (root / "mine/file.txt").write_text("of the user\n")
        self.before = snapshot(self.tiny.root)
        yolo_nanfix.fix(yolo_nanfix.lint(self.tiny.root, settings=False), unsafe=True)
        self.changed = self.tiny.put("labels/train/c.txt", "0 0.1 0.1 0.1 0.1\n")
        self.fixed = snapshot(root)
        self.journal = {file.name: file.read_bytes() for file in (journals / "000001").iterdir()}

    def again(self) -> Path:
        """All as it was after the fix; gives the folder of the journal."""
        for path in [path for path in self.root.rglob("*") if path.is_symlink() or path.is_file()]:
            if str(path) not in self.fixed:
                path.unlink()
        for name, (content, mode, mtime_ns) in self.fixed.items():
            path = Path(name)
            if not path.exists() or path.read_bytes() != content:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
                path.chmod(mode)
                os.utime(path, ns=(mtime_ns, mtime_ns))
        folder = self.journals / "000001"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for name, content in self.journal.items():
            (folder / name).write_bytes(content)
        return folder


@pytest.fixture
def place(tmp_path: Path, journals: Path) -> Place:
    return Place(tmp_path / "place", journals)


def test_a_damaged_journal_costs_no_byte_and_leads_nowhere_else(place: Place):
    outcomes: Counter[str] = Counter()
    known = {path: {value[0]} for path, value in place.fixed.items()}
    for path, value in place.before.items():
        known.setdefault(path, set()).add(value[0])
    before_alarm = signal.alarm(60)  # a pipe that is waited for ends the test
    for seed in range(CASES):
        journal = place.again()
        way = damage(journal, random.Random(seed), [place.root / "mine/file.txt", place.root / "mine"])
        state, pack = snapshot(place.root), journal / "pack.bin"
        there = pack.is_file() and not pack.is_symlink()
        try:
            undone = yolo_nanfix.undo(place.tiny.root)
        except UsageError as error:
            outcomes["refused"] += 1
            assert snapshot(place.root) == state, way
            assert "\n" not in str(error) and (str(journal) in str(error) or "no fix run" in str(error)), way
            assert pack.exists() or not there, way
            continue
        now = snapshot(place.root)
        outcomes["partly" if undone.kept else "whole"] += 1
        assert {k: v for k, v in now.items() if "mine" in k} == {k: v for k, v in state.items() if "mine" in k}, way
        assert all(value[0] in known[path] for path, value in now.items()), way
        assert place.changed.read_text() == "0 0.1 0.1 0.1 0.1\n", way
        assert not list(place.root.rglob("*.tmp")) and not (place.root / "mine/new.txt").exists(), way
        assert undone.kept and journal.is_dir() and (pack.exists() or not there), way  # the user changed one file
        wrong = [path for path, value in place.before.items() if now.get(path, (b"",))[0] != value[0]]
        assert len(wrong) <= len(undone.kept), (way, wrong)
    signal.alarm(before_alarm)
    assert min(outcomes["refused"], outcomes["partly"]) > CASES // 5 and not outcomes["whole"], outcomes


def test_a_healthy_journal_of_the_same_set_gives_all_back(place: Place):
    place.again()
    place.changed.write_text("0 0.5 0.5 0.2 1\n")  # as the fix left it
    undone = yolo_nanfix.undo(place.tiny.root)
    assert undone.kept == () and undone.damaged == () and undone.moved_from is None
    assert {p: v[:2] for p, v in snapshot(place.root / "set").items()} == {p: v[:2] for p, v in place.before.items()}
    assert [p.name for p in place.journals.iterdir()] == ["lock"]
