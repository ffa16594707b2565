"""Each operation on a row, and on a whole label file, against known answers."""

from __future__ import annotations

import pytest
from linting.tiny_set import TinySet, encode, picture

import yolo_nanfix
from yolo_nanfix.findings import Effect, Finding, Place, Severity
from yolo_nanfix.linting.autofix import label_edits
from yolo_nanfix.linting.autofix.label_edits import edit_text, recode, relist
from yolo_nanfix.linting.autofix.operations import Operation
from yolo_nanfix.linting.autofix.reasons import Left, Why

LEFT = "left"


def found(code: str, line: int | None = 1) -> Finding:
    return Finding(code, code.lower(), Severity.ERROR, Effect.DROPS, Place("a.txt", line), "", "")


@pytest.mark.parametrize(
    ("how", "row", "safe", "unsafe"),
    [
        ("clip", "0 0.9 0.5 0.21 0.2", "0 0.8975 0.5 0.205 0.2", "0 0.8975 0.5 0.205 0.2"),
        ("clip", "0 0.95 0.5 0.2 0.20", LEFT, "0 0.925 0.5 0.15 0.20"),
        ("clip", "0 0.5 -0.02 0.2 0.2", LEFT, "0 0.5 0.04 0.2 0.08"),
        ("clip", "0 1.005 0.5 0.01 0.2", LEFT, None),
        ("clip", "0 0.5 0.5 1.01 1.0", "0 0.5 0.5 1 1.0", "0 0.5 0.5 1 1.0"),
        ("clip", "0 1.5 0.5 0.2 0.2", LEFT, None),
        ("clip", "0 0.5 0.5 0.2 0.2", LEFT, LEFT),
        ("clip", "0 320 240 64 48", LEFT, LEFT),
        ("clip", "0 nan 0.5 0.2 0.2", LEFT, LEFT),
        ("clip", "0 0.5 0.5 -0.2 0.2", LEFT, LEFT),
        ("clip", "0 -0.005 0.1 0.5 1.004 0.3 .40", "0 0 0.1 0.5 1 0.3 .40", "0 0 0.1 0.5 1 0.3 .40"),
        ("clip", "0 -0.5 0.1 0.5 0.1 0.3 .40", LEFT, "0 0 0.2875 0 0.1 0.5 0.1 0.3 .40"),
        ("clip", "0 0.2 0.2 1.4 0.2 1.4 1.4 0.2 1.4", LEFT, "0 0.2 1 0.2 0.2 1 0.2 1 1"),
        ("clip", "0 1.6 0.5 0.5 1.6 1.6 1.6", LEFT, None),  # around the corner of the image, nothing inside
        ("clip", "0 -0.5 0.1 -0.2 0.1 -0.3 0.4", LEFT, None),
        ("drop", "x", None, None),
        ("commas", "0,0.5,0.5,0.2,0.2", "0 0.5 0.5 0.2 0.2", "0 0.5 0.5 0.2 0.2"),
        ("commas", "0 0,5 0,5 0,2 0,2", "0 0.5 0.5 0.2 0.2", "0 0.5 0.5 0.2 0.2"),
        ("commas", "0;0.5;0.5;0.2;0.2", "0 0.5 0.5 0.2 0.2", "0 0.5 0.5 0.2 0.2"),
        ("commas", "0;0,5;0,5;0,2;0,2", "0 0.5 0.5 0.2 0.2", "0 0.5 0.5 0.2 0.2"),
        ("commas", "0; 0,5; 0,5; 0,2; 0,2", "0 0.5 0.5 0.2 0.2", "0 0.5 0.5 0.2 0.2"),
        ("commas", "0, 0.5, 0.5, 0.2, 0.2", "0 0.5 0.5 0.2 0.2", "0 0.5 0.5 0.2 0.2"),
        ("commas", "a,b", None, None),
        ("comment", "0 0.5 0.5 0.2 0.2 # a cat", "0 0.5 0.5 0.2 0.2", "0 0.5 0.5 0.2 0.2"),
        ("comment", "# 0 0.5 0.5 0.2 0.2", None, None),
        ("columns", "0 0.5 0.5 0.2 0.2 0.93", "0 0.5 0.5 0.2 0.2", "0 0.5 0.5 0.2 0.2"),
        ("columns", "0 0.5 0.5 0.2", None, None),
        ("columns", "0 0.5 0.5 0.2 0.2 1.57", LEFT, LEFT),
        ("sides", "0 0.5 0.5 -0.20 0.2", "0 0.5 0.5 0.20 0.2", "0 0.5 0.5 0.20 0.2"),
        ("sides", "0 0.5 0.9 0.2 -0.20", "0 0.5 0.9 0.2 0.20", "0 0.5 0.9 0.2 0.20"),
        ("sides", "0 0.9 0.5 -0.4 0.2", LEFT, LEFT),  # drawn from the right: x is a corner, or the box is not whole
        ("spelling", "1_0 0.5_1 0.5 0.2 \u0660.\u0662", "10 0.51 0.5 0.2 0.2", "10 0.51 0.5 0.2 0.2"),
    ],
)
def test_an_operation_on_a_row(how: str, row: str, safe: str | None, unsafe: str | None):
    for wanted, risky in ((safe, False), (unsafe, True)):
        try:
            words = label_edits._ROW_OPERATIONS[Operation[how.upper()]](row.split(), "detect", risky)
        except Left:
            words = [LEFT]
        assert words == (wanted if wanted is None else wanted.split()), (how, row, risky)


