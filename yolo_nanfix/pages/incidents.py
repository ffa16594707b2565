"""The incidents of a run for its page: what the model saw, what was found out, what was done.

Only the tensors that are shown are read, image by image; weights never are.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from yolo_nanfix.pages import happenings, lenient, pictures
from yolo_nanfix.pages.folder import RunFolder
from yolo_nanfix.pages.happenings import from_root, short
from yolo_nanfix.pages.scales import figure
from yolo_nanfix.report.words import printable

FORMAT = 1
BUDGET = 2_000_000
"""Pictures may take so many bytes of a page."""
SHOWN = 20
"""At most so many incidents are shown."""
THUMBNAILS = 48
"""At most so many images that are not guilty."""
ROWS = 20
"""At most so many label rows of an image are shown."""
DAMAGED = (SafetensorError, OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError)
"""What reading a torn or foreign file raises."""
PLACES = (
    ("op", "operation"),
    ("module", "module"),
    ("code", "line"),
    ("phase", "phase"),
    ("tensor", "tensor"),
    ("dtype", "type"),
)


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
    picture: pictures.Picture | None = None
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


@dataclass
class View:
    """One incident as the template shows it."""

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
    shots: list[Shot] = field(default_factory=list)

    @property
    def guilty(self) -> list[Shot]:
        """The images that did it."""
        return [shot for shot in self.shots if shot.guilty]

    @property
    def others(self) -> list[Shot]:
        """The other images of the micro-batch that have a picture."""
        return [shot for shot in self.shots if not shot.guilty and shot.picture]

    @property
    def hidden(self) -> int:
        """How many images have none."""
        return sum(shot.picture is None for shot in self.shots)


def views(run: RunFolder) -> tuple[list[View], int]:
    """The incidents of a run in their order, pictures included as far as the budget goes; and how many are left out."""
    root = happenings.root_of(run)
    done = _actions(run)
    chosen = run.incidents[-SHOWN:]
    found = [_view(path, number, root, done) for number, path in enumerate(chosen, 1)]
    purse = [BUDGET, THUMBNAILS]
    for guilty in (True, False):
        for view, path in zip(found, chosen, strict=True):
            _draw(view, path, guilty, purse)
    return found, len(run.incidents) - len(found)


def _actions(run: RunFolder) -> dict[str, str]:
    """What was done, by the name of the incident file, or by epoch, batch and check where events do not name it."""
    found: dict[str, str] = {}
    for event in lenient.entries(run.summary, "guard", "events"):
        epoch, batch = lenient.count(event, "epoch"), lenient.count(event, "batch")
        check = lenient.text(event, "check").replace("+", "-")
        name = lenient.text(event, "incident") or f"{epoch:04d}-{batch:05d}-{check}.safetensors"
        found.setdefault(name, lenient.text(event, "action"))
    return found


def _view(path: Path, number: int, root: str, done: Mapping[str, str]) -> View:
    """One incident without its pictures."""
    view = View(f"incident-{number}", printable(path.name), "", "")
    view.command = f"yolo-nanfix diagnose {shlex.quote(printable(str(path)))}"
    view.done = done.get(path.name, "")
    try:
        with safe_open(path, framework="np") as stream:
            facts = json.loads((stream.metadata() or {})["yolo-nanfix"])
    except DAMAGED as error:
        view.note = f"This file cannot be read: {_why(error)}."
        return view
    if not isinstance(facts, Mapping):
        view.note = "This file does not hold an incident."
        return view
    if facts.get("format") != FORMAT:
        view.note = (
            f"This file is of format {lenient.text(facts, 'format') or 'unknown'}; the page understands {FORMAT}."
        )
    view.where, view.detail = happenings.where(facts), lenient.text(facts, "detail")
    verdict = lenient.mapping(facts, "verdict")
    lines = lenient.texts(verdict, "evidence")
    view.verdict = {
        "cause": lenient.text(verdict, "cause"),
        "summary": from_root(root, lenient.text(verdict, "summary")),
        "confidence": lenient.number(verdict, "confidence"),
    }
    view.places = [(name, value) for key, name in PLACES if (value := lenient.text(verdict, key))]
    view.state = _state(facts)
    view.replay = next((line.removeprefix("replay: ") for line in lines if line.startswith("replay:")), "")
    view.evidence = [from_root(root, line) for line in lines if not line.startswith("replay:")]
    view.advice = [from_root(root, line) for line in lenient.texts(verdict, "advice")]
    view.shots = _shots(facts, verdict, root)
    return view


def _state(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Numbers of the step: precision, scale, rate, loss terms."""
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


def _shots(facts: Mapping[str, Any], verdict: Mapping[str, Any], root: str) -> list[Shot]:
    """The images of the micro-batch as the facts name them."""
    guilty = {entry for entry in lenient.entries(verdict, "images") if isinstance(entry, str)}
    lines = {entry for entry in lenient.entries(verdict, "labels") if isinstance(entry, str)}
    sources = lenient.entries(facts, "sources")
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


def _draw(view: View, path: Path, guilty: bool, purse: list[int]) -> None:
    """Add the pictures of the guilty images, or of the others, while the purse of bytes and thumbnails lasts."""
    wanted = [shot for shot in view.shots if shot.guilty is guilty]
    if not wanted:
        return
    try:
        with safe_open(path, framework="np") as stream:
            names = set(stream.keys())
            if "batch.img" not in names:
                return
            images = stream.get_slice("batch.img")
            rows = {key: stream.get_tensor(f"batch.{key}") for key in ("bboxes", "cls", "batch_idx")
                    if f"batch.{key}" in names}  # fmt: skip
            facts_names = lenient.mapping(json.loads((stream.metadata() or {})["yolo-nanfix"]), "model", "names")
            count = images.get_shape()[0]
            for shot in wanted:
                if purse[0] <= 0 or (not guilty and purse[1] <= 0) or shot.number > count:
                    continue
                pixels = images[shot.number - 1 : shot.number][0]
                shot.picture = pictures.picture(pixels, pictures.LARGE if guilty else pictures.SMALL)
                _add_boxes(shot, rows, facts_names)
                purse[0] -= len(shot.picture.uri)
                purse[1] -= not guilty
    except DAMAGED as error:
        for shot in wanted:
            shot.why_not = shot.why_not or ("" if shot.picture else f"The picture cannot be drawn: {_why(error)}.")


def _add_boxes(shot: Shot, rows: Mapping[str, Any], names: Mapping[str, Any]) -> None:
    """The boxes of one image; red are those that are not finite, and those whose label line is guilty."""
    owner, boxes = rows.get("batch_idx"), rows.get("bboxes")
    if owner is None or boxes is None or len(owner.reshape(-1)) != len(boxes):
        return
    mine = np.flatnonzero(owner.reshape(-1) == shot.number - 1)
    classes = rows.get("cls")
    flat = classes.reshape(-1) if classes is not None and classes.size == len(boxes) else np.full(len(boxes), -1.0)
    in_order = len(mine) == len(shot.rows) and not shot.more_rows and not shot.parents
    for place, index in enumerate(mine):
        path = pictures.box_path(boxes[index])
        if not path:
            shot.undrawn += 1
            continue
        number = float(flat[index])
        word = lenient.text(names, str(int(number))) if np.isfinite(number) else ""
        guilty = bool(in_order and shot.rows[place]["guilty"])
        shot.boxes.append({"path": path, "guilty": guilty, "words": word or f"class {figure(number)}"})


def _why(error: BaseException) -> str:
    return printable(str(error))[:160] or type(error).__name__
