"""Faulty and clean twins for the rules on kinds of images, on what decoding shows, and on splits, as in `cases.py`."""

from __future__ import annotations

import io
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from linting.tiny_set import ROWS, YAML, TinySet, encode, picture, turned
from PIL import Image as PILImage

Change = Callable[[TinySet], object]
Pixels = np.ndarray


def nothing(tiny: TinySet) -> None:
    """Leave the set healthy."""


def photo(seed: int = 0, height: int = 240, width: int = 320) -> Pixels:
    """Something like a photograph: soft shapes and some noise."""
    random = np.random.default_rng(seed)
    shapes = cv2.resize(random.random((9, 12, 3)).astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(shapes * 200 + 25 + random.normal(0, 8, shapes.shape), 0, 255).astype(np.uint8)


def soft() -> Pixels:
    """Shapes as in `photo`, but without any detail."""
    shapes = np.random.default_rng(1).random((3, 4)).astype(np.float32) * 255
    return cv2.resize(shapes, (320, 240), interpolation=cv2.INTER_CUBIC).clip(0, 255).astype(np.uint8)


def image(suffix: str, content: bytes) -> Change:
    return lambda tiny: tiny.image(suffix, content)


def jpeg(pixels: Pixels) -> Change:
    return image(".jpg", encode(".jpg", pixels))


def across(rows: str) -> Change:
    """The train image turned by EXIF, with these labels."""
    return lambda tiny: (tiny.put("images/train/a.jpg", turned(picture(), 6)), tiny.rows(rows))


def lying(*, unturned: bool) -> Change:
    """In place of the set: upright and turned images of people, the labels of the turned ones of the stored pixels."""

    def put(tiny: TinySet) -> None:
        for folder in ("images", "labels"):
            shutil.rmtree(tiny.root / folder)
        people(tiny.root, 6, unturned=unturned)

    return put


def saved(kind: str, mode: str = "RGB", *, turn: int = 0, pages: int = 1, exif: bool = True) -> bytes:
    """The bytes of an image as Pillow saves it."""
    frames = [PILImage.fromarray(picture(seed=i)).convert(mode) for i in range(pages)]
    options: dict[str, object] = {"save_all": True, "append_images": frames[1:]} if pages > 1 else {}
    if turn and exif:
        tags = PILImage.Exif()
        tags[274] = turn
        options["exif"] = tags
    stream = io.BytesIO()
    frames[0].save(stream, kind, **options)
    return stream.getvalue()


def people(root: Path, turn: int, *, unturned: bool, share: float = 1.0, ratio: float = 2.5) -> Path:
    """Upright and turned images of tall people; the labels of the turned ones are, in part, of the stored pixels."""
    random = np.random.default_rng(0)
    for split in ("train", "val"):
        for kind in ("images", "labels"):
            (root / kind / split).mkdir(parents=True)
    for k in range(60):
        split, own = ("train" if k % 3 else "val"), (turn if k % 2 else 1)
        width, height = (96, 128) if own > 4 else (128, 96)
        w = random.uniform(6, 14)
        h = w * ratio * random.uniform(0.8, 1.25)
        x, y = random.uniform(w / 2, width - w / 2), random.uniform(h / 2, height - h / 2)
        row = np.array([x / width, y / height, w / width, h / height])
        if own > 4 and unturned and random.random() < share:
            row = row[[1, 0, 3, 2]] if own == 5 else np.array([row[1], 1 - row[0], row[3], row[2]])
        (root / f"images/{split}/{k}.jpg").write_bytes(turned(np.full((96, 128, 3), k, np.uint8), own))
        (root / f"labels/{split}/{k}.txt").write_text("0 " + " ".join(f"{v:.6f}" for v in row) + "\n")
    (root / "data.yaml").write_text("train: images/train\nval: images/val\nnames: [person]\n")
    return root


def chunked(name: bytes = b"", data: bytes = b"") -> bytes:
    """The bytes of a PNG with a chunk before its pixels."""
    png = encode(".png", picture())
    chunk = struct.pack(">L", len(data)) + name + data + struct.pack(">L", zlib.crc32(name + data))
    return png[:33] + (chunk if name else b"") + png[33:]


def one_channel(png: bytes) -> Change:
    """A set of one channel, with this colour PNG and a colour JPEG."""
    return lambda tiny: (tiny.yaml(YAML + "channels: 1\n"), tiny.image(".png", png))


def translucent(kind: str) -> bytes:
    """The bytes of an image with alpha, as Pillow saves it."""
    stream = io.BytesIO()
    PILImage.fromarray(picture(channels=4)).save(stream, kind)
    return stream.getvalue()


def bomb(width: int = 30000, height: int = 20000) -> bytes:
    """A PNG of some bytes whose header claims that size."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def zeroed(content: bytes, count: int = 3000) -> bytes:
    """A JPEG with zeros in its middle."""
    middle = len(content) // 2
    return content[:middle] + bytes(count) + content[middle + count :]


def cut(content: bytes) -> bytes:
    """A JPEG that ends after a half, with an end marker put there."""
    return content[: len(content) // 2] + b"\xff\xd9"


def second(pixels: Pixels | bytes, split: str = "train", rows: str = ROWS) -> Change:
    """The photograph as train image, and another image `c.jpg`."""

    def change(tiny: TinySet) -> None:
        tiny.image(".jpg", PHOTO)
        tiny.put(f"images/{split}/c.jpg", pixels if isinstance(pixels, bytes) else encode(".jpg", pixels))
        tiny.put(f"labels/{split}/c.txt", rows)

    return change


def many(train: int, val: int) -> Change:
    """A set of so many images, all different."""

    def change(tiny: TinySet) -> None:
        for split, count in (("train", train), ("val", val)):
            for i in range(count - 1):
                content = encode(".jpg", picture(16, 16, seed=10_000 * len(split) + i))
                tiny.put(f"images/{split}/{i}.jpg", content)
                tiny.put(f"labels/{split}/{i}.txt", ROWS)

    return change


def grey_tail(pixels: Pixels) -> Pixels:
    """The lower third grey, as tools leave it that save what they could read."""
    pixels[-len(pixels) // 3 :] = 128
    return pixels


def cut_out() -> bytes:
    """A PNG that is transparent around its middle."""
    pixels = np.dstack([picture(), np.zeros((48, 64), np.uint8)])
    pixels[12:36, 16:48, 3] = 255
    return encode(".png", pixels)


def frame(seed: int, ground: int = 0) -> Pixels:
    """A frame of a camera that does not move: one disc somewhere on a ground that is always the same."""
    random = np.random.default_rng(1000 + seed)
    pixels = photo(ground).astype(np.float32)
    x, y = (int(v) for v in random.integers(30, (290, 210)))
    cv2.circle(pixels, (x, y), int(random.integers(12, 25)), random.integers(0, 255, 3).tolist(), -1)
    return np.clip(pixels + random.normal(0, 4, pixels.shape), 0, 255).astype(np.uint8)


def frames(*seeds: int, grounds: int = 1) -> Change:
    """So many frames more in train, of one camera or of several."""

    def change(tiny: TinySet) -> None:
        for i, seed in enumerate(seeds):
            tiny.put(f"images/train/frame{i:02}.jpg", encode(".jpg", frame(seed, i % grounds)))
            tiny.put(f"labels/train/frame{i:02}.txt", f"0 {0.1 + i / 10:.1f} 0.5 0.1 0.1\n")

    return change


def copied(*originals: int, splits: tuple[str, str] = ("train", "train"), moved: float = 0.0) -> Change:
    """Two images of each original, named as Roboflow names them; boxes of the second are larger by so much."""

    def change(tiny: TinySet) -> None:
        for i in originals:
            for k, split in enumerate(splits):
                name = f"o{i}_jpg.rf.{i:016x}{k:016x}"
                tiny.put(f"images/{split}/{name}.jpg", encode(".jpg", picture(seed=100 * i + k)))
                tiny.put(f"labels/{split}/{name}.txt", f"0 0.5 0.5 {0.2 + i / 100} {0.3 + k * moved}\n")

    return change


def emptied(tiny: TinySet) -> None:
    tiny.put("labels/val/b.txt", "")


PHOTO = encode(".jpg", photo())
_DIM = (photo() // 8).astype(np.uint8)

CASES: dict[str, tuple[str, Change, Change]] = {
    "IM018": ("detect", image(".png", bomb()), image(".png", encode(".png", picture()))),
    "IM019": ("detect", image(".jpg", b"<!DOCTYPE html>\n<html>404</html>"), image(".jpg", bytes(range(1, 99)))),
    "IM020": ("detect", image(".jpg", saved("JPEG", turn=6)), image(".jpg", saved("JPEG", turn=1))),
    "IM021": ("detect", image(".jpg", saved("JPEG", "CMYK")), nothing),
    "IM022": ("detect", image(".png", saved("PNG", "P")), image(".png", saved("PNG"))),
    "IM023": ("detect", image(".png", cut_out()), image(".png", saved("PNG", "RGBA"))),
    "IM024": (
        "detect",
        image(".png", saved("PNG", "L")),
        lambda tiny: (tiny.image(".png", saved("PNG", "L")), tiny.yaml(YAML + "channels: 1\n")),
    ),
    "IM025": (
        "detect",
        image(".png", encode(".png", picture(channels=1, dtype="uint16", top=65535))),
        image(".png", encode(".png", picture(channels=1))),
    ),
    "IM026": ("detect", image(".webp", saved("WEBP", pages=2)), image(".webp", saved("WEBP"))),
    "IM027": ("detect", jpeg(picture(12, 200)), jpeg(picture(20, 200))),
    "IM028": ("detect", image(".jpg", zeroed(PHOTO)), image(".jpg", PHOTO)),
    "IM029": ("detect", image(".jpg", cut(PHOTO)), image(".jpg", PHOTO)),
    "IM030": ("detect", jpeg(np.zeros((64, 64, 3), np.uint8)), jpeg(_DIM)),
    "IM031": ("detect", jpeg(_DIM), jpeg(photo())),
    "IM032": ("detect", jpeg(255 - _DIM), jpeg(photo())),
    "IM033": ("detect", jpeg(_DIM // 2 + 100), jpeg(photo())),
    "IM034": ("detect", jpeg(soft()), jpeg(photo())),
    "IM035": (
        "detect",
        across("0 0.5 1.2 0.2 0.15\n0 0.3 1.1 0.1 0.2\n"),
        across("0 0.6667 0.9 0.2667 0.1125\n0 0.4 0.825 0.1333 0.15\n"),
    ),
    "IM039": ("detect", one_channel(chunked(b"sRGB", b"\0")), one_channel(chunked())),
    "IM037": ("detect", image(".tif", translucent("TIFF")), image(".png", translucent("PNG"))),
    "IM038": (
        "detect",
        image(".tif", encode(".tif", (picture(channels=1).astype(np.int16) - 99) * 10)),
        image(".tif", encode(".tif", picture(channels=1).astype(np.int16) * 128)),
    ),
    "IM036": ("detect", lying(unturned=True), lying(unturned=False)),
    "SP001": ("detect", second(PHOTO), second(photo(1))),
    "SP002": ("detect", second(PHOTO, "val"), second(PHOTO)),
    "SP003": ("detect", second(PHOTO, rows=ROWS.splitlines()[0]), second(PHOTO, rows=ROWS.replace("0.2", "0.201"))),
    "SP004": ("detect", second(photo()[:, ::-1], "val"), second(photo(1), "val")),
    "SP005": ("detect", second(np.rot90(photo())[::2, ::2]), second(PHOTO)),
    "SP006": (
        "detect",
        lambda tiny: tiny.put("images/val/b.jpg", encode(".jpg", picture())),
        second(PHOTO, "val"),
    ),
    "SP007": ("detect", emptied, second(photo(1), "val", rows="")),
    "SP008": ("detect", many(100, 3), many(100, 30)),
    "SP009": ("detect", many(20, 110), many(110, 30)),
    "SP011": ("detect", copied(*range(5)), copied(*range(4))),
    "SP012": (
        "detect",
        copied(*range(3), splits=("train", "val")),
        copied(*range(3), splits=("train", "val"), moved=0.1),
    ),
    "SP010": ("detect", frames(*range(8)), frames(*range(8), grounds=8)),
}
