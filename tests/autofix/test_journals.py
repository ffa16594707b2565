"""Undo with journals that are damaged, of moved datasets, of others: what it writes, and what it says."""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from autofix.test_fix import snapshot
from journal_damage import damage, read
from linting.tiny_set import YAML, TinySet

import yolo_nanfix
from yolo_nanfix.errors import UsageError
from yolo_nanfix.linting.autofix.journal import Damaged, Journal, Step, journal_of, journal_text
from yolo_nanfix.linting.autofix.reasons import Why

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


def _fixed(tiny: TinySet) -> dict[str, tuple[bytes, int, int]]:
    """Fix two labels, and move an image away; gives what was before."""
    tiny.rows(SPILL)
    tiny.put("labels/val/b.txt", SPILL)
    tiny.put("images/train/e.jpg", b"")
    tiny.put("labels/train/e.txt", SPILL)
    before = snapshot(tiny.root)
    assert yolo_nanfix.fix(yolo_nanfix.lint(tiny.root, settings=False), unsafe=True).files == 4
    return before


def _by_name(found: dict[str, tuple[bytes, int, int]], root: Path) -> dict[str, tuple[bytes, int, int]]:
    return {os.path.relpath(path, root): value for path, value in found.items()}


@pytest.mark.parametrize("quarantine", ["moved along", "left"])
def test_a_moved_dataset_is_undone_where_it_is_now(tiny: TinySet, tmp_path: Path, quarantine: str):
    before = _by_name(_fixed(tiny), tiny.root)
    new = tmp_path / "deep/er/renamed"
    new.parent.mkdir(parents=True)
    old = str(tiny.root / "data.yaml")
    tiny.root.rename(new)
    if quarantine == "moved along":
        (tmp_path / "set-quarantine").rename(new.with_name("renamed-quarantine"))
    undone = yolo_nanfix.undo(new)
    assert (undone.kept, undone.moved_from) == ((), old)
    assert _by_name(snapshot(new), new) == before
    assert not tiny.root.exists() and not new.with_name("renamed-quarantine").exists()


def test_a_dataset_whose_root_was_moved_is_undone_there(tiny: TinySet, tmp_path: Path):
    (tmp_path / "root").mkdir()
    for name in ("images", "labels"):
        (tiny.root / name).rename(tmp_path / "root" / name)
    tiny.yaml(f"path: {tmp_path}/root\n{YAML}")
    label = tmp_path / "root/labels/train/a.txt"
    label.write_text(SPILL)
    assert yolo_nanfix.fix(yolo_nanfix.lint(tiny.root, settings=False)).files == 1
    (tmp_path / "root").rename(tmp_path / "new")
    tiny.yaml(f"path: {tmp_path}/new\n{YAML}")
    assert yolo_nanfix.undo(tiny.root).kept == ()
    assert (tmp_path / "new/labels/train/a.txt").read_text() == SPILL and not (tmp_path / "root").exists()


def test_a_copy_of_a_dataset_and_another_one_have_no_part_in_its_journal(tiny: TinySet, tmp_path: Path):
    before = _fixed(tiny)
    shutil.copytree(tiny.root, tmp_path / "copy")
    fixed = snapshot(tmp_path / "copy")
    with pytest.raises(UsageError, match="no fix run"):
        yolo_nanfix.undo(tmp_path / "copy")
    other = TinySet(tmp_path / "other")
    tiny.root.rename(tmp_path / "hidden")
    with pytest.raises(UsageError, match="no fix run"):  # its labels are no such as the fix left
        yolo_nanfix.undo(other.root)
    assert snapshot(tmp_path / "copy") == fixed
    (tmp_path / "hidden").rename(tiny.root)
    assert yolo_nanfix.undo(tiny.root).kept == () and snapshot(tiny.root) == before


def test_a_set_that_lacks_what_another_one_moved_away_is_not_taken_for_it(tiny: TinySet, tmp_path: Path):
    tiny.put("images/train/e.jpg", b"")
    assert yolo_nanfix.fix(yolo_nanfix.lint(tiny.root, settings=False), unsafe=True).files == 1
    for name in ("set", "set-quarantine"):
        (tmp_path / name).rename(tmp_path / f"hidden-{name}")
    other = TinySet(tmp_path / "other")
    before = snapshot(other.root)
    with pytest.raises(UsageError, match="no fix run"):
        yolo_nanfix.undo(other.root)
    assert snapshot(other.root) == before


