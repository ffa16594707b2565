"""Labels of images that EXIF rotates: how many rows, images and votes tell in which frame they were drawn."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from yolo_nanfix.linting.rules import turned as rules
from yolo_nanfix.linting.rules.turned import Turned, reaches_out, turned_labels_unturned, turned_rows

IN, OUT, STRAY = (0.51, 0.52, 0.131, 0.117), (0.5, 1.2, 0.1, 0.1), (0.9, 0.5, 0.1, 0.1)
"""A box, one that reaches out below, and one that reaches out if the sides are exchanged."""


def table(*images: tuple[int, tuple[int, int], list[tuple[float, ...]]], cls: int = 0) -> SimpleNamespace:
    """Images by their orientation, width and height, and boxes."""
    owner = np.repeat(np.arange(len(images)), [len(boxes) for *_, boxes in images])
    boxes = np.array([box for *_, rows in images for box in rows], np.float32).reshape(-1, 4)
    sides = np.array([size for _, size, _ in images], np.int32)
    return SimpleNamespace(
        turn=np.array([turn for turn, *_ in images], np.int8),
        width=sides[:, 0],
        height=sides[:, 1],
        row_image=owner,
        row_box=boxes,
        row_cls=np.full(len(boxes), cls, np.float32),
        row_line=np.arange(len(boxes)),
        files=[f"{i}.jpg" for i in range(len(images))],
        of_rows=lambda values: values[owner],
    )


def swapped(found: SimpleNamespace):
    """What is said of rows as they are: the frame, how many are stray, and the numbers of the rows."""
    rows = turned_rows(found, ())
    swap = rules._swap(found, rows)
    return None if swap is None else (swap.shown, int(swap.stray.sum()), swap.turned.rows.tolist(), swap.others)


@pytest.mark.parametrize(
    ("box", "out"),
    [
        ((0.75, 0.5, 1.0, 0.1), False),
        ((0.75, 0.5, 1.01, 0.1), True),
        ((0.5, 0.75, 0.1, -1.01), True),
        ((0.25, 0.5, 1.0, 0.1), False),
        ((0.5, 0.25, 0.1, 1.01), True),
    ],
)
def test_a_box_reaches_out_by_more_than_a_share_of_the_image(box, out):
    assert reaches_out(np.array([box]), 0.25).tolist() == [out]


@pytest.mark.parametrize(("reach", "out"), [(1.019, False), (1.021, True), (-0.019, False), (-0.021, True)])
def test_by_itself_the_share_is_two_percent(reach, out):
    assert reaches_out(np.array([(reach, 0.5, 0.0, 0.1)])).tolist() == [out]


@pytest.mark.parametrize(
    ("turn", "size", "known"),
    [(4, (1, 2), False), (5, (1, 2), True), (8, (2, 1), True), (6, (2, 2), False), (6, (0, 2), False)],
)
def test_rows_of_images_on_their_side_that_are_not_square(turn, size, known):
    assert (turned_rows(table((turn, size, [IN])), ()) is not None) is known


UPRIGHT, LYING = (1, (48, 64)), (6, (48, 64))
ALL = (True, 0, [0, 1, 2, 3], False)


@pytest.mark.parametrize(
    ("lying", "upright", "told"),
    [
        ([OUT, OUT, IN, IN], [], ALL),
        ([OUT, IN, IN, IN], [], None),
        ([OUT, OUT, IN, IN], [IN] * 7 + [OUT], ALL),
        ([OUT, OUT, IN, IN], [IN] * 6 + [OUT], None),
        ([OUT] * 2 + [IN] * 47 + [STRAY], [], (True, 1, list(range(50)), False)),
        ([OUT] * 2 + [IN] * 46 + [STRAY], [], None),
    ],
)
def test_two_boxes_reach_out_far_more_often_than_upright_ones_and_hardly_one_if_that_is_put_right(lying, upright, told):
    """A quarter as often on upright images at most; one of fifty boxes may be a slip."""
    assert swapped(table((*LYING, lying), (*UPRIGHT, upright))) == told


@pytest.mark.parametrize(
    ("images", "rows"),
    [
        ([[OUT], [OUT], [OUT], [STRAY]], [0, 1, 2]),
        ([[OUT], [OUT], [STRAY], [STRAY]], None),
        ([[OUT, IN], [OUT], [OUT], [STRAY], [IN]], [0, 1, 2, 3]),
        ([[(0.5, 1.051, 0.1, 0.1)]] * 3 + [[STRAY]], [0, 1, 2]),
        ([[(0.5, 1.049, 0.1, 0.1)]] * 3 + [[STRAY]], None),
        ([[OUT] * 17, [OUT] * 16, [OUT] * 16, [OUT, STRAY], [STRAY]], list(range(49))),
        ([[OUT] * 16, [OUT] * 16, [OUT] * 16, [OUT, STRAY], [STRAY]], None),
    ],
)
def test_three_images_tell_if_nearly_all_boxes_that_reach_out_far_are_of_such(images, rows):
    """Far is a tenth of the image; one of fifty may be of another image."""
    told = swapped(table(*((*LYING, boxes) for boxes in images)))
    assert told == (None if rows is None else (True, 0, rows, True))


def on_pixels(boxes: int, off: int = 0, out: int = 0) -> Turned:
    """Boxes on whole pixels of the stored frame of 64x48; some on none, and some out of the image."""
    box = [((20 + i % 7) / 64, (10 + i % 5) / 48, 7 / 64, 11 / 48) for i in range(boxes - off - out)]
    box += [IN] * off + [(20 / 64, 50 / 48, 6 / 64, 10 / 48)] * out
    return Turned(np.arange(boxes), np.array(box, np.float64), np.tile([48.0, 64.0], (boxes, 1)))


@pytest.mark.parametrize(
    ("boxes", "off", "out", "told"),
    [
        (8, 0, 0, True),
        (7, 0, 0, False),
        (100, 3, 0, True),
        (100, 50, 0, False),
        (50, 0, 1, True),
        (49, 0, 1, False),
    ],
)
def test_eight_boxes_on_whole_pixels_are_no_chance(boxes, off, out, told):
    assert (rules._shares_on_pixels(on_pixels(boxes, off, out)) is not None) is told


class Rows(SimpleNamespace):
    """What the rules ask of a table, and can be kept by."""


@pytest.mark.parametrize(("strays", "sure"), [(1, 0), (2, 1)])
def test_two_boxes_that_would_reach_out_were_not_drawn_on_the_shown_picture(strays, sure):
    boxes = [*map(tuple, on_pixels(8).box), *[(58 / 64, 20 / 48, 6 / 64, 10 / 48)] * strays]
    found = Rows(**vars(table((*LYING, boxes))))
    (hit,) = turned_labels_unturned(found, SimpleNamespace(yaml_file="data.yaml", kpt_dims=None), ())
    assert (hit.values["stored"], hit.values["boxes"], hit.values["sure"]) == (1, 8 + strays, sure)


SIDE = (100, 200)


def shaped(right: float, height: float = 0.2) -> tuple[float, ...]:
    """A box of an image of 100x200 whose sides in pixels have this logarithm of width by height."""
    return (0.5, 0.5, height * 2 * float(np.exp(right)), height)


def people(count: int, middle: float, *lying: tuple[float, ...]) -> SimpleNamespace:
    """So many upright boxes of one shape; and lying images with one box each. Some boxes and images have no size."""
    upright = (0.5, 0.5, 0.1 * float(np.exp(middle)), 0.1)
    odd = [(1, (1, 1), [(0.5, 0.5, 0.0, 0.1), (0.5, 0.5, 0.1, 0.0)]), (1, (0, 0), [upright])]
    return table((1, (1, 1), [upright] * count), *odd, *((6, SIDE, [box]) for box in (*lying, (0.5, 0.5, 0, 0.1))))


RIGHT, UNTURNED = shaped(-1.0), shaped(2 * float(np.log(0.5)) + 1.0)
EVEN, STEP = float(np.log(0.5)), 0.15**2 / (2 * float(np.log(0.5)) + 2) / 2
"""The shape that tells nothing, and how far from it a box speaks."""


@pytest.mark.parametrize(
    ("found", "votes"),
    [
        (people(20, -1.0, RIGHT, UNTURNED), [-1, 1]),
        (people(19, -1.0, RIGHT, UNTURNED), [0, 0]),
        (people(20, -0.8, RIGHT, UNTURNED), [-1, 1]),
        (people(20, -0.785, RIGHT, UNTURNED), [0, 0]),
        (people(20, -1.0, shaped(EVEN + 1.05 * STEP), shaped(EVEN + 0.95 * STEP)), [1, 0]),
        (people(20, -1.0, shaped(EVEN - 1.05 * STEP), shaped(EVEN - 0.95 * STEP)), [-1, 0]),
        (people(20, -1.0, shaped(-1.0, 0.499), shaped(-1.0, 0.501)), [-1]),
    ],
)
def test_boxes_vote_by_the_shape_of_their_class(found, votes):
    """Known from 20 boxes, longer than the image by a tenth; the box is at most half as high as the image."""
    with np.errstate(all="raise"):
        told, images = rules._votes(found, turned_rows(found, ()))
    assert told.tolist() == votes and images.tolist() == list(range(3, 3 + len(votes)))


@pytest.mark.parametrize(
    ("unturned", "right", "silent", "told"),
    [
        (10, 0, 0, 10),
        (9, 0, 0, None),
        (9, 0, 3, None),
        (10, 0, 3, 10),
        (10, 1, 0, 11),
        (10, 2, 0, None),
        (10, 2, 20, None),
        (18, 2, 0, 20),
    ],
)
def test_ten_images_vote_and_a_tenth_may_vote_otherwise(unturned, right, silent, told):
    found = people(20, -1.0, *[shaped(EVEN)] * silent, *[RIGHT] * right, *[UNTURNED] * unturned)
    hits = list(turned_labels_unturned(found, SimpleNamespace(yaml_file="data.yaml", kpt_dims=None), ()))
    values = [(hit.values["images"], hit.values["of"], hit.values["first"]) for hit in hits]
    assert values == ([] if told is None else [(unturned, told, f"{3 + silent + right}.jpg")])
