"""Folds never share a group, spread classes, and refuse what cannot be; groups are what belongs together."""

from __future__ import annotations

import numpy as np
import pytest

from yolo_nanfix.errors import UsageError
from yolo_nanfix.finetune.folds import make, rarest
from yolo_nanfix.finetune.groups import group


@pytest.mark.parametrize("seed", range(5))
def test_no_group_is_in_two_folds_and_classes_are_spread(seed):
    rng = np.random.default_rng(seed)
    groups = rng.integers(0, 60, 200)
    images = rng.integers(0, 200, 900)
    classes = rng.choice(3, 900, p=[0.7, 0.25, 0.05])
    folds = make(4, groups, images, classes, {0: "a", 1: "b", 2: "c"}, seed=seed)
    for number in np.unique(groups):
        assert len(set(folds.of[groups == number])) == 1
    train, val = folds.split(2)
    assert set(folds.of[val]) == {2} and sorted([*train, *val]) == list(range(200))
    assert folds.counts.sum() == 900 and folds.counts.sum(axis=0).tolist() == np.bincount(classes).tolist()
    assert (folds.counts > 0).all()


def test_an_image_counts_as_its_rarest_class():
    assert rarest(np.array([0, 0, 1, 2]), np.array([0, 1, 0, 0]), 4).tolist() == [1, 0, 0, -1]


@pytest.mark.parametrize(
    ("count", "groups", "says"),
    [
        (1, range(8), "at least 2"),
        (5, [0, 0, 0, 1, 1, 2, 2, 3], "only 4 groups"),
        (4, range(8), r"b \(3\)"),
    ],
)
def test_folds_that_cannot_be_are_refused(count, groups, says):
    rows, classes = np.arange(8), np.array([0, 0, 0, 0, 0, 1, 1, 1])
    with pytest.raises(UsageError, match=says):
        make(count, np.array(groups), rows, classes, {0: "a", 1: "b"})


def test_groups_join_what_belongs_together():
    images = ["/a/cam1_0.jpg", "/a/cam1_1.jpg", "/a/cam2_0.jpg", "/b/copy.jpg", "/b/other.jpg"]
    known = [["/b/copy.jpg", "/a/cam2_0.jpg"], ["/b/copy.jpg", "/elsewhere.jpg"]]
    assert group(images).tolist() == [0, 1, 2, 3, 4]
    assert group(images, known).tolist() == [0, 1, 2, 2, 3]
    assert group(images, known, r"(cam\d)_").tolist() == [0, 0, 1, 1, 2]
    assert group(images, (), "cam").tolist() == [0, 0, 0, 1, 2]


def test_a_pattern_that_is_none_is_refused():
    with pytest.raises(UsageError, match="not a regular expression"):
        group(["a"], (), "(")
