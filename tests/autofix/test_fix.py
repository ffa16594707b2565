"""Fix, lint again, undo, on files: what changes, what is left alone and why, and that all comes back."""

from __future__ import annotations

import io
import json
import os
import random
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from linting.tiny_set import ROWS, YAML, TinySet, encode, picture
from PIL import Image

import yolo_nanfix
from yolo_nanfix.errors import UsageError
from yolo_nanfix.linting.autofix.operations import Operation, Scope
from yolo_nanfix.linting.autofix.reasons import Why
from yolo_nanfix.linting.registry import autofixes

SPILL = "0 0.5 0.5 0.2 1.005\n"
BAD = "0 0.5 0.5 0.2 0.2\n0 0.5 0.5 0.2 0.2\n1 nan 0.5 0.2 0.2\n" + SPILL


def snapshot(root: Path) -> dict[str, tuple[bytes, int, int]]:
    """Bytes, permission bits and time of change of every file."""
    files = (p for p in sorted(root.rglob("*")) if p.is_file())
    return {str(p): (p.read_bytes(), p.stat().st_mode, p.stat().st_mtime_ns) for p in files}


def fix(tiny: TinySet, **how: bool):
    return yolo_nanfix.fix(yolo_nanfix.lint(tiny.root), **how)


def label(tiny: TinySet) -> Path:
    return tiny.root / "labels/train/a.txt"


def test_safe_fixes_change_the_label_and_nothing_else(tiny: TinySet, journals: Path):
    tiny.rows(BAD)
    label(tiny).chmod(0o640)
    before = snapshot(tiny.root.parent)
    fixed = fix(tiny)
    assert label(tiny).read_text() == "0 0.5 0.5 0.2 0.2\n1 nan 0.5 0.2 0.2\n0 0.5 0.5 0.2 1\n"
    assert label(tiny).stat().st_mode & 0o777 == 0o640
    assert (sorted(f.code for f in fixed.done), fixed.files, fixed.unsafe) == (["BX005", "BX007"], 1, 1)
    after = snapshot(tiny.root.parent)
    assert {p for p in after if after[p] != before.get(p)} == {str(label(tiny))}
    assert fixed.journal is not None and Path(fixed.journal).parent == journals
    assert {f.code for f in yolo_nanfix.lint(tiny.root).findings} & {"BX005", "BX007"} == set()
    undone = yolo_nanfix.undo(tiny.root / "data.yaml")
    assert (undone.files, undone.kept, undone.more) == (1, (), 0)
    assert snapshot(tiny.root.parent) == before
    assert [p.name for p in journals.iterdir()] == ["lock"]


def test_runs_are_undone_one_after_the_other(tiny: TinySet):
    tiny.rows(BAD)
    states = [snapshot(tiny.root)]
    for unsafe in (False, True):
        assert fix(tiny, unsafe=unsafe).files == 1
        states.append(snapshot(tiny.root))
    assert len({label(tiny).read_text(), BAD}) == 2
    for wanted, more in ((states[1], 1), (states[0], 0)):
        assert yolo_nanfix.undo(tiny.root).more == more
        assert snapshot(tiny.root) == wanted
    with pytest.raises(UsageError, match="no fix run"):
        yolo_nanfix.undo(tiny.root)


def test_diff_writes_nothing_at_all(tiny: TinySet, journals: Path):
    tiny.rows(BAD)
    tiny.image(".jpg", encode(".png", picture()))
    before = snapshot(tiny.root.parent)
    shown = fix(tiny, unsafe=True, diff=True)
    assert snapshot(tiny.root.parent) == before and not journals.exists()
    lines = shown.diff.splitlines()
    assert f"move {tiny.root}/images/train/a.jpg -> {tiny.root}/images/train/a.png (IM007)" in lines
    assert "-1 nan 0.5 0.2 0.2" in lines and "+0 0.5 0.5 0.2 1" in lines
    assert fix(tiny, unsafe=True).files == shown.files == 2


