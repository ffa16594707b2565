"""The incidents of a run for its page: the images of the micro-batch, the verdict, what was done.

Images are shown as the model saw them: JPEG in `data:` URIs, with boxes and non-finite pixels drawn over them. Only the
tensors that are shown are read, image by image.
"""

from __future__ import annotations

import base64
import json
import math
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from yolo_nanfix import files
from yolo_nanfix.report import event_text
from yolo_nanfix.report.html import event_list
from yolo_nanfix.report.html.event_list import from_root, short
from yolo_nanfix.report.words import PLACES, figure, printable
from yolo_nanfix.run_folder import lenient
from yolo_nanfix.run_folder.read import RunFolder

UNDERSTOOD_FORMAT = 1
SHOWN_INCIDENTS = 20
"""At most this many incidents are shown."""
BUDGET = 2_000_000
"""Bytes of a page for pictures."""
THUMBNAILS = 48
"""At most this many images that are not suspect are shown."""
MOST_VALUES = 200_000_000
"""Larger tensors and images are not read: a small file from elsewhere may claim any size."""
MOST_IMAGES = 2048
"""At most this many images of an incident are listed."""
LISTED_ROWS = 20
"""At most this many label rows of an image are shown."""
DAMAGED = (SafetensorError, OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError)
"""What reading a damaged or foreign file may raise."""
TINT = (200, 0, 255)
"""The colour of non-finite pixels, BGR."""
QUALITY = 80
SUSPECT_SIDE, OTHER_SIDE = 480, 176
"""Longer side in pixels, of a suspect image and of others."""
SIZE = 1000
"""Width and height of a picture in the coordinates of boxes."""
REACH = 0.5
"""Boxes are clipped at this share of the picture outside of it."""


@dataclass(frozen=True)
class BatchPicture:
    """One image.

    Attributes:
        uri: the JPEG.
        width, height: of the image as the model saw it.
        area: the smallest rectangle around non-finite values: x, y, width, height, as `SIZE`; None without any.
        unusual: what is unusual about its values, in words; may be empty.
    """

    uri: str
    width: int
    height: int
    area: tuple[int, int, int, int] | None
    unusual: str = ""


@dataclass
class BatchImage:
    """One image of the micro-batch, with its boxes and label rows.

    Attributes:
        number: 1-based.
        suspect: whether it, or an image that it was made of, is suspect.
        seen: what is wrong with it as the model saw it; may be empty.
        parents: the images that mosaic and mix-up put into it.
        picture: None if it was left out, or cannot be drawn, for the reason `why_not`.
        undrawn: the number of non-finite boxes.
    """

    number: int
    name: str
    suspect: bool
    seen: str
    parents: list[str] = field(default_factory=list)
    label_file: str = ""
    rows: list[dict[str, Any]] = field(default_factory=list)
    more_rows: int = 0
    picture: BatchPicture | None = None
    boxes: list[dict[str, Any]] = field(default_factory=list)
    undrawn: int = 0
    why_not: str = ""

    @property
    def alt(self) -> str:
        """The text for screen readers."""
        boxes = f"{len(self.boxes)} box{'' if len(self.boxes) == 1 else 'es'}"
        seen = f"; {self.seen}" if self.seen else ""
        return f"Image {self.number} of the micro-batch, {self.name}, with {boxes}{seen}"


@dataclass
class IncidentView:
    """One incident, for the template."""

    key: str
    file: str
    where: str
    detail: str
    note: str = ""
    verdict: Mapping[str, Any] = field(default_factory=dict)
    places: list[tuple[str, str]] = field(default_factory=list)
    state: list[tuple[str, str]] = field(default_factory=list)
    replay: str = ""
    evidence: list[str] = field(default_factory=list)
    advice: list[str] = field(default_factory=list)
    done: str = ""
    command: str = ""
    batch_images: list[BatchImage] = field(default_factory=list)

    @property
    def suspect(self) -> list[BatchImage]:
        """The suspect images."""
        return [image for image in self.batch_images if image.suspect]

    @property
    def others(self) -> list[BatchImage]:
        """The other images of the micro-batch that have a picture."""
        return [image for image in self.batch_images if not image.suspect and image.picture]

    @property
    def hidden(self) -> int:
        """How many images have no picture."""
        return sum(image.picture is None for image in self.batch_images)


