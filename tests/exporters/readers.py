"""Healthy sets of each task, and files as tools leave them behind: what Ultralytics' own reading makes of those."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from exporters.inputs import HEIGHT, NAMES, WIDTH, corners, data_yaml, disc, picture, pixels, turned
from PIL import Image

Change = Callable[[Path], object]
LABEL, IMAGE = "labels/train/0.txt", "images/train/0.png"
BOXES = "0 0.1875 0.25 0.1875 0.25\n1 0.609375 0.520833 0.28125 0.208333\n"
ONE = BOXES[: BOXES.index("\n") + 1]
POINTS = "0 0.28125 0.25 0.253791 0.338388 0.1875 0.375 0.121209 0.338388 0.09375 0.25 0.121209 0.161612\n"
SQUARE = "1 0.46875 0.416667 0.75 0.416667 0.75 0.625 0.46875 0.625\n"


@dataclass(frozen=True)
class Reading:
    """One change to a healthy set of a task, all that lint says of it, and the images that Ultralytics then keeps."""

    task: str
    change: Change
    codes: tuple[str, ...]
    kept: str = "train 4 of 4, val 2 of 2"


def healthy(root: Path, task: str) -> Path:
    """Four images for train, two for val."""
    for i in range(6):
        split = "val" if i > 3 else "train"
        round_, bar = disc(60 + 10 * i, 60, 30), corners(150 + 5 * i, 100 + 8 * i, 90, 50)
        slanted = [turned(100 + 10 * i, 100, 120, 40, 30), turned(230, 180 - 5 * i, 60, 30, 60)]
        outlines = slanted if task == "obb" else [round_, bar]
        picture(root / "images" / split / f"{i}.png", i, outlines)
        rows = [_row(task, number, outline) for number, outline in enumerate(outlines)]
        put(root, f"labels/{split}/{i}.txt", "".join(rows))
    more = {"kpt_shape": [2, 3], "flip_idx": [1, 0]} if task == "pose" else {}
    return data_yaml(root, NAMES, **more)


def _row(task: str, number: int, outline: list[tuple[float, float]]) -> str:
    spots = np.array(outline) / (WIDTH, HEIGHT)
    low, high = spots.min(0), spots.max(0)
    box = [*(low + high) / 2, *(high - low)]
    values = spots.ravel().tolist() if task in ("segment", "obb") else box
    if task == "pose":
        values = [*box, *low + 0.02, 2, *high - 0.02, 2]
    return f"{number} {' '.join(f'{v:.6f}' for v in values)}\n"


def put(root: Path, path: str, content: str | bytes) -> Path:
    """Write a file below the set."""
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return file


def rows(content: str | bytes) -> Change:
    """These labels for the first image."""
    return lambda root: put(root, LABEL, content)


def yaml(old: str, new: str) -> Change:
    """Another text in data.yaml."""
    return lambda root: put(root, "data.yaml", (root / "data.yaml").read_text().replace(old, new))


def image(suffix: str, content: Callable[[], bytes]) -> Change:
    """The first image as another file."""

    def change(root: Path) -> None:
        (root / IMAGE).unlink()
        put(root, str(Path(IMAGE).with_suffix(suffix)), content())

    return change


def first() -> np.ndarray:
    """The pixels of the first image, blue first."""
    return pixels(0, [disc(60, 60, 30), corners(150, 100, 90, 50)])


def encoded(suffix: str, change: Callable[[np.ndarray], np.ndarray] = np.asarray) -> bytes:
    """The first image by OpenCV."""
    return bytes(cv2.imencode(suffix, change(first()))[1].tobytes())


def saved(kind: str, mode: str = "RGB", **options: object) -> bytes:
    """The first image by Pillow."""
    stream = io.BytesIO()
    Image.fromarray(first()[..., ::-1]).convert(mode).save(stream, kind, **options)
    return stream.getvalue()


def turned_by_exif(kind: str, turn: int) -> bytes:
    """The first image stored otherwise, with the tag that turns it back."""
    names = {5: "TRANSPOSE", 6: "ROTATE_90", 7: "TRANSVERSE", 8: "ROTATE_270"}
    tags = Image.Exif()
    tags[274] = turn
    stream = io.BytesIO()
    Image.fromarray(first()[..., ::-1]).transpose(Image.Transpose[names[turn]]).save(stream, kind, exif=tags)
    return stream.getvalue()


def pages(kind: str) -> bytes:
    """Two pages in one file."""
    other = Image.fromarray(pixels(9, [disc(100, 100, 40)])[..., ::-1])
    return saved(kind, save_all=True, append_images=[other])


def alpha(array: np.ndarray) -> np.ndarray:
    """Half of the image transparent."""
    opacity = np.full(array.shape[:2], 255, np.uint8)
    opacity[:, : array.shape[1] // 2] = 0
    return np.dstack([array, opacity])


def grey(times: int) -> Callable[[np.ndarray], np.ndarray]:
    """One channel of 16 bits a sample, so many times as bright as in 8."""
    return lambda array: array[..., 0].astype(np.uint16) * times


def transparent_tiff() -> bytes:
    """As Pillow writes it: alpha that is not multiplied in."""
    stream = io.BytesIO()
    Image.fromarray(alpha(first())[..., [2, 1, 0, 3]]).save(stream, "TIFF")
    return stream.getvalue()


def below_zero(array: np.ndarray) -> np.ndarray:
    """One channel of signed numbers, some negative, as thermal cameras write them."""
    return array[..., 0].astype(np.int16) * 20 - 1500


def four_channels(root: Path) -> None:
    """All images half transparent, and `channels: 4`."""
    yaml("names", "channels: 4\nnames")(root)
    for file in (root / "images").rglob("*.png"):
        cv2.imwrite(str(file), alpha(cv2.imread(str(file))))


def both_cases(root: Path) -> None:
    """`0.png` and `0.PNG` in one folder."""
    picture(root / "images/train/0.PNG", 50, [disc(60, 60, 30)])


def cvat_list(root: Path) -> None:
    """The list of images as CVAT's YOLO 1.1 archive has it, from the archive's own root."""
    names = "".join(f"data/images/train/{i}.png\n" for i in range(4))
    put(root, "train.txt", names)
    yaml("images/train", "train.txt")(root)


def ndjson(first_class: int) -> Callable[[Path], Path]:
    """The set as Ultralytics' platform writes it, with classes from this number on."""

    def make(root: Path) -> Path:
        names = {str(i): name for i, name in enumerate(NAMES, first_class)}
        lines: list[dict[str, object]] = [{"type": "dataset", "task": "detect", "class_names": names}]
        for i in range(6):
            split = "val" if i > 3 else "train"
            text = (root / f"labels/{split}/{i}.txt").read_text()
            boxes = [[float(v) for v in line.split()] for line in text.splitlines()]
            moved = [[int(box[0]) + first_class, *box[1:]] for box in boxes]
            frame = {"width": WIDTH, "height": HEIGHT, "split": split, "url": f"https://example.org/{i}.png"}
            lines.append({"type": "image", "file": f"{i}.png", **frame, "annotations": {"boxes": moved}})
        return put(root, "set.ndjson", "".join(json.dumps(line) + "\n" for line in lines))

    return make


