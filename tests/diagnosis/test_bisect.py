"""Which images and rows are faulty, asked of a step that is a function here; and where label rows come from."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from yolo_nanfix.diagnosis import label_lines
from yolo_nanfix.diagnosis.bisect import bisect
from yolo_nanfix.diagnosis.replay import OutOfTime

COUNT = 8


def batch(rows_each=2):
    """Images hold their number plus 1 in the first pixel; rows hold theirs as class."""
    image = torch.zeros(COUNT, 1, 2, 2)
    image[:, 0, 0, 0] = torch.arange(1.0, COUNT + 1)
    rows = COUNT * rows_each
    owners = torch.arange(COUNT).repeat_interleave(rows_each)
    return {
        "img": image,
        "batch_idx": owners.float(),
        "cls": torch.arange(float(rows)).view(-1, 1),
        "bboxes": torch.full((rows, 4), 0.5),
    }


def numbers(part):
    return {int(v) - 1 for v in part["img"][:, 0, 0, 0] if float(v) >= 1}


@given(st.sets(st.integers(0, COUNT - 1), max_size=COUNT), st.booleans())
def test_all_faulty_images_are_found_unless_they_are_most(faulty, by_suspicion):
    asked = []

    def fails(part):
        asked.append(len(part["img"]))
        return bool(numbers(part) & faulty)

    seen = bisect(batch(), sorted(faulty) if by_suspicion else (), (), fails)
    few = len(faulty) <= COUNT // 2 or (by_suspicion and len(faulty) < COUNT)
    assert seen.images == (tuple(sorted(faulty)) if few else ())
    assert seen.by_labels is (False if faulty and few else None)
    assert sum(asked) <= 5 * COUNT + 2


@given(st.integers(0, 2 * COUNT - 1), st.booleans())
def test_the_faulty_row_is_found(row, odd):
    seen = bisect(batch(), (), (row,) if odd else (), lambda part: row in part["cls"].view(-1).long().tolist())
    assert (seen.images, seen.by_labels, seen.rows) == ((row // 2,), True, (row,))


def test_a_step_that_always_fails_is_nobodys_fault():
    seen = bisect(batch(), (), (), lambda part: True)
    assert seen.images == () and "empty grey image fails too" in seen.said


def test_time_that_runs_out_names_nobody():
    def fails(part):
        raise OutOfTime

    assert bisect(batch(), (), (), fails).images == ()


ROWS = {
    "batch_idx": torch.tensor([0.0, 0.0, 1.0]),
    "cls": torch.tensor([[1.0], [0.0], [1.0]]),
    "bboxes": torch.tensor([[0.3, 0.3, 0.2, 0.2], [0.6, 0.6, 0.1, 0.1], [0.5, 0.5, 0.4, 0.4]]),
}


def source(name, *rows, parents=()):
    return {
        "file": f"images/{name}.jpg",
        "parents": list(parents),
        "labels": {"file": f"{name}.txt", "rows": list(rows)},
    }


def test_rows_are_traced_by_their_place_in_the_image():
    sources = [source("a", "", "0 0.6 0.6 0.1 0.1", "1 0.3 0.3 0.2 0.2"), source("b", "1 0.5 0.5 0.4 0.4")]
    assert [o.place for o in label_lines.origins(ROWS, (0, 1, 2), sources)] == ["a.txt:3", "a.txt:2", "b.txt:1"]


def test_polygons_are_traced_by_the_box_around_them():
    sources = [source("a", "1 0.2 0.2 0.4 0.2 0.4 0.4 0.2 0.4", "0 0.9 0.9 0.95 0.9 0.95 0.95"), source("b")]
    assert [o.place for o in label_lines.origins(ROWS, (0,), sources)] == ["a.txt:1"]


def test_the_row_that_is_faulty_itself_comes_first():
    sources = [source("a", "1 0.3 0.3 0.2 0.2", "0 0.6 0.6 inf 0.1"), source("b")]
    assert [o.place for o in label_lines.origins(ROWS, (0,), sources)] == ["a.txt:2"]


def test_a_file_that_does_not_match_is_named_without_a_line():
    sources = [source("a", "3 0.9 0.9 0.1 0.1"), source("b")]
    assert [o.place for o in label_lines.origins(ROWS, (0,), sources)] == ["a.txt"]


def test_the_mosaic_parent_with_the_faulty_row_is_named(tmp_path):
    for name, text in (("c", "0 0.5 0.5 0.1 0.1\n"), ("d", "0 0.5 0.5 0.1 0.1\n1 0.5 0.5 1e20 0.1\n")):
        (tmp_path / "labels").mkdir(exist_ok=True)
        (tmp_path / "labels" / f"{name}.txt").write_text(text)
    parents = [str(tmp_path / "images" / f"{name}.jpg") for name in ("c", "gone", "d")]
    (found,) = label_lines.origins(ROWS, (0,), [source("a", "3 0.9 0.9 0.1 0.1", parents=parents), source("b")])
    assert found == label_lines.Origin(f"{tmp_path / 'labels' / 'd.txt'}:2", parents[2])


def test_a_mosaic_without_a_faulty_row_names_no_line():
    assert (
        label_lines.origins(ROWS, (0,), [source("a", "3 0.9 0.9 0.1 0.1", parents=["images/c.jpg"]), source("b")]) == ()
    )
