"""Hostile datasets: families of hand-made layouts and texts, and seeded mutations of healthy files.

Each case is `task:name` and a change to the tiny set.
"""

from __future__ import annotations

import json
import os
import random
import struct
import zlib
from collections.abc import Callable, Iterator

import numpy as np
from linting.cases_files import classes, noise
from linting.cases_formats import WIDTH, bare, coco, ndjson, voc, whole_coco, xml
from linting.tiny_set import ROWS, YAML, TinySet, encode, picture

from yolo_nanfix.linting.registry import LABELLED

Change = Callable[[TinySet], object]
SEED = 20261123
POSE_YAML = YAML + "kpt_shape: [2, 3]\n"
ODD = (
    b"",
    b"\0",
    b"\xff",
    b"nan",
    b"inf",
    b"-",
    b"1e999",
    b"\n\n",
    b"#",
    b",",
    b"_",
    b"\xe2\x80\xa8",
    b"0x1p3",
    b"9" * 400,
)


def mutations(data: bytes, count: int, rng: random.Random) -> Iterator[bytes]:
    """Seeded mutations: bytes changed, cut out, doubled, replaced by odd ones, the end cut off."""
    for _ in range(count):
        text = bytearray(data)
        for _ in range(rng.randint(1, 6)):
            at, how = rng.randrange(len(text) + 1), rng.randrange(5)
            if how == 0 and text:
                text[at % len(text)] = rng.randrange(256)
            elif how == 1:
                del text[at : at + rng.randint(1, 30)]
            elif how == 2:
                text[at:at] = text[at : at + rng.randint(1, 60)]
            elif how == 3:
                text[at:at] = rng.choice(ODD)
            elif len(text) > 4:
                del text[at:]
        yield bytes(text)


def _values(rng: random.Random) -> object:
    """Any JSON value, mostly of the wrong kind."""
    return rng.choice(
        [
            None,
            True,
            -1,
            0,
            1,
            2,
            1.5,
            1e308,
            -1e308,
            float("nan"),
            float("inf"),
            10**400,
            "",
            "x",
            "1",
            "\0",
            "../..",
            [],
            [1],
            [[]],
            [1, 2, 3, 4],
            ["a"] * 4,
            [None] * 4,
            [1e300] * 4,
            {},
            {"size": [1]},
            [[1] * 7],
            [[0.5] * 8],
        ]
    )


def _spoilt(whole: object, rng: random.Random) -> object:
    """A JSON value in which some fields are exchanged for anything, left out or repeated."""
    if isinstance(whole, dict):
        kept = {k: _spoilt(v, rng) for k, v in whole.items() if rng.random() > 0.03}
        return {k: _values(rng) if rng.random() < 0.05 else v for k, v in kept.items()}
    if isinstance(whole, list):
        kept = [_values(rng) if rng.random() < 0.03 else _spoilt(v, rng) for v in whole]
        return kept + kept[:1] if rng.random() < 0.1 else kept
    return _values(rng) if rng.random() < 0.05 else whole


