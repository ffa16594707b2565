"""One training run from lint to report: the long half of `api`, under the same import rule (it joins the wings)."""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yolo_nanfix import api, training, upstream
from yolo_nanfix._version import __version__
from yolo_nanfix.errors import GuardStop, UsageError
from yolo_nanfix.findings import Finding, Report, Severity

if TYPE_CHECKING:
    from yolo_nanfix.guard.recorder import Recorder

ON_FATAL = ("quarantine", "stop", "ignore")
REPORT_NAME = "yolo-nanfix.json"
LINTED = ("detect", "segment", "pose", "obb")


@dataclass(frozen=True)
class Run:
    """How a run ended.

    Attributes:
        outcome: finished, stopped (by the guard or by `on_fatal=stop`) or dry-run.
        healthy: it ended with finite weights, checkpoints and val losses.
        reasons: why it is not healthy, or why it was stopped.
        summary: what `yolo-nanfix.json` in the run folder holds.
    """

    outcome: str
    healthy: bool
    reasons: tuple[str, ...]
    summary: Mapping[str, Any]

    @property
    def exit_code(self) -> int:
        """0 for a healthy end (or a dry run that would train), else 1."""
        return 0 if self.healthy else 1


@dataclass
class _Context:
    """What the report of the current run knows besides the trainer; `summary` is filled when the run ends."""

    lint: Report | None = None
    on_fatal: str = "ignore"
    quarantined: Mapping[str, tuple[Finding, ...]] = field(default_factory=dict)
    summary: dict[str, Any] | None = None


_context: ContextVar[_Context | None] = ContextVar("yolo_nanfix_run", default=None)


def train(
    data: str | Path,
    on_fatal: str,
    dry_run: bool,
    guard: Mapping[str, Any],
    progress: Callable[[int, int, str], None] | None,
    arguments: Mapping[str, Any],
) -> Run:
    """See `api.train`."""
    from yolo_nanfix.guard.settings import GuardSettings
    from yolo_nanfix.linting.config import read_config

    if on_fatal not in ON_FATAL:
        raise UsageError(f"on_fatal must be one of {', '.join(ON_FATAL)}, not {on_fatal!r}")
    GuardSettings.from_mapping(guard)
    training.check({**arguments, "data": str(data)})
    if Path(data).suffix in (".yaml", ".yml"):
        read_config(data)  # before the model, which may have to be downloaded
    model = training.load_model(arguments.get("model"), arguments.get("task"))
    context = _Context(on_fatal=on_fatal)
    stop: tuple[str, ...] = ()
    if model.task in LINTED:
        context.lint = api.lint(data, task=model.task, progress=progress)
        data, stop = context.lint.data, _decide(context, context.lint)
    with api.patched(**guard) as status:
        if stop or dry_run:
            outcome = "stopped" if stop else "dry-run"
            return Run(outcome, not stop, stop, _summary(context, status, outcome, stop))
        return _train(model, data, context, arguments)


def _decide(context: _Context, report: Report) -> tuple[str, ...]:
    """Fill in what is quarantined; return why the run must not start, if so."""
    if context.on_fatal == "ignore":
        return ()
    fatal = [f for f in report.findings if f.severity is Severity.FATAL]
    if context.on_fatal == "stop":
        return tuple(f"{f.place}: {f.code} {f.message}" for f in fatal)
    context.quarantined = report.fatal_images()
    return tuple(f"{f.place}: {f.code} {f.message}" for f in fatal if f.image is None)


def _train(model: Any, data: str | Path, context: _Context, arguments: Mapping[str, Any]) -> Run:
    from yolo_nanfix.guard.quarantine import leave_out

    token = _context.set(context)
    stopped: tuple[str, ...] = ()
    try:
        with leave_out(context.quarantined):
            training.start(model, {**arguments, "data": str(data)})
    except GuardStop as error:
        stopped = (str(error),)
    finally:
        _context.reset(token)
    summary = context.summary or {}
    reasons = stopped or tuple(summary.get("reasons", ()))
    return Run("stopped" if stopped else "finished", not reasons, reasons, summary)


def write_report(trainer: Any, recorder: Recorder, status: api.Status) -> None:
    """Write `yolo-nanfix.json` into the run folder, however the run ended; called when the trainer tears down."""
    from yolo_nanfix.report.jsonout import write_json

    error = sys.exc_info()[1]
    context = _context.get() or _Context()
    outcome = "finished" if error is None else "stopped" if isinstance(error, GuardStop) else "failed"
    outcome = "interrupted" if isinstance(error, KeyboardInterrupt) else outcome
    reasons = _reasons(trainer, recorder) if error is None else (str(error) or type(error).__name__,)
    summary = _summary(context, status, outcome, reasons)
    summary["guard"] |= recorder.as_dict()
    summary["metrics"] = {k: float(v) for k, v in (trainer.metrics or {}).items()}
    paths = {"save_dir": trainer.save_dir, "last": trainer.last, "best": trainer.best, "results": trainer.csv}
    summary["paths"] = {name: str(path) for name, path in paths.items() if Path(path).exists()}
    context.summary = summary
    path = Path(trainer.save_dir) / REPORT_NAME
    summary["paths"]["report"] = str(path)
    try:
        write_json(path, summary)
    except OSError as problem:  # at the end of a run, whose own outcome must not be hidden by this
        upstream.log(f"yolo-nanfix: the report could not be written: {problem}")
    if _context.get() is None:  # trained by Ultralytics' own means after patch(): say in its log how it went
        dropped = f"{recorder.dropped} of {recorder.micro_batches} micro-batches dropped"
        upstream.log(f"yolo-nanfix: run {outcome}, {dropped}; report: {path}", good_news=summary["healthy"])


def _reasons(trainer: Any, recorder: Recorder) -> tuple[str, ...]:
    """Why a run that came to its end is not healthy."""
    reasons = []
    last = int(trainer.epoch) + 1
    reasons += [f"epoch {e.epoch}: {e.detail}" for e in recorder.events if e.check == "val-loss" and e.epoch == last]
    reasons += [
        f"checkpoint refused in epoch {e.epoch}: {e.detail}" for e in recorder.events if e.check == "checkpoint"
    ]
    if recorder.micro_batches and recorder.dropped == recorder.micro_batches:
        reasons.append("every micro-batch was dropped; nothing was learnt")
    return tuple(reasons)


def _summary(context: _Context, status: api.Status, outcome: str, reasons: tuple[str, ...]) -> dict[str, Any]:
    """The part of the report that does not need a trainer."""
    force = status.as_dict()
    return {
        "yolo_nanfix": __version__,
        "outcome": outcome,
        "healthy": not reasons,
        "reasons": list(reasons),
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
        "guard": {"settings": force["guard"]},
    }
