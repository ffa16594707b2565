"""Names with other keys than 0 to n - 1: they and all labels are numbered from 0, and come back byte for byte."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from autofix.test_fix import snapshot
from linting.tiny_set import YAML, TinySet

import yolo_nanfix
from yolo_nanfix.linting.autofix.reasons import Why

FROM_ONE = "1 0.5 0.5 0.2 0.2\n2 0.3 0.3 0.1 0.2\n"
FROM_ZERO = "0 0.5 0.5 0.2 0.2\n1 0.3 0.3 0.1 0.2\n"
BLOCK = "# my cats\nnames:\n  1: cat  # the first\n  '2': dog\ntrain: images/train\r\nval: images/val\n"


def named(tiny: TinySet, names: str, rows: str) -> None:
    tiny.yaml(names if "train:" in names else YAML.replace("[cat, dog]", names))
    for name in ("train/a", "val/b"):
        tiny.put(f"labels/{name}.txt", rows)


@pytest.mark.parametrize(
    ("names", "rows", "after"),
    [
        ("{1: cat, 2: dog}", FROM_ONE, {0: "cat", 1: "dog"}),
        ("{2: dog, 1: cat}", FROM_ONE, {0: "cat", 1: "dog"}),
        ("{1: cat, 2: dog}", FROM_ZERO, {0: "cat", 1: "dog"}),
        ("{cat: 0, dog: 1}", FROM_ZERO, {0: "cat", 1: "dog"}),
        ("{dog: 2, 'cat': 1}", FROM_ONE, {0: "cat", 1: "dog"}),
        (BLOCK, FROM_ONE, {0: "cat", 1: "dog"}),
    ],
)
def test_names_and_labels_are_numbered_from_zero(tiny: TinySet, names: str, rows: str, after: dict[int, str]):
    from ultralytics.data.utils import check_det_dataset

    named(tiny, names, rows)
    before = snapshot(tiny.root.parent)
    report = yolo_nanfix.lint(tiny.root, settings=False)
    assert [f.code for f in report.findings if f.because is None] == ["CF003"]
    assert yolo_nanfix.fix(report).files == 0 and snapshot(tiny.root.parent) == before
    fixed = yolo_nanfix.fix(report, unsafe=True)
    assert [f.code for f in fixed.done] == ["CF003"]
    text = (tiny.root / "data.yaml").read_text()
    assert dict(yaml.safe_load(text)["names"]) == check_det_dataset(str(tiny.root / "data.yaml"))["names"] == after
    assert (tiny.root / "labels/train/a.txt").read_text() == (tiny.root / "labels/val/b.txt").read_text() == FROM_ZERO
    assert yolo_nanfix.lint(tiny.root).findings == ()
    yolo_nanfix.undo(tiny.root)
    assert snapshot(tiny.root.parent) == before


def test_comments_and_quotes_of_the_names_stay(tiny: TinySet):
    named(tiny, BLOCK, FROM_ONE)
    yolo_nanfix.fix(yolo_nanfix.lint(tiny.root), unsafe=True)
    text = (tiny.root / "data.yaml").read_bytes().decode()
    assert text == BLOCK.replace("1: cat", "0: cat").replace("'2': dog", "1: dog")


@pytest.mark.parametrize(
    ("names", "rows", "why", "value"),
    [
        ("{1: cat, 2: dog}", FROM_ONE + "3 0.5 0.5 0.2 0.2\n", Why.CLASS_NO_KEY, 3),
        ("{a: cat, b: dog}", FROM_ZERO, Why.KEY_NO_NUMBER, "a"),
    ],
)
def test_what_cannot_be_numbered_stays_as_it_is(tiny: TinySet, names: str, rows: str, why: Why, value: object):
    named(tiny, names, rows)
    before = snapshot(tiny.root)
    fixed = yolo_nanfix.fix(yolo_nanfix.lint(tiny.root).select("CF003"), unsafe=True)
    assert [(kept.code, kept.reason.why) for kept in fixed.kept] == [("CF003", why)]
    assert list(fixed.kept[0].reason.values.values()) == [value]
    assert snapshot(tiny.root) == before


def test_labels_from_zero_are_said_to_be_right(tiny: TinySet):
    named(tiny, "{1: cat, 2: dog}", FROM_ZERO)
    report = yolo_nanfix.lint(Path(tiny.root))
    (finding,) = [f for f in report.findings if f.because is None]
    assert not finding.values["by_keys"]
    assert {f.because for f in report.findings if f.code.startswith("CL")} == {"CF003"}