def _labels() -> Iterator[tuple[str, Change]]:
    """Texts of label files: hand-made, and mutations of healthy ones for each task."""
    healthy = {
        "detect": ROWS,
        "segment": "0 0.1 0.1 0.5 0.1 0.5 0.5\n1 0.2 0.2 0.4 0.2 0.4 0.4 0.3 0.5\n",
        "pose": "0 0.5 0.5 0.2 0.2 0.5 0.5 2 0.4 0.4 1\n",
        "obb": "0 0.1 0.1 0.5 0.1 0.5 0.5 0.1 0.5\n",
    }
    hand = [
        b"",
        b"\n",
        b" " * 5000,
        b"\r\n\r",
        b"0",
        b"0 " * 4000,
        b"nan " * 5,
        b"inf -inf nan 1 2",
        b"0 0 0 0 0\n" * 500,
    ]
    hand += [
        b"\xef\xbb\xbf" + ROWS.encode(),
        ROWS.encode("utf-16"),
        ROWS.encode("utf-32"),
        ROWS.replace(" ", "\t").encode(),
    ]
    hand += [
        ROWS.replace("\n", "\r").encode(),
        b"\x1c\x1d\x85 1",
        "٠ ٠.٥ ٠.٥ ٠.٢ ٠.٢".encode(),
        b"0 1e38 1e38 1e38 1e38",
    ]
    hand += [
        b"0 3.5e38 0 0 0\n",
        b"99999999999999999999 .5 .5 .1 .1",
        b"1_0 0.5 0.5 0.1 0.1",
        b"<html>",
        os.urandom(0),
        b"\0" * 99,
    ]
    for task, text in healthy.items():
        rng = random.Random(f"{SEED}{task}")
        for i, content in enumerate([*hand, *mutations(text.encode(), 15, rng)]):

            def change(tiny: TinySet, content: bytes = content) -> None:
                tiny.yaml(POSE_YAML)
                tiny.rows(content)

            yield f"{task}:label{i}", change


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _images() -> Iterator[tuple[str, Change]]:
    """Bytes of images: mutations of healthy ones, bombs, headers that lie, other formats."""
    rng = random.Random(SEED)
    pixels = picture(20, 20)
    for suffix in (".jpg", ".png", ".bmp", ".tiff", ".webp"):
        for i, content in enumerate(mutations(encode(suffix, pixels), 9, rng)):
            yield f"detect:image{suffix}{i}", lambda tiny, s=suffix, c=content: tiny.image(s, c)
    bomb = b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0))
    bomb += _chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + _chunk(b"IEND", b"")
    hand = {".png": bomb, ".jpg": b"\xff\xd8\xff" * 100, ".gif": b"GIF89a", ".tif": b"II*\0" + b"\xff" * 60}
    hand |= {
        ".bmp": b"BM" + b"\xff" * 60,
        ".webp": b"RIFF\xff\xff\xff\xffWEBPVP8 ",
        ".jp2": b"\0\0\0\x0cjP  \r\n\x87\n",
    }
    hand |= {".heic": b"\0\0\0\x18ftypheic" + b"\0" * 40, ".avif": b"\0\0\0\x18ftypavif" + b"\xff" * 40}
    hand |= {".dng": b"MM\0*" + b"\xff" * 40, ".mpo": b"\xff\xd8\xff\xe2\0\x10MPF\0" + b"\xff" * 30}
    for suffix, content in hand.items():
        yield f"detect:image{suffix}", lambda tiny, s=suffix, c=content: tiny.image(s, c)
    arrays = [b"", b"\x93NUMPY", b"\x93NUMPY\x01\x00\xff\xff", b"\x80\x04cos\nsystem\n."]
    arrays += list(
        mutations(
            b"\x93NUMPY\x01\0v\0{'descr': '|u1', 'fortran_order': False, 'shape': (4, 4, 3), }\n" + bytes(48), 8, rng
        )
    )
    for i, content in enumerate(arrays):
        yield f"detect:npy{i}", lambda tiny, c=content: tiny.put("images/train/a.npy", c)
    for i, shape in enumerate([(0,), (0, 0, 3), (4,), (4, 4, 4, 4), (48, 64, 3)]):
        for kind in ("f8", "i8", "c16", "?"):
            yield f"detect:npy{i}{kind}", lambda tiny, s=shape, k=kind: tiny.npy(np.zeros(s, k))


