"""Faulty and clean twins for the rules on labels and data.yaml: `CASES[code] = (task, faulty, clean)`."""

from __future__ import annotations

import random
from collections.abc import Callable
from math import cos, pi, sin

from linting.tiny_set import ROWS, YAML, TinySet, encode, picture

Change = Callable[[TinySet], object]
BOX = "0 0.5 0.5 0.2 0.2\n"
TRIANGLE = "0 0.1 0.1 0.5 0.1 0.3 0.4\n"
SQUARE = "0 0.1 0.1 0.5 0.1 0.5 0.5 0.1 0.5\n"
BOW_TIE = "0 0.1 0.1 0.5 0.5 0.5 0.1 0.1 0.5\n"
POSE = "train: images/train\nval: images/val\nnames: [cat, dog]\nkpt_shape: [2, 3]\n"
FLIP = POSE + "flip_idx: [1, 0]\n"
NAMED = POSE.replace("[2, 3]", "[3, 3]") + "kpt_names: {0: [nose, left_eye, right_eye]}\n"
PERSON = "0 0.5 0.5 0.4 0.4 0.4 0.4 2 0.6 0.6 2\n"


def yaml(text: str) -> Change:
    return lambda tiny: tiny.yaml(text)


def rows(content: bytes | str, yaml_text: str = YAML, split: str = "train") -> Change:
    """Labels for one split, and their data.yaml."""

    def change(tiny: TinySet) -> None:
        tiny.yaml(yaml_text)
        tiny.put(f"labels/{split}/{'a' if split == 'train' else 'b'}.txt", content)

    return change


def both(content: str, yaml_text: str = YAML) -> Change:
    """The same labels for both splits: tasks other than detect need them all in their format."""

    def change(tiny: TinySet) -> None:
        rows(content, yaml_text)(tiny)
        tiny.put("labels/val/b.txt", content)

    return change


def person(content: str, yaml_text: str = FLIP) -> Change:
    return both(content, yaml_text)


def large(content: str) -> Change:
    """Labels for an image of 800x1000."""

    def change(tiny: TinySet) -> None:
        tiny.image(".jpg", encode(".jpg", picture(800, 1000)))
        both(content)(tiny)

    return change


def boxes(count: int, *more: str, width: float = 0.2, height: float = 0.2, cls: int = 0) -> str:
    """Boxes side by side, each slightly elsewhere, and more rows behind them."""
    spread = [f"{cls} {0.2 + 0.6 * i / count:.6f} {0.3 + 0.3 * i / count:.6f} {width} {height}" for i in range(count)]
    return "\n".join((*spread, *more)) + "\n"


def _corners(count: int) -> str:
    """Boxes written as x1 y1 x2 y2."""
    places = [(0.01 * (i % 50), 0.015 * (i % 40)) for i in range(count)]
    return "".join(f"0 {x:.4f} {y:.4f} {x + 0.4:.4f} {y + 0.4:.4f}\n" for x, y in places)


def _spread(count: int = 60) -> list[tuple[int, int, int, int]]:
    """Boxes all over an image of 64x48: left, top, width and height in pixels."""
    generator = random.Random(7)
    found = []
    for _ in range(count):
        w, h = generator.randint(6, 24), generator.randint(6, 24)
        found.append((generator.randint(0, 64 - w), generator.randint(0, 48 - h), w, h))
    return found


def spread(across: float = 64, down: float = 48, form: str = "{x} {y} {w} {h}") -> str:
    """These boxes, with x divided by one number and y by another."""
    lines = []
    for left, top, w, h in _spread():
        numbers = {
            **{"x": (left + w / 2) / across, "y": (top + h / 2) / down, "w": w / across, "h": h / down},
            **{"left": left / across, "top": top / down, "right": (left + w) / across, "bottom": (top + h) / down},
        }
        lines.append("0 " + form.format(**{name: f"{number:.6f}" for name, number in numbers.items()}))
    return "\n".join(lines) + "\n"


def _upright(content: str) -> Change:
    """The image has 48x64 pixels and these labels; another one of the split, and that of val, have 64x48."""

    def change(tiny: TinySet) -> None:
        tiny.put("images/train/a.jpg", encode(".jpg", picture(64, 48)))
        tiny.put("images/train/c.jpg", encode(".jpg", picture(seed=2)))
        tiny.put("labels/train/a.txt", content)
        tiny.put("labels/train/c.txt", spread())
        tiny.put("labels/val/b.txt", spread())

    return change