def test_a_list_of_steps_that_is_damaged_leaves_no_file_out(tiny: TinySet, journals: Path):
    before = _fixed(tiny)
    (journals / "000001/applied.json").write_text("[0]")
    assert yolo_nanfix.undo(tiny.root).kept == () and snapshot(tiny.root) == before


def test_a_damaged_journal_of_the_last_run_is_named_and_the_one_before_it_can_be_undone(tiny: TinySet, journals: Path):
    tiny.rows(SPILL)
    before = snapshot(tiny.root)
    yolo_nanfix.fix(yolo_nanfix.lint(tiny.root, settings=False))
    between = snapshot(tiny.root)
    tiny.put("labels/val/b.txt", SPILL)
    yolo_nanfix.fix(yolo_nanfix.lint(tiny.root, settings=False))
    text = (journals / "000002/journal.json").read_bytes()
    (journals / "000002/journal.json").write_bytes(text[:-9])
    state = snapshot(tiny.root)
    for _ in range(2):
        with pytest.raises(UsageError, match=r"hash differs.*nothing was changed.*000002/pack.bin; move that"):
            yolo_nanfix.undo(tiny.root)
    assert snapshot(tiny.root) == state
    (journals / "000002").rename(journals / "kept")
    tiny.put("labels/val/b.txt", (tiny.root / "labels/val/b.txt").read_bytes())
    assert yolo_nanfix.undo(tiny.root).kept == ()
    label = str(tiny.root / "labels/train/a.txt")
    assert snapshot(tiny.root)[label] == before[label] != between[label]


def test_bytes_that_are_damaged_in_the_journal_are_not_written(tiny: TinySet, journals: Path):
    before = _fixed(tiny)
    pack = journals / "000001/pack.bin"
    content = pack.read_bytes()
    at = content.rindex(SPILL.encode())
    pack.write_bytes(content[:at] + b"1" + content[at + 1 :])
    undone = yolo_nanfix.undo(tiny.root)
    (kept,) = undone.kept
    assert kept.reason.why is Why.BYTES_DAMAGED and undone.files == 3 and undone.bytes_in == str(journals / "000001")
    now = snapshot(tiny.root)
    assert {path for path in before if before[path] != now[path]} == {kept.place} and pack.exists()


def test_a_disk_that_is_full_keeps_the_journal(tiny: TinySet, journals: Path):
    """The limit on the size of files makes writing fail as a full disk does."""
    tiny.rows(SPILL * 900)
    before = snapshot(tiny.root)
    yolo_nanfix.fix(yolo_nanfix.lint(tiny.root, settings=False))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (9000, hard))
    try:
        (kept,) = yolo_nanfix.undo(tiny.root).kept
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert kept.reason.why is Why.NOT_RESTORED and (journals / "000001/pack.bin").exists()
    assert not list(tiny.root.rglob("*.tmp"))
    assert yolo_nanfix.undo(tiny.root).kept == () and snapshot(tiny.root) == before


def test_a_fix_of_the_whole_set_that_was_cut_off_is_taken_back_before_the_next(tiny: TinySet, journals: Path):
    rows = "1 0.5 0.5 0.2 0.2\n2 0.3 0.3 0.1 0.2\n"
    tiny.rows(rows)
    tiny.put("labels/val/b.txt", rows)
    before = snapshot(tiny.root)
    yolo_nanfix.fix(yolo_nanfix.lint(tiny.root, settings=False), unsafe=True)
    (journals / "000001/applied.json").unlink()  # as a kill leaves it
    tiny.rows(rows)
    half = snapshot(tiny.root)
    with pytest.raises(UsageError, match=r"was interrupted.*undo it first: yolo-nanfix lint .*data.yaml'? --undo"):
        yolo_nanfix.fix(yolo_nanfix.lint(tiny.root, settings=False), unsafe=True)
    assert snapshot(tiny.root) == half
    yolo_nanfix.undo(tiny.root)
    assert snapshot(tiny.root) == before


def test_what_a_killed_fix_left_beside_labels_goes_with_the_next_one(tiny: TinySet, journals: Path):
    tiny.rows(SPILL)
    yolo_nanfix.fix(yolo_nanfix.lint(tiny.root, settings=False))
    (journals / "000001/applied.json").unlink()
    token = read(journals / "000001")[1]["token"]
    temp = tiny.put(f"labels/train/.nanfix-{token}-0.tmp", "half of it")
    tiny.put("labels/val/b.txt", SPILL)
    yolo_nanfix.fix(yolo_nanfix.lint(tiny.root, settings=False))
    assert not temp.exists()


