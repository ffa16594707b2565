"""Twins on both sides of each threshold: what is just over it is found at its line, what is just under it is not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from linting.cases import _bands, npy
from linting.cases_files import classes, noise
from linting.cases_images import PHOTO, many, second
from linting.cases_labels import (
    BOX,
    FLIP,
    PERSON,
    POSE,
    Change,
    _circle,
    _coloured,
    both,
    boxes,
    large,
    person,
    rows,
    spread,
    turned,
)
from linting.tiny_set import ROWS, YAML, TinySet, encode, picture

from yolo_nanfix.dataset.options import LintOptions
from yolo_nanfix.findings import Severity
from yolo_nanfix.linting.registry import all_rules
from yolo_nanfix.linting.runner import run

RULES = {rule.code: rule for rule in all_rules()}
LABELS, DATA, IMAGES = "labels/train/a.txt", "data.yaml", "images/train"


class Edge:
    """What one rule says of values close to its thresholds; val has its own two boxes, of the classes 0 and 1."""

    def __init__(self, code: str, task: str, make: Callable[..., Change], file: str = LABELS) -> None:
        self.code, self.task, self.make, self.file = code, task, make, file
        self.cases: list[tuple[str, Change, tuple, dict[str, object]]] = []

    def faulty(self, *values: object, lines: tuple = (1,), **told: object) -> Edge:
        """Found at these lines, with these among the values of each finding."""
        self.cases += [(f"faulty {value}", self._made(value), lines, told) for value in values]
        return self

    def clean(self, *values: object) -> Edge:
        self.cases += [(f"clean {value}", self._made(value), (), {}) for value in values]
        return self

    def _made(self, value: object) -> Change:
        return self.make(*value) if isinstance(value, tuple) else self.make(value)


def form(text: str, put: Callable[[str], Change] = rows) -> Callable[..., Change]:
    """Labels in which a value stands for {}."""
    return lambda *values: put(text.format(*values) + "\n")


def in_pose(content: str) -> Change:
    return person(content, FLIP)


def in_one_point(content: str) -> Change:
    return person(content, POSE.replace("[2, 3]", "[1, 3]"))


def pose(points: str) -> Callable[..., Change]:
    """A person with these keypoints."""
    return form("0 0.5 0.5 0.4 0.4 " + points, in_pose)


def square(size_x: float, size_y: float) -> Change:
    """A polygon of so many pixels of an image of 64x48."""
    w, h = size_x / 64, size_y / 48
    return both(f"0 0.5 0.5 {0.5 + w:.7f} 0.5 {0.5 + w:.7f} {0.5 + h:.7f} 0.5 {0.5 + h:.7f}\n")


def moved_labels(bare: int, others: int) -> Change:
    """So many images of train whose label files lie elsewhere, and so many with theirs."""

    def change(tiny: TinySet) -> None:
        for i in range(bare + others - 1):
            tiny.put(f"images/train/c{i}.jpg", noise(i))
            tiny.put(f"labels/{'more' if i < bare else 'train'}/c{i}.txt", BOX)
        if not others:
            tiny.drop("labels/train/a.txt")

    return change


def swapped(*unread: str) -> Change:
    """Boxes whose axes were divided by the other side; some images without a size."""

    def change(tiny: TinySet) -> None:
        both(spread(48, 64))(tiny)
        for name in unread:
            tiny.put(f"images/train/{name}.jpg", b"")

    return change


def ring(corners: int) -> Change:
    return both(_circle(corners))


def rotated(in_percent: int, in_pixels: int) -> Change:
    """So many boxes that were rotated in percent of the image in train, and so many in pixels."""

    def change(tiny: TinySet) -> None:
        wrong, right = (turned(in_percent=percent).splitlines(keepends=True) for percent in (True, False))
        tiny.rows("".join((wrong * 2)[:in_percent] + right[:in_pixels]))
        tiny.put("labels/val/b.txt", "0 0.1 0.1 0.5 0.1 0.5 0.3 0.1 0.3\n")

    return change


def small_boxes(usual: int, small: int, side: float = 0.79) -> Change:
    """So many boxes of a fifth, and so many of that many pixels, which training at 640 makes ten times as large."""
    return rows(boxes(usual) + boxes(small, width=side / 64, height=side / 48) if small else boxes(usual))


def sizes(usual: int, others: int, side: float = 0.39) -> Change:
    return rows(boxes(usual) + boxes(others, width=side, height=side))


def covering(count: int, others: int) -> Change:
    return rows("0 0.5 0.5 1 1\n" * count + boxes(others) if others else "0 0.5 0.5 1 1\n" * count)


def covering_one_each(count: int, others: int = 0) -> Change:
    """So many images in train, each with one box that covers it, and some without a box."""

    def change(tiny: TinySet) -> None:
        tiny.rows("0 0.5 0.5 1 1\n")
        for i in range(count - 1 + others):
            tiny.put(f"images/train/c{i}.jpg", encode(".jpg", picture()))
            tiny.put(f"labels/train/c{i}.txt", "0 0.5 0.5 1 1\n" if i < count - 1 else "")

    return change


def counts(*numbers: int) -> Change:
    """So many objects of each class in train; in val two of each."""
    return rows("".join(boxes(number, cls=cls) for cls, number in enumerate(numbers)))


def only_in_train(number: int) -> Change:
    def change(tiny: TinySet) -> None:
        rows(boxes(number, BOX, cls=1))(tiny)
        tiny.put("labels/val/b.txt", BOX)

    return change


def empty(images: int, without: int) -> Change:
    """A train split of so many images, some of them without an object."""

    def change(tiny: TinySet) -> None:
        for i in range(images - 1):
            tiny.put(f"images/train/c{i}.jpg", encode(".jpg", picture()))
            tiny.put(f"labels/train/c{i}.txt", "" if i < without else BOX)

    return change


def minus_one(number: int, others: int, more: int | None = None) -> Change:
    rest = "" if more is None else f"{more} 0.4 0.4 0.2 0.2\n"
    return both("-1 0.5 0.5 0.2 0.2\n" * number + "0 0.3 0.3 0.2 0.2\n" * others + rest)


def named(content: str, names: str) -> Change:
    """The same labels for both splits, and other names."""
    return both(content, YAML.replace("[cat, dog]", names))


def foxes(number: int, others: int) -> Change:
    """A classification set with so many images of a third class, and of each of the two others."""
    return classes(*(f"train/fox/{i}.jpg" for i in range(number)), count=others)


def from_to(low: int, high: int) -> Change:
    """An image whose values go from one number to another."""

    def change(tiny: TinySet) -> None:
        ramp = np.linspace(low, high, 64).round().astype(np.uint8)
        tiny.image(".png", encode(".png", np.repeat(np.tile(ramp, (48, 1))[..., None], 3, axis=2)))

    return change


def floats(low: float, high: float) -> Change:
    pixels = picture(dtype="float32", top=1) * 0.5
    pixels[0, 0, 0], pixels[0, 1, 0] = low, high
    return npy(pixels)


def wide(high: int) -> Change:
    """A PNG of 16 bits a sample whose largest value is this."""

    def change(tiny: TinySet) -> None:
        pixels = np.minimum(picture(dtype="uint16", top=200), high).astype(np.uint16)
        pixels[5, 7] = high
        tiny.image(".png", encode(".png", pixels))

    return change


def numbered(*train: tuple[int, int], known: int = 20) -> Change:
    """So many boxes of each class in train; in val so many of the classes 0 and 1 by turns."""

    def change(tiny: TinySet) -> None:
        rows("".join(boxes(count, cls=cls) for cls, count in train if count))(tiny)
        tiny.put("labels/val/b.txt", "".join(boxes(1, cls=i % 2) for i in range(known)))

    return change


def exchanged(names: int) -> Change:
    """So many names; the boxes of the classes 0 and 1 have exchanged their sizes in val."""

    def change(tiny: TinySet) -> None:
        train, val = ("".join(boxes(20, width=w, height=0.4 - w, cls=c) for c, w in enumerate(s)) for s in _SIDES)
        rows(train, YAML.replace("cat, dog", ", ".join(f"n{i}" for i in range(names))))(tiny)
        tiny.put("labels/val/b.txt", val)

    return change


_SIDES = (0.3, 0.1), (0.1, 0.3)


def recoloured(names: int) -> Change:
    """So many names; red and green squares have exchanged their classes in val."""

    def change(tiny: TinySet) -> None:
        _coloured((0, 1), (1, 0))(tiny)
        tiny.yaml(YAML.replace("cat, dog", ", ".join(f"n{i}" for i in range(names))))

    return change


def between(others: int) -> Change:
    """A box, so many that begin a little further right, and the first one again, still further right."""
    slim = "".join(f"0 {0.5001 + i / 10_000:.4f} {0.1 + i / 25:.2f} 0.2 0.02\n" for i in range(others))
    return rows(f"{BOX}{slim}0 0.503 0.5 0.2 0.2\n")


EDGES = [
    Edge("BX001", "detect", form("0 {} 0.5 0.02 0.2")).faulty(1.0101, 2).clean(1.0099, 2.001),
    Edge("BX001", "detect", form("0 0.5 0.5 0.02 {}")).faulty(1.0101).clean(1.0099),
    Edge("BX002", "detect", form("0 0.5 {} 0.2 0.02")).faulty(-0.0101).clean(-0.0099),
    Edge("BX003", "detect", form("0 0.5 0.5 {} 0.2")).faulty(-0.0001).clean(0),
    Edge("BX004", "detect", form("0 0.5 0.5 0.2 {}")).faulty(0).clean(0.0001, -0.0001),
    Edge("BX005", "detect", form("0 {} 0.5 0.02 0.2"))
    .faulty(1.0001, 1.0099, -0.0001, -0.0099)
    .clean(1, 0, 1.0101, -0.0101),
    Edge("BX006", "detect", form("0 {} 0.5 0.2 0.2")).faulty(0.9172, 0.0828).clean(0.9154, 0.0846),
    Edge("BX006", "detect", form("0 {} 0.5 0.25 0.2")).clean(0.890625, 0.109375),
    Edge("BX006", "detect", form("0 0.5 {} 0.2 0.2")).faulty(0.9229, 0.0771).clean(0.9206, 0.0794),
    Edge("BX008", "detect", form("0 0.5 0.5 {} 0.2")).faulty(0.0155, 0.0001).clean(0.015625, 0),
    Edge("BX008", "detect", form("0 0.5 0.5 0.2 {}")).faulty(0.0207).clean(0.020834),
    Edge("BX011", "pose", form(PERSON.replace("0.5", "{}", 1).strip(), in_pose)).faulty(1.0101).clean(1.0099),
    Edge("BX011", "pose", form(PERSON.replace("0.5", "{}", 1).strip(), in_pose))
    .faulty(2, pixels=False)
    .faulty(2.001, pixels=True)
    .clean("inf"),
    Edge("BX018", "detect", lambda count: rows(boxes(count)))
    .faulty(301, lines=(None,), objects=301, max_det=300)
    .clean(300),
    Edge("BX015", "detect", form("0 {} 0.5 0.2 0.2")).faulty(2.001).clean(2),
    Edge("BX016", "detect", form("0 0.5 0.5 {} 0.2", large)).faulty(0.003125, 0.0031, 0.001).clean(0.00315, 0.0009),
    Edge("BX021", "detect", form("0 0.5 0.5 0.9 {}", large)).faulty(0.01125, 0.0112, 0.00125).clean(0.0113, 0.0012),
    Edge("FS002", "detect", moved_labels, IMAGES).faulty((1, 1), lines=(None,), bare=1, images=2).clean((0, 2), (4, 0)),
    Edge("FS061", "detect", moved_labels, IMAGES)
    .faulty((3, 1), lines=(None,), bare=3, images=4)
    .faulty((3, 27), lines=(None,), bare=3, images=30)
    .clean((2, 1), (3, 28), (4, 0)),
    Edge("BX023", "detect", swapped, DATA).faulty(
        (), ("c",), lines=(None,), one_size=True, width=64, height=48, rows=120
    ),
    Edge("BX012", "detect", form(BOX + "0 {} 0.5 0.2 0.2")).faulty(0.5051, lines=(2,)).clean(0.5052),
    Edge("BX012", "detect", form("0 0.5 0.5 {0} 0.2\n0 0.5 0.5 {0} 0.20001")).faulty(0.2, lines=(2,)).clean(0),
    Edge("BX012", "detect", between).faulty(15, lines=(17,)).clean(16),
    Edge("BX013", "detect", form(BOX + "1 {} 0.5 0.2 0.2")).faulty(0.5051, lines=(2,)).clean(0.5052),
    Edge("BX014", "detect", form("0 0.5 0.5 {} {}")).faulty((0.9961, 1), (1, 0.9961)).clean((0.9959, 1), (1, 0.9959)),
    Edge("BX014", "detect", form("0 {} {} 1 1"))
    .faulty((0.5019, 0.5), (0.5, 0.4981))
    .clean((0.5021, 0.5), (0.4979, 0.5), (0.5, 0.5021)),
    Edge("BX014", "detect", covering).faulty((2, 2), lines=(1, 2)).faulty((3, 4), lines=(1, 2, 3)),
    Edge("BX014", "detect", covering, IMAGES)
    .faulty((3, 3), lines=(None,), boxes=3, of_boxes=6, images=1, of_images=1)
    .clean((2, 2), (3, 4)),
    Edge("BX014", "detect", covering_one_each, IMAGES)
    .faulty(3, (3, 2), lines=(None,), boxes=3, of_boxes=3, images=3, of_images=3)
    .clean(2),
    Edge("BX017", "detect", small_boxes)
    .faulty((88, 10), lines=(89,), boxes=10, of=100, stride=8, imgsz=640)
    .clean((89, 9), (87, 10), (88, 10, 0.81), (88, 10, 0.8)),
    Edge("BX019", "detect", sizes)
    .faulty((98, 1), lines=(99,))
    .faulty((1995, 4), lines=(1996, 1997, 1998, 1999))
    .clean((97, 1), (98, 1, 0.35), (196, 4), (1994, 5)),
    Edge("BX020", "detect", form(boxes(200) + "0 {} 0.5 0.8 0.05"))
    .faulty(0.4051, 0.5949, lines=(201,))
    .clean(0.4049, 0.5951),
    Edge("CF003", "detect", lambda content: named(content, "{1: cat, 2: dog}"), DATA)
    .faulty(BOX, BOX + BOX.replace("0", "1", 1), lines=(3,), by_keys=False)
    .faulty(BOX.replace("0", "1", 1), BOX + BOX.replace("0", "2", 1), lines=(3,), by_keys=True),
    Edge("CF012", "pose", lambda flip: person(PERSON, POSE + f"flip_idx: {flip}\n"), DATA)
    .faulty("[2, 0]", lines=(5,), last=1, wrong=("2",))
    .faulty("[1, -3]", lines=(5,), last=1, wrong=("-3",))
    .clean("[1, 0]", "[-1, -2]"),
    Edge("CF013", "pose", lambda flip: person(PERSON, POSE + f"flip_idx: {flip}\n"), DATA)
    .faulty("[1, 1]", lines=(5,), keypoints=(0,), mirrored=(1,))
    .faulty("[0, -1]", lines=(5,), keypoints=(1,), mirrored=(-1,))
    .faulty("[-2, 1]", lines=(5,), keypoints=(0,), mirrored=(-2,))
    .clean("[0, 1]", "[1, 0]", "[2, 0]", "[0, -3]"),
    Edge("CF015", "pose", lambda sigmas: person(PERSON, FLIP + f"kpt_oks_sigmas: {sigmas}\n"), DATA)
    .faulty("[0.5, 0]", "[0.5, -1]", lines=(6,), usable=1, sigmas=2, keypoints=2)
    .clean("[0.5, 0.01]"),
    Edge("CF022", "detect", lambda names: rows(BOX, YAML.replace("cat, dog", names)), DATA)
    .faulty("'0', '1', '2', '3', '4', '5', '6'", lines=(3,), classes=7, names=tuple("012345"))
    .clean("'0', '1', a"),
    Edge("SG001", "segment", form("0 {} 0.1 0.5 0.1 0.3 0.4", both)).faulty(-0.0101, 1.0101).clean(-0.0099, 1.0099),
    Edge("SG001", "segment", form("0 0.1 {} 0.5 0.1 0.3 0.4", both)).faulty(-0.0101, 1.0101).clean(-0.0099, 1.0099),
    Edge("SG002", "segment", form("0 {} 0.1 0.5 0.1 0.3 0.4", both))
    .faulty(-0.0099, -0.0001, 1.0001, 1.0099)
    .clean(0, 1, -0.0101, 1.0101),
    Edge("SG003", "segment", form("0 0.25 0.25 0.5 0.25 0.75 {}", both)).faulty(0.25, 0.2501).clean(0.251),
    Edge("SG005", "segment", form("0 0.25 0.25 {} 0.25 {} 0.25", both))
    .faulty((0.25, 0.25), points=1)
    .faulty((0.5, 0.25), (0.25, 0.5), (0.5, 0.5), points=2)
    .clean((0.5, 0.75)),
    Edge("SG006", "segment", form("0 0.25 0.25 {} {} 0.5 0.25 0.5 0.75", both))
    .faulty((0.25, 0.25), (0.5, 0.25), count=1)
    .clean((0.4, 0.25)),
    Edge("SG007", "segment", form("0 0.25 0.25 0.5 0.25 0.5 0.75 {} {}", both))
    .faulty((0.25, 0.25), count=1)
    .clean((0.25, 0.26), (0.5, 0.75)),
    Edge("SG008", "segment", ring).faulty(1001, corners=1001).clean(1000),
    Edge("SG009", "segment", square).faulty((0.199, 0.2), (0.7, 0.056)).clean((0.201, 0.2), (0.79, 0.049)),
    Edge("KP001", "pose", pose("0.4 0.4 {} 0.6 0.6 2"))
    .faulty(0.5, keypoint=0, others=0, visibility=0.5)
    .faulty(3, keypoint=0, others=0, visibility=3)
    .faulty(-0.0099, keypoint=0, others=0, visibility=-0.0099)
    .clean(0, 1, 2, -0.0101),
    Edge("KP001", "pose", pose("0.4 0.4 2 0.6 0.6 {}")).faulty(3, keypoint=1, others=0),
    Edge("KP001", "pose", pose("0.4 0.4 {0} 0.6 0.6 {0}")).faulty(3, keypoint=0, others=1),
    Edge("KP002", "pose", pose("0.4 0.4 {} 0.6 0.6 2")).faulty(-0.0101, visibility=-0.0101).clean(-0.0099),
    Edge("KP003", "pose", pose("0.4 {} 2 0.6 0.6 2"))
    .faulty(1.0101, point=(0.4, 1.0101), pixels=False)
    .faulty(2, point=(0.4, 2), pixels=False)
    .faulty("inf", point=(0.4, "inf"), pixels=False)
    .faulty(2.1, point=(0.4, 2.1), pixels=True)
    .clean(1.0099),
    Edge("KP004", "pose", pose("0.4 {} 2 0.6 0.6 2")).faulty(-0.0101, point=(0.4, -0.0101)).clean(-0.0099),
    Edge("KP005", "pose", pose("{} 0.4 {} 0.6 0.6 2"))
    .faulty((1.0001, 2), (1.0099, 1), (-0.0001, 2), (-0.0099, 1))
    .clean((1, 2), (0, 2), (1.0101, 2), (-0.0101, 2), (1.0001, 0)),
    Edge("KP006", "pose", pose("0.4 0.4 {} 0.6 0.6 {}")).faulty((0, 0)).clean((0, 1), (1, 0)),
    Edge("KP006", "pose", form("0 0.5 0.5 0.4 0.4 0.4 0.4 {}", in_one_point)).faulty(0).clean(1),
    Edge("KP007", "pose", pose("{} {} {} 0.6 0.6 2"))
    .faulty((0, 0, 1), (0, 0, 2), keypoint=0, dims=3)
    .clean((0, 0, 0), (0, 0.4, 1), (0.4, 0, 1)),
    Edge("KP008", "pose", pose("{} {} 2 0.6 0.6 2"))
    .faulty((0.901, 0.5), (0.5, 0.099))
    .clean((0.899, 0.5), (0.5, 0.101)),
    Edge("KP008", "pose", form("0 0.5 0.5 {} {} 0.5 0.95 1 0.5 0.5 2", in_pose))
    .faulty((0, 0.4), (0.4, 0), (0.4, 0.4))
    .clean((0, 0), (-0.4, 0.4), (0.4, 0.9)),
    Edge("KP008", "pose", form("0 0.5 0.5 0.5 0.5 {} 0.5 2 0.5 0.5 2", in_pose)).faulty(1.001).clean(1),
    Edge("KP009", "pose", pose("0.4 0.4 {} {} 0.4 {}"))
    .faulty((1, 0.4, 2), (2, 0.4, 1), point=(0.4, 0.4))
    .clean((1, 0.401, 1), (0, 0.4, 2), (2, 0.4, 0)),
    Edge("KP009", "pose", pose("0 {0} 2 0 {0} 2")).faulty(0.4, point=(0, 0.4)).clean(0),
    Edge("KP009", "pose", pose("{0} 0 2 {0} 0 2")).faulty(0.4, point=(0.4, 0)).clean(0),
    Edge("TX005", "detect", rows)
    .faulty("0 0.5 0.5 0.2\n", columns=4, task="detect", wanted=0, predicted=False)
    .faulty("0 0.5 0.5 0.2 0.2 0.9 0.9 1\n", columns=8, task="detect", wanted=0, predicted=True)
    .faulty("0 0.5 0.5 0.2 0.2 0.9 0.9 0.3 0.3 1\n", columns=10, wanted=0, predicted=True)
    .clean("0 0.5 0.5 0.2 0.2\n", "0 0.5 0.5 0.2 0.2 0.9\n"),
    Edge("TX005", "pose", in_pose)
    .faulty(PERSON.replace("\n", " 0.5\n"), columns=12, task="pose", wanted=11, predicted=True)
    .faulty(PERSON.replace("\n", " 0.5 7\n"), columns=13, wanted=11, predicted=True)
    .faulty(PERSON.replace("\n", " 0.5 7 1\n"), columns=14, wanted=11, predicted=False)
    .faulty(PERSON.replace(" 2\n", "\n"), columns=10, wanted=11, predicted=False)
    .clean(PERSON),
    Edge("KP010", "pose", lambda content: person(PERSON + content))
    .faulty("0 0.5 0.5 0.2 0.2\n", lines=(2,), columns=5, keypoints=2, dims=3)
    .clean("0 0.5 0.5 0.2 0.2 0.4\n", "0 0.5 0.5 0.2\n"),
    Edge("KP011", "pose", lambda content: person(PERSON + content))
    .faulty("0 0.5 0.5 0.2 0.2 0.4 0.4 0.6 0.6\n", lines=(2,), columns=9, keypoints=2, dims=3)
    .clean("0 0.5 0.5 0.2 0.2 0.4 0.4 0.6\n", "0 0.5 0.5 0.2 0.2 0.4 0.4 0.6 0.6 2\n"),
    Edge("KP011", "pose", lambda content: person(content, FLIP.replace("[2, 3]", "[2, 2]")))
    .faulty(PERSON, columns=11, keypoints=2, dims=2)
    .clean("0 0.5 0.5 0.2 0.2 0.4 0.4 0.6 0.6\n"),
    Edge("OB001", "obb", form("0 {0} 0.1 0.5 0.1 0.5 0.3 {0} 0.3", both))
    .faulty(-0.0172, 1.0172)
    .clean(-0.0154, 1.0154),
    Edge("OB001", "obb", form("0 0.1 {0} 0.5 {0} 0.5 0.3 0.1 0.3", both))
    .faulty(-0.0229, 1.0229)
    .clean(-0.0206, 1.0206),
    Edge("OB001", "obb", form("0 {0} 0.1 0.5 0.1 0.5 0.3 {0} 0.3", both)).clean(-0.015625, 1.015625),
    Edge("OB002", "obb", form("0 0.1 0.1 0.5 0.1 0.5 {0} 0.1 {0}", both)).faulty(0.1, 0.1002).clean(0.1003),
    Edge("OB004", "obb", form("0 0.25 0.25 0.75 0.25 {} 0.75 {} 0.75", both)).faulty((0.25, 0.75)).clean((0.75, 0.25)),
    Edge("OB004", "obb", form("0 0.25 0.25 0.75 0.25 0.5 {} 0.25 0.75", both)).faulty(0.125).clean(0.25, 0.375),
    Edge("OB006", "obb", form("0 0.1 0.1 0.5 0.1 0.5 0.3 {}", both))
    .faulty("", corners=3, columns=7)
    .faulty("0.2 0.3 0.1 0.2", corners=5, columns=11)
    .clean("0.1 0.3"),
    Edge("OB006", "obb", both).clean(BOX),
    Edge("OB008", "obb", rotated, DATA)
    .faulty((9, 1), lines=(None,), rows=9, in_pixels=1)
    .faulty((3, 0), lines=(None,), rows=3, in_pixels=0)
    .clean((8, 1), (2, 0)),
    Edge("OB005", "obb", form("0 0.1 0.1 0.5 0.1 {} 0.3 0.1 0.3", both)).faulty(0.255).clean(0.265),
    Edge("OB007", "obb", form("0 0.1 0.1 0.5 0.1 0.5 {0} 0.1 {0}", both)).faulty(0.1206).clean(0.12085),
    Edge("CL001", "detect", form("{} 0.5 0.5 0.2 0.2")).faulty(0.5, cls=0.5).faulty(1.5, cls=1.5).clean(0, 1),
    Edge("CL002", "detect", form("{} 0.5 0.5 0.2 0.2")).faulty(-1, cls=-1).faulty(-2, cls=-2).clean(0, -0.5),
    Edge("CL003", "detect", form("{} 0.5 0.5 0.2 0.2")).faulty(2, cls=2, last=1).faulty(9, cls=9, last=1).clean(1),
    Edge("CL003", "detect", lambda cls: named(f"{cls} 0.5 0.5 0.2 0.2\n", "{1: cat, 2: dog}"))
    .faulty(0, 3, classes=(1, 2), more=0)
    .clean(1, 2, -1),
    Edge("CL003", "detect", lambda count: named("9 0.5 0.5 0.2 0.2\n", str({n: f"n{n}" for n in (*range(count), 99)})))
    .faulty(7, classes=(*range(7), 99), more=0)
    .faulty(8, classes=tuple(range(8)), more=1),
    Edge("CL004", "detect", lambda content: named(content, "[cat, dog, cow]"), DATA)
    .faulty("0 0.5 0.5 0.2 0.2\n2 0.5 0.5 0.2 0.2\n", lines=(3,), count=1, classes=3, names=("dog",))
    .faulty("1 0.5 0.5 0.2 0.2\n2 0.5 0.5 0.2 0.2\n", lines=(3,), count=1, classes=3, names=("cat",))
    .faulty("0 0.5 0.5 0.2 0.2\n3 0.5 0.5 0.2 0.2\n", lines=(3,), count=2, classes=3, names=("dog", "cow"))
    .clean("".join(f"{cls} 0.5 0.5 0.2 0.2\n" for cls in range(3))),
    Edge("CL005", "detect", counts, DATA)
    .faulty(1, lines=(3,), count=1, names=("dog",))
    .faulty((0, 1), lines=(3,), count=1, names=("cat",))
    .clean((1, 1), (0, 0)),
    Edge("CL005", "detect", lambda names: rows(BOX, YAML.replace("cat, dog", names)), DATA).faulty(
        "cat, dog, cow", lines=(3,), count=1, names=("dog",)
    ),
    Edge("CL010", "detect", both, DATA)
    .faulty("1 0.5 0.5 0.2 0.2\n2 0.3 0.3 0.2 0.2\n", lines=(3,), by=-1, first=1, last=2, top=1, whole=True)
    .clean("0 0.5 0.5 0.2 0.2\n2 0.3 0.3 0.2 0.2\n"),
    Edge("CL006", "detect", only_in_train, DATA).faulty(20, lines=(3,), split="val", count=1, names=("dog",)).clean(19),
    Edge("CL007", "detect", counts, DATA)
    .faulty((100, 9), lines=(3,), few=10, count=1, examples=(("dog", 9),))
    .faulty((100, 1), lines=(3,), few=10, count=1, examples=(("dog", 1),))
    .clean((100, 10), (99, 9), (100, 0)),
    Edge("CL008", "detect", counts, DATA)
    .faulty((100, 1), lines=(None,), examples=(("cat", 100), ("dog", 1)))
    .clean((99, 1), (100, 0)),
    Edge("CL009", "detect", empty, "images/train/c0.jpg")
    .faulty((20, 11), lines=(None,), empty=11, images=20)
    .clean((20, 10), (19, 11)),
    Edge("CL053", "detect", numbered, DATA)
    .faulty(((0, 49), (1, 49), (2, 2)), ((0, 18), (2, 2)), lines=(3,))
    .clean(((0, 49), (1, 50), (2, 1)), ((0, 18), (3, 2)), ((1, 18), (2, 2)), ((0, 17), (1, 0), (2, 2))),
    Edge("CL053", "detect", lambda known: numbered((0, 49), (1, 49), (2, 2), known=known), DATA)
    .faulty(20, lines=(3,))
    .clean(19),
    Edge("CL052", "detect", exchanged, DATA).faulty(2, 64, lines=(None,)).clean(65),
    Edge("CL054", "detect", recoloured, DATA).faulty(2, 64, lines=(None,)).clean(65),
    Edge("CL057", "detect", minus_one, DATA)
    .faulty((3, 3), (5, 95), lines=(3,), by=1, first=-1, last=0, top=1, whole=True)
    .clean((2, 2), (4, 96), (3, 3, 1), (3, 3, -2)),
    Edge("CL040", "classify", foxes, "train/fox")
    .faulty((4, 40), (1, 10), lines=(None,))
    .clean((5, 50), (4, 39), (1, 9)),
    Edge("SP008", "detect", many, "images/val").faulty((100, 29), lines=(None,)).clean((100, 30), (99, 29)),
    Edge("SP009", "detect", many, "images/val").faulty((99, 100), lines=(None,)).clean((100, 100), (98, 99)),
    Edge("IM014", "detect", _bands, "images/train/a.tiff").faulty(255.5, -0.5, lines=(None,)).clean(255.0, 0.0),
    Edge("IM015", "detect", floats, "images/train/a.npy")
    .faulty((0, 1), (0, 0.7), lines=(None,))
    .clean((0, 1.001), (-0.001, 1)),
    Edge("IM016", "detect", wide, "images/train/a.png").faulty(255, lines=(None,)).clean(256),
    Edge("IM017", "detect", wide, "images/train/a.png").faulty(256, 16383, lines=(None,)).clean(255, 16384),
    Edge("IM030", "detect", from_to, "images/train/a.png").faulty((100, 102), lines=(None,)).clean((100, 103)),
    Edge("IM031", "detect", from_to, "images/train/a.png").faulty((0, 40), lines=(None,)).clean((0, 41), (38, 40)),
    Edge("IM032", "detect", from_to, "images/train/a.png")
    .faulty((225, 255), lines=(None,))
    .clean((224, 255), (225, 227)),
    Edge("IM033", "detect", from_to, "images/train/a.png")
    .faulty((100, 124), (100, 103), (20, 41), (224, 240), lines=(None,))
    .clean((100, 125), (100, 102), (20, 40), (225, 240)),
]


def _cases() -> list:
    return [
        pytest.param(edge, change, lines, told, id=f"{edge.code} {name}")
        for edge in EDGES
        for name, change, lines, told in edge.cases
    ]


@pytest.mark.parametrize(("edge", "change", "lines", "told"), _cases())
def test_what_is_over_a_threshold_is_found_and_what_is_under_it_is_not(edge, change, lines, told, tmp_path: Path):
    tiny = TinySet(tmp_path)
    change(tiny)
    report = run(tiny.root, options=LintOptions(edge.task, deep=RULES[edge.code].deep))
    found = [f for f in report.findings if f.code == edge.code and (f.split != "val" or "/val" in edge.file)]
    places = [f.place for f in found]
    assert sorted((p.line or 0) for p in places if p.file == str(tmp_path / edge.file)) == [line or 0 for line in lines]
    assert not lines or {p.file for p in places} == {str(tmp_path / edge.file)}
    assert [{name: f.values[name] for name in told} for f in found] == [told] * len(found)


def test_a_row_with_other_columns_says_no_number_of_rows_as_a_file_of_boxes_and_polygons_does(tmp_path: Path):
    tiny = TinySet(tmp_path)
    person(PERSON + "0 0.5 0.5 0.2 0.2\n0 0.5 0.5 0.2 0.2 0.4 0.4 0.6 0.6\n")(tiny)
    values = {f.code: dict(f.values) for f in run(tmp_path).findings if f.code in ("KP010", "KP011")}
    assert values == {code: {"columns": columns, "keypoints": 2, "dims": 3} for code, columns in _WIDTHS.items()}
    both("0 0.1 0.1 0.5 0.1 0.3 0.4\n" * 2 + BOX)(tiny)
    assert [dict(f.values) for f in run(tmp_path).findings if f.code == "TX006"] == [{"count": 1, "of": 3}] * 2


_WIDTHS = {"KP010": 5, "KP011": 9}


@pytest.mark.parametrize(("length", "found"), [(250, 0), (251, 1)])
def test_paths_over_250_characters_are_long(length: int, found: int, tmp_path: Path):
    tiny = TinySet(tmp_path)
    folder = tmp_path / "images/train"
    name = "a" * (length - len(f"{folder}/.jpg")) + ".jpg"
    assert len(name) < 256
    tiny.put(f"images/train/{name}", noise(1))
    places = [f.place.file for f in run(tmp_path).findings if f.code == "FS026"]
    assert places == [str(folder / name)] * found


@pytest.mark.parametrize(("x", "severity"), [(0.5051, Severity.WARNING), (0.5052, Severity.ERROR)])
def test_labels_of_copies_that_overlap_by_less_than_95_percent_differ(x: float, severity: Severity, tmp_path: Path):
    """An IoU of 0.9503 and of 0.9493."""
    tiny = TinySet(tmp_path)
    second(PHOTO, rows=ROWS.replace("0.5", str(x), 1))(tiny)
    (finding,) = [f for f in run(tmp_path).findings if f.code == "SP003"]
    assert (finding.severity, finding.place.file) == (severity, str(tmp_path / "images/train/c.jpg"))