def test_rotated_boxes_and_keypoints_are_not_clipped():
    with pytest.raises(Left) as left:
        label_edits.clip(["0", "-0.001", "0.1", "0.5", "0.1", "0.5", "0.4", "0.1", "0.4"], "obb", True)
    assert left.value.reason.why is Why.ROTATED
    row = ["0", "0.9", "0.5", "0.21", "0.2", "1.5", "0.5", "2"]
    assert label_edits.clip(row, "pose", False) == ["0", "0.8975", "0.5", "0.205", "0.2", "1.5", "0.5", "2"]


def test_a_file_keeps_every_byte_that_no_finding_is_about():
    content = b"\xef\xbb\xbf0  0.5\t0.5 0.2 0.2\r\n\r\n0 0.9 0.5 0.21 0.2\r1 .5 .5 .1 .1"
    edited = edit_text(content, [found("BX006", 3)], "detect", False)
    assert edited.content == b"\xef\xbb\xbf0  0.5\t0.5 0.2 0.2\r\n\r\n0 0.8975 0.5 0.205 0.2\r1 .5 .5 .1 .1"
    assert [f.code for f in edited.done] == ["BX006"] and edited.left == ()


def test_a_repeated_row_goes_only_if_an_earlier_one_is_the_same():
    content = b"0 0.5 0.5 0.2 0.2\n1 0.5 0.5 0.2 0.2\n0 .50 .5 .2 .2\n"
    edited = edit_text(content, [found("BX007", 3), found("BX007", 2), found("BX007", 9)], "detect", False)
    assert edited.content == b"0 0.5 0.5 0.2 0.2\n1 0.5 0.5 0.2 0.2\n"
    assert [f.place.line for f, _ in edited.left] == [2, 9]


def test_safe_fixes_leave_what_only_unsafe_ones_fix():
    content = b"0 nan 0.5 0.2 0.2\n0 0.5 0.5 0.2 0.2\n"
    assert edit_text(content, [found("TX010", 1)], "detect", False) == (content, (), (), ())
    assert edit_text(content, [found("TX010", 1)], "detect", True).content == b"0 0.5 0.5 0.2 0.2\n"


def test_two_findings_about_one_row_are_fixed_together():
    content = b"0 1.02 -0.02 0.2 0.2\n0 0 0 0 0\n"
    edited = edit_text(content, [found("BX001"), found("BX002"), found("BX004", 2), found("CL003", 2)], "detect", True)
    assert edited.content == b"0 0.96 0.04 0.08 0.08\n" and len(edited.done) == 4 and not edited.left


def test_marks_line_ends_and_corners_of_a_whole_file():
    content = b"\xef\xbb\xbf0 0.5 0.5 0.2 0.2\r\n\xef\xbb\xbf1 .5 .5 .2 .2\r0 0.5 0.5 0.2 0.2\n"
    plain = b"0 0.5 0.5 0.2 0.2\n1 .5 .5 .2 .2\n0 0.5 0.5 0.2 0.2\n"
    edited = edit_text(content, [found("TX018"), found("TX019", None), found("TX016", 2)], "detect", False)
    assert edited.content == plain and len(edited.done) == 3
    rows = b"0 -0.005 0.1 0.5 0.1 0.3 0.4\n0 -0.5 0.1 0.5 0.1 0.3 0.4\n1 0.1 0.1 0.5 1.003 0.3 .40\n"
    clipped = b"0 0 0.1 0.5 0.1 0.3 0.4\n0 -0.5 0.1 0.5 0.1 0.3 0.4\n1 0.1 0.1 0.5 1 0.3 .40\n"
    assert edit_text(rows, [found("SG002")], "segment", False).content == clipped
    seven = b"0 0.5 0.5 0.2 0.2 0.93 4\n\n1 0.4 0.4 0.2 0.2 0.9 5\n"
    assert edit_text(seven, [found("TX007")], "detect", True).content == b"0 0.5 0.5 0.2 0.2\n\n1 0.4 0.4 0.2 0.2\n"