def test_an_interrupted_fix_says_how_many_files_are_changed(tiny: TinySet, monkeypatch: pytest.MonkeyPatch, capsys):
    from yolo_nanfix.cli.main import main
    from yolo_nanfix.linting.autofix import apply

    tiny.rows(SPILL)
    tiny.put("labels/val/b.txt", SPILL)
    before, do = snapshot(tiny.root), apply._do

    def interrupted(journal, number, step):
        if number == 1:
            signal.raise_signal(signal.SIGINT)
        do(journal, number, step)

    handler = signal.signal(signal.SIGINT, signal.default_int_handler)  # where it is ignored
    monkeypatch.setattr(apply, "_do", interrupted)
    try:
        assert main(["lint", str(tiny.root), "--isolated", "--fix"]) == 130
    finally:
        signal.signal(signal.SIGINT, handler)
    assert "1 file is changed, the others are as they were; --undo takes it back" in capsys.readouterr().err
    assert main(["lint", str(tiny.root), "--undo"]) == 0 and snapshot(tiny.root) == before


def test_odd_things_in_the_folder_of_journals_are_passed_over(tiny: TinySet, journals: Path):
    elsewhere = journals / "mine/journal"
    elsewhere.mkdir(parents=True)
    (elsewhere / "pack.bin").write_bytes(b"of the user")
    (journals / "000004").symlink_to(elsewhere)
    (journals / "000005").write_bytes(b"a file")
    (journals / "\N{SUPERSCRIPT TWO}").mkdir()
    (journals / ("9" * 200)).mkdir()
    before = _fixed(tiny)
    assert (journals / "000006").is_dir()
    assert yolo_nanfix.undo(tiny.root).kept == () and snapshot(tiny.root) == before
    assert (elsewhere / "pack.bin").read_bytes() == b"of the user"


def test_names_of_any_kind_come_back(tiny: TinySet):
    for name in ("new\nline", "\x1b[2J", "\udcff", "'; x", "a" * 240, "名前"):
        shutil.copy(tiny.root / "images/train/a.jpg", tiny.root / f"images/train/{name}.jpg")
        tiny.put(f"labels/train/{name}.txt", SPILL)
    before = snapshot(tiny.root)
    assert yolo_nanfix.fix(yolo_nanfix.lint(tiny.root, settings=False)).files >= 5
    assert yolo_nanfix.undo(tiny.root).kept == () and snapshot(tiny.root) == before


STEP = Step("/set/a.txt", "/set/a.txt", "0" * 64, "f" * 64, 0, 3, 3, 3, 0o644, -7, (1, 2, 3, 4, 5))
RECORD = Journal(Path("/journals/000001"), "/set/data.yaml", "/set", "0123abcd", (STEP,), ("/set-quarantine",), False)


def test_what_a_fix_writes_is_read_back():
    odd = replace(
        RECORD, data="/s\n\udcff/data.yaml", root="/", steps=(replace(STEP, path="/'\x1b.txt"),) * 2, whole=True
    )
    for record in (RECORD, odd):
        assert journal_of(journal_text(record), record.folder) == record


@pytest.mark.parametrize(
    "record",
    [
        *(replace(RECORD, token=token) for token in ("", "/../mine/", "0123abcd/", "0123ABCD", 7, None)),
        *(replace(RECORD, root=root) for root in ("", "set", "/set/../mine", "/set/", None)),
        *(replace(RECORD, folders=folders) for folders in (("..",), "/set", None, (7,))),
        *(replace(RECORD, whole=whole) for whole in (0, None, "no")),
        replace(RECORD, steps=()),
        *(
            replace(RECORD, steps=(replace(STEP, **{name: value}),))
            for name, values in {
                "path": ("", "/", "a.txt", "../a.txt", "/set/../mine/a.txt", "/set//a.txt", "/set/a\0.txt", None, []),
                "target": ("/set/./a.txt", "/set/a.txt/"),
                "before": ("", "0" * 63, "G" * 64, None),
                "after": ("0" * 65, 7),
                "at": (-1, 0.0, True, 1 << 64, None),
                "new_size": (-1, "3"),
                "mode": (-1, 0o100644, None),
                "mtime_ns": (1 << 63, -(1 << 70), 0.5),
                "stamp": ((), (1, 2, 3, 4), (1, 2, 3, 4, None), "12345"),
            }.items()
            for value in values
        ),
    ],
    ids=lambda record: str(record)[-20:],
)
def test_what_no_fix_writes_is_not_believed(record: Journal):
    with pytest.raises(Damaged, match="not what a fix run writes") as caught:
        journal_of(journal_text(record), record.folder)
    assert caught.value.data == "/set/data.yaml"
