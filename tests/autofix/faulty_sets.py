"""Seeded sets with many defects, whose right rows are known."""

from __future__ import annotations

import random
import shutil
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from linting.tiny_set import encode, picture

from yolo_nanfix.findings import Finding, Report

IMAGES, ROWS = 30, 4
NAMES = ("ant", "bee", "cow")
Row = tuple[float, ...]


class FaultySet(NamedTuple):
    """A set on disk, its task, and for each image the rows that are right."""

    root: Path
    task: str
    truth: dict[str, list[Row]]

    def right(self) -> int:
        """How many right rows Ultralytics itself keeps."""
        return sum(
            any(_near(row, one) for one in self.truth[image]) for image, rows in self.scan().items() for row in rows
        )

    def background(self) -> set[str]:
        """The images that Ultralytics itself takes for background."""
        return {image for image, rows in self.scan().items() if not rows}

    def scan(self) -> dict[str, list[Row]]:
        """What Ultralytics itself keeps: the rows of each image, of polygons the corners.

        It looks at copies, since it writes some damaged JPEGs anew.
        """
        from ultralytics.data.utils import verify_image_label

        kept: dict[str, list[Row]] = {}
        with tempfile.TemporaryDirectory() as folder:
            root = shutil.copytree(self.root, Path(folder) / "set")
            images = sorted((root / "images").rglob("*.*"))
            labels = [root / "labels" / image.relative_to(root / "images").with_suffix(".txt") for image in images]
            for image, label in zip(images, labels, strict=True):
                kept |= self._rows(image, label, verify_image_label)
        return kept

    def _rows(self, image: Path, label: Path, verify: Callable[..., Any]) -> dict[str, list[Row]]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            task = (self.task == "pose", len(NAMES), *((2, 3) if self.task == "pose" else (0, 0)), False)
            found, rows, _, segments, *_ = verify((str(image), str(label), "", *task))
        if not found:
            return {}
        shapes = segments if segments else [row[1:5] for row in rows]
        known = zip(rows, shapes, strict=True)
        return {image.stem: [(float(row[0]), *map(float, shape.reshape(-1))) for row, shape in known]}


def _near(row: Row, other: Row) -> bool:
    return len(row) == len(other) and all(abs(a - b) < 0.012 for a, b in zip(row, other, strict=True))


def places(report: Report) -> set[tuple[str, str, str]]:
    """Code, file and split of all findings; lines move where one goes."""
    return {_place(finding) for finding in report.findings}


def _place(finding: Finding) -> tuple[str, str, str]:
    return finding.code, finding.place.file, finding.split or ""


Defect = Callable[[list[str], random.Random], str]


def _edit(index: int, change: Callable[[float], str]) -> Defect:
    return lambda words, rng: " ".join([*words[:index], change(float(words[index])), *words[index + 1 :]])


DEFECTS: dict[str, Defect] = {
    "nan": _edit(1, lambda v: "nan"),
    "infinite": _edit(2, lambda v: "inf"),
    "word": _edit(1, lambda v: "x"),
    "short": lambda words, rng: " ".join(words[:3]),
    "alone": lambda words, rng: words[0],
    "comment": lambda words, rng: "# " + " ".join(words),
    "remark": lambda words, rng: " ".join(words) + " # seen",
    "commas": lambda words, rng: ",".join(words),
    "decimal commas": lambda words, rng: " ".join(words).replace(".", ","),
    "negative side": _edit(3, lambda v: f"-{v}"),
    "zero side": _edit(4, lambda v: "0"),
    "twice": lambda words, rng: " ".join(words) + "\n" + " ".join(words),
    "infinite twice": lambda words, rng: "\n".join(["0 inf inf inf inf"] * 2),
    "spills": _edit(3, lambda v: f"{v + 0.9:.4f}"),
    "spills little": lambda words, rng: f"{words[0]} 0.9 {words[2]} 0.21 {words[4]}",
    "centre outside": _edit(1, lambda v: "1.2"),
    "centre below": _edit(1, lambda v: "-0.3"),
    "class beyond": _edit(0, lambda v: "7"),
    "class negative": _edit(0, lambda v: "-1"),
    "class in parts": _edit(0, lambda v: "1.5"),
    "confidence": lambda words, rng: " ".join(words) + " 0.87",
    "angle": lambda words, rng: " ".join(words) + " 1.57",
    "mark": lambda words, rng: "\ufeff" + " ".join(words),
    "nul": lambda words, rng: " ".join(words) + "\0",
    "odd spelling": _edit(2, lambda v: f"{v:.3f}_1"),
    "blank": lambda words, rng: "\n\t\n" + " ".join(words),
    "pixels": lambda words, rng: " ".join([words[0], *(f"{float(w) * 64:.2f}" for w in words[1:])]),
    "tiny": _edit(3, lambda v: "0.00001"),
}
"""What is done to a row, by name."""
FILES: dict[str, Callable[[str], bytes]] = {
    "empty": lambda text: b"",
    "only a comment": lambda text: b"# nothing\n",
    "only words": lambda text: b"This is a crack file.\n",
    "utf-16": lambda text: text.encode("utf-16"),
    "latin": lambda text: text.encode() + b"# \xe9\n",
    "marked": lambda text: b"\xef\xbb\xbf" + text.encode(),
    "line ends": lambda text: text.replace("\n", "\r\n", 1).encode(),
    "all infinite": lambda text: b"0 inf inf inf inf\n" * 2,
}
"""What is done to a whole label file, by name."""


