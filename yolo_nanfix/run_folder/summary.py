"""What `yolo-nanfix.json` holds: how one training run went, written into its folder however it ended."""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from yolo_nanfix import stopping, upstream
from yolo_nanfix._version import __version__
from yolo_nanfix.errors import GuardStop
from yolo_nanfix.findings import Finding, Report
from yolo_nanfix.guard.guard_settings import GuardSettings
from yolo_nanfix.guard.recorder import INCIDENTS, Recorder
from yolo_nanfix.health import Kind, State, judge, state_of
from yolo_nanfix.overrides import NOTHING, Overrides
from yolo_nanfix.report import health_text
from yolo_nanfix.report.html import write
from yolo_nanfix.report.html.dataset_facts import Show
from yolo_nanfix.report.jsonout import PAGE_NAME, REPORT_NAME, write_json
from yolo_nanfix.run_folder import figures, own_mark
from yolo_nanfix.run_folder.steps import STEPS_NAME


@dataclass
class RunContext:
    """What is known of the current run besides its trainer; `summary` is filled when the run ends."""

    lint: Report | None = None
    not_linted: str = ""
    left: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    show: Show | None = None
    on_fatal: str = "ignore"
    quarantined: Mapping[str, tuple[Finding, ...]] = field(default_factory=dict)
    summary: dict[str, Any] | None = None
    overrides: Overrides = NOTHING


current: ContextVar[RunContext | None] = ContextVar("yolo_nanfix_run", default=None)
"""The context of the run that `yolo_nanfix.train` has under way; None for a run that Ultralytics started."""


def write_report(trainer: Any, recorder: Recorder, force: Mapping[str, Any], trackers: Mapping[str, Any]) -> None:
    """Write the report of a run; called when its trainer tears down.

    Args:
        trainer: the trainer; if it did not finish, the exception in flight tells the outcome.
        recorder: what the guard recorded.
        force: the patches and guard in force, as `Status.as_dict()` gives them.
        trackers: what each tracker was given.
    """
    signalled = stopping.received()
    error = None if recorder.finished else recorder.processes.cut_short or signalled or sys.exc_info()[1]
    context = current.get() or RunContext()
    context.quarantined = {**recorder.beforehand, **context.quarantined}
    outcome = "finished" if error is None else "stopped" if isinstance(error, GuardStop) else "failed"
    outcome = "interrupted" if isinstance(error, KeyboardInterrupt) else outcome
    health = judge(figures.figures(trainer, recorder, context.quarantined, finished=error is None))
    lost = [one.as_dict() for one in health.lost]
    if error is None:
        summary = summarise(context, force, outcome, health_text.reasons(lost), health.state)
    else:
        summary = summarise(context, force, outcome, (str(error) or type(error).__name__,), State.FAILED)
    summary["signal"] = error.signal if isinstance(error, stopping.Stopped) else None
    summary["lost"] = lost
    summary["guard"] |= recorder.as_dict()
    summary["guard"]["changed"] = _changed(summary["guard"]["settings"] or {})
    summary["ranks"] = {
        "processes": recorder.processes.count,
        "lost": [one.as_dict() for one in recorder.processes.lost],
    }
    summary["trackers"] = dict(trackers)
    summary["arguments"] = _arguments(trainer)
    summary["metrics"] = {k: float(v) for k, v in (trainer.metrics or {}).items()}
    incidents = Path(trainer.save_dir) / INCIDENTS
    for event in summary["guard"]["events"]:  # the oldest incidents made room for newer ones
        for one in (event, *event["ranks"]):
            one["incident"] = one["incident"] if (incidents / one["incident"]).is_file() else ""
    paths = {
        "save_dir": trainer.save_dir,
        "incidents": incidents,
        "last": trainer.last,
        "best": trainer.best,
        "results": trainer.csv,
        "steps": Path(trainer.save_dir) / STEPS_NAME,
    }
    summary["paths"] = {name: str(path) for name, path in paths.items() if Path(path).exists()}
    context.summary = summary
    path = Path(trainer.save_dir) / REPORT_NAME
    summary["paths"]["report"] = str(path)
    save(path, summary, context.show)
    if current.get() is None:  # trained by Ultralytics' own means after patch(): say in its log how it went
        told = ", ".join(_end(summary, recorder))
        upstream.log(
            f"yolo-nanfix: run {outcome}, {told}; report: {summary['paths'].get('page', path)}",
            good_news=summary["healthy"],
        )