DROPPED = "train 3 of 4, val 2 of 2"
READINGS = {
    # columns and numbers
    "comma": Reading("detect", rows("0,0.5,0.5,0.2,0.2\n"), ("TX003",), DROPPED),
    "semicolon": Reading("detect", rows("0;0.5;0.5;0.2;0.2\n"), ("TX003",), DROPPED),
    "semicolon-and-decimal-comma": Reading("detect", rows("0;0,5;0,5;0,2;0,2\n"), ("TX003",), DROPPED),
    "decimal-comma": Reading("detect", rows("0 0,5 0,5 0,2 0,2\n"), ("TX003",), DROPPED),
    "confidence": Reading("detect", rows("0 0.1875 0.25 0.1875 0.25 0.93\n"), ("TX013",), DROPPED),
    "four-columns": Reading("detect", rows("0 0.5 0.5 0.2\n"), ("TX005",), DROPPED),
    "tabs-and-spaces": Reading("detect", rows(BOXES.replace(" ", " \t ")), ()),
    "blank-lines": Reading("detect", rows("\n" + BOXES.replace("\n", "\n \t\n")), ()),
    "windows-ends": Reading("detect", rows(BOXES.replace("\n", "\r\n")), ()),
    "no-last-end": Reading("detect", rows(BOXES.rstrip()), ()),
    "byte-order-mark": Reading("detect", rows(b"\xef\xbb\xbf" + BOXES.encode()), ("TX018",)),
    "utf-16": Reading("detect", rows(BOXES.encode("utf-16")), ("TX001",), DROPPED),
    "exponents": Reading("detect", rows("0 1.875e-1 25E-2 .1875 0.25\n"), ()),
    "nan": Reading("detect", rows("0 nan 0.5 0.2 0.2\n"), ("TX010",), DROPPED),
    "infinite": Reading("detect", rows("0 0.5 inf 0.2 0.2\n"), ("TX011",), DROPPED),
    "class-as-float": Reading("detect", rows("1.0 0.5 0.5 0.2 0.2\n"), ()),
    "class-between": Reading("detect", rows("1.7 0.5 0.5 0.2 0.2\n"), ("CL001",), DROPPED),
    "class-above": Reading("detect", rows("2 0.5 0.5 0.2 0.2\n"), ("CL003",), DROPPED),
    "class-by-name": Reading("detect", rows("nut 0.5 0.5 0.2 0.2\n"), ("TX014",), DROPPED),
    "header": Reading("detect", rows("class x y w h\n" + BOXES), ("TX002",), DROPPED),
    "pixels": Reading("detect", rows("0 60 60 60 60\n"), ("BX015",), DROPPED),
    "five-decimals": Reading("detect", rows("0 0.50000 0.50000 0.00000 0.20000\n"), ("BX004",)),
    "rounded-out": Reading("detect", rows("0 0.9 0.5 0.2001 0.2\n"), ()),
    "twice": Reading("detect", rows(BOXES + BOXES), ("BX007",)),
    # kinds of rows
    "polygon-among-boxes": Reading("detect", rows(ONE + SQUARE), ("TX006", "TX008"), DROPPED),
    "polygons-for-detect": Reading("detect", rows(POINTS + SQUARE), ("TX008",)),
    "boxes-for-segment": Reading("segment", rows(BOXES), ("TX009",), "ValueError"),
    "box-among-polygons": Reading("segment", rows(BOXES + POINTS), ("TX006",), DROPPED),
    "triangles": Reading("segment", rows("0 0.1 0.1 0.4 0.15 0.2 0.6\n"), ()),
    "boxes-for-obb": Reading("obb", rows(BOXES), ("TX009",), "ValueError"),
    "five-corners": Reading("obb", rows("0 0.1 0.1 0.3 0.1 0.4 0.3 0.3 0.5 0.1 0.5\n"), ("OB006",)),
    "pose-without-visibility": Reading("pose", rows("0 0.5 0.5 0.2 0.2 0.45 0.45 0.55 0.55\n"), ("KP011",), DROPPED),
    "pose-boxes-alone": Reading("pose", rows(BOXES), ("KP010",), DROPPED),
    # names and files
    "names-yes-and-no": Reading("detect", yaml('["nut", "bolt"]', "[yes, no]"), ("CF007",)),
    "case-of-the-suffix": Reading("detect", both_cases, ("FS007", "FS024"), "train 5 of 5, val 2 of 2"),
    "list-of-another-root": Reading("detect", cvat_list, ("CF031",), "RuntimeError"),
    # pictures
    "grey-16-bits-dark": Reading("detect", image(".png", lambda: encoded(".png", grey(4))), ("IM017", "IM025")),
    "grey-16-bits": Reading("detect", image(".png", lambda: encoded(".png", grey(256))), ("IM025",)),
    "float-32": Reading("detect", image(".tif", lambda: encoded(".tif", np.float32)), ("IM001",), DROPPED),
    "signed-16-bits": Reading("detect", image(".tif", lambda: encoded(".tif", below_zero)), ("IM025", "IM038")),
    "opaque-tiff": Reading("detect", image(".tif", lambda: saved("TIFF", "RGBA")), ()),
    "transparent-tiff": Reading("detect", image(".tif", transparent_tiff), ("IM037",)),
    "transparent": Reading("detect", image(".png", lambda: encoded(".png", alpha)), ("IM023",)),
    "transparent-4-channels": Reading("detect", four_channels, ()),
    "cmyk": Reading("detect", image(".jpg", lambda: saved("JPEG", "CMYK")), ("IM021",)),
    "palette": Reading("detect", image(".png", lambda: saved("PNG", "P")), ("IM022",)),
    "pages": Reading("detect", image(".tif", lambda: pages("TIFF")), ("IM026",)),
    "animation": Reading("detect", image(".png", lambda: pages("PNG")), ("IM026",)),
    "jpeg-cut": Reading("detect", image(".jpg", lambda: encoded(".jpg")[:-900]), ("IM003",), DROPPED),
    "bytes-after-the-end": Reading("detect", image(".jpg", lambda: encoded(".jpg") + b"\0" * 20), ("IM004",)),
    "webp": Reading("detect", image(".webp", lambda: saved("WEBP", quality=95)), ()),
    "avif": Reading("detect", image(".avif", lambda: saved("AVIF", quality=95)), ()),
    "bmp": Reading("detect", image(".bmp", lambda: saved("BMP")), ()),
    "mpo": Reading("detect", image(".mpo", lambda: pages("MPO")), ("IM026",)),
    "exif-5": Reading("detect", image(".jpg", lambda: turned_by_exif("JPEG", 5)), ("IM020",)),
    "exif-7": Reading("detect", image(".jpg", lambda: turned_by_exif("JPEG", 7)), ("IM020",)),
    "exif-6-png": Reading("detect", image(".png", lambda: turned_by_exif("PNG", 6)), ("IM020",)),
    "exif-8-tiff": Reading("detect", image(".tif", lambda: turned_by_exif("TIFF", 8)), ("IM020",)),
    # other files
    "ndjson": Reading("detect", ndjson(0), ()),
    "ndjson-from-1": Reading("detect", ndjson(1), ("AN026", "CL004")),
}  # fmt: skip