def test_utf16_is_saved_as_utf8_and_prose_is_not():
    text = "0 0.5 0.5 0.2 0.2\r\n"
    assert recode(text.encode("utf-16")) == text.encode()
    for content in ("a cat\n".encode("utf-16"), "ä\n".encode("latin-1"), b"\xff\xfe0"):
        with pytest.raises(Left):
            recode(content)


def test_lists_follow_renamed_images_and_forget_those_in_quarantine():
    content = b"./images/a.jpg\r\n/data/b.jpg\n\n/data/c.jpg"
    renamed = {"/data/images/a.jpg": "/data/images/a.png", "/data/b.jpg": None}
    assert relist(content, "/data", "/", renamed) == b"./images/a.png\r\n\n/data/c.jpg"
    assert relist(b"\xff", "/data", "/", renamed) == b"\xff"


@pytest.mark.parametrize(("task", "kept"), [("segment", True), ("obb", True), ("detect", False)])
def test_a_file_that_is_left_out_is_not_fixed_to_boxes_at_which_training_stops(task: str, kept: bool):
    content = b"0 0.5 0.5 0.2 0.2\n0 nan 0.1 0.5 0.1 0.5 0.5 0.1 0.5\n"
    edited = edit_text(content, [found("TX010", 2)], task, True)
    assert (edited.content == content) is kept and (edited.done == ()) is kept
    assert [reason.why for _, reason in edited.left] == [Why.BOXES_LEFT] * kept


@pytest.mark.parametrize(
    ("line", "becomes"),
    [
        ("1,0.5,0.5,0.2,0.2", "1 0.5 0.5 0.2 0.2"),
        ("1,0.9,0.5,0.3,0.2", "1 0.875 0.5 0.25 0.2"),  # what reaches out is clipped, too
        ("3,0.5,0.5,0.2,0.2", None),  # a class that data.yaml does not have
        ("1,0.5,0.5,0,0.2", None),
        ("1,1.5,0.5,0.2,0.2", None),
        ("1,0.1,0.1,0.5,0.1,0.5,0.5", None),  # a polygon among boxes
        ("0,0.5,0.5,0.2,0.2", ""),  # what another row says already
    ],
)
def test_a_row_that_can_be_read_is_judged_as_it_becomes(line: str, becomes: str | None):
    content = f"0 0.5 0.5 0.2 0.2\n{line}\n".encode()
    edited = edit_text(content, [found("TX003", 2)], "detect", True, range(2))
    if becomes is None:
        assert edited.content == content and len(edited.left) == 1
    else:
        assert edited.content.decode().splitlines()[1:] == [becomes] * bool(becomes) and edited.left == ()


def test_what_is_left_for_good_is_said_whatever_its_folder_is_called(tmp_path):
    tiny = TinySet(tmp_path / "--unsafe-fixes")
    tiny.put("labels/train/a.txt", "0 inf 0.5 0.2 0.2\n")
    image = tiny.root / "images/train/a.jpg"
    for i in range(24):  # else the only image of its split would go
        tiny.put(f"images/train/{i}.jpg", encode(".jpg", picture(seed=i + 9)))
        tiny.put(f"labels/train/{i}.txt", "0 0.5 0.5 0.2 0.2\n")
    fixed = yolo_nanfix.fix(yolo_nanfix.lint(tiny.root), unsafe=False, diff=True)
    assert fixed.kept == () and fixed.unsafe >= 1
    image.chmod(0o444)
    fixed = yolo_nanfix.fix(yolo_nanfix.lint(tiny.root), unsafe=True, diff=True)
    assert [kept.place for kept in fixed.kept] == [str(tiny.root / "labels/train/a.txt")]
    reason = fixed.kept[0].reason
    assert not reason.to_unsafe and reason.values["path"] == str(image) and fixed.unsafe == 0
