"""Sets with one systematic error each, and their healthy twins: what lint says, and what stock keeps after the fixes.

    python scripts/systematic_sets.py [--kind NAME ...] [--seed N]

Each set is made twice, of the same images and objects: once as Ultralytics reads it (the twin), and once with an error
that a converter makes in all rows. Then four things are asked of each pair: lint names the cause (once, with nothing
else above info), it does not accuse the twin, after `--fix` and after `--fix --unsafe-fixes` Ultralytics' own check of
labels keeps at least as many right rows as before (right: as in the twin), and no image with objects became background.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import math
import os
import random
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image as PILImage

os.environ |= {"YOLO_OFFLINE": "1", "YOLO_AUTOINSTALL": "false"}

TASKS = ("detect", "segment", "pose", "obb")
BOXED = ("detect", "pose")
OUTLINED = ("segment", "pose", "obb")
SHAPES: dict[str, tuple[tuple[int, int], ...]] = {
    "wide": ((160, 90),),
    "high": ((96, 128),),
    "mixed": ((160, 90), (90, 160), (128, 96), (100, 140)),
    "square": ((128, 128),),
    "some square": ((128, 128), (160, 90)),
    "large": ((640, 480),),
    "phone": ((96, 128), (128, 96)),
}
TURNS = (6, 8, 5, 7)
"""Images of a phone that was held upright are stored on their side, with one of these orientations in EXIF."""
NAMES = ("ash", "birch", "elm")
TRAIN, VAL = 16, 11
NEAR = 2e-3
"""Numbers of stock that differ by no more than this, in parts of the image, are the same."""
Pair = tuple[float, float]


class Thing(NamedTuple):
    """One object, in pixels: its class, its box (left, top, width, height), and an angle for the task obb."""

    cls: int
    left: float
    top: float
    w: float
    h: float
    angle: float

    @property
    def centre(self) -> Pair:
        """Its middle."""
        return self.left + self.w / 2, self.top + self.h / 2

    def turned(self, across: float = 1.0, down: float = 1.0) -> list[Pair]:
        """Its corners, turned in units of so many pixels."""
        x, y = self.centre
        a, b = self.w / across / 2, self.h / down / 2
        c, s = math.cos(self.angle), math.sin(self.angle)
        return [
            (x + across * (u * c - v * s), y + down * (u * s + v * c)) for u, v in ((-a, -b), (a, -b), (a, b), (-a, b))
        ]

    def outline(self) -> list[Pair]:
        """A polygon of five points that fills its box."""
        left, top, w, h = self.left, self.top, self.w, self.h
        parts = ((0, 0.3), (0.5, 0), (1, 0.4), (0.8, 1), (0.2, 0.9))
        return [(left + u * w, top + v * h) for u, v in parts]

    def points(self) -> list[Pair]:
        """Two keypoints."""
        return [(self.left + self.w / 4, self.top + self.h / 3), (self.left + self.w * 0.7, self.top + self.h * 0.6)]


class Picture(NamedTuple):
    """One image: its split, its size as shown, its objects, and the orientation by which EXIF turns what is stored."""

    split: str
    width: int
    height: int
    things: tuple[Thing, ...]
    turn: int = 1


Scale = Callable[[float, float, int, int], Pair]
PARTS: Scale = lambda x, y, w, h: (x / w, y / h)  # noqa: E731
SCALES: dict[str, Scale] = {
    "swapped": lambda x, y, w, h: (x / h, y / w),
    "height": lambda x, y, w, h: (x / h, y / h),
    "width": lambda x, y, w, h: (x / w, y / w),
    "pixels": lambda x, y, w, h: (x, y),
    "pixels y x": lambda x, y, w, h: (y, x),
    "percent": lambda x, y, w, h: (100 * x / w, 100 * y / h),
    "permille": lambda x, y, w, h: (1000 * x / w, 1000 * y / h),
    "one size": lambda x, y, w, h: (x / 160, y / 90),
    "twice": lambda x, y, w, h: (x / w / w, y / h / h),
    "hundredth": lambda x, y, w, h: (x / w / 100, y / h / 100),
    "exchanged": lambda x, y, w, h: (y / h, x / w),
}


def row(thing: Thing, task: str, size: tuple[int, int], scale: Scale = PARTS, form: str = "centre") -> list[str]:
    """The words of a label row."""
    w, h = size
    x, y = thing.centre
    pairs = {
        "centre": [(x, y), (thing.w, thing.h)],
        "corners": [(thing.left, thing.top), (thing.left + thing.w, thing.top + thing.h)],
        "corner": [(thing.left, thing.top), (thing.w, thing.h)],
    }[form]
    pairs = {"segment": thing.outline(), "obb": thing.turned()}.get(task, pairs)
    words = [f"{number:.6f}" for pair in pairs for number in scale(*pair, w, h)]
    if task == "pose":
        for pair in thing.points():
            words += [*(f"{number:.6f}" for number in scale(*pair, w, h)), "2"]
    return [str(thing.cls), *words]


Write = Callable[[Thing, str, Picture], list[str]]


def healthy(thing: Thing, task: str, picture: Picture) -> list[str]:
    """As Ultralytics reads it."""
    return row(thing, task, (picture.width, picture.height))


def scaled(scale: str, form: str = "centre", split: str = "") -> Write:
    """In another unit or form, in one split or in all."""

    def write(thing: Thing, task: str, picture: Picture) -> list[str]:
        if split not in ("", picture.split):
            return healthy(thing, task, picture)
        return row(thing, task, (picture.width, picture.height), SCALES.get(scale, PARTS), form)

    return write


def _by_stored_sides(thing: Thing, task: str, picture: Picture) -> list[str]:
    """Boxes of the shown picture, divided by the sides of the stored pixels."""
    return row(thing, task, (picture.width, picture.height), SCALES["swapped"] if picture.turn > 1 else PARTS)


def _stored(thing: Thing, task: str, picture: Picture) -> list[str]:
    """The row of the stored pixels, divided by their sides."""
    words = healthy(thing, task, picture)
    if picture.turn == 1:
        return words
    numbers = [float(word) for word in words[1:]]
    size = numbers[3:1:-1] if task in BOXED else []  # width and height have changed places
    step = 3 if task == "pose" else 2
    spots = [0, *range(4, len(numbers), step)] if task in BOXED else range(0, len(numbers), 2)
    out = list(numbers)
    for at in spots:
        x, y = numbers[at : at + 2]
        out[at : at + 2] = {5: (y, x), 6: (y, 1 - x), 7: (1 - y, 1 - x), 8: (1 - y, x)}[picture.turn]
    out[2:4] = size or out[2:4]
    spelt = [f"{number:.6f}" for number in out]
    return [words[0], *(old if task == "pose" and i > 3 and i % 3 == 0 else new
                        for i, (new, old) in enumerate(zip(spelt, words[1:], strict=True)))]  # fmt: skip


def _turned_in_percent(thing: Thing, task: str, picture: Picture) -> list[str]:
    corners = thing.turned(picture.width, picture.height)
    return [str(thing.cls), *(f"{n:.6f}" for x, y in corners for n in (x / picture.width, y / picture.height))]


def _numbered(thing: Thing, task: str, picture: Picture) -> list[str]:
    words = healthy(thing, task, picture)
    return [words[0], str(1900 + int(thing.left)), *words[1:]]


def _numbered_first(thing: Thing, task: str, picture: Picture) -> list[str]:
    words = healthy(thing, task, picture)
    return [str(1900 + int(thing.left)), *words]


def _without_points(thing: Thing, task: str, picture: Picture) -> list[str]:
    return healthy(thing, task, picture)[:5]


def _points_alone(scale: str, *, box: bool) -> Write:
    """The box in another unit, or the keypoints; the other one as it should be."""

    def write(thing: Thing, task: str, picture: Picture) -> list[str]:
        good, bad = healthy(thing, task, picture), scaled(scale)(thing, task, picture)
        return [*bad[:5], *good[5:]] if box else [*good[:5], *bad[5:]]

    return write


def _scored(thing: Thing, task: str, picture: Picture) -> list[str]:
    return [*healthy(thing, task, picture), f"0.{70 + thing.left % 30}"]


def _tracked(thing: Thing, task: str, picture: Picture) -> list[str]:
    return [*_scored(thing, task, picture), str(3 * (thing.left % 20) + thing.cls)]


def _tracked_at_times(thing: Thing, task: str, picture: Picture) -> list[str]:
    """Where nothing was followed there is no number."""
    return (_scored if thing.left % 5 == 0 else _tracked)(thing, task, picture)


def _numbered_last(thing: Thing, task: str, picture: Picture) -> list[str]:
    words = healthy(thing, task, picture)
    return words if thing.left % 6 == 0 else [*words, str(thing.left)]


def _from_one(thing: Thing, task: str, picture: Picture) -> list[str]:
    words = healthy(thing, task, picture)
    return [str(thing.cls + 1), *words[1:]]


def _from_minus_one(thing: Thing, task: str, picture: Picture) -> list[str]:
    words = healthy(thing, task, picture)
    return [str(thing.cls - 1), *words[1:]]


def _moved(thing: Thing, task: str, picture: Picture) -> list[str]:
    words = healthy(thing, task, picture)
    return [str((thing.cls + (picture.split == "val")) % 3), *words[1:]]


@dataclass(frozen=True)
class Kind:
    """One systematic error.

    Attributes:
        code: the finding that names it.
        write: how its rows are written.
        tasks, shapes: of which sets are made.
        also: other findings above info that belong to it.
        beside: a file that stands beside data.yaml, by its name, in the faulty set only.
    """

    code: str
    write: Write
    tasks: tuple[str, ...] = TASKS
    shapes: tuple[str, ...] = ("wide", "mixed")
    also: frozenset[str] = frozenset()
    beside: tuple[tuple[str, str], ...] = ()


KINDS: dict[str, Kind] = {
    "axes swapped": Kind("BX023", scaled("swapped"), shapes=("wide", "high", "mixed", "some square")),
    "axes swapped in train": Kind("BX023", scaled("swapped", split="train"), BOXED),
    "pixels": Kind("BX024", scaled("pixels"), shapes=("wide", "square", "mixed", "large")),
    "pixels in val": Kind("BX024", scaled("pixels", split="val"), BOXED, ("large",)),
    "pixels, corners": Kind("BX024", scaled("pixels", "corners"), BOXED, ("wide", "mixed", "large")),
    "pixels, upper left corner": Kind("BX024", scaled("pixels", "corner"), BOXED, ("wide", "large")),
    "pixels, y before x": Kind("BX024", scaled("pixels y x"), ("detect", "segment"), ("wide", "large")),
    "percent": Kind("BX025", scaled("percent"), shapes=("wide", "large")),
    "percent, upper left corner": Kind("BX025", scaled("percent", "corner"), ("detect",), ("wide", "large")),
    "thousandths": Kind("BX025", scaled("permille"), ("detect", "segment"), ("wide", "large")),
    "corners": Kind("BX022", scaled("parts", "corners"), BOXED, ("wide", "square", "mixed")),
    "upper left corner": Kind("BX022", scaled("parts", "corner"), BOXED, ("wide", "square", "mixed")),
    "divided by the height": Kind("BX027", scaled("height"), ("detect", "segment", "pose"), ("wide",)),
    "divided by the height everywhere": Kind("BX027", scaled("height"), shapes=("mixed",)),
    "divided by the width": Kind("BX027", scaled("width"), ("detect", "segment", "pose"), ("high",)),
    "one size for all images": Kind("BX028", scaled("one size"), shapes=("mixed", "some square")),
    "divided twice": Kind("BX029", scaled("twice"), shapes=("wide", "square")),
    "divided by 100 again": Kind("BX029", scaled("hundredth"), ("detect", "segment"), ("large",)),
    "y before x": Kind("BX026", scaled("exchanged"), BOXED, ("wide", "high", "large")),
    "turned in percent": Kind("OB008", _turned_in_percent, ("obb",), ("wide", "high", "mixed", "large")),
    "turned, by stored sides": Kind("IM035", _by_stored_sides, shapes=("phone",)),
    "turned, of stored pixels": Kind("IM036", _stored, ("detect", "segment", "pose"), ("phone",)),
    "number second": Kind("TX023", _numbered, shapes=("wide", "square")),
    "number first": Kind("TX023", _numbered_first, ("detect", "segment"), ("wide",)),
    "keypoints in pixels": Kind("KP013", _points_alone("pixels", box=False), ("pose",), ("wide", "mixed", "large")),
    "keypoints in percent": Kind("KP013", _points_alone("percent", box=False), ("pose",), ("large",)),
    "box in pixels": Kind("BX024", _points_alone("pixels", box=True), ("pose",), ("wide", "large")),
    "axes of the box swapped": Kind("BX023", _points_alone("swapped", box=True), ("pose",), ("wide", "mixed")),
    "confidence behind": Kind("TX027", _scored, OUTLINED),
    "confidence and number behind": Kind("TX027", _tracked, OUTLINED),
    "confidence and at times a number behind": Kind("TX027", _tracked_at_times, OUTLINED, ("wide",)),
    "at times a number behind": Kind("TX027", _numbered_last, OUTLINED, ("wide",)),
    "no keypoints": Kind("KP012", _without_points, ("pose",), ("wide", "square")),
    "classes from one": Kind("CL010", _from_one, shapes=("wide",)),
    "classes from minus one": Kind("CL057", _from_minus_one, shapes=("wide",)),
    "classes moved in val": Kind("CL052", _moved, ("detect", "segment"), ("large",)),
    "another order": Kind("CL050", healthy, ("detect",), ("wide",), beside=(("classes.txt", "birch\nash\nelm\n"),)),
}


def careless(far: float, sides: str = "lrtb") -> Write:
    """Some boxes are drawn out of the image, by this part of their size at most, on some sides of it."""

    def write(thing: Thing, task: str, picture: Picture) -> list[str]:
        w, h = picture.width, picture.height
        moved = thing
        if "r" in sides and thing.left + thing.w > 0.8 * w:
            moved = moved._replace(left=w - thing.w * (1 - far * (thing.top % 7) / 7))
        if "l" in sides and thing.left < 0.2 * w:
            moved = moved._replace(left=-thing.w * far * (thing.top % 7) / 7)
        if "b" in sides and thing.top + thing.h > 0.8 * h:
            moved = moved._replace(top=h - thing.h * (1 - far * (thing.left % 7) / 7))
        if "t" in sides and thing.top < 0.2 * h:
            moved = moved._replace(top=-thing.h * far * (thing.left % 7) / 7)
        return healthy(moved, task, picture)

    return write


def _above(thing: Thing, task: str, picture: Picture) -> list[str]:
    """All objects lie in the upper half, and some reach out to the right."""
    moved = thing._replace(top=thing.top * (picture.height / 2 - thing.h) / (picture.height - thing.h))
    return careless(0.4, "r")(moved, task, picture)


def _filling(thing: Thing, task: str, picture: Picture) -> list[str]:
    """Each object fills most of its image, and some reach out."""
    w, h = picture.width, picture.height
    part = 0.7 + 0.06 * (thing.left % 6)
    large = Thing(thing.cls, (thing.left % 9 + 1) * w / 40, (thing.top % 9 + 1) * h / 40, part * w, part * h, 0)
    return healthy(large, task, picture)


def _kept_whole(thing: Thing, task: str, picture: Picture) -> list[str]:
    """Tiles of a large scene: boxes at the border are kept whole, with sides above 1."""
    long = thing._replace(left=thing.left - picture.width / 4, w=thing.w + picture.width * 0.8)
    return healthy(long if thing.cls == 2 and thing.left % 3 == 0 else thing, task, picture)


def _rounded(thing: Thing, task: str, picture: Picture) -> list[str]:
    return [
        word if i == 0 or word == "2" else f"{float(word):.3f}" for i, word in enumerate(healthy(thing, task, picture))
    ]


def _tiny(thing: Thing, task: str, picture: Picture) -> list[str]:
    return healthy(thing._replace(w=3, h=3), task, picture)


def _middle(thing: Thing, task: str, picture: Picture) -> list[str]:
    """All objects lie in the middle, one in the other, wider than far from the border."""
    w, h = picture.width, picture.height
    return healthy(
        Thing(thing.cls, w * 0.2, h * 0.2, w * 0.6 + thing.left % 5, h * 0.6 + thing.top % 5, 0), task, picture
    )


HARD: dict[str, tuple[Write, tuple[str, ...]]] = {
    "drawn out on all sides": (careless(0.3), TASKS),
    "drawn out to the right": (careless(0.3, "r"), TASKS),
    "drawn out to the left": (careless(0.2, "l"), BOXED),
    "drawn out to the left and above": (careless(0.15, "lt"), BOXED),
    "in the upper half, out to the right": (_above, TASKS),
    "filling the image": (_filling, BOXED),
    "kept whole in tiles": (_kept_whole, BOXED),
    "three decimals": (_rounded, TASKS),
    "tiny": (_tiny, BOXED),
    "in the middle": (_middle, BOXED),
}
"""Healthy sets, or sets with slips of the mouse alone, that look like some of the errors."""
ACCUSING = frozenset(kind.code for kind in KINDS.values()) | {"OB009", "CL053"}
STARTS = frozenset(("FS055", "FS056", "FS057", "FS058", "FS059", "FS060", "FS061", "FS062", "SP007", "CL049"))
"""Findings that training does not start, or that a split is empty: what follows from many of these errors."""


def pictures(task: str, shape: str, seed: str) -> list[Picture]:
    """The images of a set: classes of three sizes, all over the picture."""
    generator = random.Random(f"{task} {shape} {seed}")
    found = []
    for number in range(TRAIN + VAL):
        width, height = SHAPES[shape][number % len(SHAPES[shape])]
        things = []
        for place in range(3):
            cls = (number + place) % len(NAMES)
            part = ((0.12, 0.25), (0.25, 0.12), (0.35, 0.35))[cls]
            side = min(width, height) * generator.uniform(0.9, 1.1)
            w, h = (max(6, round(side * p)) for p in part)
            margin = (math.hypot(w, h) - min(w, h)) / 2 + 1 if task == "obb" else 0
            left = generator.randint(math.ceil(margin), math.floor(width - w - margin))
            top = generator.randint(math.ceil(margin), math.floor(height - h - margin))
            things.append(Thing(cls, left, top, w, h, generator.uniform(0.3, 1.2)))
        turn = TURNS[number // 2 % len(TURNS)] if shape == "phone" and number % 2 == 0 else 1
        found.append(Picture("train" if number < TRAIN else "val", width, height, tuple(things), turn))
    return found


def make(root: Path, task: str, scene: Sequence[Picture], write: Write, beside: Sequence[tuple[str, str]] = ()) -> Path:
    """Write a set; gives its data.yaml."""
    noise = np.random.default_rng(1)
    for number, picture in enumerate(scene):
        for part in ("images", "labels"):
            (root / part / picture.split).mkdir(parents=True, exist_ok=True)
        pixels = noise.integers(0, 255, (picture.height, picture.width, 3), np.uint8)
        if picture.turn > 1:
            pixels = np.ascontiguousarray(pixels.transpose(1, 0, 2))
        exif = PILImage.Exif()
        exif[274] = picture.turn
        PILImage.fromarray(pixels).save(root / "images" / picture.split / f"{number:02d}.jpg", quality=60, exif=exif)
        text = "".join(" ".join(write(thing, task, picture)) + "\n" for thing in picture.things)
        (root / "labels" / picture.split / f"{number:02d}.txt").write_text(text)
    lines = ["train: images/train", "val: images/val", f"names: [{', '.join(NAMES)}]"]
    if task == "pose":
        lines += ["kpt_shape: [2, 3]", "flip_idx: [1, 0]"]
    data = root / "data.yaml"
    data.write_text("\n".join(lines) + "\n")
    for name, content in beside:
        (root / name).write_text(content)
    return data


Rows = dict[str, list[np.ndarray]]


def stock(root: Path, task: str) -> Rows:
    """For each image that Ultralytics keeps its rows as it reads them: class, box, and what is drawn."""
    from ultralytics.data.utils import verify_image_label

    points = (2, 3) if task == "pose" else (0, 0)
    kept: Rows = {}
    for image in sorted(root.glob("images/*/*.jpg")):
        label = root / "labels" / image.parent.name / f"{image.stem}.txt"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            arguments = (str(image), str(label), "", task == "pose", len(NAMES), *points, False)
            file, rows, _, segments, keypoints, *_ = verify_image_label(arguments)
        if file is None:
            continue
        drawn = segments if segments else keypoints if keypoints is not None else [()] * len(rows)
        key = f"{image.parent.name}/{image.stem}"
        kept[key] = [np.concatenate([r, np.ravel(d)]) for r, d in zip(rows, drawn, strict=True)]
    return kept


def right(rows: Rows, truth: Rows) -> int:
    """How many rows are as in the twin."""
    count = 0
    for image, found in rows.items():
        left = list(truth.get(image, ()))
        for one in found:
            same = next((i for i, t in enumerate(left) if t.shape == one.shape and np.abs(t - one).max() <= NEAR), None)
            if same is not None:
                left.pop(same)
                count += 1
    return count


def backgrounds(rows: Rows, truth: Rows) -> int:
    """How many images with objects stock takes for background."""
    return sum(not found and bool(truth.get(image)) for image, found in rows.items())


def lint(data: Path, task: str, *more: str) -> tuple[dict[str, int], str]:
    """What lint says: its own findings above info, by code; and all it wrote."""
    from yolo_nanfix import api
    from yolo_nanfix.cli.main import main

    said = io.StringIO()
    if more:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            main(["lint", str(data), "--task", task, "--isolated", "--no-cache", "--quiet", *more])
    report = api.lint(data, task=task, settings=False, cache=False)
    found: dict[str, int] = {}
    for finding in report.own:
        if finding.severity.value != "info":
            found[finding.code] = found.get(finding.code, 0) + 1
    return found, said.getvalue()


@dataclass(frozen=True)
class Outcome:
    """What became of one pair.

    Attributes:
        named: the findings above info on the faulty set.
        twin: those on the healthy one.
        rows: right rows that stock keeps before, after the safe fixes and after all fixes; and those of the twin.
        false: images with objects that stock takes for background, most of the three.
        after: findings above info after all fixes.
    """

    code: str
    also: frozenset[str]
    named: dict[str, int]
    twin: dict[str, int]
    rows: tuple[int, int, int, int]
    false: int
    after: dict[str, int] = field(default_factory=dict)

    @property
    def faults(self) -> list[str]:
        """What is not as it should be."""
        before, safe, whole, _ = self.rows
        others = {code for code in self.named if code != self.code} - self.also - STARTS
        fresh = {code for code in self.after if code not in self.named}
        return [
            text
            for text, wrong in (
                ("not named", self.named.get(self.code) != 1),
                (f"also {' '.join(sorted(others))}", bool(others)),
                (f"twin {' '.join(sorted(self.twin))}", bool(self.twin)),
                ("rows lost by --fix", safe < before),
                ("rows lost by --unsafe-fixes", whole < before),
                (f"{self.false} false backgrounds", self.false > 0),
                (f"new after fixes: {' '.join(sorted(fresh))}", bool(fresh)),
            )
            if wrong
        ]


def ask(root: Path, kind: Kind, task: str, shape: str, seed: str) -> Outcome:
    """Make one pair, lint both, fix the faulty one, and ask Ultralytics each time."""
    scene = pictures(task, shape, seed)
    faulty = make(root / "faulty", task, scene, kind.write, kind.beside)
    twin = make(root / "twin", task, scene, healthy)
    truth = stock(twin.parent, task)
    named, _ = lint(faulty, task)
    seen = [stock(faulty.parent, task)]
    after = named
    for options in (("--fix",), ("--fix", "--unsafe-fixes")):
        for _ in range(3):  # what waited for the fix of the set comes after it
            after, _ = lint(faulty, task, *options)
        seen.append(stock(faulty.parent, task))
    rows = [right(one, truth) for one in (*seen, truth)]
    false = max(backgrounds(one, truth) for one in seen)
    return Outcome(kind.code, kind.also, named, lint(twin, task)[0], (rows[0], rows[1], rows[2], rows[3]), false, after)


def cases(kinds: Sequence[str]) -> Iterator[tuple[str, Kind, str, str]]:
    """All sets: the name of the kind, the kind, the task and the shapes of the images."""
    for name in kinds:
        kind = KINDS[name]
        yield from ((name, kind, task, shape) for task in kind.tasks for shape in kind.shapes)


def ask_hard(root: Path, name: str, task: str, shape: str, seed: str) -> set[str]:
    """The systematic errors that lint claims to see in a set that has none."""
    write, _ = HARD[name]
    found, _ = lint(make(root / "hard", task, pictures(task, shape, seed), write), task)
    return set(found) & ACCUSING


def hard_cases() -> Iterator[tuple[str, str, str]]:
    """The hard healthy sets: their names, tasks and shapes."""
    for name, (_, tasks) in HARD.items():
        yield from ((name, task, shape) for task in tasks for shape in ("wide", "high", "mixed", "square", "phone"))


def main() -> int:
    """Print the table; 1 if something is not as it should be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--seed", default="0")
    args = parser.parse_args()
    bad = count = 0
    print(f"{'kind':<34}{'task':<9}{'images':<13}{'named':<20}{'right rows: before, --fix, unsafe, twin':<42}verdict")
    for name, kind, task, shape in cases(args.kind):
        with tempfile.TemporaryDirectory() as folder:
            os.environ["XDG_DATA_HOME"] = os.environ["YOLO_NANFIX_CACHE"] = folder  # journals of fixes
            outcome = ask(Path(folder), kind, task, shape, args.seed)
        named = " ".join(outcome.named) or "-"
        rows = ", ".join(f"{n:>3}" for n in outcome.rows)
        verdict = "; ".join(outcome.faults) or "right"
        print(f"{name:<34}{task:<9}{shape:<13}{named:<20}{rows:<42}{verdict}", flush=True)
        bad, count = bad + bool(outcome.faults), count + 1
    accused = hard = 0
    for name, task, shape in hard_cases() if args.kind == list(KINDS) else ():
        with tempfile.TemporaryDirectory() as folder:
            os.environ["YOLO_NANFIX_CACHE"] = folder
            if said := ask_hard(Path(folder), name, task, shape, args.seed):
                print(f"healthy: {name}, {task}, {shape}: accused of {' '.join(sorted(said))}")
        accused, hard = accused + bool(said), hard + 1
    print(f"{hard} more healthy sets that look like one of these errors: {accused} accused")
    print(f"{count} sets and as many twins: {count - bad} right, {bad} wrong")
    return 1 if bad or accused else 0


if __name__ == "__main__":
    sys.exit(main())