def _yamls() -> Iterator[tuple[str, Change]]:
    """data.yaml: mutations, and values of every wrong kind for every key."""
    rng = random.Random(SEED + 1)
    base = POSE_YAML + "nc: 2\nchannels: 3\nflip_idx: [0, 1]\ntest: images/val\n"
    for i, content in enumerate(mutations(base.encode(), 40, rng)):
        yield f"{rng.choice(LABELLED)}:yaml{i}", lambda tiny, c=content: tiny.put("data.yaml", c)
    wrong = [
        "null",
        "[]",
        "{}",
        "[[]]",
        "true",
        "-1",
        "1e999",
        ".nan",
        "''",
        "'\\0'",
        "[1, a, null]",
        "{a: {b: c}}",
        "2024-01-01",
        "!!binary aGk=",
        "!!python/object/apply:os.system [id]",
        "&a [*a]",
        "'" + "x" * 300 + "'",
    ]
    keys = ("path", "train", "val", "test", "names", "nc", "channels", "kpt_shape", "flip_idx", "kpt_names")
    for i, (key, value) in enumerate((key, value) for key in keys for value in wrong):
        lines = [line for line in base.splitlines() if not line.startswith(f"{key}:")]
        text = "\n".join([*lines, f"{key}: {value}"])
        yield f"{LABELLED[i % 4]}:{key}{i}", lambda tiny, t=text: tiny.yaml(t)
    laughs = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    )
    for i, text in enumerate(
        [laughs + YAML, "names: *x\n", "? ? ?", "\t- a", "%YAML 9.9\n---\n", "---\n---\n" + YAML, "<<: [1]\n" + YAML]
    ):
        yield f"detect:yaml-hand{i}", lambda tiny, t=text: tiny.yaml(t)


def _link(path: str, target: str) -> Change:
    def change(tiny: TinySet) -> None:
        place = tiny.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.is_file() or place.is_symlink():
            place.unlink()
        place.symlink_to(target)

    return change


def _folder(path: str) -> Change:
    """A folder where a file belongs."""

    def change(tiny: TinySet) -> None:
        (tiny.root / path).unlink(missing_ok=True)
        (tiny.root / path).mkdir(parents=True)

    return change


def _list(text: bytes) -> Change:
    def change(tiny: TinySet) -> None:
        tiny.yaml(YAML.replace("images/train", "train.txt"))
        tiny.put("train.txt", text)

    return change


def _layouts() -> Iterator[tuple[str, Change]]:
    """Links, folders in the place of files, pipes, names of every kind, lists of images."""
    names = [
        "\n",
        "\t",
        " ",
        "a b",
        "[a]",
        "*",
        "?",
        "{}",
        "%s",
        "{x}",
        "'",
        '"',
        "\\",
        "é",
        "e\u0301",
        "\u202e",
        "\u2028",
        "日本",
        "😀",
        "a" * 240,
        ".hidden",
        "..a",
        "-",
        "a.jpg",
        "CON",
        "~",
        "$HOME",
        "\x01",
        "\x7f",
        "a;b",
        "<b>",
        "[/red]",
    ]
    for i, name in enumerate(names):

        def change(tiny: TinySet, name: str = name) -> None:
            tiny.put(f"images/train/{name}.jpg", noise(2))
            tiny.put(f"labels/train/{name}.txt", "0 0.5 0.5 0 0\n1 nan 1 1 1\n")

        yield f"detect:name{i}", change
    raw = os.fsdecode(b"\xff\xfe.jpg")
    yield "detect:name-raw", lambda tiny: tiny.put(f"images/train/{raw}", noise(3))
    for i, (path, target) in enumerate(
        [
            ("images/train/l", "."),
            ("images/train/l", "../.."),
            ("images/train/l.jpg", "l.jpg"),
            ("labels/train/a.txt", "a.txt"),
            ("labels/train/a.txt", "/dev/null"),
            ("images/train/a.jpg", "/nowhere"),
            ("images/train/z.jpg", "/dev/null"),
            ("labels/train/l", ".."),
            ("data.yaml", "data.yaml"),
        ]
    ):
        yield f"detect:link{i}", _link(path, target)
    for i, path in enumerate(
        [
            "images/train/d.jpg",
            "labels/train/a.txt",
            "images/train/a.npy",
            "images/train/a.jpg",
            "data.yaml",
            "labels/train.cache",
        ]
    ):
        yield f"detect:folder{i}", _folder(path)
    yield "detect:pipe", lambda tiny: os.mkfifo(tiny.root / "images/train/p.jpg")
    yield (
        "detect:pipe-label",
        lambda tiny: (tiny.drop("labels/train/a.txt"), os.mkfifo(tiny.root / "labels/train/a.txt")),
    )
    lists = [
        b"",
        b"\n\n",
        b"\xff\xfe",
        b"\0",
        b"./images/train/a.jpg\n" * 300,
        b"images/train/a.jpg",
        b"/etc/passwd.jpg",
        b"a\0b.jpg",
        b"./" + b"x" * 5000 + b".jpg",
        "\ufeff./images/train/a.jpg".encode(),
        b"http://x.org/a.jpg",
        b"./images/train/a.jpg \n",
    ]
    for i, text in enumerate(lists):
        yield f"detect:list{i}", _list(text)
    yield "detect:list-self", lambda tiny: tiny.yaml(YAML.replace("images/train", "data.yaml"))
    for i, task in enumerate(LABELLED):
        yield f"{task}:empty{i}", bare