def turned(*, in_percent: bool) -> str:
    """Rectangles turned in percent of an image of 64x48, or in its pixels."""
    lines = []
    across, down = (1.0, 1.0) if in_percent else (64.0, 48.0)
    for step in range(8):
        c, s = cos(0.3 + step / 10), sin(0.3 + step / 10)
        corners = [(a * c - b * s, a * s + b * c) for a, b in ((-0.2, -0.1), (0.2, -0.1), (0.2, 0.1), (-0.2, 0.1))]
        scale = 1 if in_percent else 40
        lines.append(
            "0 " + " ".join(f"{0.5 + scale * x / across:.6f} {0.5 + scale * y / down:.6f}" for x, y in corners)
        )
    return "\n".join(lines) + "\n"


def _by_class(*sizes: tuple[float, float], count: int = 20) -> str:
    """Boxes of several classes, each of one size."""
    lines = []
    for cls, (w, h) in enumerate(sizes):
        lines += [f"{cls} {0.3 + i / 100:.4f} {0.3 + cls / 10} {w} {h}" for i in range(count)]
    return "\n".join(lines) + "\n"


def _splits(train: str, val: str) -> Change:
    """Other labels for each split."""

    def change(tiny: TinySet) -> None:
        tiny.put("labels/train/a.txt", train)
        tiny.put("labels/val/b.txt", val)

    return change


