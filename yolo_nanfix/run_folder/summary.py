"""`yolo-nanfix.json`: the report of a training run, written into its folder however the run ended, and read back."""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from yolo_nanfix import files, upstream
from yolo_nanfix._version import __version__
from yolo_nanfix.findings import Finding, Report
from yolo_nanfix.health import State
from yolo_nanfix.overrides import NO_OVERRIDES, Overrides
from yolo_nanfix.run_folder import own_mark

REPORT_NAME = "yolo-nanfix.json"
"""The report in a run folder."""
PAGE_NAME = "yolo-nanfix.html"
"""The page in a run folder."""
CLOCK_SLACK = 2.0
"""Seconds by which the clocks of this machine and of the file system may differ."""


@dataclass
class RunContext:
    """What is known of the current run besides its trainer; `summary` is set when the run ends.

    Attributes:
        lint: the lint report before the run; None if it was not linted, and `not_linted` says why.
        left: by split how many images are kept, dropped, left out.
        show: what its page shows of the dataset besides (a `dataset_facts.Show`); None if nothing.
        on_fatal: the option for images with fatal findings.
        quarantined: the images left out of the run beforehand, with the findings about them.
        summary: what `yolo-nanfix.json` holds.
        overrides: what settings and the call change.
        recipe: its `name`, the `changes` that it makes, and what `happened` on its schedule; empty without recipe.
    """

    lint: Report | None = None
    not_linted: str = ""
    left: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    show: Any = None
    on_fatal: str = "ignore"
    quarantined: Mapping[str, tuple[Finding, ...]] = field(default_factory=dict)
    summary: dict[str, Any] | None = None
    overrides: Overrides = NO_OVERRIDES
    recipe: dict[str, Any] = field(default_factory=dict)


current: ContextVar[RunContext | None] = ContextVar("yolo_nanfix_run", default=None)
"""The context of the run that `yolo_nanfix.train` has started; None for a run that Ultralytics started."""


def summarise(
    context: RunContext, force: Mapping[str, Any], outcome: str, reasons: tuple[str, ...], state: State | None = None
) -> dict[str, Any]:
    """The part of the report that needs no trainer.

    Args:
        context: the run.
        force: the active patches and guard, from `Status.as_dict()`.
        outcome: how it ended: finished, stopped, failed, interrupted or dry-run.
        reasons: why it is not healthy.
        state: its state; by default failed if there are reasons, else healthy.
    """
    state = state or (State.FAILED if reasons else State.HEALTHY)
    return {
        "yolo_nanfix": __version__,
        "outcome": outcome,
        "signal": None,
        "state": state.value,
        "healthy": state is State.HEALTHY,
        "reasons": list(reasons),
        "lost": [],
        "environment": {
            "python": platform.python_version(),
            "platform": platform.platform(),
            "torch": sys.modules["torch"].__version__,
            "ultralytics": force["ultralytics"],
        },
        "patches": force["patches"],
        **known_beforehand(context),
        "settings": (Overrides.from_dict(force["settings"]) + context.overrides).as_dict(),
        "guard": {"settings": force["guard"], "off": _off(force)},
    }


def known_beforehand(context: RunContext) -> dict[str, Any]:
    """The part of the report that the linting process knows before the run."""
    return {
        "on_fatal": context.on_fatal,
        "quarantined": {image: [f.as_dict() for f in found] for image, found in context.quarantined.items()},
        "lint": context.lint.as_dict() if context.lint else None,
        "not_linted": context.not_linted,
        "left": {split: dict(numbers) for split, numbers in context.left.items()},
        "recipe": context.recipe if context.recipe.get("name") else None,
    }


def _off(force: Mapping[str, Any]) -> str:
    """What switched the guard off; empty if it is on."""
    if force["guard"] is not None:
        return ""
    refused = force.get("guard_refused")
    return force.get("guard_off") or (f"refused: {refused}" if refused else "")


def write_summary(folder: Path, summary: dict[str, Any], *, page: bool = True) -> bool:
    """Write the report into a run folder; returns whether that worked, and only logs a failure: the run counts.

    The report is marked, so that its page can later be drawn again with pictures of the dataset. If there is a `page`,
    it is added to the paths.
    """
    if lint := summary["lint"]:
        summary["own"] = own_mark.mark(str(folder.resolve()), lint["data"], lint["given_root"])
    if page:
        summary["paths"]["page"] = str(folder / PAGE_NAME)
    else:
        summary["paths"].pop("page", None)
    try:
        files.write_json(folder / REPORT_NAME, summary)
    except OSError as problem:
        upstream.log(f"yolo-nanfix: the report could not be written: {problem}")
        summary["paths"].pop("page", None)
        return False
    return True


def written_since(folder: Path, since: float = 0.0) -> dict[str, Any]:
    """The report that another process wrote into a run folder `since` a time (seconds since the epoch); else empty."""
    path = folder / REPORT_NAME
    if not path.is_file() or path.stat().st_mtime < since - CLOCK_SLACK:
        return {}
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return {}
    return summary if isinstance(summary, dict) else {}


def given_arguments(trainer: Any) -> dict[str, Any]:
    """The training arguments that differ from the defaults of the installed release."""
    defaults = upstream.default_arguments()
    given = {k: v for k, v in vars(trainer.args).items() if k not in defaults or defaults[k] != v}
    return {k: v if isinstance(v, (str, int, float, list, type(None))) else str(v) for k, v in given.items()}
