"""The incidents of a run for its page: what the model saw, what was found out, what was done."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import safe_open

from yolo_nanfix import files
from yolo_nanfix.report.html import event_list
from yolo_nanfix.report.html import incident_images as shots
from yolo_nanfix.report.html.event_list import from_root
from yolo_nanfix.report.html.incident_images import Shot
from yolo_nanfix.report.html.scales import figure
from yolo_nanfix.report.words import PLACES, printable
from yolo_nanfix.run_folder import lenient
from yolo_nanfix.run_folder.read import RunFolder

FORMAT = 1
SHOWN = 20
"""At most so many incidents are shown."""


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
    root = event_list.root_of(run)
    done = _actions(run)
    chosen = run.incidents[-SHOWN:]
    found = [_view(path, number, root, done) for number, path in enumerate(chosen, 1)]
    purse = [shots.BUDGET, shots.THUMBNAILS]
    for guilty in (True, False):
        for view, path in zip(found, chosen, strict=True):
            shots.draw(view.shots, path, guilty, purse)
    return found, len(run.incidents) - len(found)


def _actions(run: RunFolder) -> dict[str, str]:
    """What was done, by the name of the incident file, or by epoch, batch and check where events do not name it."""
    found: dict[str, str] = {}
    for event in lenient.entries(run.summary, "guard", "events"):
        epoch, batch = lenient.count(event, "epoch"), lenient.count(event, "batch")
        check = lenient.text(event, "check").replace("+", "-")
        named = event_list.incidents(event) if isinstance(event, Mapping) else []
        for name in named or [f"{epoch:04d}-{batch:05d}-{check}.safetensors"]:
            found.setdefault(name, lenient.text(event, "action"))
    return found


def _view(path: Path, number: int, root: str, done: Mapping[str, str]) -> View:
    """One incident without its pictures."""
    view = View(f"incident-{number}", printable(path.name), "", "")
    view.command = f"yolo-nanfix diagnose {shlex.quote(printable(str(path)))}"
    view.done = done.get(path.name, "")
    try:
        files.check_safetensors_header(path)
        with safe_open(path, framework="np") as stream:
            facts = json.loads((stream.metadata() or {})["yolo-nanfix"])
    except shots.DAMAGED as error:
        view.note = f"This file cannot be read: {shots.why(error)}."
        return view
    if not isinstance(facts, Mapping):
        view.note = "This file does not hold an incident."
        return view
    if facts.get("format") != FORMAT:
        view.note = (
            f"This file is of format {lenient.text(facts, 'format') or 'unknown'}; the page understands {FORMAT}."
        )
    view.where, view.detail = event_list.where(facts), lenient.text(facts, "detail")
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
    view.shots = shots.listed(facts, verdict, root)
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
