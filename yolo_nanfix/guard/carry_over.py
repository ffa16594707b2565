"""What a resumed run takes over from its earlier parts: counts, events, what is in force, by a file in its folder.

The file is written atomically as the run goes, so that it exists even after a kill, and removed when the run finishes.
A file that is damaged, or of another run that used the same folder, is reported and ignored.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from yolo_nanfix import upstream
from yolo_nanfix.findings import Finding
from yolo_nanfix.guard import quarantine
from yolo_nanfix.guard.escalation import Ladder
from yolo_nanfix.guard.recorder import Recorder

STATE_NAME = "yolo-nanfix-state.json"
STATE_FORMAT = 1
LARGEST_STATE = 64 * 2**20
"""Bytes; 1 000 events take about one MB."""


class CarryOver:
    """The earlier parts of the run of one trainer."""

    def __init__(self, trainer: Any) -> None:
        self.trainer = trainer
        self.held: Mapping[str, Any] | None = None
        self.beforehand: dict[str, tuple[Finding, ...]] = {}
        if not getattr(trainer, "resume", False):
            return
        path = Path(trainer.save_dir) / STATE_NAME
        try:
            self.held = read_state(path, first_row(trainer.csv))
            found = self.held["beforehand"]
            self.beforehand = {str(image): tuple(map(Finding.from_dict, f)) for image, f in found.items()}
        except FileNotFoundError:
            _log_on_rank_0("what the guard did in the earlier part of this run is not known: it left no state")
        except (OSError, *DAMAGED) as error:
            self.held, self.beforehand = None, {}
            _log_on_rank_0(
                f"{path} is ignored, and what the guard did in the earlier part of this run is not known: {error}"
            )

    def load(self, build: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call `build` without the images that were left out before the run."""
        out = set(quarantine.left_out())
        with quarantine.leave_out(i for i in self.beforehand if str(Path(i).absolute()) not in out):
            return build(*args, **kwargs)

    def take_up(self, recorder: Recorder) -> None:
        """Load the counts and events of the earlier parts into a new recorder."""
        if self.trainer.start_epoch < 1:
            self.held = None  # a run that begins anew in the same folder
            return
        recorder.resumed.append(int(self.trainer.start_epoch))
        if self.held is None:
            recorder.epochs_unknown = int(self.trainer.start_epoch)
            return
        try:
            recorder.take_up(self.held["recorder"], int(self.trainer.start_epoch))
            recorder.beforehand = self.beforehand
        except DAMAGED as error:
            self.held, recorder.epochs_unknown = None, int(self.trainer.start_epoch)
            _log_on_rank_0(f"the state of the earlier part of this run cannot be taken up: {error}")

    def in_force(self, ladder: Ladder) -> None:
        """Restore what was in force: images left out, offences, a lower learning rate, clipping."""
        if self.held is None:
            return
        try:
            ladder.take_up(self.held["ladder"])
        except DAMAGED as error:
            _log_on_rank_0(f"what was in force in the earlier part of this run cannot be taken up: {error}")


DAMAGED = (ValueError, TypeError, KeyError, AttributeError, RecursionError)
"""What reading a file that is truncated or was written by something else may raise."""


def read_state(path: str | Path, row: str) -> Mapping[str, Any]:
    """Read a file that has `state_text`; `row` is the first one of the run's results.csv.

    Raises:
        OSError: it cannot be read.
        ValueError: it is damaged, or of another run.
    """
    path = Path(path)
    if path.stat().st_size > LARGEST_STATE:
        raise ValueError("it is too large")
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"it is damaged ({error})") from None
    if not isinstance(held, dict) or held.get("format") != STATE_FORMAT:
        raise ValueError("it is damaged, or of another version")
    if held.get("first_row") not in ("", row):
        raise ValueError("it is of another run, by the first row of results.csv")
    return held


def state_text(recorder: Recorder, ladder: Mapping[str, Any], row: str, beforehand: Mapping[str, Any]) -> str:
    """The state that a resumed run needs, as JSON; arguments as `Ladder.lasting` and `first_row` give them.

    `beforehand` are the images that were left out before the run, with the findings about them as dicts.
    """
    held = {"format": STATE_FORMAT, "first_row": row, "recorder": recorder.lasting(), "ladder": ladder}
    return json.dumps({**held, "beforehand": beforehand}) + "\n"


def first_row(results: str | Path) -> str:
    """The first row below the header of results.csv, by which runs in one folder differ; empty if there is none."""
    try:
        with open(results, encoding="utf-8", errors="replace") as stream:
            return [*(line.strip() for line, _ in zip(stream, range(2), strict=False)), "", ""][1]
    except OSError:
        return ""


def _log_on_rank_0(message: str) -> None:
    if int(os.getenv("RANK", "-1")) < 1:
        upstream.log(f"yolo-nanfix: {message}")