def views(run: RunFolder) -> tuple[list[IncidentView], int]:
    """The newest incidents of a run, oldest first, with pictures within the budget; and how many are left out."""
    root = event_list.root_of(run)
    done = _actions(run)
    chosen = run.incidents[-SHOWN_INCIDENTS:]
    found = [_view(path, number, root, done) for number, path in enumerate(chosen, 1)]
    room = [BUDGET, THUMBNAILS]
    for suspect in (True, False):
        for view, path in zip(found, chosen, strict=True):
            add_pictures(view.batch_images, path, suspect, room)
    return found, len(run.incidents) - len(found)


def _actions(run: RunFolder) -> dict[str, str]:
    """What was done, by the name of the incident file (from epoch, batch and check if events do not name it)."""
    found: dict[str, str] = {}
    for event in lenient.entries(run.summary, "guard", "events"):
        epoch, batch = lenient.count(event, "epoch"), lenient.count(event, "batch")
        check = "-".join(one.value for one in event_text.checks(event))
        named = event_list.incidents(event) if isinstance(event, Mapping) else []
        for name in named or [f"{epoch:04d}-{batch:05d}-{check}.safetensors"]:
            found.setdefault(name, event_text.action(event) if isinstance(event, Mapping) else "")
    return found


def _view(path: Path, number: int, root: str, done: Mapping[str, str]) -> IncidentView:
    view = IncidentView(f"incident-{number}", printable(path.name), "", "")
    view.command = f"yolo-nanfix diagnose {shlex.quote(printable(str(path)))}"
    view.done = done.get(path.name, "")
    try:
        files.check_safetensors_header(path)
        with safe_open(path, framework="np") as stream:
            facts = json.loads((stream.metadata() or {})["yolo-nanfix"])
    except DAMAGED as error:
        view.note = f"This file cannot be read: {why(error)}."
        return view
    if not isinstance(facts, Mapping):
        view.note = "This file does not hold an incident."
        return view
    if facts.get("format") != UNDERSTOOD_FORMAT:
        known = lenient.text(facts, "format") or "unknown"
        view.note = f"This file is of format {known}; the page understands {UNDERSTOOD_FORMAT}."
    view.where, view.detail = event_list.when(facts), lenient.text(facts, "detail")
    verdict = lenient.mapping(facts, "verdict")
    seen = lenient.mapping(verdict, "evidence")
    view.verdict = {
        "cause": lenient.text(verdict, "cause"),
        "summary": from_root(root, lenient.text(verdict, "summary")),
        "confidence": lenient.number(verdict, "confidence"),
    }
    view.places = [(name, value) for key, name in PLACES if (value := lenient.text(verdict, key))]
    view.state = _state(facts)
    view.replay = lenient.text(seen, "replay")
    view.evidence = [from_root(root, f"{asked}: {lenient.text(seen, asked)}") for asked in seen if asked != "replay"]
    view.advice = [from_root(root, line) for key in ("advice", "commands") for line in lenient.texts(verdict, key)]
    view.batch_images = listed(facts, verdict, root)
    return view