def wait_for_signal(trainer: Any) -> None:
    """Where loader workers died of a signal, it was sent to all processes of the run: it comes here, too."""
    loaders = (getattr(trainer, name, None) for name in ("train_loader", "test_loader"))
    workers = [w for loader in loaders for w in getattr(getattr(loader, "iterator", None), "_workers", ())]
    if any(worker.exitcode in {-number for number in stopping.SIGNALS} for worker in workers):
        stopping.wait(1.0)


def _end(summary: Mapping[str, Any], recorder: Recorder) -> list[str]:
    """How a run ended, in short: its state unless it is healthy, and what was lost."""
    state = state_of(summary)
    told = [] if state is State.HEALTHY or summary["outcome"] != "finished" else [state.value]
    told.append(f"{recorder.dropped} of {recorder.micro_batches} micro-batches dropped")
    return told + health_text.phrases(summary, (Kind.MICRO_BATCHES, Kind.STEPS_REFUSED))


def save(path: Path, summary: dict[str, Any], show: Show | None) -> None:
    """Write the report, which names the page of the run among its paths, then draw that page."""
    if summary["lint"]:  # so that the page can be drawn again with pictures of this dataset
        folder = str(path.parent.resolve())
        summary["own"] = own_mark.mark(folder, summary["lint"]["data"], summary["lint"]["given_root"])
    summary["paths"]["page"] = str(path.parent / PAGE_NAME)
    if not _written(path, summary):
        del summary["paths"]["page"]
    elif not write.at_the_end(path.parent, show):
        del summary["paths"]["page"]
        _written(path, summary)


def _written(path: Path, summary: Mapping[str, Any]) -> bool:
    """Write the report at the end of a run, whose own outcome must not be hidden if this fails."""
    try:
        write_json(path, summary)
    except OSError as problem:
        upstream.log(f"yolo-nanfix: the report could not be written: {problem}")
        return False
    return True


def _arguments(trainer: Any) -> dict[str, Any]:
    """The training arguments that are not as the installed release has them by default."""
    defaults = upstream.default_arguments()
    given = {k: v for k, v in vars(trainer.args).items() if k not in defaults or defaults[k] != v}
    return {k: v if isinstance(v, (str, int, float, list, type(None))) else str(v) for k, v in given.items()}


def _off(force: Mapping[str, Any]) -> str:
    """What switched the guard off; empty where it is on."""
    if force["guard"] is not None:
        return ""
    refused = force.get("guard_refused")
    return force.get("guard_off") or (f"refused: {refused}" if refused else "")


def _changed(settings: Mapping[str, Any]) -> list[str]:
    """The names of the guard's settings that are not at their defaults."""
    defaults = vars(GuardSettings())
    return [name for name, value in settings.items() if defaults.get(name) != value]


def summarise(
    context: RunContext, force: Mapping[str, Any], outcome: str, reasons: tuple[str, ...], state: State | None = None
) -> dict[str, Any]:
    """The part of the report that does not need a trainer; without a state, reasons mean that it failed."""
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
        "on_fatal": context.on_fatal,
        "quarantined": {image: [f.as_dict() for f in found] for image, found in context.quarantined.items()},
        "lint": context.lint.as_dict() if context.lint else None,
        "not_linted": context.not_linted,
        "left": {split: dict(numbers) for split, numbers in context.left.items()},
        "settings": (Overrides.from_dict(force["settings"]) + context.overrides).as_dict(),
        "guard": {"settings": force["guard"], "off": _off(force)},
    }
