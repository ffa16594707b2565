"""Fixes of the whole set: all label files under one finding, or none."""

from __future__ import annotations

import os
import resource
from dataclasses import replace
from pathlib import Path

import pytest
from autofix.test_fix import snapshot
from linting.tiny_set import TinySet, encode, picture

import yolo_nanfix
from yolo_nanfix.errors import UsageError
from yolo_nanfix.findings import Report
from yolo_nanfix.linting.autofix import set_edits
from yolo_nanfix.linting.autofix.label_edits import Words
from yolo_nanfix.linting.autofix.operations import Operation
from yolo_nanfix.linting.autofix.reasons import Left, Reason, Why
from yolo_nanfix.linting.autofix.set_edits import Rewrite, RowPlace

FROM_ONE = "1 0.5 0.5 0.2 0.2\n2 0.3 0.3 0.1 0.2\n"
ODD = b"\xef\xbb\xbf2  0.50 0.5 0.2 0.2\r\n\r\n1.0\t0.3 0.3 0.1 0.2"


@pytest.fixture
def from_one(tiny: TinySet) -> TinySet:
    """A set whose classes begin with 1, in files of any spelling."""
    tiny.rows(FROM_ONE)
    tiny.put("labels/val/b.txt", ODD)
    return tiny


def label(tiny: TinySet) -> Path:
    return tiny.root / "labels/train/a.txt"


def about_set(tiny: TinySet) -> Report:
    return yolo_nanfix.lint(tiny.root, settings=False).select("CL010")


def test_all_label_files_are_rewritten_and_come_back(from_one: TinySet):
    before = snapshot(from_one.root.parent)
    report = about_set(from_one)
    assert yolo_nanfix.fix(report).unsafe == 1 and snapshot(from_one.root.parent) == before
    fixed = yolo_nanfix.fix(report, unsafe=True)
    assert [f.code for f in fixed.done] == ["CL010"] and fixed.files == 2
    assert label(from_one).read_text() == "0 0.5 0.5 0.2 0.2\n1 0.3 0.3 0.1 0.2\n"
    spelt = b"\xef\xbb\xbf1 0.50 0.5 0.2 0.2\r\n\r\n0 0.3 0.3 0.1 0.2"
    assert (from_one.root / "labels/val/b.txt").read_bytes() == spelt
    assert "CL010" not in yolo_nanfix.lint(from_one.root).by_code()
    assert yolo_nanfix.undo(from_one.root).files == 2 and snapshot(from_one.root.parent) == before


def test_the_diff_shows_each_file_and_writes_nothing(from_one: TinySet, journals: Path):
    before = snapshot(from_one.root.parent)
    shown = yolo_nanfix.fix(about_set(from_one), unsafe=True, diff=True)
    assert snapshot(from_one.root.parent) == before and not journals.exists()
    assert {"-1 0.5 0.5 0.2 0.2", "+0 0.5 0.5 0.2 0.2", "+0 0.3 0.3 0.1 0.2"} <= set(shown.diff.splitlines())
    assert shown.files == 2


@pytest.mark.parametrize(
    ("spoil", "why", "line"),
    [
        (lambda path: path.write_text(FROM_ONE + "\n"), Why.CHANGED, None),
        (lambda path: path.write_bytes(b"\xff1 0.5 0.5 0.2 0.2\n"), Why.NOT_UTF8, None),
        (lambda path: path.write_text("0 0.5 0.5 0.2 0.2\n"), Why.CLASS_TOO_LOW, 1),
    ],
)
def test_where_one_file_cannot_be_rewritten_none_is(from_one: TinySet, spoil, why: Why, line: int | None):
    report = about_set(from_one)
    spoil(from_one.root / "labels/val/b.txt")
    before = snapshot(from_one.root)
    fixed = yolo_nanfix.fix(report, unsafe=True)
    (kept,) = fixed.kept
    assert (fixed.files, fixed.journal, kept.code) == (0, None, "CL010") and kept.place.endswith("data.yaml:3")
    assert (kept.reason.why, kept.reason.line) == (why, line)
    assert kept.reason.file == str(from_one.root / "labels/val/b.txt")
    assert snapshot(from_one.root) == before


def test_a_read_only_label_file_stops_all(from_one: TinySet):
    (from_one.root / "labels/val/b.txt").chmod(0o444)
    before = snapshot(from_one.root)
    fixed = yolo_nanfix.fix(about_set(from_one), unsafe=True)
    reason = Reason(Why.READ_ONLY, file=str(from_one.root / "labels/val/b.txt"))
    assert (fixed.files, [k.reason for k in fixed.kept]) == (0, [reason])
    assert snapshot(from_one.root) == before


