"""Classes that are counted from 1: in all splits, in one, with gaps, of one class; and sets that only look like it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from linting.tiny_set import TinySet

import yolo_nanfix
from yolo_nanfix.findings import Finding
from yolo_nanfix.linting.rules.classes import Start, _class_counts, _start

NAMES = {1: "[cat]", 3: "[cat, dog, cow]", 4: "[cat, dog, cow, pig]"}


def build(root: Path, nc: int, **splits: str) -> TinySet:
    """A set whose splits have rows of these classes, several images of each."""
    tiny = TinySet(root / "set")
    test = "test: images/test\n" if "test" in splits else ""
    tiny.yaml(f"train: images/train\nval: images/val\n{test}names: {NAMES[nc]}\n")
    image = (tiny.root / "images/train/a.jpg").read_bytes()
    for split, classes in splits.items():
        for number in range(4):
            rows = (f"{c} 0.{2 + i}1{number} 0.4 0.1 0.2\n" for i, c in enumerate(classes.split()))
            tiny.put(f"images/{split}/{split}{number}.jpg", image + bytes([number, len(split)]))
            tiny.put(f"labels/{split}/{split}{number}.txt", "".join(rows))
    for path in ("images/train/a.jpg", "images/val/b.jpg", "labels/train/a.txt", "labels/val/b.txt"):
        tiny.drop(path)
    return tiny


def about(tiny: TinySet) -> tuple[list[Finding], list[Finding]]:
    """What is found about the numbers: of the set, of rows."""
    findings = yolo_nanfix.lint(tiny.root, settings=False).findings
    return [f for f in findings if f.code == "CL010"], [f for f in findings if f.code == "CL003"]


def classes(tiny: TinySet, split: str) -> dict[str, int]:
    files = (tiny.root / f"labels/{split}").glob("*.txt")
    return dict(sorted(Counter(line.split()[0] for file in files for line in file.read_text().splitlines()).items()))


FAULTY = {
    "all": (3, {"train": "1 2 3", "val": "1 2 3"}, ("train", "val"), "0 1 2", "0 1 2"),
    "a gap": (3, {"train": "1 3", "val": "3 3"}, ("train", "val"), "0 2", "2 2"),
    "the first missing": (3, {"train": "2 3", "val": "2 2"}, ("train", "val"), "1 2", "1 1"),
    "one class": (1, {"train": "1 1", "val": "1"}, ("train", "val"), "0 0", "0"),
    "val alone": (3, {"train": "0 1 2", "val": "1 2 3"}, ("val",), "0 1 2", "0 1 2"),
    "train alone": (3, {"train": "1 2 3", "val": "0 1"}, ("train",), "0 1 2", "0 1"),
    "one class of val": (1, {"train": "0", "val": "1"}, ("val",), "0", "0"),
    "val shows nothing": (3, {"train": "1 2 3", "val": "1 2"}, ("train", "val"), "0 1 2", "0 1"),
    "test, too": (3, {"train": "1 2 3", "val": "0", "test": "1 3"}, ("train", "test"), "0 1 2", "0"),
}


@pytest.mark.parametrize(("nc", "splits", "named", "train", "val"), FAULTY.values(), ids=FAULTY)
def test_one_finding_explains_the_rows_and_its_fix_shifts_the_numbers(
    tmp_path: Path, nc: int, splits: dict[str, str], named: tuple[str, ...], train: str, val: str
):
    tiny = build(tmp_path, nc, **splits)
    before = {split: classes(tiny, split) for split in splits}
    found, rows = about(tiny)
    assert len(found) == 1 and dict(found[0].values)["splits"] == named
    assert rows == [] or {f.because for f in rows} == {"CL010"}
    assert len(rows) == 4 * sum(words.split().count(str(nc)) for words in splits.values())
    fixed = yolo_nanfix.fix(yolo_nanfix.lint(tiny.root, settings=False), unsafe=True)
    assert [f.code for f in fixed.done] == ["CL010"] and fixed.files == 4 * len(named)
    for split, wanted in (("train", train), ("val", val)):
        assert classes(tiny, split) == {k: 4 * v for k, v in sorted(Counter(wanted.split()).items())}
    assert about(tiny) == ([], [])
    yolo_nanfix.undo(tiny.root)
    assert {split: classes(tiny, split) for split in splits} == before


HEALTHY = {
    "from 0": (3, {"train": "0 1 2", "val": "0 1 2"}),
    "class 0 is rare": (3, {"train": "1 2", "val": "1 2"}),
    "names lack one": (3, {"train": "0 1 2 3", "val": "1 2 3"}),
    "val has one that names lack": (3, {"train": "0 1 2 3", "val": "0 1"}),
    "a new class alone": (4, {"train": "4 4", "val": "4"}),
    "much beyond": (3, {"train": "1 2 3 4", "val": "1 2 3"}),
    "one class": (1, {"train": "0", "val": "0"}),
}


@pytest.mark.parametrize(("nc", "splits"), HEALTHY.values(), ids=HEALTHY)
def test_what_is_not_counted_from_one_is_not_accused_and_not_shifted(tmp_path: Path, nc: int, splits: dict[str, str]):
    tiny = build(tmp_path, nc, **splits)
    before = {split: classes(tiny, split) for split in splits}
    found, rows = about(tiny)
    assert not found and not any(f.because for f in rows)
    yolo_nanfix.fix(yolo_nanfix.lint(tiny.root, settings=False), unsafe=True)
    assert {split: classes(tiny, split) for split in splits} == before  # nor is a class dropped


def test_a_slip_and_a_row_without_numbers_do_not_hide_it(tmp_path: Path):
    tiny = build(tmp_path, 3, train=" ".join(["1 2 3"] * 12), val="1 2 3")
    file = tiny.root / "labels/train/train0.txt"
    file.write_text(file.read_text() + "33 0.1 0.1 0.1 0.1\n-1 0.2 0.1 0.1 0.1\nx 0.3 0.1 0.1 0.1\n")
    found, _ = about(tiny)
    assert len(found) == 1
    yolo_nanfix.fix(yolo_nanfix.lint(tiny.root, settings=False), unsafe=True)
    assert file.read_text().splitlines()[-3:] == ["32 0.1 0.1 0.1 0.1", "-1 0.2 0.1 0.1 0.1", "x 0.3 0.1 0.1 0.1"]


@pytest.mark.parametrize(
    ("cls", "nc", "start"),
    [
        ([0, 1], 8, Start.ZERO),
        ([0.5], 8, Start.ZERO),
        ([1, 7], 8, Start.EITHER),
        ([-1, 7], 8, Start.EITHER),
        ([0, 8], 8, Start.OTHER),
        ([1, 8], 8, Start.ONE),
        ([1, 9], 9, Start.FEW),
        ([2, 8], 8, Start.FEW),
        ([5, 6, 7, 8], 8, Start.FEW),
        ([4, 5, 6, 7, 8], 8, Start.ONE),
        ([*range(1, 9)] * 12 + [8, 8, 8, 9], 8, Start.ONE),
        ([*range(1, 9)] * 12 + [8, 8, 9], 8, Start.OTHER),
    ],
)
def test_how_the_classes_of_a_split_are_counted(cls, nc, start):
    """From 1 with more than half of the classes, or with a quarter and class 1; one stray of a hundred rows is none."""
    assert _start(np.array(cls, np.float32), nc) is start


class Rows:
    """Rows of one split, of the classes 0, 2 and others that are none."""

    row_cls, splits = np.array([0, 2, 2, -1, 300_000, np.nan], np.float32), ("train",)

    def rows_in(self, split: str) -> np.ndarray:
        return np.ones(len(self.row_cls), np.bool_)


@pytest.mark.parametrize(("nc", "counted"), [(2, [1, 0]), (3, [1, 0, 2]), (200_000, [1, 0, 2, *[0] * 99_997])])
def test_rows_are_counted_by_class_of_a_hundred_thousand_at_most(nc, counted):
    assert _class_counts(Rows(), nc)["train"].tolist() == counted
