"""Faulty and clean twins for the rules on names, stray files and classification folders, as in `cases.py`."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from linting.tiny_set import ROWS, YAML, TinySet, encode

Change = Callable[[TinySet], object]


def nothing(tiny: TinySet) -> None:
    """Leave the set healthy."""


def move(old: str, new: str) -> Change:
    def change(tiny: TinySet) -> None:
        (tiny.root / old).rename(tiny.root / new)

    return change


def put(path: str, content: bytes | str) -> Change:
    return lambda tiny: tiny.put(path, content)


def noise(seed: int) -> bytes:
    """The bytes of a small JPEG; each seed gives another one."""
    return encode(".jpg", np.random.default_rng(seed).integers(0, 255, (20, 20, 3)).astype(np.uint8))


def link(path: str, target: str) -> Change:
    def change(tiny: TinySet) -> None:
        (tiny.root / path).unlink(missing_ok=True)
        (tiny.root / path).symlink_to(target)

    return change


def picture_at(*paths: str) -> Change:
    """Put a small picture at each of these places, each another one."""

    def change(tiny: TinySet) -> None:
        for seed, path in enumerate(paths):
            tiny.put(path, noise(1000 + seed))

    return change


def accents(form: str) -> Change:
    """An image with an accent in its name, composed, and its label in the given form."""
    names = {"NFC": "caf\u00e9", "NFD": "cafe\u0301"}

    def change(tiny: TinySet) -> None:
        tiny.put("images/train/caf\u00e9.jpg", noise(1))
        tiny.put(f"labels/train/{names[form]}.txt", ROWS)

    return change


def two_images(second: bytes) -> Change:
    """Another image in train, labelled as the first."""

    def change(tiny: TinySet) -> None:
        tiny.put("images/train/c.jpg", second)
        tiny.put("labels/train/c.txt", ROWS)

    return change


def half_labelled(elsewhere: str) -> Change:
    """Three train images more without a label file; label files of their names in another folder."""

    def change(tiny: TinySet) -> None:
        for number in range(3):
            tiny.put(f"images/train/x{number}.jpg", noise(number))
            if elsewhere:
                tiny.put(f"{elsewhere}/x{number}.txt", ROWS)

    return change


def tested(content: bytes, *, labelled: bool = True) -> Change:
    """A test split of one image."""

    def change(tiny: TinySet) -> None:
        tiny.yaml(YAML + "test: images/test\n")
        tiny.put("images/test/c.jpg", content)
        if labelled:
            tiny.put("labels/test/c.txt", ROWS)

    return change


def cache(age: int) -> Change:
    """A cache of the train labels that is so much older (seconds) than their folder."""

    def change(tiny: TinySet) -> None:
        file = tiny.put("labels/train.cache", b"never loaded")
        then = (tiny.root / "labels/train").stat().st_mtime - age
        os.utime(file, (then, then))

    return change


def classes(*extra: str, drop: str = "", count: int = 2) -> Change:
    """A healthy classification set of two classes in train and val, some more images, and some dropped folders."""

    def change(tiny: TinySet) -> None:
        _clear(tiny.root)
        seed = 0
        for split in ("train", "val"):
            for name in ("cat", "dog"):
                for number in range(count):
                    seed += 1
                    tiny.put(f"{split}/{name}/{number}.jpg", noise(seed))
        for path in extra:
            seed += 1
            if path.endswith("/"):
                (tiny.root / path).mkdir(parents=True)
            else:
                tiny.put(path, noise(seed))
        for path in drop.split():
            _clear(tiny.root / path)
            (tiny.root / path).rmdir()

    return change


def _clear(folder: Path) -> None:
    """Remove everything in a folder."""
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()


def with_class(*pictures: bytes) -> Change:
    """One class more, with these image files in train."""

    def change(tiny: TinySet) -> None:
        classes()(tiny)
        for number, content in enumerate(pictures):
            tiny.put(f"train/fox/{number}.jpg", content)

    return change


def _copied(tiny: TinySet) -> None:
    classes()(tiny)
    tiny.put("train/dog/copy.jpg", (tiny.root / "train/cat/0.jpg").read_bytes())


def _copied_within(tiny: TinySet) -> None:
    classes()(tiny)
    tiny.put("train/cat/copy.jpg", (tiny.root / "train/cat/0.jpg").read_bytes())


def _unsplit(tiny: TinySet) -> None:
    classes()(tiny)
    _clear(tiny.root)
    picture_at("cat/1.jpg", "dog/1.jpg")(tiny)


_LONG = "/".join(["a" * 100] * 3)
_NUMBERS = [f"{split}/{n}/1.jpg" for split in ("train", "val") for n in (0, 1, 2, 10)]
_PADDED = [f"{split}/{n:02}/1.jpg" for split in ("train", "val") for n in (0, 1, 2, 10)]
_BOTH = "train/cat train/dog val/cat val/dog"

CASES: dict[str, tuple[str, Change, Change]] = {
    "FS013": ("detect", move("labels/train/a.txt", "labels/train/A.TXT"), put("labels/train/B.txt", ROWS)),
    "FS014": ("detect", accents("NFD"), accents("NFC")),
    "FS015": ("detect", move("labels/train/a.txt", "labels/train/a.jpg.txt"), put("labels/train/a.jpg.txt", ROWS)),
    "FS016": ("detect", link("labels/train/a.txt", "/nowhere/a.txt"), link("labels/train/a.txt", "../val/b.txt")),
    "FS017": ("detect", link("images/train/all", "../train"), link("images/train/more", "../val")),
    "FS018": ("detect", picture_at("images/train/c.jfif"), picture_at("images/train/c.JPG")),
    "FS019": ("detect", picture_at("images/train/c.jpg "), picture_at("images/train/c .jpg")),
    "FS020": ("detect", picture_at("images/train/.c.jpg"), picture_at("images/train/._c.jpg")),
    "FS021": ("detect", picture_at("labels/train/a.png"), nothing),
    "FS022": (
        "detect",
        lambda tiny: (tiny.drop("labels/train/a.txt"), tiny.put("labels/train/a.xml", "<annotation/>")),
        put("labels/train/a.xml", "<annotation/>"),
    ),
    "FS023": ("detect", picture_at("images/train/c\n.jpg"), picture_at("images/train/c c.jpg")),
    "FS024": ("detect", picture_at("images/train/A.jpg"), picture_at("images/val/A.jpg")),
    "FS025": ("detect", picture_at("images/train/c (1).jpg"), picture_at("images/train/c-1_2.jpg")),
    "FS026": ("detect", picture_at(f"images/train/{_LONG}/c.jpg"), nothing),
    "FS027": ("detect", put("images/train/c.npy", b""), put("images/train/a.npy", b"")),
    "FS028": ("detect", cache(60), cache(-60)),
    "FS029": ("detect", lambda tiny: (tiny.root / "images/train/more").mkdir(), nothing),
    "FS055": ("detect", put("images/train/a.jpg", b""), two_images(b"")),
    "FS056": ("detect", tested(b""), tested(noise(7))),
    "FS057": ("detect", tested(noise(7), labelled=False), tested(noise(7))),
    "FS058": ("segment", nothing, put("labels/val/b.txt", "0 0.1 0.1 0.5 0.1 0.3 0.4\n")),
    "FS059": ("classify", with_class(b"", b""), with_class(b"", noise(9))),
    "FS060": ("detect", picture_at("images/more/c.jpg"), picture_at("images/train/more/c.jpg", "other/c.jpg")),
    "FS061": ("detect", half_labelled("labels/more"), half_labelled("")),
    "FS040": ("classify", classes("train/.ipynb_checkpoints/"), classes()),
    "FS041": ("classify", classes(drop="val/dog"), classes()),
    "FS042": ("classify", classes("val/fox/1.jpg"), classes("train/fox/1.jpg")),
    "FS043": ("classify", classes("train/ant/"), classes("val/ant/")),
    "FS044": ("classify", classes("train/1.jpg"), classes("1.jpg")),
    "FS045": ("classify", classes("train/cat/a/1.jpg", "train/cat/b/1.jpg"), classes("train/cat/a/1.jpg")),
    "FS046": ("classify", classes(drop="val"), classes("valid/cat/1.jpg", "valid/dog/1.jpg", drop="val")),
    "FS047": ("classify", classes(drop="train/dog val/dog"), classes()),
    "FS048": (
        "classify",
        lambda tiny: (classes()(tiny), tiny.put("train/cat/0.txt", ROWS)),
        lambda tiny: (classes()(tiny), tiny.put("train/cat/Thumbs.db", b"x"), tiny.put("train/cat/0.npy", b"x")),
    ),
    "CL040": ("classify", classes("train/fox/1.jpg", count=12), classes("train/fox/1.jpg", count=8)),
    "CL041": ("classify", _copied, _copied_within),
    "CL042": ("classify", classes("train/Cat/1.jpg"), classes("train/cats/1.jpg")),
    "CL043": ("classify", classes(*_NUMBERS, drop=_BOTH), classes(*_PADDED, drop=_BOTH)),
}
UNSPLIT = _unsplit
