"""What lint remembers is believed only if it is whole, of this dataset, and the user's own."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import numpy as np
import pytest
from fuzz_damage import DAMAGES
from safetensors.numpy import load, save
from tiny_set import TinySet

from yolo_nanfix import api
from yolo_nanfix import files as unfinished
from yolo_nanfix.dataset import scanning
from yolo_nanfix.dataset.options import LintOptions
from yolo_nanfix.linting import cache as store
from yolo_nanfix.linting.runner import run

EACH = 6
"""So often each way of damage meets each of the two files."""
FAULTY = "0 0.5 0.5 0.2 3\n1 0.5 nan 0.1 0.1\n"


@pytest.fixture(autouse=True)
def kept(tmp_path, monkeypatch) -> Path:
    """The folder of what is remembered."""
    monkeypatch.setenv(store.ENVIRONMENT, str(tmp_path / "memory"))
    return store.folder()


@pytest.fixture
def faulty(tmp_path) -> TinySet:
    """A dataset of a few images, with findings."""
    tiny = TinySet(tmp_path / "set")
    tiny.put("labels/train/a.txt", FAULTY)
    tiny.put("images/train/c.jpg", (tiny.root / "images/train/a.jpg").read_bytes())
    return tiny


def findings(tiny: TinySet, *, cache: bool = True, task: str | None = None) -> list[object]:
    """What lint finds and counts, in this process."""
    report = run(tiny.root, cache=cache, jobs=1, options=LintOptions(task))
    return [report.task, report.counts, report.skipped, report.basis, *report.findings]


def both(kept: Path) -> list[Path]:
    """The two files that are remembered: columns and findings."""
    files = sorted(kept.iterdir(), key=lambda file: file.suffix)
    assert [file.suffix for file in files] == [store.COLUMNS, store.LATEST]
    return files


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_damaged_memory_is_found_anew(damage, faulty, kept):
    fresh, rng = findings(faulty, cache=False), random.Random(0)
    assert findings(faulty) == fresh
    whole = {file: file.read_bytes() for file in both(kept)}
    for file, content in whole.items():
        other = next(path for path in whole if path != file)
        for _ in range(EACH):
            file.write_bytes(damage(content, rng))
            if file.suffix == store.COLUMNS:
                other.unlink()  # else the columns are not asked
            assert findings(faulty) == fresh
    assert {file: file.read_bytes() for file in both(kept)} == whole


def test_a_whole_memory_is_believed(faulty, kept, monkeypatch):
    fresh = findings(faulty)
    monkeypatch.setattr("yolo_nanfix.linting.pipeline.check", None)
    assert findings(faulty) == fresh


def test_a_file_in_the_place_of_another_is_not_read(faulty, kept, tmp_path):
    """Of the same dataset linted in another way, where all stamps are the same, and of another dataset."""
    fresh = {task: findings(faulty, task=task, cache=False) for task in ("detect", "segment")}
    assert fresh["detect"] != fresh["segment"]
    for task, expected in fresh.items():
        assert findings(faulty, task=task) == expected
    other = TinySet(tmp_path / "other")
    of_other = findings(other)
    whole = {file: file.read_bytes() for file in kept.iterdir()}
    for suffix in (store.COLUMNS, store.LATEST):
        files = sorted(kept.glob(f"*{suffix}"))
        assert len(files) == 3
        for shift in (1, 2):
            for file, content in whole.items():
                file.write_bytes(content)
            for file, given in zip(files, files[shift:] + files[:shift], strict=True):
                file.write_bytes(whole[given])
            assert all(findings(faulty, task=task) == expected for task, expected in fresh.items())
            assert findings(other) == of_other


def test_an_older_memory_beside_a_newer_one_is_told_by_its_stamps(faulty, kept):
    findings(faulty)
    older = {file: file.read_bytes() for file in both(kept)}
    faulty.put("labels/train/a.txt", FAULTY.replace("nan", "inf"))
    changed = findings(faulty)
    assert changed == findings(faulty, cache=False)
    newer = {file: file.read_bytes() for file in both(kept)}
    for file, content in older.items():
        file.write_bytes(content)
        assert findings(faulty) == changed
        for path, whole in newer.items():
            path.write_bytes(whole)


def test_a_memory_that_is_no_regular_file_is_none(faulty, kept, tmp_path):
    fresh = findings(faulty)
    for file in both(kept):
        for odd in ("fifo", "folder", "zero", "nowhere"):
            file.unlink(missing_ok=True)
            if odd == "fifo":
                os.mkfifo(file)
            elif odd == "folder":
                file.mkdir()
            else:
                file.symlink_to("/dev/zero" if odd == "zero" else tmp_path / "nowhere")
            assert findings(faulty) == fresh
            if file.is_dir():
                file.rmdir()
    assert findings(faulty) == fresh and not (tmp_path / "nowhere").exists()


def test_a_memory_of_another_user_is_not_read(faulty, kept, monkeypatch):
    findings(faulty)
    file = both(kept)[0]
    assert store.read_whole(file) is not None
    monkeypatch.setattr(os, "geteuid", lambda: file.stat().st_uid + 1)
    assert store.read_whole(file) is None


def test_without_a_home_nothing_is_remembered_where_the_command_stands(faulty, tmp_path, monkeypatch):
    """There platformdirs gives `~/.cache`, a folder of that name in the current one: the dataset, perhaps."""
    monkeypatch.setattr(store, "folder", lambda: Path("~/.cache/yolo-nanfix/lint"))
    monkeypatch.chdir(faulty.root)
    before = faulty.state()
    assert findings(faulty) == findings(faulty, cache=False)
    assert faulty.state() == before
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "a.columns"
    store.write_whole(file, b"1")
    assert store.read_whole(file) is not None and store.read_whole(Path("a.columns")) is None


def test_what_killed_processes_left_is_removed(faulty, kept):
    kept.mkdir(parents=True)
    left, foreign = kept / f".a.nanfix-{unfinished.machine()}-1-0.tmp", kept / "notes.tmp"
    for file in (left, foreign):
        file.write_bytes(b"half")
    with unfinished.file(kept / "another") as busy:
        findings(faulty)
        assert not left.exists() and busy.exists() and foreign.exists()
    left.write_bytes(b"half")
    findings(faulty)  # nothing changed, nothing to write
    assert not left.exists()


@pytest.mark.parametrize("text", ["facts", "others"])
def test_columns_that_are_whole_but_cannot_be_understood_are_read_anew(text, faulty, kept):
    fresh = findings(faulty)
    columns, latest = both(kept)
    known = load(bytes(store.read_whole(columns) or b""))
    store.write_whole(columns, save({**known, store.TEXT + text: np.frombuffer(b"[[1, null]]", np.uint8)}))
    latest.unlink()
    assert findings(faulty) == fresh


def test_times_that_were_set_back_are_no_disguise(faulty):
    """Unpacking an archive gives files and folders the times that they had in it."""
    beside, hidden = faulty.put("classes.txt", "cat\ndog\n"), faulty.root / "images/train/.tiles"
    hidden.mkdir()
    future = time.time_ns() + 10**18
    for path in (beside, hidden):
        os.utime(path, ns=(future, future))
    seen = api.watched(faulty.root), scanning.scan(str(hidden.parent))[3], findings(faulty)
    beside.write_text("dog\ncat\n")
    (hidden / "x.jpg").write_bytes(b"")
    for path in (beside, hidden):
        os.utime(path, ns=(future, future))
    assert api.watched(faulty.root) != seen[0] and scanning.scan(str(hidden.parent))[3] != seen[1]
    assert findings(faulty) != seen[2] and findings(faulty) == findings(faulty, cache=False)
