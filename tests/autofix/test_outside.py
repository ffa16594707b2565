"""Fixes and undo write in the dataset: what lies outside is named, and changed only where that was asked for."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from autofix.test_fix import snapshot
from linting.tiny_set import YAML, TinySet

import yolo_nanfix
from yolo_nanfix import api
from yolo_nanfix.linting.autofix.apply import Fixed
from yolo_nanfix.linting.autofix.reasons import Reason, Why

SPILL = "0 0.5 0.5 0.2 1.005\n"
CLIPPED = "0 0.5 0.5 0.2 1\n"


def _linked_labels(tiny: TinySet, elsewhere: Path) -> Path:
    (tiny.root / "labels/train").rename(elsewhere / "labels")
    (tiny.root / "labels/train").symlink_to(elsewhere / "labels")
    return elsewhere / "labels/a.txt"


def _links_in_a_row(tiny: TinySet, elsewhere: Path) -> Path:
    label = _linked_labels(tiny, elsewhere)
    (tiny.root / "labels/train").rename(tiny.root / "labels/other")
    (tiny.root / "labels/train").symlink_to("other")
    return label


def _listed(tiny: TinySet, elsewhere: Path, how: str) -> Path:
    other = TinySet(elsewhere / "other")
    other.rows(SPILL)
    tiny.rows(CLIPPED)
    tiny.put("train.txt", f"./images/train/a.jpg\n{how.format(elsewhere)}/other/images/train/a.jpg\n")
    tiny.yaml(YAML.replace("images/train", "train.txt"))
    return other.root / "labels/train/a.txt"


def _linked_split(tiny: TinySet, elsewhere: Path) -> Path:
    other = TinySet(elsewhere / "other")
    other.rows(SPILL)
    (tiny.root / "more").symlink_to(other.root / "images")
    tiny.rows(CLIPPED)
    tiny.yaml(YAML.replace("train: images/train", "train: [images/train, more/train]"))
    return other.root / "labels/train/a.txt"


OUTSIDE = {
    "linked folder of labels": _linked_labels,
    "links in a row": _links_in_a_row,
    "listed by its path": lambda tiny, elsewhere: _listed(tiny, elsewhere, "{}"),
    "listed by dots": lambda tiny, elsewhere: _listed(tiny, elsewhere, "./../elsewhere"),
    "a split that is a link": _linked_split,
}


@pytest.mark.parametrize("make", OUTSIDE.values(), ids=OUTSIDE)
def test_what_lies_outside_is_named_and_changed_only_if_that_is_asked(tiny: TinySet, make):
    elsewhere = tiny.root.parent / "elsewhere"
    elsewhere.mkdir()
    tiny.rows(SPILL)
    tiny.put("labels/val/b.txt", SPILL)
    label = make(tiny, elsewhere)
    before = snapshot(tiny.root.parent)
    report = yolo_nanfix.lint(tiny.root, settings=False)
    found = api.fixable(report)
    assert (len(found.safe), found.outside) == (1, 1)
    shown = yolo_nanfix.fix(report, diff=True)
    fixed = yolo_nanfix.fix(report)
    for one in (shown, fixed):
        assert (one.files, one.outside) == (1, ()), one
        (kept,) = one.kept
        assert kept.reason.why in (Why.OUTSIDE_FOLDER, Why.OUTSIDE_LINK)
        assert (kept.reason.values["findings"], kept.reason.values["files"]) == (1, 1)
        assert str(label.parent) in (os.path.normpath(kept.place), kept.reason.values["target"])
    assert {p for p, v in snapshot(tiny.root.parent).items() if before[p] != v} == {str(tiny.root / "labels/val/b.txt")}
    yolo_nanfix.undo(tiny.root)
    assert snapshot(tiny.root.parent) == before

    fixed = yolo_nanfix.fix(yolo_nanfix.lint(tiny.root, settings=False), outside=True)
    assert (fixed.files, fixed.kept, fixed.outside) == (2, (), (str(label.parent),))
    assert label.read_text() == CLIPPED
    undone = yolo_nanfix.undo(tiny.root)
    assert (undone.files, [kept.place for kept in undone.kept]) == (1, [str(label)])
    assert undone.kept[0].reason.to_outside and label.read_text() == CLIPPED
    assert yolo_nanfix.undo(tiny.root, outside=True).kept == ()
    assert snapshot(tiny.root.parent) == before


def _inside_link(tiny: TinySet) -> None:
    (tiny.root / "labels/train").rename(tiny.root / "labels/other")
    (tiny.root / "labels/train").symlink_to("other")


def _named_path(tiny: TinySet) -> None:
    for name in ("images", "labels"):
        (tiny.root / name).rename(tiny.root.parent / "elsewhere" / name)
    tiny.yaml(f"path: {tiny.root.parent}/elsewhere\n{YAML}")


def _named_split(tiny: TinySet) -> None:
    _named_path(tiny)
    tiny.yaml(YAML.replace("images", "../elsewhere/images"))


def _named_list(tiny: TinySet) -> None:
    _named_path(tiny)
    tiny.yaml(f"train: {tiny.root.parent}/elsewhere/train.txt\nval: ../elsewhere/images/val\nnames: [cat, dog]\n")
    (tiny.root.parent / "elsewhere/train.txt").write_text("./images/train/a.jpg\n")


def _link_to_the_set(tiny: TinySet) -> None:
    tiny.root.rename(tiny.root.parent / "elsewhere/set")
    tiny.root.symlink_to("elsewhere/set")


@pytest.mark.parametrize("make", [_inside_link, _named_path, _named_split, _named_list, _link_to_the_set])
def test_what_data_yaml_names_as_text_is_the_dataset(tiny: TinySet, make):
    (tiny.root.parent / "elsewhere").mkdir()
    tiny.rows(SPILL)
    make(tiny)
    before = snapshot(tiny.root.parent)
    fixed = yolo_nanfix.fix(yolo_nanfix.lint(tiny.root, settings=False))
    assert (fixed.files, fixed.kept, fixed.outside) == (1, (), ())
    assert yolo_nanfix.undo(tiny.root).kept == ()
    assert snapshot(tiny.root.parent) == before


def test_a_fix_of_the_whole_set_waits_where_a_file_of_it_lies_outside(tiny: TinySet):
    (tiny.root.parent / "elsewhere").mkdir()
    tiny.rows("1 0.5 0.5 0.2 0.2\n2 0.3 0.3 0.1 0.2\n")
    tiny.put("labels/val/b.txt", "1 0.5 0.5 0.2 0.2\n2 0.3 0.3 0.1 0.2\n")
    label = _linked_labels(tiny, tiny.root.parent / "elsewhere")
    before = snapshot(tiny.root.parent)
    report = yolo_nanfix.lint(tiny.root, settings=False).select("CL010")
    fixed = yolo_nanfix.fix(report, unsafe=True)
    assert fixed.files == 0 and snapshot(tiny.root.parent) == before
    assert fixed.kept[0].reason == Reason(Why.OUTSIDE, file=str(label))
    assert yolo_nanfix.fix(report, unsafe=True, outside=True).files == 2
    assert yolo_nanfix.undo(tiny.root, outside=True).kept == () and snapshot(tiny.root.parent) == before


def _bad(tiny: TinySet) -> None:
    tiny.put("images/train/bad.jpg", b"")
    tiny.put("labels/train/bad.txt", CLIPPED)


def test_a_quarantine_that_is_a_link_is_used_only_if_that_is_asked(tiny: TinySet, tmp_path_factory):
    _bad(tiny)
    other = Path("/dev/shm")
    away = (other if other.is_dir() and os.access(other, os.W_OK) else tmp_path_factory.mktemp("q")) / f"q{os.getpid()}"
    away.mkdir()  # another disk where there is one
    try:
        (tiny.root.parent / "set-quarantine").symlink_to(away)
        before, report = snapshot(tiny.root), yolo_nanfix.lint(tiny.root, settings=False)
        fixed = yolo_nanfix.fix(report, unsafe=True)
        assert fixed.files == 0 and snapshot(tiny.root) == before and not any(away.iterdir())
        values = {"quarantine": f"{tiny.root}-quarantine", "target": str(away)}
        assert [k.reason for k in fixed.kept] == [Reason(Why.QUARANTINE_LINK, values)]
        fixed = yolo_nanfix.fix(report, unsafe=True, outside=True)
        assert (fixed.files, fixed.quarantine, fixed.kept) == (2, str(away), ())
        assert (away / "labels/train/bad.txt").read_text() == CLIPPED
        kept = yolo_nanfix.undo(tiny.root).kept
        assert len(kept) == 2 and (away / "images/train/bad.jpg").exists()
        assert yolo_nanfix.undo(tiny.root, outside=True).kept == ()
        assert snapshot(tiny.root) == before and not any(away.iterdir())
    finally:
        for path in sorted(away.rglob("*"), reverse=True):
            path.unlink() if path.is_file() else path.rmdir()
        away.rmdir()


def _as_a_file(place: Path, elsewhere: Path) -> tuple[Why, Path]:
    place.write_text("of the user")
    return Why.QUARANTINE_NO_FOLDER, place


def _linked_below(place: Path, elsewhere: Path) -> tuple[Why, Path]:
    place.mkdir()
    (place / "images").symlink_to(elsewhere)
    return Why.QUARANTINE_BEHIND_LINK, place / "images"


def _file_below(place: Path, elsewhere: Path) -> tuple[Why, Path]:
    place.mkdir()
    (place / "images").write_text("of the user")
    return Why.QUARANTINE_NO_FOLDER, place / "images"


@pytest.mark.parametrize("make", [_as_a_file, _linked_below, _file_below])
def test_a_quarantine_that_is_none_is_said(tiny: TinySet, make):
    _bad(tiny)
    elsewhere = tiny.root.parent / "elsewhere"
    elsewhere.mkdir()
    why, folder = make(tiny.root.parent / "set-quarantine", elsewhere)
    before = snapshot(tiny.root.parent)
    fixed = yolo_nanfix.fix(yolo_nanfix.lint(tiny.root, settings=False), unsafe=True)
    values = {"quarantine": f"{tiny.root}-quarantine", "folder": str(folder)}
    assert [k.reason for k in fixed.kept] == [Reason(why, values)]
    assert fixed.files == 0 and snapshot(tiny.root.parent) == before and not any(elsewhere.iterdir())


def test_an_image_is_not_renamed_where_its_list_cannot_be_changed_along(tiny: TinySet):
    (tiny.root / "images/train/a.jpg").write_bytes((tiny.root / "images/train/a.jpg").read_bytes()[:-2] + b"\0" * 9)
    tiny.put("images/train/b.jpg", b"")
    tiny.yaml(YAML.replace("images/train", "train.txt"))
    tiny.put("train.txt", "./images/train/a.jpg\n./images/train/b.jpg\n").chmod(0o444)
    before = snapshot(tiny.root.parent)
    fixed = yolo_nanfix.fix(yolo_nanfix.lint(tiny.root, settings=False), unsafe=True)
    values = {"list": f"{tiny.root}/train.txt", "because": Reason(Why.READ_ONLY)}
    assert [k.reason for k in fixed.kept] == [Reason(Why.IN_FIXED_LIST, values)]
    assert [Path(p).name for p, v in snapshot(tiny.root.parent).items() if before[p] != v] == ["a.jpg"]  # its end alone
    yolo_nanfix.undo(tiny.root)
    assert snapshot(tiny.root.parent) == before


DAY_NS = 86_400 * 10**9
FUTURE_NS = 4_102_444_800 * 10**9 + 123_456_789
"""In the year 2100."""


@pytest.mark.parametrize("time_ns", [0, 1, -(10**9) - 7, FUTURE_NS])
def test_a_file_of_any_time_can_be_fixed_and_gets_it_back(tiny: TinySet, time_ns: int):
    tiny.rows(SPILL)
    label = tiny.root / "labels/train/a.txt"
    os.utime(label, ns=(time_ns, time_ns))
    before = snapshot(tiny.root)
    assert yolo_nanfix.fix(yolo_nanfix.lint(tiny.root, settings=False)).files == 1
    assert abs(label.stat().st_mtime_ns - time.time_ns()) < DAY_NS
    yolo_nanfix.undo(tiny.root)
    assert snapshot(tiny.root) == before


def test_whether_a_file_changed_cannot_be_told_by_a_clock_that_is_wrong():
    from yolo_nanfix.linting.autofix.file_changes import _unchanged
    from yolo_nanfix.linting.autofix.reasons import Left

    def status(mtime: int, ctime: int) -> os.stat_result:
        return os.stat_result((0o100644, 1, 1, 1, 0, 0, 1, 0, 0, 0), {"st_mtime_ns": mtime, "st_ctime_ns": ctime})

    for mtime, ctime in ((50, 60), (-5, 100), (999, 100)):
        _unchanged(status(mtime, ctime), 100, 200)
    for mtime, ctime, why in ((50, 150, Why.CHANGED), (150, 50, Why.CHANGED), (50, 300, Why.CHANGED_LATER)):
        with pytest.raises(Left) as left:
            _unchanged(status(mtime, ctime), 100, 200)
        assert left.value.reason.why is why


def test_a_link_that_takes_the_place_of_a_folder_meanwhile_leads_nowhere(tiny: TinySet, journals: Path):
    from yolo_nanfix.linting.autofix import apply
    from yolo_nanfix.linting.autofix.autofix import _ground
    from yolo_nanfix.linting.autofix.edit_plan import plan
    from yolo_nanfix.linting.autofix.file_changes import Edit
    from yolo_nanfix.linting.autofix.journal import Writer, locked

    tiny.rows(SPILL)
    _bad(tiny)
    report = yolo_nanfix.lint(tiny.root, settings=False)
    with locked(journals):
        ground = _ground(report, True)
        writer = Writer(journals, ground.home.data, ground.home.root)
        for edit in plan(report.findings, ground):
            if isinstance(edit, Edit):
                writer.add(edit)
        journal = writer.commit()
        assert journal is not None and len(journal.steps) == 3
        for name in ("images", "labels"):
            folder = tiny.root / name
            folder.rename(folder.with_name(f"{name}-away"))
            folder.symlink_to(f"{name}-away")  # the very same files: no stamp tells them apart
        before = snapshot(tiny.root.parent)
        applied, failed = apply._carry_out(journal, [""] * len(journal.steps))
    assert applied == [] and {k.reason.why for k in failed} == {Why.BEHIND_LINK}
    assert snapshot(tiny.root.parent) == before


def test_two_users_do_not_fix_one_dataset_at_once(tiny: TinySet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from yolo_nanfix.errors import UsageError
    from yolo_nanfix.linting.autofix.journal import locked

    tiny.rows(SPILL)
    report = yolo_nanfix.lint(tiny.root, settings=False)
    with locked(tmp_path / "of another user", str(tiny.root)), pytest.raises(UsageError, match="another fix or undo"):
        yolo_nanfix.fix(report)
    assert isinstance(yolo_nanfix.fix(report), Fixed)


def test_a_file_that_is_too_large_to_be_kept_is_left_alone(tmp_path: Path):
    from yolo_nanfix.linting.autofix.file_changes import LARGEST_CHANGED, look
    from yolo_nanfix.linting.autofix.reasons import Left

    file = tmp_path / "a.jpg"
    with file.open("wb") as stream:
        stream.truncate(LARGEST_CHANGED + 1)
    with pytest.raises(Left, match="larger than 256 MB"):
        look(str(file), None, rewrite=False)
    os.truncate(file, 10)
    assert look(str(file), None, rewrite=False).content == bytes(10)
