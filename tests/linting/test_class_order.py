"""Lists of class names beside a set, and class numbers that mean something else in another split."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from linting.tiny_set import YAML, TinySet

from yolo_nanfix.findings import Finding
from yolo_nanfix.linting.rules.class_order import BY_SIZE, _differ, _look_alike, _Measure, _moved
from yolo_nanfix.linting.runner import run

OTHER = "val: images/val\nnames: [dog, cat]\n"


def found(tiny: TinySet, *codes: str) -> list[Finding]:
    return [f for f in run(tiny.root / "data.yaml").findings if f.code in codes]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("classes.txt", "dog\ncat\n"),
        ("_classes.txt", "dog\r\ncat\r\n\r\n"),
        ("obj.names", "0: dog\n1: cat\n"),
        ("labels/train/classes.txt", "dog\ncat"),
        ("images/labels.txt", "dog\ncat"),
        ("notes.json", json.dumps({"categories": [{"id": 0, "name": "dog"}, {"id": 1, "name": "cat"}]})),
        ("val.yaml", OTHER),
        ("other.yml", f"train: ./images/train\n{OTHER}"),
    ],
)
def test_each_kind_of_list_is_held_against_names(name: str, content: str, tmp_path: Path):
    tiny = TinySet(tmp_path)
    tiny.put(name, content)
    (one,) = found(tiny, "CL050", "CL051")
    assert (one.code, Path(one.place.file)) == ("CL050", tmp_path / name)
    assert (one.values["numbers"], one.values["count"], one.values["order"]) == ((0, 1), 2, 1)
    assert one.values["names"] == ((0, "dog", "cat"), (1, "cat", "dog"))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("classes.txt", "cat\ndog\n"),
        ("classes.txt", ""),
        ("classes.txt", "0 0.5 0.5 0.2 0.2\n"),
        ("classes.txt", b"\xff\xfe\x00"),
        ("notes.json", "[1, 2"),
        ("notes.json", json.dumps({"categories": ["dog", "cat"]})),
        ("settings.yaml", "names: [dog, cat]\n"),
        ("elsewhere.yaml", "train: images/elsewhere\nnames: [dog, cat]\n"),
        ("broken.yaml", "names: [dog\n"),
    ],
)
def test_equal_lists_and_what_is_no_list_of_this_set_say_nothing(name: str, content: str | bytes, tmp_path: Path):
    tiny = TinySet(tmp_path)
    tiny.put(name, content)
    assert not found(tiny, "CL050", "CL051")


def test_a_number_of_names_is_told(tmp_path: Path):
    tiny = TinySet(tmp_path)
    tiny.put("classes.txt", "cat\ndog\ncow\n")
    (one,) = found(tiny, "CL050")
    assert (one.values["count"], one.values["of"], one.values["numbers"]) == (3, 2, ())


def test_a_list_that_changes_is_read_again_though_no_label_did(tmp_path: Path):
    tiny = TinySet(tmp_path)
    tiny.put("classes.txt", "cat\ndog\n")
    assert not found(tiny, "CL050")
    tiny.put("classes.txt", "dog\ncat\n")
    assert found(tiny, "CL050")
    (tmp_path / "classes.txt").unlink()
    assert not found(tiny, "CL050")


def _rows(sizes: dict[int, tuple[float, float]], factor: float = 1.0) -> str:
    lines = []
    for cls, (w, h) in sizes.items():
        lines += [f"{cls} {0.4 + i / 100} 0.5 {w * factor:.4f} {h * factor:.4f}" for i in range(20)]
    return "\n".join(lines) + "\n"


THREE = {0: (0.3, 0.1), 1: (0.1, 0.3), 2: (0.2, 0.066)}
NAMES = YAML.replace("[cat, dog]", "[cat, dog, cow]")


def test_classes_numbered_anew_for_val_are_named_with_their_sizes(tmp_path: Path):
    tiny = TinySet(tmp_path)
    tiny.yaml(NAMES)
    tiny.put("labels/train/a.txt", _rows(THREE))
    tiny.put("labels/val/b.txt", _rows({0: THREE[1], 1: THREE[2]}))
    (one,) = found(tiny, "CL052")
    assert (one.values["pairs"], one.values["splits"]) == (((0, 1), (1, 2)), ("train", "val"))
    assert one.values["classes"][0] == ("cat", "dog", "train", "val", 19.2, 4.8, 6.4, 14.4)


def test_boxes_without_a_side_and_of_less_than_a_pixel_have_a_size_or_none(tmp_path: Path):
    """Boxes of a hundredth of a pixel count; without a width or a height there is no logarithm."""
    tiny = TinySet(tmp_path)
    tiny.put("labels/train/a.txt", _rows({0: (0.0002, 0.0002), 1: (0.1, 0.0002)}))
    rows = _rows({0: (0.1, 0.0002), 1: (0.0002, 0.0002)})
    tiny.put("labels/val/b.txt", rows + "0 0.5 0.5 0 0.2\n1 0.5 0.5 0.2 0\n" * 20)
    (one,) = found(tiny, "CL052")
    assert (one.values["pairs"], one.values["classes"][0][4:]) == (((0, 1), (1, 0)), (0.0, 0.0, 6.4, 0.0))


@pytest.mark.parametrize("factor", [1.0, 1.5, 0.6])
def test_objects_that_are_all_larger_in_val_are_no_other_classes(factor: float, tmp_path: Path):
    """At 1.5 the cows of val look like the cats of train."""
    tiny = TinySet(tmp_path)
    tiny.yaml(NAMES)
    tiny.put("labels/train/a.txt", _rows(THREE))
    tiny.put("labels/val/b.txt", _rows(THREE, factor))
    assert not found(tiny, "CL052")


def test_numbers_above_names_in_one_split_explain_their_rows(tmp_path: Path):
    tiny = TinySet(tmp_path)
    tiny.put("labels/train/a.txt", _rows(THREE))
    tiny.put("labels/val/b.txt", _rows({0: THREE[1], 1: THREE[2]}))
    one, *rows = found(tiny, "CL053", "CL003")
    assert one.code == "CL053" and (one.values["splits"], one.values["top"]) == (("train",), (2,))
    assert len(rows) == 20 and {row.because for row in rows} == {"CL053"}


def test_a_slip_of_the_pen_is_no_numbering(tmp_path: Path):
    tiny = TinySet(tmp_path)
    rows = _rows({0: THREE[1], 1: THREE[2]})
    tiny.put("labels/train/a.txt", rows + "7 0.5 0.5 0.2 0.2\n")
    tiny.put("labels/val/b.txt", rows)
    (one,) = found(tiny, "CL053", "CL003")
    assert one.code == "CL003" and one.because is None


def test_six_lists_at_most_are_compared(tmp_path: Path):
    tiny = TinySet(tmp_path)
    for i in range(8):
        tiny.put(f"val{i}.yaml", f"val: images/val\nnames: [cow{i}, cat]\n")
    files = [Path(one.place.file).name for one in found(tiny, "CL050")]
    assert files == [f"val{i}.yaml" for i in range(6)]


NONE, COARSE = np.zeros((1, 4)), _Measure(far=1.0, other=0.25, known=1, compared=1)


@pytest.mark.parametrize(
    ("values", "differ", "alike"),
    [
        ([0.0, 0, 0, 0], False, True),
        ([0.4] * 4, False, True),
        ([0.5] * 4, False, False),
        ([0.99] * 4, False, False),
        ([1.0] * 4, True, False),
        ([2.0, 2, 2, -1], True, True),
        ([2.0, 2, -1, -1], False, True),
        ([2.0] * 8 + [-1] * 2, True, False),
    ],
)
def test_boxes_differ_or_look_alike_by_their_medians_and_by_the_share_of_pairs(values, differ, alike):
    """Medians 1 apart and a quarter of the pairs in the other order; half of 1 apart, or a quarter of the pairs."""
    other = np.array([values])
    assert (_differ(NONE, other, COARSE), _look_alike(NONE, other, 1.0)) == (differ, alike)


def _sizes(**counts: tuple[int, float]) -> dict[int, np.ndarray]:
    return {int(name[1:]): np.full((2, count), value) for name, (count, value) in counts.items()}


@pytest.mark.parametrize(
    ("first", "second", "moved"),
    [
        (_sizes(c0=(15, 0), c1=(15, 2)), _sizes(c0=(10, 2), c1=(10, 0)), [(0, 1), (1, 0)]),
        (_sizes(c0=(14, 0), c1=(15, 2)), _sizes(c0=(10, 2), c1=(10, 0)), []),
        (_sizes(c0=(15, 0), c1=(15, 2)), _sizes(c0=(9, 2), c1=(10, 0)), []),
        (_sizes(c0=(15, 0), c1=(15, 9), c2=(15, 2)), _sizes(c0=(10, 2), c1=(10, 9)), [(0, 2)]),
        (_sizes(c0=(15, 0), c1=(15, 9), c2=(14, 2)), _sizes(c0=(10, 2), c1=(10, 9)), []),
    ],
)
def test_classes_are_compared_from_ten_boxes_on_with_those_of_fifteen(first, second, moved):
    assert list(map(tuple, _moved(first, second, BY_SIZE))) == moved