def test_what_was_rewritten_is_put_back_where_a_later_file_fails(from_one: TinySet, journals: Path):
    """The limit on the size of files makes writing the second, longer label file fail as a full disk does."""
    from_one.put("labels/val/b.txt", FROM_ONE * 300)
    from yolo_nanfix.linting.autofix import apply
    from yolo_nanfix.linting.autofix.autofix import _ground
    from yolo_nanfix.linting.autofix.edit_plan import plan
    from yolo_nanfix.linting.autofix.file_changes import Edit
    from yolo_nanfix.linting.autofix.journal import Writer, locked

    before, report = snapshot(from_one.root), about_set(from_one)
    with locked(journals):
        writer = Writer(journals, str(from_one.root / "data.yaml"), str(from_one.root))
        edits = [edit for edit in plan(report.findings, _ground(report, True)) if isinstance(edit, Edit)]
        for edit in edits:
            writer.add(edit)
        journal = writer.commit()
        assert journal is not None and [edit.group for edit in edits] == ["CL010", "CL010"]
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4000, hard))
        try:
            applied, failed = apply._carry_out(journal, [edit.group for edit in edits])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert applied == [] and [k.place for k in failed] == [str(from_one.root / "labels/val/b.txt")]
    assert snapshot(from_one.root) == before


def test_other_fixes_wait_until_the_set_is_fixed(from_one: TinySet):
    label(from_one).write_text(FROM_ONE + "1 0.5 0.5 0.2 1.005\n")
    fixed = yolo_nanfix.fix(yolo_nanfix.lint(from_one.root, settings=False), unsafe=True)
    assert [f.code for f in fixed.done] == ["CL010"]
    (kept,) = (k for k in fixed.kept if "BX005" in k.code)
    assert kept == fixed.kept[0] and kept.reason.why is Why.OTHERS_WAIT and kept.reason.values["code"] == "CL010"
    assert label(from_one).read_text() == "0 0.5 0.5 0.2 0.2\n1 0.3 0.3 0.1 0.2\n0 0.5 0.5 0.2 1.005\n"


def test_what_another_finding_explains_is_left_to_its_fix(tiny: TinySet):
    tiny.rows("0 0.5 0.5 0.2 1.005\n0 nan 0.5 0.2 0.2\n")
    report = yolo_nanfix.lint(tiny.root, settings=False)
    explained = replace(report, findings=tuple(replace(f, because="CL010") for f in report.findings))
    before = snapshot(tiny.root)
    fixed = yolo_nanfix.fix(explained, unsafe=True)
    assert (fixed.files, fixed.kept, yolo_nanfix.fix(explained).unsafe) == (0, (), 0) and snapshot(tiny.root) == before
    assert yolo_nanfix.fix(report, unsafe=True).files == 1


def test_an_operation_knows_splits_sizes_task_and_values_and_may_change_data_yaml(
    from_one: TinySet, monkeypatch: pytest.MonkeyPatch
):
    met: list[RowPlace] = []

    def row(words: Words, spot: RowPlace) -> Words:
        met.append(spot)
        return words if spot.within() else [words[0], f"{float(words[1]) / spot.file.width:.4f}", *words[2:]]

    def names(text: str, values) -> str:
        return text.replace("[cat, dog]", f"[cat, dog{values['by']}]")

    monkeypatch.setitem(set_edits._SET_OPERATIONS, Operation.SHIFT_CLASSES, Rewrite(row, names))
    from_one.put("images/train/a.png", encode(".png", picture(20, 30)))
    report = about_set(from_one)
    values = {**dict(report.findings[0].values), "splits": ("val",)}
    report = replace(report, findings=(replace(report.findings[0], values=tuple(values.items())),))
    with pytest.raises(ZeroDivisionError):  # two images of different sizes share the label file
        yolo_nanfix.fix(report, unsafe=True)
    (from_one.root / "images/train/a.png").unlink()
    before = snapshot(from_one.root)
    assert yolo_nanfix.fix(report, unsafe=True).files == 2
    assert label(from_one).read_text() == "1 0.0078 0.5 0.2 0.2\n2 0.0047 0.3 0.1 0.2\n"
    assert (from_one.root / "data.yaml").read_text().endswith("[cat, dog-1]\n")
    assert {(s.task, s.file.splits, s.file.width, s.file.height) for s in met[-4:]} == {
        ("detect", ("train",), 64, 48),
        ("detect", ("val",), 64, 48),
    }
    yolo_nanfix.undo(from_one.root)
    assert snapshot(from_one.root) == before


def test_a_file_of_two_splits_is_not_rewritten_for_one_of_them():
    both = set_edits.LabelFile("a.txt", ("train", "val"), 10, 10)
    assert RowPlace("detect", both, {"splits": ("val", "train")}).within()
    assert not RowPlace("detect", both, {"splits": ("test",)}).within()
    with pytest.raises(Left) as left:
        RowPlace("detect", both, {"splits": ("val",)}).within()
    assert left.value.reason == Reason(Why.SEVERAL_SPLITS, {"splits": ("train", "val")})


def test_a_killed_rewriting_is_taken_back_whole(from_one: TinySet, journals: Path):
    """As after a kill between two files: the journal is there, the list of what was done is not."""
    before = snapshot(from_one.root)
    fixed = yolo_nanfix.fix(about_set(from_one), unsafe=True)
    assert fixed.journal is not None
    (Path(fixed.journal) / "applied.json").unlink()
    label(from_one).write_bytes(before[str(label(from_one))][0])
    os.utime(label(from_one), ns=(1, before[str(label(from_one))][2]))
    yolo_nanfix.undo(from_one.root)
    assert snapshot(from_one.root) == before
    with pytest.raises(UsageError, match="no fix run"):
        yolo_nanfix.undo(from_one.root)
