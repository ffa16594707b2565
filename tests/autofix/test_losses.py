"""What fixes never do: make an image background, take out a class or many rows, empty a split."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from autofix.test_fix import snapshot
from linting.tiny_set import YAML, TinySet, encode, picture, tiff_pages

import yolo_nanfix
from yolo_nanfix.linting.autofix.ground import Whole
from yolo_nanfix.linting.autofix.losses import Loss, Losses, class_of_row, refused
from yolo_nanfix.linting.autofix.reasons import Kept, Reason, Why

GOOD = "0 0.5 0.5 0.2 0.2\n1 0.3 0.3 0.1 0.2\n"


@pytest.fixture
def many(tiny: TinySet) -> TinySet:
    """A healthy set of 22 images and 44 rows, half of them of each class."""
    for number in range(20):
        add(tiny, f"m{number}", GOOD, number)
    return tiny


def add(tiny: TinySet, name: str, rows: str | bytes, seed: int = 99) -> Path:
    tiny.put(f"images/train/{name}.png", encode(".png", picture(seed=seed, height=24, width=32)))
    return tiny.put(f"labels/train/{name}.txt", rows)


def fix(tiny: TinySet, **how: bool):
    return yolo_nanfix.fix(yolo_nanfix.lint(tiny.root, settings=False), **how)


def without_class_two(kept: Kept) -> bool:
    """Whether something is left for the sake of class 2, of which the set would have no row."""
    return kept.reason == Reason(Why.CLASS_GONE, {"class": 2, "where": "the set"})


def scan(root: Path, classes: int = 2) -> dict[str, list[list[float]]]:
    """The images that Ultralytics itself keeps of a set, each with its rows; an empty list is background."""
    from ultralytics.data.utils import verify_image_label

    kept = {}
    for image in sorted((root / "images").rglob("*.*")):
        label = root / "labels" / image.relative_to(root / "images").with_suffix(".txt")
        found, rows, *_ = verify_image_label((str(image), str(label), "", False, classes, 0, 0, False))
        if found:
            kept[str(image.relative_to(root))] = rows.tolist()
    return kept


def background(kept: dict[str, list[list[float]]]) -> set[str]:
    return {image for image, rows in kept.items() if not rows}


UNUSABLE = {
    "infinite": "0 inf inf inf inf\n",
    "nan": "0 nan 0.5 0.2 0.2\n1 nan 0.5 0.2 0.2",
    "words": "This is a crack file.\n",
    "too short": "0\n",
    "comment": "# nothing to see\n",
    "comment and blanks": "\n# nothing to see\n\n",
    "markers": b"0 0.5 0.5 0.2 0.2\x00\n",
    "words after a mark": b"\xef\xbb\xbfcrack\r\n",
}


@pytest.mark.parametrize("rows", UNUSABLE.values(), ids=UNUSABLE)
def test_an_image_without_a_usable_row_goes_to_quarantine_with_its_label(tiny: TinySet, rows: str | bytes):
    label = add(tiny, "bad", rows)
    content, pixels = label.read_bytes(), (tiny.root / "images/train/bad.png").read_bytes()
    assert "images/train/bad.png" not in (kept := scan(tiny.root))
    before = snapshot(tiny.root.parent)
    fixed = fix(tiny, unsafe=True)
    assert (fixed.quarantined, fixed.background, fixed.kept) == (1, 0, ())
    away = tiny.root.parent / "set-quarantine"
    assert (away / "labels/train/bad.txt").read_bytes() == content
    assert (away / "images/train/bad.png").read_bytes() == pixels
    assert scan(tiny.root) == kept and not background(kept)
    yolo_nanfix.undo(tiny.root)
    assert snapshot(tiny.root.parent) == before


@pytest.mark.parametrize("rows", UNUSABLE.values(), ids=UNUSABLE)
def test_beside_a_good_row_only_the_bad_ones_go(tiny: TinySet, rows: str | bytes):
    raw = rows if isinstance(rows, bytes) else rows.encode()
    add(tiny, "bad", raw.removeprefix(b"\xef\xbb\xbf").rstrip() + b"\n1 0.4 0.4 0.2 0.2\n")
    fixed = fix(tiny, unsafe=True)
    assert (fixed.quarantined, fixed.background) == (0, 0)
    assert [row[0] for row in scan(tiny.root)["images/train/bad.png"]] == [1.0]


def test_an_image_that_is_background_already_stays(tiny: TinySet):
    add(tiny, "empty", "\n")
    before = snapshot(tiny.root)
    assert fix(tiny, unsafe=True).files == 0 and snapshot(tiny.root) == before


@pytest.mark.parametrize("rows", [None, "", "\n"])
def test_a_jpeg_without_its_end_is_ended_only_if_it_is_labelled(tiny: TinySet, rows: str | None):
    """Without a row it would become background, of which nobody knows whether it is."""
    tiny.put("images/train/cut.jpg", encode(".jpg", picture(seed=3))[:-2])
    if rows is not None:
        tiny.put("labels/train/cut.txt", rows)
    assert fix(tiny, unsafe=True).quarantined == 1 and not background(scan(tiny.root))
    yolo_nanfix.undo(tiny.root)
    tiny.put("labels/train/cut.txt", GOOD)
    assert fix(tiny, unsafe=True).quarantined == 0 and len(scan(tiny.root)["images/train/cut.jpg"]) == 2


def test_an_image_that_is_kept_with_a_useless_row_alone_is_no_background_either(many: TinySet):
    add(many, "flat", "0 0.5 0.5 0 0.2\n")
    assert "images/train/flat.png" in scan(many.root)
    fixed = fix(many, unsafe=True)
    assert (fixed.quarantined, fixed.background) == (1, 0)
    kept = scan(many.root)
    assert "images/train/flat.png" not in kept and not background(kept)


def test_safe_fixes_leave_a_file_of_which_nothing_would_be_left(tiny: TinySet):
    label = add(tiny, "mark", b"\xef\xbb\xbf\xef\xbb\xbf\n")
    before = snapshot(tiny.root)
    fixed = fix(tiny)
    assert (fixed.files, fixed.unsafe) == (0, 1) and snapshot(tiny.root) == before
    assert fix(tiny, unsafe=True).quarantined == 1 and not label.exists()


def test_images_that_share_the_label_go_together_and_leave_the_lists(tiny: TinySet):
    add(tiny, "bad", "0 nan 0.5 0.2 0.2\n")
    tiny.put("images/train/bad.bmp", encode(".bmp", picture()))
    tiny.yaml(YAML.replace("images/train", "train.txt"))
    tiny.put("train.txt", "./images/train/a.jpg\n./images/train/bad.png\n./images/train/bad.bmp\n")
    before = snapshot(tiny.root.parent)
    assert fix(tiny, unsafe=True).quarantined == 2
    assert (tiny.root / "train.txt").read_text() == "./images/train/a.jpg\n"
    assert not background(scan(tiny.root)) and "FS" not in "".join(yolo_nanfix.lint(tiny.root).by_code())
    yolo_nanfix.undo(tiny.root)
    assert snapshot(tiny.root.parent) == before


def test_where_the_image_cannot_go_the_label_stays_as_it_is(tiny: TinySet):
    add(tiny, "bad", "0 nan 0.5 0.2 0.2\n")
    image = tiny.root / "images/train/bad.png"
    image.rename(tiny.root / "real.png")
    image.symlink_to(tiny.root / "real.png")
    before = snapshot(tiny.root)
    fixed = fix(tiny, unsafe=True)
    assert (fixed.files, fixed.quarantined) == (0, 0) and fixed.kept[0].reason.why is Why.NO_ROW_LEFT_HELD
    assert fixed.kept[0].reason.values == {"path": str(image), "because": Reason(Why.LINK)}
    assert snapshot(tiny.root) == before


def test_a_split_is_not_emptied(tiny: TinySet):
    tiny.put("labels/val/b.txt", "0 nan 0.5 0.2 0.2\n")
    tiny.rows("0 nan 0.5 0.2 0.2\n" + GOOD)
    fixed = fix(tiny, unsafe=True)
    assert [k.reason for k in fixed.kept] == [Reason(Why.ALL_IMAGES, {"split": "val"})]
    assert (tiny.root / "labels/train/a.txt").read_text() == GOOD and (tiny.root / "images/val/b.jpg").exists()


def test_images_that_cannot_be_read_do_not_empty_a_split_either(tiny: TinySet):
    tiny.put("images/val/b.jpg", encode(".jpg", picture())[:-300])
    fixed = fix(tiny, unsafe=True)
    assert fixed.quarantined == 0 and fixed.kept[0].reason == Reason(Why.ALL_IMAGES, {"split": "val"})


def test_unreadable_images_that_alone_have_a_class_stay(tiny: TinySet):
    tiny.yaml(YAML.replace("[cat, dog]", "[cat, dog, cow]"))
    for name, rows in (("cow", "2 0.5 0.5 0.2 0.2\n"), ("cat", GOOD)):
        tiny.put(f"images/train/{name}.png", encode(".png", picture())[:-40])
        tiny.put(f"labels/train/{name}.txt", rows)
    fixed = fix(tiny, unsafe=True)
    assert fixed.quarantined == 1 and (tiny.root / "images/train/cow.png").exists()
    assert without_class_two(fixed.kept[0])
    assert "CL004" not in yolo_nanfix.lint(tiny.root).by_code()


def test_few_wrong_rows_are_dropped_many_are_a_fault_of_the_set(many: TinySet):
    for number in range(2):
        (many.root / f"labels/train/m{number}.txt").write_text(GOOD + f"{5 + number} 0.5 0.5 0.1 0.1\n")
    fixed = fix(many, unsafe=True)
    assert Counter(f.code for f in fixed.done) == {"CL003": 2} and fixed.kept == ()
    yolo_nanfix.undo(many.root)
    (many.root / "labels/train/m2.txt").write_text(GOOD + "9 0.5 0.5 0.1 0.1\n")
    before = snapshot(many.root)
    fixed = fix(many, unsafe=True)
    assert (fixed.files, [k.code for k in fixed.kept]) == (0, ["CL003"]) and snapshot(many.root) == before
    values = {"rows": 3, "of": 47, "together": 3, "share": 0.05}
    assert fixed.kept[0].reason == Reason(Why.MANY_ROWS, values)


def test_a_class_is_not_dropped_row_by_row(many: TinySet):
    for number in range(2):
        (many.root / f"labels/train/m{number}.txt").write_text(GOOD + "2 0.5 0.5 0.1 0.1\n")
    fixed = fix(many, unsafe=True)
    assert fixed.files == 0 and without_class_two(fixed.kept[0])
    (many.root / "labels/train/m3.txt").write_text(GOOD + "9 0.5 0.5 0.1 0.1\n")  # a slip of another number
    fixed = fix(many, unsafe=True)
    assert fixed.files == 1 and (many.root / "labels/train/m3.txt").read_text() == GOOD


def test_a_class_of_rows_without_a_box_is_not_dropped_either(many: TinySet):
    many.yaml(YAML.replace("[cat, dog]", "[cat, dog, cow]"))
    for number in range(3):
        (many.root / f"labels/train/m{number}.txt").write_text(GOOD + f"{min(number, 1) + 1} nan 0.5 0.1 0.1\n")
    fixed = fix(many, unsafe=True)
    assert [without_class_two(k) for k in fixed.kept] == [True]
    assert fixed.files == 1 and (many.root / "labels/train/m0.txt").read_text() == GOOD
    assert "CL004" not in yolo_nanfix.lint(many.root).by_code()


def test_a_class_of_one_flat_box_stays(many: TinySet):
    many.yaml(YAML.replace("[cat, dog]", "[cat, dog, cow]"))
    (many.root / "labels/train/m0.txt").write_text(GOOD + "2 0.5 0.5 0 0.1\n")
    fixed = fix(many, unsafe=True)
    assert fixed.files == 0 and without_class_two(fixed.kept[0])


def test_images_that_train_are_not_put_aside_in_masses(tiny: TinySet):
    """Pixels that are NaN poison the run; where a set is full of them that is how it was written."""
    tiny.yaml(YAML + "channels: 2\n")
    for number in range(22):
        pages = [np.full((24, 32), 100 + number, np.float32) for _ in range(2)]
        pages[1][0, 0] = np.nan if number < 2 else 1
        tiny.put(f"images/train/n{number}.tiff", tiff_pages(pages))
        tiny.put(f"labels/train/n{number}.txt", GOOD)
    before, report = snapshot(tiny.root), yolo_nanfix.lint(tiny.root, settings=False).select("IM011")
    fixed = yolo_nanfix.fix(report, unsafe=True)
    assert fixed.files == 0 and fixed.kept[0].reason.why is Why.MANY_ROWS
    assert (fixed.kept[0].reason.values["rows"], fixed.kept[0].reason.values["of"]) == (4, 48)
    assert snapshot(tiny.root) == before
    (tiny.root / "images/train/n1.tiff").unlink()
    report = yolo_nanfix.lint(tiny.root, settings=False).select("IM011")
    assert yolo_nanfix.fix(report, unsafe=True).quarantined == 1


def losses(*rows: tuple[str, float, int]) -> list[Loss]:
    return [Loss(code, "train", number, True) for code, number, count in rows for _ in range(count)]


def whole(**classes: dict[float, int]) -> Whole:
    return Whole((), {}, sum(sum(of.values()) for of in classes.values()), classes, 2, lambda image: ())


def test_the_limits():
    usual = whole(train={0.0: 50, 1.0: 30}, val={0.0: 18, 1.0: 2})
    assert refused(losses(("A", 0, 5)), usual) == Losses()
    assert refused(losses(("A", 0, 6)), usual).codes.keys() == {"A"}
    assert refused(losses(("A", 0, 3), ("B", 1, 2)), usual) == Losses()
    assert refused(losses(("A", 0, 4), ("B", 1, 2)), usual).codes.keys() == {"A"}
    assert refused(losses(("A", 7, 1)), usual) == Losses()
    assert refused(losses(("A", 7, 2)), usual).classes.keys() == {("train", 7)}
    both = [Loss("A", split, 7, True) for split in ("train", "val")]  # one in each split
    assert refused(both, usual).classes.keys() == {("train", 7), ("val", 7)}
    of_val = [Loss("A", "val", 1, True)] * 2
    assert refused(of_val, usual).classes["val", 1].values == {"class": 1, "where": "val"}
    assert refused(of_val[:1], usual) == Losses()
    small = whole(train={0.0: 99, 1.0: 1})
    assert refused(losses(("A", 1, 1)), small).classes["train", 1].values == {"class": 1, "where": "the set"}
    assert refused([Loss("A", "val", 1, False)] * 2, usual) == Losses()
    empty = [Loss("A", "train", 1, False)]
    assert refused(empty, small).classes.keys() == {("train", 1)} and refused(empty * 9, usual) == Losses()
    assert refused([Loss("A", "train", 7, False)] * 9, usual) == Losses()


@pytest.mark.parametrize(
    ("row", "seen"),
    [
        ("3 0.5 0.5 0.2 0.2", (3, True)),
        ("1.5 0.5 0.5 0.2 0.2 0.9", (1.5, True)),
        ("0 0.5 0.5 0.2", None),
        ("0 nan 0.5 0.2 0.2", (0, False)),
        ("nan 0.5 0.5 0.2 0.2", None),
        ("a b c d e", None),
    ],
)
def test_which_rows_may_hold_an_object(row: str, seen: tuple[float, bool] | None):
    assert class_of_row(row.split()) == seen