def test_unusable_images_go_to_quarantine_with_their_labels(tiny: TinySet):
    bad = tiny.root / "images/train/bad.jpg"
    bad.write_bytes(encode(".png", picture())[:-30])
    tiny.put("labels/train/bad.txt", SPILL)
    tiny.yaml(YAML.replace("images/train", "train.txt"))
    tiny.put("train.txt", f"./images/train/a.jpg\r\n{bad}\n")
    before = snapshot(tiny.root.parent)
    fixed = fix(tiny, unsafe=True)
    away = tiny.root.parent / "set-quarantine"
    assert fixed.quarantine == str(away)
    assert (away / "images/train/bad.jpg").read_bytes() == encode(".png", picture())[:-30]
    assert (away / "labels/train/bad.txt").read_text() == SPILL
    assert (tiny.root / "train.txt").read_bytes() == b"./images/train/a.jpg\r\n"
    assert yolo_nanfix.lint(tiny.root).findings == ()
    yolo_nanfix.undo(tiny.root)
    assert snapshot(tiny.root.parent) == before and not away.exists()


def test_a_label_file_that_another_image_uses_stays(tiny: TinySet):
    tiny.put("images/train/a.png", b"")
    fixed = fix(tiny, unsafe=True)
    assert not (tiny.root / "images/train/a.png").exists() and label(tiny).read_text() == ROWS
    assert [(k.place, k.reason.why) for k in fixed.kept] == [(str(label(tiny)), Why.SHARED_LABEL)]
    assert fixed.kept[0].reason.values == {"other": str(tiny.root / "images/train/a.jpg")}


def test_a_renamed_image_keeps_labels_and_place_in_lists(tiny: TinySet):
    tiny.yaml(YAML.replace("images/train", "train.txt"))
    tiny.put("train.txt", "./images/train/a.jpg\n")
    tiny.image(".jpg", encode(".png", picture()))
    before = snapshot(tiny.root)
    assert fix(tiny, unsafe=True).files == 2
    assert (tiny.root / "train.txt").read_text() == "./images/train/a.png\n"
    again = yolo_nanfix.lint(tiny.root)
    counts = again.counts["train"]
    assert again.findings == () and [counts[key] for key in ("images", "labels", "rows", "kept")] == [1, 1, 2, 1]
    yolo_nanfix.undo(tiny.root)
    assert snapshot(tiny.root) == before


def test_a_name_that_is_taken_is_never_overwritten(tiny: TinySet):
    tiny.image(".jpg", encode(".png", picture()))
    tiny.put("images/train/a.png", encode(".png", picture(top=9)))
    before = snapshot(tiny.root)
    fixed = fix(tiny, unsafe=True)
    assert [k.reason.why for k in fixed.kept if k.code == "IM007"] == [Why.NAME_TAKEN]
    assert snapshot(tiny.root) == before


@pytest.mark.parametrize(
    "spoil", [lambda b: b + b"\0" * 100, lambda b: b[:-2], lambda b: b + b"\xff\xd8thumb\xff\xd9."]
)
def test_a_jpeg_is_ended_at_its_marker_with_the_same_pixels(tiny: TinySet, spoil):
    sound = encode(".jpg", picture())
    tiny.image(".jpg", spoil(sound))
    file = tiny.root / "images/train/a.jpg"
    before = snapshot(tiny.root)
    assert fix(tiny).files == 0 and snapshot(tiny.root) == before
    assert fix(tiny, unsafe=True).files == 1
    assert Image.open(file).tobytes() == Image.open(io.BytesIO(sound)).tobytes()
    assert file.read_bytes().endswith(b"\xff\xd9") and yolo_nanfix.lint(tiny.root).findings == ()
    yolo_nanfix.undo(tiny.root)
    assert snapshot(tiny.root) == before


def test_a_jpeg_without_some_of_its_pixels_is_not_given_an_end(tiny: TinySet):
    tiny.put("images/train/cut.jpg", encode(".jpg", picture())[:-300])
    fixed = fix(tiny, unsafe=True)
    assert (tiny.root.parent / "set-quarantine/images/train/cut.jpg").exists() and fixed.files == 1


def _link(path: Path) -> None:
    path.rename(path.with_suffix(".real"))
    path.symlink_to(path.with_suffix(".real"))


def _read_only(path: Path) -> None:
    path.chmod(0o444)