def _coloured(first: tuple[int, int], second: tuple[int, int]) -> Change:
    """Red and green squares of equal size; the classes of the red and of the green ones in train, and in val."""

    def change(tiny: TinySet) -> None:
        for path, name, classes, seed in (("train", "a", first, 0), ("val", "b", second, 1)):
            pixels = picture(96, 256, top=120, seed=seed)
            lines = []
            for i in range(24):
                x, y = 10 + 20 * (i % 12), 16 + 40 * (i // 12)
                pixels[y : y + 16, x : x + 16] = ((0, 0, 220), (0, 220, 0))[i % 2]
                lines.append(f"{classes[i % 2]} {(x + 8) / 256:.6f} {(y + 8) / 96:.6f} 0.0625 0.166667")
            tiny.put(f"images/{path}/{name}.jpg", encode(".jpg", pixels))
            tiny.put(f"labels/{path}/{name}.txt", "\n".join(lines) + "\n")

    return change


def _beside(name: str, content: str) -> Change:
    return lambda tiny: tiny.put(name, content)


_TURNED = "{y} {x} {h} {w}"
_WIDE, _HIGH, _SMALL = (0.3, 0.1), (0.1, 0.3), (0.05, 0.05)


def _backgrounds(objects: int) -> Change:
    """A train split of 24 images, of which so many hold an object."""

    def change(tiny: TinySet) -> None:
        for i in range(24):
            tiny.put(f"images/train/{i}.jpg", encode(".jpg", picture()))
            tiny.put(f"labels/train/{i}.txt", ROWS if i < objects else "")

    return change


def _circle(points: int) -> str:
    turns = [2 * pi * i / points for i in range(points)]
    return "0 " + " ".join(f"{0.5 + 0.4 * cos(t):.6f} {0.5 + 0.4 * sin(t):.6f}" for t in turns) + "\n"


def _only_in_train(tiny: TinySet) -> None:
    rows(boxes(20, BOX, cls=1))(tiny)
    tiny.put("labels/val/b.txt", BOX)


def _absolute(tiny: TinySet) -> None:
    tiny.yaml(f"path: {tiny.root}\n{YAML}")


def _relative(tiny: TinySet) -> None:
    from os import path

    tiny.yaml(f"path: {path.relpath(tiny.root)}\n{YAML}")


def _list(line: str) -> Change:
    def change(tiny: TinySet) -> None:
        tiny.put("train.txt", f"{line}\n")
        tiny.yaml(YAML.replace("images/train", "train.txt"))

    return change


CASES: dict[str, tuple[str, Change, Change]] = {
    "CF010": ("pose", person(PERSON, POSE), person(PERSON)),
    "CF011": ("pose", person(PERSON, POSE + "flip_idx: [0]\n"), person(PERSON)),
    "CF012": ("pose", person(PERSON, POSE + "flip_idx: [1, 2]\n"), person(PERSON)),
    "CF013": ("pose", person(PERSON, POSE + "flip_idx: [0, 0]\n"), person(PERSON)),
    "CF014": ("pose", yaml(NAMED + "flip_idx: [0, 1, 2]\n"), yaml(NAMED + "flip_idx: [0, 2, 1]\n")),
    "CF015": (
        "pose",
        yaml(FLIP + "kpt_oks_sigmas: [0.1, 0]\n"),
        yaml(FLIP + "kpt_oks_sigmas: [0.1, 0.2]\n"),
    ),
    "CF016": ("pose", yaml(FLIP + "kpt_names: {0: [nose]}\n"), yaml(NAMED)),
    "CF017": ("detect", yaml(YAML + "nc: '2'\n"), yaml(YAML + "nc: 2\n")),
    "CF018": ("detect", _absolute, _relative),
    "CF019": ("detect", _relative, _absolute),
    "CF020": ("detect", yaml(YAML + "epochs: 3\n"), yaml(YAML + "license: MIT\n")),
    "CF021": ("detect", yaml(YAML.replace("dog", '" dog"')), yaml(YAML.replace("dog", '"hot dog"'))),
    "CF022": ("detect", yaml(YAML.replace("[cat, dog]", "['0', '1']")), yaml(YAML.replace("dog", "'1'"))),
    "CF023": ("detect", yaml(YAML.replace("names: [cat, dog]", "nc: 2")), yaml(YAML + "nc: 2\n")),
    "CF024": ("detect", yaml(YAML.replace("images/train", "images")), lambda tiny: None),
    "CF025": ("detect", yaml(YAML.replace("val:", "validation:")), lambda tiny: None),
    "CF026": ("detect", yaml(YAML + "yaml_file: data.yaml\n"), lambda tiny: None),
    "CF027": ("detect", yaml(YAML.replace("dog", "dog/wolf")), lambda tiny: None),
    "CF028": ("detect", yaml("path: /home/ann/cats\n" + YAML), lambda tiny: None),
    "CF030": ("detect", lambda tiny: tiny.drop("data.yaml"), lambda tiny: None),
    "CF031": ("detect", _list("/home/ann/set/images/train/a.jpg"), _list("./images/train/a.jpg")),
    "FS062": ("detect", _list("./images/train/a.jpg\n" + "a\n" * 10_000_000), _list("./images/train/a.jpg")),
    "CF029": ("detect", yaml(YAML.replace("images/val", "''")), lambda tiny: None),
    "TX013": ("detect", rows("0 0.5 0.5 0.2 0.2 0.9\n"), rows(ROWS)),
    "TX014": ("detect", rows(ROWS + "cat 0.5 0.5 0.2 0.2\n"), rows(ROWS + "cow 0.5 0.5 0.2 0.2\n")),
    "TX015": ("detect", rows(ROWS + "0 0.5 0.5 0.2 0.2\0\n"), rows(ROWS)),
    "TX016": ("detect", rows(ROWS + "\ufeff" + BOX), rows("\ufeff" + ROWS)),
    "TX017": ("detect", rows("<annotation>\n<object>\n"), rows(ROWS)),
    "BX010": ("pose", person(PERSON.replace("0.4", "inf", 1)), person(PERSON)),
    "BX011": ("pose", person(PERSON.replace("0.5", "1.5", 1)), person(PERSON)),
    "BX012": ("detect", rows(BOX + "0 0.501 0.5 0.2 0.2\n"), rows(BOX + "0 0.51 0.51 0.2 0.2\n" + BOX)),
    "BX013": ("detect", rows(BOX + "1 0.501 0.5 0.2 0.2\n"), rows(BOX + "1" + BOX[1:])),
    "BX014": ("detect", rows("0 0.5 0.5 1 1\n"), rows("0 0.5 0.5 0.9 1\n")),
    "BX015": ("detect", rows("0 32 24 6 6\n"), rows("0 1.02 0.5 0.2 0.2\n")),
    "BX016": ("detect", large("0 0.5 0.5 0.003 0.2\n"), large("0 0.5 0.5 0.004 0.2\n")),
    "BX017": (
        "detect",
        rows(boxes(100, width=0.01, height=0.01)),
        rows(boxes(100, "0 0.5 0.5 0.01 0.01")),
    ),
    "BX018": ("detect", rows(boxes(301)), rows(boxes(300))),
    "BX019": ("detect", rows(boxes(200, "0 0.5 0.5 0.9 0.9", width=0.05, height=0.05)), rows(boxes(200))),
    "BX020": ("detect", rows(boxes(200, "0 0.5 0.5 0.8 0.05")), rows(boxes(200, "0 0.5 0.5 0.3 0.2"))),
    "BX021": ("detect", large("0 0.5 0.5 0.9 0.002\n"), large("0 0.5 0.5 0.9 0.02\n")),
    "BX022": ("detect", both(_corners(120)), both(boxes(120))),
    "BX023": ("detect", both(spread(48, 64)), both(spread())),
    "BX024": ("detect", both(spread(1, 1)), both(spread())),
    "BX025": ("detect", both(spread(0.64, 0.48)), both(spread())),
    "BX026": ("detect", both(spread(form="{y} {x} {h} {w}")), both(spread())),
    "BX027": ("detect", both(spread(48, 48)), both(spread())),
    "BX028": ("detect", _upright(spread(48, 64, _TURNED)), _upright(spread(64, 48, _TURNED))),
    "BX029": ("detect", both(spread(64 * 64, 48 * 48)), both(spread())),
    "TX023": ("segment", both(("0 17" + TRIANGLE[1:]) * 4), both(TRIANGLE * 4)),
    "TX027": ("segment", both(f"{TRIANGLE.rstrip()} 0.93\n" * 4), both(TRIANGLE * 4)),
    "KP012": ("pose", person(BOX * 4), person(PERSON)),
    "KP013": ("pose", person("0 0.5 0.5 0.4 0.4 26 19 2 38 29 2\n" * 4), person(PERSON)),
    "OB008": ("obb", both(turned(in_percent=True)), both(turned(in_percent=False))),
    "OB009": ("obb", both(turned(in_percent=True)), both(turned(in_percent=False))),
    "CL005": ("detect", rows(BOX), rows(ROWS)),
    "CL006": ("detect", _only_in_train, rows(boxes(20, BOX, cls=1))),
    "CL007": ("detect", rows(boxes(100, ROWS)), rows(ROWS)),
    "CL008": ("detect", rows(boxes(101, ROWS)), rows(boxes(50, ROWS))),
    "CL009": ("detect", _backgrounds(8), _backgrounds(20)),
    "CL010": ("detect", both("1 0.5 0.5 0.2 0.2\n2 0.3 0.3 0.2 0.2\n"), both("0 0.5 0.5 0.2 0.2\n2 0.3 0.3 0.2 0.2\n")),
    "CL050": ("detect", _beside("classes.txt", "dog\ncat\n"), _beside("classes.txt", "cat\ndog\n")),
    "CL051": ("detect", _beside("obj.names", "Cat\ndog\n"), _beside("obj.names", "cat\ndog\n")),
    "CL057": ("detect", both(ROWS.replace("1 ", "-1 ", 1) * 3), both(ROWS * 3)),
    "CL052": (
        "detect",
        _splits(_by_class(_WIDE, _HIGH), _by_class(_HIGH, _WIDE)),
        _splits(_by_class(_WIDE, _HIGH), _by_class(_WIDE, _HIGH)),
    ),
    "CL053": (
        "detect",
        _splits(_by_class(_WIDE, _HIGH, _SMALL), _by_class(_WIDE, _HIGH)),
        _splits(_by_class(_WIDE, _HIGH), _by_class(_WIDE, _HIGH)),
    ),
    "CL054": ("detect", _coloured((0, 1), (1, 0)), _coloured((0, 1), (0, 1))),
    "SG001": ("segment", both("0 -0.5 0.1 0.5 0.1 0.3 0.4\n"), both(TRIANGLE)),
    "SG002": ("segment", both("0 -0.005 0.1 0.5 0.1 0.3 0.4\n"), both("0 0 0.1 1 0.1 0.3 0.4\n")),
    "SG003": ("segment", both("0 0.1 0.1 0.3 0.3 0.5 0.5\n"), both(BOW_TIE + TRIANGLE)),
    "SG004": ("segment", both(BOW_TIE), both(SQUARE + TRIANGLE)),
    "SG005": ("segment", both("0 0.1 0.1 0.5 0.5 0.1 0.1\n"), both("0 0.1 0.1 0.3 0.3 0.5 0.5\n")),
    "SG006": ("segment", both("0 0.1 0.1 0.1 0.1 0.5 0.1 0.3 0.4\n"), both(TRIANGLE.rstrip() + " 0.1 0.1\n")),
    "SG007": ("segment", both(TRIANGLE.rstrip() + " 0.1 0.1\n"), both("0 0.1 0.1 0.1 0.1 0.5 0.1 0.3 0.4\n")),
    "SG008": ("segment", both(_circle(1001)), both(_circle(1000))),
    "SG009": (
        "segment",
        large("0 0.5 0.5 0.503 0.5 0.503 0.503 0.5 0.503\n"),
        large("0 0.5 0.5 0.508 0.5 0.508 0.508 0.5 0.508\n"),
    ),
    "SG010": (
        "segment",
        large("0 0.1 0.1 0.2 0.1 0.2 0.2 0.1 0.2 0.6 0.6 0.8 0.6 0.8 0.8 0.6 0.8\n"),
        large("0 0.2 0.2 0.1 0.2 0.1 0.1 0.2 0.1 0.2 0.2 0.6 0.6 0.8 0.6 0.8 0.8 0.6 0.8 0.6 0.6\n"),
    ),
    "SG011": (
        "segment",
        large("0 0.5 0.5 0.1 0.5 0.1 0.1 0.5 0.1 0.5 0.5 0.4 0.4 0.8 0.4 0.8 0.8 0.4 0.8 0.4 0.4\n"),
        large("0 0.5 0.5 0.1 0.5 0.1 0.1 0.5 0.1 0.5 0.5 0.6 0.6 0.8 0.6 0.8 0.8 0.6 0.8 0.6 0.6\n"),
    ),
    "KP001": ("pose", person(PERSON.replace("2", "3", 1)), person(PERSON.replace("2", "1", 1))),
    "KP002": ("pose", person(PERSON.replace("2", "-1", 1)), person(PERSON.replace("2", "0", 1))),
    "KP003": ("pose", person(PERSON.replace("0.6 0.6", "0.6 36")), person(PERSON)),
    "KP004": ("pose", person(PERSON.replace("0.6 0.6 2", "-1 -1 0")), person(PERSON)),
    "KP005": ("pose", person(PERSON.replace("0.6 0.6", "0.6 1.005")), person(PERSON.replace("0.6 0.6", "0.6 1"))),
    "KP006": ("pose", person("0 0.5 0.5 0.4 0.4 0 0 0 0 0 0\n"), person("0 0.5 0.5 0.4 0.4 0.4 0.4 1 0 0 0\n")),
    "KP007": ("pose", person(PERSON.replace("0.6 0.6", "0 0")), person(PERSON.replace("0.6 0.6 2", "0 0 0"))),
    "KP008": ("pose", person("0 0.2 0.2 0.1 0.1 0.9 0.9 2 0.2 0.2 2\n"), person(PERSON.replace("0.6 0.6", "0.8 0.6"))),
    "KP009": ("pose", person(PERSON.replace("0.6", "0.4")), person(PERSON.replace("0.6 0.6 2", "0.4 0.4 0"))),
    "KP010": ("pose", person(PERSON + BOX), person(PERSON)),
    "KP011": (
        "pose",
        person("0 0.5 0.5 0.4 0.4 0.4 0.4 0.6 0.6\n"),
        person("0 0.5 0.5 0.4 0.4 0.4 0.4 0.6 0.6\n", FLIP.replace("[2, 3]", "[2, 2]")),
    ),
    "OB001": ("obb", both("0 -0.2 0.1 0.5 0.1 0.5 0.3 -0.2 0.3\n"), both("0 -0.01 0.1 0.5 0.1 0.5 0.3 0 0.3\n")),
    "OB002": ("obb", both("0 0.1 0.1 0.5 0.1 0.5 0.1 0.1 0.1\n"), both(SQUARE)),
    "OB003": ("obb", both("0 0.1 0.1 0.5 0.1 0.5 0.1 0.1 0.4\n"), both(SQUARE)),
    "OB004": ("obb", both("0 0.1 0.1 0.5 0.1 0.1 0.3 0.5 0.3\n"), both(SQUARE)),
    "OB005": ("obb", both("0 0.1 0.1 0.5 0.1 0.2 0.3 0.1 0.3\n"), both("0 0.1 0.1 0.5 0.1 0.45 0.3 0.15 0.3\n")),
    "OB006": ("obb", both(TRIANGLE), both(SQUARE)),
    "OB007": ("obb", both("0 0.1 0.1 0.5 0.1 0.5 0.11 0.1 0.11\n"), both("0 0.1 0.1 0.5 0.1 0.5 0.13 0.1 0.13\n")),
}
