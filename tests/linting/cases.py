"""For each rule one faulty and one clean twin of the tiny dataset: `CASES[code] = (task, faulty, clean)`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from linting import cases_files, cases_formats, cases_images, cases_labels
from linting.tiny_set import ROWS, YAML, TinySet, encode, picture, tiff_pages

Change = Callable[[TinySet], object]
BOX = "0 0.5 0.5 0.2 0.2\n"
TRIANGLE = "0 0.1 0.1 0.5 0.1 0.3 0.4\n"
SQUARE = "0 0.1 0.1 0.5 0.1 0.5 0.5 0.1 0.5\n"
POSE = "train: images/train\nval: images/val\nnames: [cat]\nkpt_shape: [2, 3]\n"


def yaml(text: str) -> Change:
    return lambda tiny: tiny.yaml(text)


def rows(content: bytes | str) -> Change:
    return lambda tiny: tiny.rows(content)


def image(suffix: str, content: bytes) -> Change:
    return lambda tiny: tiny.image(suffix, content)


def npy(pixels: np.ndarray) -> Change:
    return lambda tiny: tiny.npy(pixels)


def nothing(tiny: TinySet) -> None:
    """Leave the set healthy."""


def _bands(*values: float, dtype: str = "float32") -> Change:
    """A set of two bands, TIFFs of 100 in which the first pixels of the train image have these values."""

    def change(tiny: TinySet) -> None:
        tiny.yaml(YAML + "channels: 2\n")
        for split, name, first in (("train", "a", values), ("val", "b", ())):
            pages = [np.full((48, 64), 100, dtype) for _ in range(2)]
            pages[1][0, : len(first)] = first
            tiny.drop(f"images/{split}/{name}.jpg")
            tiny.put(f"images/{split}/{name}.tiff", tiff_pages(pages))

    return change


def _train_list(*lines: str) -> Change:
    def change(tiny: TinySet) -> None:
        tiny.yaml(YAML.replace("images/train", "train.txt"))
        tiny.put("train.txt", "\n".join(lines))

    return change


def _val_labels_in_train(tiny: TinySet) -> None:
    (tiny.root / "labels/val/b.txt").rename(tiny.root / "labels/train/b.txt")
    tiny.put("images/val/c.jpg", encode(".jpg", picture()))
    tiny.put("labels/val/c.txt", ROWS)


def _second(tiny: TinySet) -> None:
    tiny.put("images/train/c.jpg", encode(".jpg", picture()))


def _twin(tiny: TinySet) -> None:
    tiny.put("images/train/a.png", encode(".png", picture()))


def _link(tiny: TinySet) -> None:
    (tiny.root / "images/train/more").symlink_to(tiny.root / "images/train", target_is_directory=True)


_JPEG = encode(".jpg", picture(100, 100))
_PNG = encode(".png", picture())
_GIF = encode(".gif", picture())

CASES: dict[str, tuple[str, Change, Change]] = {
    "CF001": ("detect", yaml(YAML + "val: images/val\n"), yaml(YAML + "test: images/val\n")),
    "CF002": ("detect", yaml(YAML + "nc: 5\n"), yaml(YAML + "nc: 2\n")),
    "CF003": (
        "detect",
        yaml(YAML.replace("[cat, dog]", "{1: cat, 2: dog}")),
        yaml(YAML.replace("[cat, dog]", "{0: cat, 1: dog}")),
    ),
    "CF004": ("detect", yaml(YAML.replace("dog", "cat")), nothing),
    "CF005": ("detect", yaml(YAML.replace("names", "nmaes") + "nc: 2\n"), yaml(YAML + "roboflow: {a: 1}\n")),
    "CF006": ("detect", yaml(YAML + "download: http://example.org/a.zip\n"), nothing),
    "CF007": ("detect", yaml(YAML.replace("cat", "yes")), yaml(YAML.replace("cat", "'yes'"))),
    "CF008": ("pose", yaml(POSE.replace("[2, 3]", "[2]")), yaml(POSE)),
    "CF009": ("detect", yaml(YAML + "test: images/nowhere\n"), yaml(YAML + "test: images/val\n")),
    "FS001": ("detect", _train_list("./images/train/a.jpg", "./images/train/gone.jpg"), nothing),
    "FS002": ("detect", _second, nothing),
    "FS003": ("detect", lambda tiny: tiny.drop("labels/train/a.txt"), rows("")),
    "FS004": ("detect", lambda tiny: tiny.drop("labels/val/b.txt"), nothing),
    "FS005": (
        "detect",
        lambda tiny: tiny.put("labels/train/c.txt", BOX),
        lambda tiny: (tiny.put("labels/train/classes.txt", "cat"), tiny.put("labels/train/README.txt", "hi")),
    ),
    "FS006": ("detect", _val_labels_in_train, nothing),
    "FS007": ("detect", _twin, _second),
    "FS008": ("detect", _link, nothing),
    "FS009": ("detect", yaml(YAML.replace("images/val", "images/train")), nothing),
    "FS010": ("detect", npy(picture()), nothing),
    "FS011": ("detect", npy(picture(20, 20)), npy(picture())),
    "FS012": ("detect", lambda tiny: tiny.put("images/train/a.npy", b"no array"), npy(picture())),
    "IM001": ("detect", image(".jpg", bytes(range(1, 99))), nothing),
    "IM002": ("detect", image(".jpg", b""), nothing),
    "IM003": ("detect", image(".jpg", _JPEG[:-400]), image(".png", _PNG)),
    "IM004": ("detect", image(".jpg", _JPEG + b"\0"), image(".jpg", _JPEG)),
    "IM005": (
        "detect",
        image(".jpg", encode(".jpg", picture(9, 40))),
        image(".jpg", encode(".jpg", picture(10, 40))),
    ),
    "IM006": ("detect", image(".jpg", _GIF), nothing),
    "IM007": ("detect", image(".jpg", _PNG), image(".png", _PNG)),
    "IM008": ("detect", image(".png", encode(".png", np.zeros((9000, 10000), np.uint8))), nothing),
    "IM009": (
        "detect",
        image(".tiff", encode(".tiff", picture(channels=1, dtype="float32"))),
        _bands(),
    ),
    "IM010": ("detect", yaml(YAML + "channels: 6\n"), _bands(dtype="uint8")),
    "IM011": ("detect", _bands(float("nan")), _bands(7)),
    "IM012": ("detect", _bands(float("inf")), _bands(7)),
    "IM013": ("detect", _bands(-3.4e38), _bands(7)),
    "IM014": ("detect", _bands(300), _bands(255)),
    "IM015": ("detect", npy(picture(dtype="float32", top=1)), npy(picture(dtype="float32"))),
    "IM016": (
        "detect",
        image(".png", encode(".png", picture(dtype="uint16", top=255))),
        image(".png", encode(".png", picture(channels=1, dtype="uint16", top=65535))),
    ),
    "IM017": (
        "detect",
        image(".tiff", encode(".tiff", picture(channels=1, dtype="uint16", top=4095))),
        image(".tiff", encode(".tiff", picture(channels=1, dtype="uint16", top=65535))),
    ),
    "TX001": ("detect", rows(ROWS.encode("utf-16")), rows(ROWS.encode("utf-8-sig"))),
    "TX002": ("detect", rows(ROWS + "0 0.5 0.5 0.2 n/a\n"), rows(ROWS + "cat 0.5 0.5 0.2 0.2\n")),
    "TX003": ("detect", rows(ROWS + "0,0.5,0.5,0.2,0.2\n"), nothing),
    "TX004": ("detect", rows("# checked\n" + ROWS), nothing),
    "TX005": ("detect", rows("0 0.5 0.5 0.2\n"), rows("\n" + ROWS + "\n\n")),
    "TX006": ("detect", rows(BOX + SQUARE), rows(SQUARE)),
    "TX007": ("detect", rows("0 0.5 0.5 0.2 0.2 0.93 12\n"), rows(TRIANGLE)),
    "TX008": ("detect", rows(SQUARE), nothing),
    "TX009": ("segment", nothing, lambda tiny: (tiny.rows(SQUARE), tiny.put("labels/val/b.txt", SQUARE))),
    "TX010": ("detect", rows(BOX + "0 nan 0.5 0.2 0.2\n"), nothing),
    "TX011": ("detect", rows(BOX + "0 1e400 0.5 0.2 0.2\n"), nothing),
    "TX012": ("detect", rows("0 0.5_1 0.5 0.2 0.2\n"), nothing),
    "TX018": ("detect", rows(ROWS.encode("utf-8-sig")), rows(ROWS.replace("\n", "\r\n"))),
    "TX019": ("detect", rows(ROWS + BOX.replace("\n", "\r\n")), rows(ROWS.replace("\n", "\r\n"))),
    "TX030": ("detect", rows(BOX + " " * (64 << 20)), rows(BOX + " " * 1000)),
    "TX031": ("detect", rows(BOX + "\n" * 100_000), rows(BOX + "\n" * 99_999)),
    "TX032": ("detect", rows(BOX.strip() + " " * (1 << 20)), rows(BOX.strip() + " " * 1_000_000)),
    "BX001": ("detect", rows("0 1.02 0.5 0.2 0.2\n"), rows("0 0.99 0.5 0.02 0.2\n")),
    "BX002": ("detect", rows("0 -0.02 0.5 0.2 0.2\n"), rows("0 0.01 0.5 0.02 0.2\n")),
    "BX003": ("detect", rows("0 0.5 0.5 -0.2 0.2\n"), nothing),
    "BX004": ("detect", rows("0 0.5 0.5 0 0.2\n"), nothing),
    "BX005": ("detect", rows("0 1.005 0.5 0.2 0.2\n"), rows("0 1.0 0.5 0.0 0.2\n")),
    "BX006": ("detect", rows("0 0.95 0.5 0.2 0.2\n"), rows("0 0.9 0.5 0.2 0.2\n")),
    "BX007": ("detect", rows(BOX + BOX), nothing),
    "BX008": ("detect", rows("0 0.5 0.5 0.01 0.2\n"), rows("0 0.5 0.5 0.016 0.2\n")),
    "BX009": ("detect", rows(BOX + "1" + BOX[1:]), nothing),
    "CL001": ("detect", rows("0.5 0.5 0.5 0.2 0.2\n"), rows("1.0 0.5 0.5 0.2 0.2\n")),
    "CL002": ("detect", rows("-1 0.5 0.5 0.2 0.2\n"), nothing),
    "CL003": ("detect", rows("2 0.5 0.5 0.2 0.2\n"), nothing),
    "CL004": ("detect", yaml(YAML.replace("dog", "dog, cow")), nothing),
}
CASES |= cases_files.CASES | cases_formats.CASES | cases_images.CASES | cases_labels.CASES