def _hard_link(path: Path) -> None:
    os.link(path, path.with_suffix(".real"))


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (_link, Why.LINK),
        (_read_only, Why.READ_ONLY),
        (_hard_link, Why.HARD_LINKS),
        (lambda path: path.write_text(BAD + "\n"), Why.CHANGED),
        (lambda path: path.unlink(), Why.VANISHED),
        (lambda path: (path.unlink(), path.mkdir()), Why.NOT_REGULAR),
    ],
)
def test_what_may_not_be_changed_is_left_with_one_line(tiny: TinySet, spoil, why: Why):
    tiny.rows(BAD)
    if spoil in (_link, _read_only, _hard_link):
        spoil(label(tiny))
        report = yolo_nanfix.lint(tiny.root)
    else:
        report = yolo_nanfix.lint(tiny.root)
        spoil(label(tiny))
    before = snapshot(tiny.root)
    fixed = yolo_nanfix.fix(report)
    assert (fixed.files, fixed.journal) == (0, None)
    (kept,) = fixed.kept
    assert (kept.reason.why, kept.place) == (why, str(label(tiny))) and "\n" not in str(kept.reason)
    assert snapshot(tiny.root) == before


def test_undo_leaves_a_file_that_changed_since_the_fix(tiny: TinySet):
    tiny.rows(BAD)
    tiny.put("labels/val/b.txt", SPILL)
    fix(tiny)
    label(tiny).write_text("mine\n")
    undone = yolo_nanfix.undo(tiny.root)
    assert (undone.files, [k.reason.why for k in undone.kept]) == (1, [Why.CHANGED_SINCE_FIX])
    assert label(tiny).read_text() == "mine\n" and (tiny.root / "labels/val/b.txt").read_text() == SPILL
    assert undone.bytes_in is not None and BAD.encode() in (Path(undone.bytes_in) / "pack.bin").read_bytes()
    with pytest.raises(UsageError, match="no fix run"):
        yolo_nanfix.undo(tiny.root)


def test_a_quarantined_file_comes_back_even_if_the_quarantine_was_emptied(tiny: TinySet):
    tiny.put("images/train/bad.jpg", b"")
    before = snapshot(tiny.root)
    fixed = fix(tiny, unsafe=True)
    for file in Path(fixed.quarantine or "").rglob("*.jpg"):
        file.unlink()
    yolo_nanfix.undo(tiny.root)
    assert snapshot(tiny.root) == before


def test_a_classification_folder_is_fixed_too(tmp_path: Path):
    root = tmp_path / "set"
    for place in ("train/cat", "train/dog", "val/cat", "val/dog"):
        (root / place).mkdir(parents=True)
        (root / place / "a.jpg").write_bytes(encode(".jpg", picture(top=60 + len(place) * 9)))
    (root / "train/cat/empty.jpg").write_bytes(b"")
    (root / "train/dog/b.jpg").write_bytes(encode(".png", picture()))
    before = snapshot(tmp_path)
    fixed = yolo_nanfix.fix(yolo_nanfix.lint(root, task="classify"), unsafe=True)
    assert (fixed.files, fixed.kept) == (2, ())
    assert (root / "train/dog/b.png").exists() and (tmp_path / "set-quarantine/train/cat/empty.jpg").exists()
    assert yolo_nanfix.undo(root).files == 2 and snapshot(tmp_path) == before


def test_annotations_in_other_formats_are_refused(tiny: TinySet):
    whole = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 64, "height": 48}],
        "annotations": [],
        "categories": [],
    }
    file = tiny.put("images/train/all.json", json.dumps(whole))
    with pytest.raises(UsageError, match=r"only datasets of YOLO labels or class folders can be fixed"):
        yolo_nanfix.fix(yolo_nanfix.lint(file))


def test_a_second_run_at_the_same_time_is_refused(tiny: TinySet, journals: Path):
    from yolo_nanfix.linting.autofix.journal import locked

    tiny.rows(BAD)
    before = snapshot(tiny.root)
    code = f"import yolo_nanfix; yolo_nanfix.fix(yolo_nanfix.lint({str(tiny.root)!r}))"
    with locked(journals):
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode and "another fix or undo is running" in run.stderr
    assert snapshot(tiny.root) == before


def test_without_a_place_for_the_journal_nothing_changes(tiny: TinySet, journals: Path):
    tiny.rows(BAD)
    before = snapshot(tiny.root)
    journals.parent.write_text("not a folder")
    with pytest.raises(UsageError, match=r"undo journals .* cannot be used .*nothing changed"):
        fix(tiny)
    assert snapshot(tiny.root) == before