PICTURES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda jpeg: b"",
    "cut off": lambda jpeg: jpeg[: len(jpeg) // 2],
    "without its end": lambda jpeg: jpeg[:-2],
    "more behind the end": lambda jpeg: jpeg + b"and more",
    "another format": lambda jpeg: encode(".png", picture(seed=len(jpeg))),
    "a page of the web": lambda jpeg: b"<!DOCTYPE html><title>404</title>",
    "too small": lambda jpeg: encode(".jpg", picture(5, 5)),
}
"""What is done to an image, by name."""


def make(root: Path, task: str, seed: int, share: float, first: int = 0) -> FaultySet:
    """A set in which such a share of the label files has a defect, one or two a file; classes begin with `first`."""
    rng = random.Random(seed)
    truth: dict[str, list[Row]] = {}
    extra = "kpt_shape: [2, 3]\n" if task == "pose" else ""
    root.mkdir(parents=True)
    (root / "data.yaml").write_text(f"train: images/train\nval: images/val\nnames: [{', '.join(NAMES)}]\n{extra}")
    for number in range(IMAGES):
        split = "val" if number % 5 == 0 else "train"
        for kind in ("images", "labels"):
            (root / kind / split).mkdir(parents=True, exist_ok=True)
        rows = [_row(rng, task, at) for at in range(rng.randint(1, ROWS))]
        truth[f"{number:03d}"] = [_known(row, task) for row in rows]
        rows = [[str(int(row[0]) + first), *row[1:]] for row in rows]
        text = "".join(" ".join(row) + "\n" for row in rows)
        content = _spoil(rows, rng) if rng.random() < share else text.encode()
        jpeg = encode(".jpg", picture(seed=number + 100 * seed))
        if rng.random() < share / 4:
            jpeg = PICTURES[rng.choice(list(PICTURES))](jpeg)
        (root / "images" / split / f"{number:03d}.jpg").write_bytes(jpeg)
        (root / "labels" / split / f"{number:03d}.txt").write_bytes(content)
    return FaultySet(root, task, truth)


def _row(rng: random.Random, task: str, at: int) -> list[str]:
    """A healthy row; those of one image do not overlap much."""
    x, y = 0.2 + 0.15 * at + rng.uniform(0, 0.05), rng.uniform(0.3, 0.7)
    w, h = rng.uniform(0.1, 0.3), rng.uniform(0.1, 0.4)
    cls = str(rng.randrange(len(NAMES)))
    if task in ("segment", "obb"):
        corners = (x - w / 2, y - h / 2, x + w / 2, y - h / 2, x + w / 2, y + h / 2, x - w / 2, y + h / 2)
        return [cls, *(f"{v:.4f}" for v in corners)]
    points = (x - w / 4, y, 2, x + w / 4, y, 1) if task == "pose" else ()
    return [cls, *(f"{v:.4f}" for v in (x, y, w, h, *points))]


def _known(row: list[str], task: str) -> Row:
    return tuple(float(word) for word in (row if task in ("segment", "obb") else row[:5]))


def _spoil(rows: list[list[str]], rng: random.Random) -> bytes:
    """A label file with a defect of its own, or of one or two of its rows."""
    lines = [" ".join(row) for row in rows]
    if rng.random() < 0.25:
        return FILES[rng.choice(list(FILES))]("\n".join(lines) + "\n")
    for at in rng.sample(range(len(rows)), min(len(rows), rng.randint(1, 2))):
        lines[at] = DEFECTS[rng.choice(list(DEFECTS))](rows[at], rng)
    return ("\n".join(lines) + "\n").encode()