def _foreign() -> Iterator[tuple[str, Change]]:
    """COCO, VOC and NDJSON: spoilt values, and mutations of the text."""
    rng = random.Random(SEED + 2)
    tasks = ("detect", "segment", "pose")
    whole = whole_coco()
    whole["annotations"][0] |= {"keypoints": [10, 10, 2, 20, 20, 1], "num_keypoints": 2, "iscrowd": 0}
    for i in range(75):
        text = json.dumps(_spoilt(whole, rng))
        yield f"{tasks[i % 3]}:coco{i}", coco(text=text)
    for i, text in enumerate(mutations(json.dumps(whole, indent=1).encode(), 45, rng)):
        yield f"{tasks[i % 3]}:coco-text{i}", lambda tiny, t=text: (bare(tiny), tiny.put("instances.json", t))
    for i, text in enumerate(mutations(xml().encode(), 60, rng)):
        yield f"detect:voc{i}", lambda tiny, t=text: voc(t.decode("latin-1"))(tiny)
    for i, value in enumerate(["", "nan", "1e999", "-5", "x", "9" * 400, "<a/>", "&lt;", "1_0", "٣"]):
        yield f"detect:voc-box{i}", voc(xml(box=(10, value, 20, 20)))
        yield f"detect:voc-size{i}", voc(xml(size=(value, WIDTH)))
    for i in range(45):
        row = _spoilt(
            {"file": "a.jpg", "split": "train", "annotations": {"boxes": [[0, 0.5, 0.5, 0.2, 0.2]]}, "width": 5}, rng
        )
        head = _spoilt({"task": "detect", "class_names": {"0": "cat"}, "kpt_shape": [2, 3]}, rng)
        yield f"detect:ndjson{i}", ndjson(head if isinstance(head, dict) else None, raw=json.dumps(row))
    for i, text in enumerate(mutations(json.dumps(whole["images"]).encode(), 10, rng)):
        yield f"detect:ndjson-text{i}", lambda tiny, t=text: ndjson(raw=t.decode("latin-1"))(tiny)


def _classify() -> Iterator[tuple[str, Change]]:
    """Classification folders."""
    layouts = [
        classes(),
        bare,
        lambda tiny: None,
        classes(drop="train/cat train/dog"),
        classes(drop="val"),
        classes("train/x.jpg"),
        classes("train/\n/a.jpg"),
        classes("train/cat/a/b/c/d.jpg"),
        classes("train/.x/", "val/.y/"),
    ]
    for i, change in enumerate(layouts):
        yield f"classify:layout{i}", change
    for i, (path, target) in enumerate(
        [("train/cat/l", ".."), ("train/l", "."), ("val", "train"), ("train/cat/a.jpg", "a.jpg")]
    ):
        yield f"classify:link{i}", lambda tiny, p=path, t=target: (classes(drop="val")(tiny), _link(p, t)(tiny))


FAMILIES = {
    "labels": _labels,
    "images": _images,
    "yaml": _yamls,
    "layouts": _layouts,
    "foreign": _foreign,
    "classify": _classify,
}