def test_a_run_killed_before_its_journal_was_whole_counts_as_never_begun(tiny: TinySet, journals: Path):
    tiny.rows(BAD)
    for name in ("000006", "000007", "gone-000008", "mine"):
        (journals / name).mkdir(parents=True)
    for name in ("begun", "pack.bin"):
        (journals / "000007" / name).write_bytes(b"half of it")
    with pytest.raises(UsageError, match="no fix run"):
        yolo_nanfix.undo(tiny.root)
    assert sorted(p.name for p in journals.iterdir()) == ["lock", "mine"]


def test_a_full_disk_changes_nothing_or_stops(tiny: TinySet, journals: Path):
    """The limit on the size of files makes writing fail as a full disk does."""
    tiny.rows(BAD * 400)
    before, report = snapshot(tiny.root), yolo_nanfix.lint(tiny.root)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, hard))
    try:
        with pytest.raises(UsageError, match=r"cannot be written .*nothing changed"):
            yolo_nanfix.fix(report)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert snapshot(tiny.root) == before and [p.name for p in journals.iterdir()] == ["lock"]


def test_a_disk_that_fills_while_files_change_stops_the_run(tiny: TinySet, journals: Path):
    from yolo_nanfix.linting.autofix import apply
    from yolo_nanfix.linting.autofix.autofix import _ground
    from yolo_nanfix.linting.autofix.edit_plan import plan
    from yolo_nanfix.linting.autofix.file_changes import Edit
    from yolo_nanfix.linting.autofix.journal import Writer, locked

    tiny.rows(BAD * 400)
    tiny.put("labels/val/b.txt", BAD * 300)
    before, report = snapshot(tiny.root), yolo_nanfix.lint(tiny.root)
    with locked(journals):
        writer = Writer(journals, str(tiny.root / "data.yaml"), str(tiny.root))
        for edit in plan(report.findings, _ground(report, False)):
            if isinstance(edit, Edit):
                writer.add(edit)
        journal = writer.commit()
        assert journal is not None
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4000, hard))
        try:
            applied, failed = apply._carry_out(journal, [""] * len(journal.steps))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert applied == [] and [k.reason.why for k in failed] == [Why.CANNOT_BE_CHANGED, Why.NOT_TRIED]
    assert snapshot(tiny.root) == before


NUMBER = st.sampled_from(
    ["0", "1", "2", "0.5", "0.2", "1.004", "-0.004", "nan", "x", "1.3", "0.5_1", "0,5", ".9", "7.5e-1"]
)
ROW = st.lists(NUMBER, max_size=8).map(" ".join)
TEXT = st.lists(st.tuples(ROW, st.sampled_from(["\n", "\r\n", "\r", "\n\n", ""]))).map(
    lambda rows: "".join(row + end for row, end in rows)
)


@settings(max_examples=40, deadline=None)
@given(text=TEXT, bom=st.booleans(), unsafe=st.booleans(), task=st.sampled_from(["detect", "segment"]))
def test_fix_then_undo_gives_every_byte_back(tmp_path_factory, text: str, bom: bool, unsafe: bool, task: str):
    tiny = TinySet(tmp_path_factory.mktemp("any") / "set")
    tiny.rows((b"\xef\xbb\xbf" if bom else b"") + text.encode())
    os.utime(label(tiny), ns=(1, random.Random(text).randrange(1 << 60)))
    before = snapshot(tiny.root.parent)
    fixed = yolo_nanfix.fix(yolo_nanfix.lint(tiny.root, task=task), unsafe=unsafe)
    left = yolo_nanfix.lint(tiny.root, task=task)
    wanted = {f.code for f in fixed.done}
    if fixed.files:
        assert wanted and snapshot(tiny.root.parent) != before
        yolo_nanfix.undo(tiny.root)
    assert snapshot(tiny.root.parent) == before and left.task == task


def test_every_operation_is_one_of_a_rule_and_has_a_function():
    from yolo_nanfix.linting.autofix.label_edits import _ROW_OPERATIONS
    from yolo_nanfix.linting.autofix.set_edits import _SET_OPERATIONS

    assert {fix.operation for fix in autofixes().values()} == set(Operation)
    assert {*_ROW_OPERATIONS, Operation.DUPLICATE} == {one for one in Operation if one.scope is Scope.ROW}
    assert set(_SET_OPERATIONS) == {one for one in Operation if one.scope is Scope.SET}
