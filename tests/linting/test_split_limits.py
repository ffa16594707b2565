"""Sizes of splits, copies in several of them, and images that look alike: both sides of each limit."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from linting.cases_images import copied
from linting.tiny_set import TinySet

from yolo_nanfix.linting.rules import splits
from yolo_nanfix.linting.runner import run


class Rows(SimpleNamespace):
    """What the rules ask of a table, and can be kept by."""


def told(rule, *asked):
    """The values of what a rule says."""
    return [dict(hit.values) for hit in rule(*asked)]


def sized(train: int, val: int) -> SimpleNamespace:
    """A table of two splits; one image of train is listed twice."""
    names = [f"train/{i}.jpg" for i in range(train)] + [f"val/{i}.jpg" for i in range(val)]
    listed = np.arange(train + val)
    return SimpleNamespace(files=names, splits={"train": np.append(listed[:train], 0), "val": listed[train:]})


@pytest.mark.parametrize(
    ("train", "val", "tiny", "odd"),
    [
        (100, 0, False, False),
        (100, 1, True, False),
        (100, 29, True, False),
        (100, 30, False, False),
        (99, 29, False, False),
        (99, 100, False, True),
        (100, 100, False, False),
        (98, 99, False, False),
        (3001, 30, False, True),
        (3000, 30, False, False),
        (3001, 29, True, False),
        (100_000, 999, False, True),
        (200_000, 1000, False, False),
    ],
)
def test_val_has_thirty_images_a_hundredth_and_no_more_than_train(train, val, tiny, odd):
    table = sized(train, val)
    values = [{"val": val, "train": train}]
    assert told(splits.val_tiny, table) == values * tiny
    assert told(splits.val_share_odd, table) == values * odd


@pytest.mark.parametrize(("kept", "background", "found"), [(0, 0, 0), (1, 1, 1), (2, 1, 0), (9, 9, 1)])
def test_a_split_whose_images_are_all_background_has_no_objects(kept, background, found):
    fate = {"found": 1, "kept": kept, "background": background, "dropped": 0}
    table = SimpleNamespace(splits={"val": np.array([0])}, labelled=np.array([True]), labels=("labels/val/a.txt",))
    values = told(splits.split_without_objects, table, {"val": fate})
    assert values == [{"kept": kept, "dropped": 0, "split": "val"}] * found


@pytest.mark.parametrize(("similar", "left_out", "unsure", "partly"), [(4, 0, 0, 0), (4, 1, 0, 1), (5, 1, 1, 0)])
def test_from_five_images_on_that_look_alike_one_finding_is_about_the_set(
    similar, left_out, unsure, partly, monkeypatch
):
    table = Rows(files=[f"a/{i}.jpg" for i in range(9)], labels=("",), split_of=lambda _: "train")
    monkeypatch.setattr(splits, "_alike", lambda *_: ([], {i + 1: 0 for i in range(similar)}, left_out))
    found = told(splits.alike_throughout, table, None)
    assert [(one["alike"], one["left_out"]) for one in found] == [(similar, left_out)] * unsure
    assert told(splits.near_duplicate_in_split, table, None) == [{"images": left_out}] * partly


@pytest.mark.parametrize(
    ("same", "others", "moved", "images"),
    [(3, 0, 0, 3), (2, 0, 0, 0), (3, 7, 0, 10), (3, 8, 0, 0), (3, 0, 0.0085, 3), (3, 0, 0.0095, 0)],
)
def test_three_originals_and_three_tenths_with_equal_boxes_prove_copies(same, others, moved, images, tmp_path: Path):
    """Equal areas within three percent."""
    tiny = TinySet(tmp_path)
    copied(*range(same), splits=("train", "val"), moved=moved)(tiny)
    copied(*range(same, same + others), splits=("train", "val"), moved=0.1)(tiny)
    found = [f for f in run(tmp_path).findings if f.code == "SP012"]
    assert [(f.split, f.place.file, f.values["images"]) for f in found] == [
        ("val", str(tmp_path / "images/val"), images)
    ] * (images > 0)


def exported(copies: str) -> Rows:
    """A table of images that Roboflow made of originals: each letter is one, in uppercase a copy in val."""
    val = np.array([name.isupper() for name in copies])
    names = [f"{'val' if one.isupper() else 'train'}/{one.lower()}.rf.{i:08}.jpg" for i, one in enumerate(copies)]
    return Rows(
        files=names,
        labels=("a.txt",),
        members={"train": np.flatnonzero(~val), "val": np.flatnonzero(val)},
        split=val.astype(np.int64),
        split_names=("train", "val"),
        labels_of=lambda image: np.array([[0, 0.5, 0.5, 0.2, 0.2]]),
    )


def test_an_original_with_one_image_has_no_copies():
    assert splits.originals(exported("aabcC")) == [[0, 1], [3, 4]]


@pytest.mark.parametrize(
    ("copies", "values"),
    [
        ("aabbccddee", [{"images": 10, "originals": 5}]),
        ("aabbccdd", []),
        ("aabbccddeE", []),
        ("aabbccddeefFg", [{"images": 12, "originals": 7}]),
    ],
)
def test_copies_count_in_their_split(copies, values):
    assert told(splits.augmented_copies, exported(copies)) == values


@pytest.mark.parametrize(("copies", "images"), [("aAbBcC", 3), ("aAbB", 0), ("aAbBcC" + "ddeeffgghhiijjkk", 3)])
def test_only_originals_in_both_splits_have_to_be_proven(copies, images):
    assert [one["images"] for one in told(splits.original_across_splits, exported(copies))] == [images] * (images > 0)


@pytest.mark.parametrize(("originals", "found"), [(5, 1), (4, 0)])
def test_from_five_originals_with_copies_on_a_split_is_augmented(originals, found, tmp_path: Path):
    copied(*range(originals))(TinySet(tmp_path))
    told = [(f.split, f.values["images"], f.values["originals"]) for f in run(tmp_path).findings if f.code == "SP011"]
    assert told == [("train", 2 * originals + 1, originals + 1)] * found
