"""The images of an incident: each as the model saw it, with its boxes, its origin and its label rows.

Only the tensors that are shown are read, image by image.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from yolo_nanfix.report.html import batch_images
from yolo_nanfix.report.html.event_list import short
from yolo_nanfix.report.html.scales import figure
from yolo_nanfix.report.words import printable
from yolo_nanfix.run_folder import lenient

BUDGET = 2_000_000
"""Pictures may take so many bytes of a page."""
THUMBNAILS = 48
"""At most so many images that are not guilty."""
MOST_VALUES = 200_000_000
"""Tensors, and images, of more values are not read: the file of another one may claim any size without being large."""
IMAGES = 2048
"""At most so many images of an incident are listed."""
ROWS = 20
"""At most so many label rows of an image are shown."""
DAMAGED = (SafetensorError, OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError)
"""What reading a torn or foreign file raises."""


@dataclass
class Shot:
    """One image of the micro-batch: its picture (None if it was left out or cannot be drawn), boxes and origin."""

    number: int
    name: str
    guilty: bool
    suspect: str
    parents: list[str]
    label_file: str = ""
    rows: list[dict[str, Any]] = field(default_factory=list)
    more_rows: int = 0
    picture: batch_images.Picture | None = None
    boxes: list[dict[str, Any]] = field(default_factory=list)
    undrawn: int = 0
    why_not: str = ""

    @property
    def alt(self) -> str:
        """What a screen reader says."""
        boxes = len(self.boxes)
        sick = f"; {self.suspect}" if self.suspect else ""
        return (
            f"Image {self.number} of the micro-batch, {self.name}, with {boxes} box{'' if boxes == 1 else 'es'}{sick}"
        )


def listed(facts: Mapping[str, Any], verdict: Mapping[str, Any], root: str) -> list[Shot]:
    """The images of the micro-batch as the facts name them."""
    guilty = {entry for entry in lenient.entries(verdict, "images") if isinstance(entry, str)}
    lines = {entry for entry in lenient.entries(verdict, "labels") if isinstance(entry, str)}
    sources = lenient.entries(facts, "sources")[:IMAGES]
    own = any(lenient.raw(s, "file") in guilty or lenient.text(s, "suspect") for s in sources)
    found = []
    for number, source in enumerate(sources, 1):
        file, suspect = lenient.raw(source, "file"), lenient.text(source, "suspect")
        parents = [p for p in lenient.entries(source, "parents") if isinstance(p, str)]
        label_file = lenient.raw(source, "labels", "file")
        rows = lenient.entries(source, "labels", "rows")
        marked = [
            {"line": n, "text": lenient.text(row)[:200], "guilty": f"{label_file}:{n}" in lines}
            for n, row in enumerate(rows, 1)
        ]
        bad_rows = any(row["guilty"] for row in marked)
        worst_first = sorted(marked, key=lambda row: not row["guilty"])[:ROWS]
        shot = Shot(
            number,
            short(file, root) or f"image {number}",
            bool(suspect) or file in guilty or (not own and (any(p in guilty for p in parents) or bad_rows)),
            suspect,
            [short(parent, root) for parent in parents],
            short(label_file, root),
            sorted(worst_first, key=lambda row: int(row["line"])),
            max(0, len(marked) - ROWS),
        )
        found.append(shot)
    return found


def draw(shots: Sequence[Shot], path: Path, guilty: bool, purse: list[int]) -> None:
    """Add the pictures of the guilty images, or of the others, while the purse of bytes and thumbnails lasts."""
    wanted = [shot for shot in shots if shot.guilty is guilty]
    if not wanted:
        return
    try:
        with safe_open(path, framework="np") as stream:
            names = set(stream.keys())
            if "batch.img" not in names:
                return
            images = stream.get_slice("batch.img")
            _bearable("batch.img", images.get_shape()[1:])
            rows = {}
            for key in ("bboxes", "cls", "batch_idx"):
                if (name := f"batch.{key}") in names:
                    _bearable(name, stream.get_slice(name).get_shape())
                    rows[key] = stream.get_tensor(name)
            facts_names = lenient.mapping(json.loads((stream.metadata() or {})["yolo-nanfix"]), "model", "names")
            count = images.get_shape()[0]
            for shot in wanted:
                if purse[0] <= 0 or (not guilty and purse[1] <= 0) or shot.number > count:
                    continue
                pixels = images[shot.number - 1 : shot.number][0]
                shot.picture = batch_images.picture(pixels, batch_images.LARGE if guilty else batch_images.SMALL)
                _add_boxes(shot, rows, facts_names)
                purse[0] -= len(shot.picture.uri)
                purse[1] -= not guilty
    except DAMAGED as error:
        for shot in wanted:
            shot.why_not = shot.why_not or ("" if shot.picture else f"The picture cannot be drawn: {why(error)}.")


def _bearable(name: str, shape: Sequence[int]) -> None:
    """Refuse what would fill the memory.

    Raises:
        ValueError: it has too many values.
    """
    if math.prod(shape) > MOST_VALUES:
        raise ValueError(f"{name} has {math.prod(shape)} values, more than {MOST_VALUES}")


def _add_boxes(shot: Shot, rows: Mapping[str, Any], names: Mapping[str, Any]) -> None:
    """The boxes of one image, red where their label line is guilty; those that are not finite are counted alone."""
    owner, boxes = rows.get("batch_idx"), rows.get("bboxes")
    if owner is None or boxes is None or len(owner.reshape(-1)) != len(boxes):
        return
    mine = np.flatnonzero(owner.reshape(-1) == shot.number - 1)
    classes = rows.get("cls")
    flat = classes.reshape(-1) if classes is not None and classes.size == len(boxes) else np.full(len(boxes), -1.0)
    in_order = len(mine) == len(shot.rows) and not shot.more_rows and not shot.parents
    for place, index in enumerate(mine):
        path = batch_images.box_path(boxes[index])
        if not path:
            shot.undrawn += 1
            continue
        number = float(flat[index])
        word = lenient.text(names, str(int(number))) if np.isfinite(number) else ""
        guilty = bool(in_order and shot.rows[place]["guilty"])
        shot.boxes.append({"path": path, "guilty": guilty, "words": word or f"class {figure(number)}"})


def why(error: BaseException) -> str:
    """What an error says, short and printable."""
    return printable(str(error))[:160] or type(error).__name__