def _state(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Loss terms, precision, scale and rate of the step."""
    rates = [r for r in map(lenient.number, lenient.entries(facts, "lr")) if r is not None]
    terms = [f"{lenient.text(k)} {figure(n)}" for k, v in lenient.mapping(facts, "loss").items()
             if (n := lenient.number(v)) is not None]  # fmt: skip
    scale = lenient.number(facts, "loss_scale")
    found = [
        ("loss", ", ".join(terms)),
        ("precision", lenient.text(facts, "precision")),
        ("loss scale", figure(scale) if scale is not None else ""),
        ("optimizer", lenient.text(facts, "optimizer")),
        ("learning rate", ", ".join(dict.fromkeys(map(figure, rates)))),
    ]
    return [(name, value) for name, value in found if value]


def listed(facts: Mapping[str, Any], verdict: Mapping[str, Any], root: str) -> list[BatchImage]:
    """The images of the micro-batch, without pictures."""
    blamed = {entry for entry in lenient.entries(verdict, "images") if isinstance(entry, str)}
    lines = {entry for entry in lenient.entries(verdict, "labels") if isinstance(entry, str)}
    sources = lenient.entries(facts, "sources")[:MOST_IMAGES]
    own = any(lenient.raw(s, "file") in blamed or lenient.text(s, "suspect") for s in sources)
    found = []
    for number, source in enumerate(sources, 1):
        file, seen = lenient.raw(source, "file"), lenient.text(source, "suspect")
        parents = [p for p in lenient.entries(source, "parents") if isinstance(p, str)]
        label_file = lenient.raw(source, "labels", "file")
        rows = [
            {"line": n, "text": lenient.text(row)[:200], "suspect": f"{label_file}:{n}" in lines}
            for n, row in enumerate(lenient.entries(source, "labels", "rows"), 1)
        ]
        origin = not own and (not blamed.isdisjoint(parents) or any(row["suspect"] for row in rows))
        image = BatchImage(number, short(file, root) or f"image {number}", bool(seen) or file in blamed or origin, seen)
        image.parents, image.label_file = [short(parent, root) for parent in parents], short(label_file, root)
        worst_first = sorted(rows, key=lambda row: not row["suspect"])[:LISTED_ROWS]
        image.rows, image.more_rows = sorted(worst_first, key=lambda row: row["line"]), max(0, len(rows) - LISTED_ROWS)
        found.append(image)
    return found


def add_pictures(batch_images: Sequence[BatchImage], path: Path, suspect: bool, room: list[int]) -> None:
    """Add pictures to the suspect images, or to the others; `room`, updated, has the remaining bytes and thumbnails."""
    wanted = [image for image in batch_images if image.suspect is suspect]
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
            for image in wanted:
                if room[0] <= 0 or (not suspect and room[1] <= 0) or image.number > count:
                    continue
                pixels = images[image.number - 1 : image.number][0]
                image.picture = picture(pixels, SUSPECT_SIDE if suspect else OTHER_SIDE)
                _add_boxes(image, rows, facts_names)
                room[0] -= len(image.picture.uri)
                room[1] -= not suspect
    except DAMAGED as error:
        for image in wanted:
            image.why_not = image.why_not or ("" if image.picture else f"The picture cannot be drawn: {why(error)}.")


def _bearable(name: str, shape: Sequence[int]) -> None:
    if math.prod(shape) > MOST_VALUES:
        raise ValueError(f"{name} has {math.prod(shape)} values, more than {MOST_VALUES}")


def _add_boxes(image: BatchImage, rows: Mapping[str, Any], names: Mapping[str, Any]) -> None:
    """Add the boxes of one image, suspect ones marked; non-finite ones are only counted."""
    owner, boxes = rows.get("batch_idx"), rows.get("bboxes")
    if owner is None or boxes is None or len(owner.reshape(-1)) != len(boxes):
        return
    mine = np.flatnonzero(owner.reshape(-1) == image.number - 1)
    classes = rows.get("cls")
    flat = classes.reshape(-1) if classes is not None and classes.size == len(boxes) else np.full(len(boxes), -1.0)
    in_order = len(mine) == len(image.rows) and not image.more_rows and not image.parents
    for place, index in enumerate(mine):
        path = box_path(boxes[index])
        if not path:
            image.undrawn += 1
            continue
        number = float(flat[index])
        word = lenient.text(names, str(int(number))) if np.isfinite(number) else ""
        suspect = bool(in_order and image.rows[place]["suspect"])
        image.boxes.append({"path": path, "suspect": suspect, "words": word or f"class {figure(number)}"})


def why(error: BaseException) -> str:
    """The message of an error, short and printable."""
    return printable(str(error))[:160] or type(error).__name__


def picture(pixels: NDArray[Any], longest: int) -> BatchPicture:
    """The picture of one image (C, H, W), RGB from 0 to 1; its longer side is scaled down to at most `longest` pixels.

    Raises:
        ValueError: it is not of that shape, or cannot be encoded.
    """
    if pixels.ndim != 3 or 0 in pixels.shape or pixels.dtype.kind not in "fiu":
        raise ValueError(f"an image of shape {tuple(pixels.shape)} and type {pixels.dtype} cannot be drawn")
    with np.errstate(over="ignore"):
        healthy = bool(np.isfinite(pixels.sum(dtype=np.float64)))
    bad = np.zeros(pixels.shape[1:], bool) if healthy else np.asarray(~np.isfinite(pixels).all(axis=0))
    values = pixels[: 3 if len(pixels) >= 3 else 1].astype(np.float32)
    values = values if healthy else np.where(np.isfinite(values), values, np.float32(0))
    low, high = float(values.min()), float(values.max())
    height, width = bad.shape
    scale = min(1.0, longest / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    planes = [cv2.resize(plane, size, interpolation=cv2.INTER_AREA) for plane in values]
    shown, unusual = np.stack(planes[::-1] if len(planes) == 3 else planes * 3, axis=2), ""
    if low < -0.01 or high > 1.01:
        unusual = f"values from {low:.4g} to {high:.4g}, shown stretched"
        shown = (shown.astype(np.float64) - low) / max(high - low, 1e-30)
    canvas = np.ascontiguousarray(np.rint(np.clip(np.nan_to_num(shown), 0.0, 1.0) * 255).astype(np.uint8))
    if bad.any():
        reach = math.ceil(1 / scale)
        wide = cv2.dilate(np.asarray(bad, np.uint8), np.ones((reach, reach), np.uint8))
        canvas[cv2.resize(wide, size, interpolation=cv2.INTER_NEAREST) > 0] = TINT
    done, jpeg = cv2.imencode(".jpg", canvas, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    if not done:
        raise ValueError("the image cannot be encoded")
    uri = "data:image/jpeg;base64," + base64.b64encode(jpeg.tobytes()).decode()
    return BatchPicture(uri, width, height, _area(bad), unusual)


def _area(bad: NDArray[np.bool_]) -> tuple[int, int, int, int] | None:
    if not bad.any():
        return None
    rows, columns = np.flatnonzero(bad.any(axis=1)), np.flatnonzero(bad.any(axis=0))
    height, width = bad.shape
    left, top = SIZE * columns[0] / width, SIZE * rows[0] / height
    right, bottom = SIZE * (columns[-1] + 1) / width, SIZE * (rows[-1] + 1) / height
    return math.floor(left), math.floor(top), math.ceil(right - left), math.ceil(bottom - top)


def box_path(box: Iterable[float]) -> str:
    """The SVG path of a box: centre, width and height, normalised, for rotated boxes also an angle in radians.

    Empty if a number is not finite, or if there are not four or five.
    """
    numbers = [float(v) for v in box]
    if len(numbers) not in (4, 5) or not all(map(math.isfinite, numbers)):
        return ""
    x, y, width, height, *angle = numbers
    sine, cosine = math.sin(angle[0] if angle else 0.0), math.cos(angle[0] if angle else 0.0)
    corners = []
    for across, down in ((-1, -1), (1, -1), (1, 1), (-1, 1)):
        a, b = across * width / 2, down * height / 2
        corners.append((_place(x + a * cosine - b * sine), _place(y + a * sine + b * cosine)))
    return "M" + "L".join(f"{px} {py}" for px, py in corners) + "Z"


def _place(share: float) -> int:
    return round(SIZE * min(max(share, -REACH), 1 + REACH))
