"""Files of a set and its class folders: both sides of what the rules ask of a table."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from yolo_nanfix.dataset.clues import COUNT, Clue
from yolo_nanfix.dataset.fates import IMAGE_DROPPED, LABELS_DROPPED
from yolo_nanfix.linting.rules import polygons
from yolo_nanfix.linting.rules.class_folders import class_numbers_sorted_as_text, image_in_two_classes
from yolo_nanfix.linting.rules.classes import class_numbers
from yolo_nanfix.linting.rules.file_set import _unusable, image_repeated, npy_replaces_image, set_of_boxes
from yolo_nanfix.linting.rules.keypoints import keypoints_all_invisible
from yolo_nanfix.linting.rules.label_text import behind, boxes_for_segment, tracked
from yolo_nanfix.linting.rules.names import cache_older_than_labels
from yolo_nanfix.linting.rules.oriented import _crosses
from yolo_nanfix.linting.rules.row_hits import plain_facts


class Rows(SimpleNamespace):
    """What the rules ask of a table, and can be kept by."""


CONFIG = SimpleNamespace(yaml_file="data.yaml")


def told(rule, *asked) -> list[dict[str, object]]:
    return [dict(hit.values) for hit in rule(*asked)]


@pytest.mark.parametrize(
    ("lines", "labelled", "fate", "polygons", "files"),
    [
        ([1, 1], [1, 1], [0, 0], [0, 0], 2),
        ([1, 2, 3], [1, 1, 1], [0, 0, 0], [0, 0, 0], 3),
        ([1, 0], [1, 1], [0, 0], [0, 0], 0),
        ([1, 1], [1, 0], [0, 0], [0, 0], 0),
        ([1, 1], [1, 1], [0, LABELS_DROPPED], [0, 0], 0),
        ([1, 1], [1, 1], [0, 0], [0, 1], 0),
    ],
)
def test_two_files_with_boxes_alone_make_a_set_of_boxes(lines, labelled, fate, polygons, files):
    columns = {"lines": np.array(lines), "fate": np.array(fate)}
    flags = {"labelled": np.array(labelled, np.bool_), "polygons": np.array(polygons, np.bool_)}
    found = told(set_of_boxes, SimpleNamespace(**columns, **flags), CONFIG, "segment")
    assert [one["files"] for one in found] == [files] * (files > 0)


@pytest.mark.parametrize(("fate", "refused"), [(0, 0), (IMAGE_DROPPED, 2), (LABELS_DROPPED, 0)])
def test_images_are_refused_for_a_fault_of_their_own(fate, refused):
    table = SimpleNamespace(files=["val/a.jpg"] * 3, splits={"val": np.arange(3)}, fate=np.array([0, fate, fate]))
    values = _unusable(table, 3, "val").values
    assert (values["refused"], values["labels"]) == (refused, 3 - refused)


@pytest.mark.parametrize(("identity", "times"), [([7, 7, 1], [2]), ([1, 1, 1], [3]), ([0, 0, 7], []), ([1, 7, 9], [])])
def test_an_image_is_repeated_if_its_identity_is_known(identity, times):
    table = SimpleNamespace(
        identity=np.array(identity),
        distinct=False,
        splits={"train": np.arange(3)},
        members={"train": np.arange(3)},
        files=["a.jpg", "b.jpg", "c.jpg"],
    )
    assert [one["times"] for one in told(image_repeated, table)] == times


def test_arrays_that_are_used_are_told():
    files = ["a/x.jpg", "a/y.jpg", "a/z.jpg"]
    table = SimpleNamespace(npy=np.array([0, 1, 2]), files=files, split_of=lambda _: "train")
    assert told(npy_replaces_image, table) == [{"arrays": 1, "examples": ("y.npy",), "more": 0}]


@pytest.mark.parametrize(("names", "differ"), [(["10", "2"], 2), (["2", "10"], 0), (["10", "cat"], 0), (["7"], 0)])
def test_numbers_of_folders_sort_otherwise_as_text(names, differ):
    config = SimpleNamespace(names=dict(enumerate(names)), nc=len(names), splits={"train": (Path("train"),)})
    assert [one["classes"] for one in told(class_numbers_sorted_as_text, config)] == [differ] * (differ > 0)


@pytest.mark.parametrize(("content", "fate", "found"), [(7, 0, 1), (1, 0, 1), (0, 0, 0), (7, IMAGE_DROPPED, 0)])
def test_one_image_in_two_classes_has_a_known_content(content, fate, found, tmp_path: Path):
    """CL041."""
    files = [tmp_path / "cat/a.jpg", tmp_path / "dog/b.jpg"]
    for file in files:
        file.parent.mkdir()
        file.write_bytes(b"the same")
    table = SimpleNamespace(
        content=np.array([content] * 2),
        fate=np.array([fate] * 2),
        files=list(map(str, files)),
        split_of=lambda _: "train",
    )
    hits = list(image_in_two_classes(SimpleNamespace(splits={"train": (tmp_path,)}), table))
    assert [(hit.file, hit.values["class"]) for hit in hits] == [(str(files[1]), "cat")] * found


def test_what_is_no_class_counts_as_the_one_behind_the_last():
    assert class_numbers(np.array([-1, -0.5, 0, 1, 2, 9, np.nan]), 2).tolist() == [2, 2, 0, 1, 2, 2, 2]


@pytest.mark.parametrize(("points", "found"), [(0, 0), (1, 1), (2, 1)])
def test_a_row_without_keypoints_has_none_that_is_invisible(points, found):
    known = {"visible": np.zeros(points), "first": np.array([0, points]), "paths": ("a.txt",)}
    labels = SimpleNamespace(**known, file=np.zeros(1, int), line=np.ones(1, int), image=np.zeros(1, int))
    assert len(list(keypoints_all_invisible(labels, (SimpleNamespace(split="train", file="a.jpg"),)))) == found


@pytest.mark.parametrize(
    ("rows", "tracks", "over", "corners", "found"),
    [(1, 1, 0, 0, True), (0, 0, 0, 0, False), (2, 1, 1, 0, False), (1, 1, 0, 1, False), (1, 1, 1, 1, True)],
)
def test_rows_of_a_tracker_are_all_of_a_file(rows, tracks, over, corners, found):
    clues = np.zeros((1, COUNT), np.int32)
    clues[0, [Clue.TRACKED, Clue.NUMBER_OVER_ONE, Clue.CORNERS]] = tracks, over, corners
    assert tracked(SimpleNamespace(clues=clues, lines=np.array([rows]))).tolist() == [found]


def test_a_file_without_rows_holds_no_boxes():
    labels = SimpleNamespace(
        file=np.array([0, 2, 2, 3]),
        paths=tuple("abcd"),
        image=np.arange(4),
        polygons=np.array([False, False, False, True]),
    )
    images = [SimpleNamespace(split="train", file=f"{name}.jpg") for name in "abcd"]
    assert [hit.file for hit in boxes_for_segment(labels, images)] == ["a", "c"]


@pytest.mark.parametrize(
    ("one", "others", "of"),
    [
        ((5, 5), [(0, 5)], ["train"]),
        ((5, 5), [(5, 5)], [None]),
        ((5, 6), [(5, 6)], [None]),
        ((5, 5), [(0, 0)], [None]),
        ((5, 5), [(1, 5)], [None]),
        ((9, 9), [(0, 1)], ["train"]),
    ],
)
def test_columns_behind_are_of_a_split_if_others_have_none_at_all(one, others, of):
    """Each split has so many rows with a confidence, and so many in all."""
    counts = np.array([one, *others])
    clues = np.zeros((len(counts), COUNT), np.int64)
    clues[:, Clue.ONE_BEHIND] = clues[:, Clue.MISFIT] = counts[:, 0]
    names = ("train", "val")[: len(counts)]
    images = {None: slice(None), **{name: slice(i, i + 1) for i, name in enumerate(names)}}
    table = Rows(clues=clues, lines=counts[:, 1], splits=dict.fromkeys(names), images_in=images.get)
    assert list(behind(table)) == of


@pytest.mark.parametrize(("more", "judged"), [([], 81), ([1], 81), ([0], 82)])
def test_outlines_are_judged_up_to_twenty_million_pairs(more, judged, monkeypatch):
    """Of the last one the loop is too small for a pixel of the mask; one of 512 corners has 262 144 pairs."""
    counts = np.array([512] * 76 + [276, 28, 8, 4, 4] + more + [9])
    shapes = Rows(rows=np.arange(len(counts)), count=counts, start=np.zeros(len(counts), int), x=counts, y=counts)
    loops = [(i, 16.0) for i in range(len(counts) - 1)] + [(len(counts) - 1, 15.9)]
    seen: list[float] = []
    monkeypatch.setattr(polygons, "shapes", lambda *_: shapes)
    monkeypatch.setattr(polygons, "crossings", lambda _: loops)
    monkeypatch.setattr(polygons, "judge_outline", lambda x, y, least: seen.append(least))
    found = polygons._outlines(Rows(), ())
    assert len(seen) == judged and set(seen) == {16.0}
    assert len(found) == len(counts) - 1 and sum(one is not None for one in found.values()) == (more == [1])


@pytest.mark.parametrize(("later", "found"), [(-1, 0), (0, 0), (1, 1)])
def test_a_cache_is_older_than_a_folder_that_changed_after_it(later, found, tmp_path: Path):
    """FS028."""
    folder, cache = tmp_path / "train", tmp_path / "train.cache"
    folder.mkdir()
    cache.write_bytes(b"")
    for path, seconds in ((folder, 100 + later), (cache, 100)):
        os.utime(path, (seconds, seconds))
    assert len(told(cache_older_than_labels, SimpleNamespace(caches=[str(cache)]))) == found


@pytest.mark.parametrize(
    ("corners", "crosses"),
    [
        ([(0, 0), (4, 0), (4, 4), (0, 4)], False),
        ([(0, 0), (4, 4), (4, 0), (0, 4)], True),
        ([(0, 0), (1, 1), (1, 0), (0, 1)], True),
        ([(0, 0), (4, 4), (2, 2), (0, 4)], False),
        ([(0, 0), (4, 0), (2, 0), (2, 4)], False),
        ([(2, 0), (2, 4), (0, 0), (4, 0)], False),
    ],
)
def test_edges_that_only_touch_do_not_cross(corners, crosses):
    assert _crosses(np.array(corners, float).T[..., None]).tolist() == [crosses]


@pytest.mark.parametrize(
    ("values", "facts"),
    [
        (np.array([0.1, 12345678, -1e-9], np.float32), [0.1, 12345680.0, -1e-9]),
        (np.array([[0.1, np.inf], [1, 2]], np.float32), [(0.1, "inf"), (1.0, 2.0)]),
        (np.array([1, 2]), [1, 2]),
        (np.array([[1], [2]]), [(1,), (2,)]),
        (np.array([np.nan, 0.5]), ["nan", 0.5]),
    ],
)
def test_facts_are_plain_numbers_of_seven_digits(values, facts):
    assert plain_facts(values) == facts
