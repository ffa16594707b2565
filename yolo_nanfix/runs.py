"""One training run: lint, quarantine, patch, guard, train."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yolo_nanfix import api, pages, run_listener, run_recipe, stopping, training, upstream
from yolo_nanfix.errors import GuardStop, NanfixError, RankLost, UsageError
from yolo_nanfix.findings import Report, Severity
from yolo_nanfix.finetune import recipe as recipes
from yolo_nanfix.health import State, state_of
from yolo_nanfix.overrides import Override, Overrides, What, unguarded_warning
from yolo_nanfix.report.words import printable
from yolo_nanfix.run_folder import summary as run_summary
from yolo_nanfix.run_folder.summary import REPORT_NAME, RunContext, known_beforehand, summarise

if TYPE_CHECKING:
    from yolo_nanfix.dataset.table import Table
    from yolo_nanfix.report.html.dataset_facts import Show

ON_FATAL = ("quarantine", "stop", "ignore")
LINTED = ("detect", "segment", "pose", "obb", "classify")


@dataclass(frozen=True)
class Run:
    """The result of a run.

    Attributes:
        outcome: finished, stopped (by the guard or by `on_fatal="stop"`), interrupted (by a signal that the command
            line handles; otherwise a KeyboardInterrupt is raised) or dry-run.
        healthy: whether its state is `healthy`.
        reasons: why it is not healthy, or why it was stopped.
        summary: the content of `yolo-nanfix.json` in the run folder.
    """

    outcome: str
    healthy: bool
    reasons: tuple[str, ...]
    summary: Mapping[str, Any]

    @property
    def state(self) -> State:
        """Healthy, degraded (it finished, but lost something that matters) or failed."""
        return State.HEALTHY if self.healthy else state_of(self.summary)

    @property
    def exit_code(self) -> int:
        """0 if healthy or degraded (or a dry run that would train), else 1; after a signal 128 plus its number."""
        if self.outcome == "interrupted":
            return stopping.exit_code(str(self.summary.get("signal")))
        return 1 if self.state is State.FAILED else 0

    def _repr_html_(self) -> str:
        """The outcome, the figures, what to do, and where the page is, for a notebook."""
        from yolo_nanfix.report.html import run_page

        return run_page.notebook(self.summary)


def train(
    data: str | Path,
    *,
    on_fatal: str = "quarantine",
    dry_run: bool = False,
    guard: Mapping[str, Any] | None = None,
    follow_links: bool = False,
    trust_dataset_settings: bool = False,
    progress: api.Progress | None = None,
    recipe: str | Path | None = None,
    **arguments: Any,
) -> Run:
    """Lint, patch, guard and train; what `yolo-nanfix train` runs.

    Args:
        data: data.yaml, as for `lint`.
        on_fatal: what to do with images that have fatal findings: `quarantine` leaves them out of this run,
            `stop` does not train, `ignore` trains on them under the guard.
        dry_run: stop before training; the result has what would be done.
        guard: settings of the guard.
        follow_links: the page of the run also shows images that links or lists name outside of the dataset's folders.
        trust_dataset_settings: treat settings files that came with the dataset as your own; else they neither let
            images with fatal findings into the run, nor have an effect on guard and patches.
        progress: as for `lint`.
        recipe: the name or the file of a recipe, or a `plan.yaml`; your own arguments win over what it says. A resumed
            run follows the recipe that it was begun with.
        arguments: Ultralytics' training arguments (`model`, `epochs`, `imgsz`, ...).

    Returns:
        The result of the run, also if the guard stopped it.

    Raises:
        UsageError: an argument, the model or the dataset cannot be used; nothing was written.
    """
    from yolo_nanfix.guard.guard_settings import GuardSettings

    if on_fatal not in ON_FATAL:
        raise UsageError(f"on_fatal must be one of {', '.join(ON_FATAL)}, not {on_fatal!r}")
    settings = dict(guard or {})
    GuardSettings.from_mapping(settings)
    context = RunContext(on_fatal=on_fatal)
    chosen = None if recipe is None else recipes.find(recipe)
    arguments = run_recipe.with_plan(chosen, arguments)
    trust = {"data": data, "trust_dataset_settings": trust_dataset_settings}
    with api.prepared(**trust):  # before anything imports ultralytics
        model = _model(data, arguments)
        settled, arguments = run_recipe.settle(chosen, model, data, arguments)
        context.recipe = run_recipe.facts_of(settled, recipe)
        one_class = bool(arguments.get("single_cls"))
        data, stop = _linted(context, model.task, data, progress, one_class=one_class, trust=trust_dataset_settings)
        context.show = None if stop or dry_run or context.lint is None else _pictures(context.lint, follow_links)
        with api.patched(enable=run_recipe.patches(chosen), **trust, **settings) as status:
            _log_settings(status.settings, status.guard_off)
            run_recipe.check_images(chosen, context.left)
            run_recipe.announce(context.recipe)
            if stop or dry_run:
                outcome = "stopped" if stop else "dry-run"
                return Run(outcome, not stop, stop, summarise(context, status.as_dict(), outcome, stop))
            with run_recipe.applied(settled, context.recipe):
                return _train(model, data, context, arguments, guarded=status.guard is not None)


def _log_settings(overrides: Overrides, guard_off: str | None = None) -> None:
    """Log the settings in force, as a warning if they switch something off."""
    if guard_off:
        upstream.log(f"yolo-nanfix: {unguarded_warning(guard_off)}")
    for line in overrides.lines():
        upstream.log(f"yolo-nanfix: {printable(line)}", good_news=not overrides.switch_off)


def _model(data: str | Path, arguments: Mapping[str, Any]) -> Any:
    """Load the model, which may download it; arguments and data.yaml are checked first."""
    from yolo_nanfix.dataset.config import read_config
    from yolo_nanfix.linting import request

    training.check_arguments({**arguments, "data": str(data)})
    if Path(data).suffix in (".yaml", ".yml"):
        read_config(data)
        request.selection(data)
    return training.load_model(arguments.get("model"), arguments.get("task"))


def _linted(
    context: RunContext,
    task: str,
    data: str | Path,
    progress: api.Progress | None,
    *,
    one_class: bool,
    trust: bool,
) -> tuple[str | Path, tuple[str, ...]]:
    """Lint the dataset and fill in the context.

    Returns:
        The dataset to train on, and the reasons why the run must not start.
    """
    from yolo_nanfix.linting import request
    from yolo_nanfix.report import run_text

    if task not in LINTED:
        context.not_linted = f"lint has no rules for the task {task}"
    elif task == "classify" and not _on_disk(data):
        context.not_linted = f"'{data}' is not unpacked on this disk yet"
    else:
        studied: list[Table] = []
        report = api.lint(data, task=task, settings=False, progress=progress, study=studied.append)
        context.lint = request.for_training(report, data, trust=trust)
        _log_settings(context.lint.overrides)
        stop = _decide(context, context.lint)
        stop += () if one_class else _left(context, studied)  # with one class, no class number is too large
        for line, good in run_text.beforehand(context.lint, context.left):
            upstream.log(f"yolo-nanfix: {line}", good_news=good)
        return context.lint.data, stop
    upstream.log(f"yolo-nanfix: the dataset is not linted: {context.not_linted}")
    return data, ()


def _on_disk(data: str | Path) -> bool:
    """Whether class folders exist: Ultralytics also accepts archives, addresses and names that it downloads."""
    from yolo_nanfix.dataset.find_yaml import datasets_dir

    return Path(data).is_dir() or (datasets_dir() / data).is_dir()


def _pictures(report: Report, follow_links: bool) -> Show | None:
    """What the page of the run will show of its dataset; read before training, while it is cached and no GPU waits."""
    try:
        return pages.show(report, follow_links=follow_links)
    except Exception as problem:  # training does not need the page
        upstream.log(f"yolo-nanfix: pictures of the dataset could not be made: {type(problem).__name__}: {problem}")
        return None


def _decide(context: RunContext, report: Report) -> tuple[str, ...]:
    """Fill in the quarantined images; returns the reasons why the run must not start."""
    if context.on_fatal == "ignore":
        images = report.fatal_images()
        codes = tuple(sorted({finding.code for found in images.values() for finding in found}))
        trained = Override(What.FATAL_TRAINED, "", "on_fatal", codes, "ignore", len(images))
        context.overrides = Overrides(changes=(trained,)) if images else context.overrides
        return ()
    fatal = [f for f in report.findings if f.severity is Severity.FATAL]
    if context.on_fatal == "stop":
        return tuple(f"{f.place}: {f.code} {f.message}" for f in fatal)
    stop = tuple(f"{f.place}: {f.code} {f.message}" for f in fatal if f.image is None)
    context.quarantined = {} if stop else report.fatal_images()
    return stop


def _left(context: RunContext, studied: list[Table]) -> tuple[str, ...]:
    """Fill in the remaining images of each split; returns the reasons why the run cannot start."""
    from yolo_nanfix.dataset.fates import left
    from yolo_nanfix.report import run_text

    for one in studied:
        if not one.where:  # not annotations, which Ultralytics' converter reads
            context.left = dict(left(one, context.quarantined.keys()))
    gone = [(s, n) for s, n in context.left.items() if s in ("train", "val") and n["aside"] and not n["kept"]]
    return tuple(run_text.nothing_left(split, numbers) for split, numbers in gone)


def _of_workers(model: Any, context: RunContext, since: float = 0.0, code: int = 0) -> dict[str, Any]:
    """The report of a run in processes that Ultralytics started, completed by what this process knows.

    If the launcher failed with `code`, and none of the processes wrote a report after `since`, this one writes it.
    """
    trainer = getattr(model, "trainer", None)
    if trainer is None:
        return {}
    folder = Path(trainer.save_dir)
    with stopping.later():
        if report := run_summary.written_since(folder, since):
            context.recipe["happened"] = run_recipe.happened_in(folder)
            report |= known_beforehand(context)
            report["settings"] = (Overrides.from_dict(report["settings"]) + context.overrides).as_dict()
            if report["outcome"] == "interrupted" and (signalled := stopping.received()) is not None:  # and passed on
                report["signal"] = signalled.signal
            run_listener.save(folder, report, context)
            return report
        return report_without_ranks(folder, code, context, api.status().as_dict()) if code else {}


def report_without_ranks(folder: Path, code: int, context: RunContext, force: Mapping[str, Any]) -> dict[str, Any]:
    """Write the report of a run whose ranks could not: only the exit code of the launcher is known.

    `force` is what is in force, as `Status.as_dict()`.
    """
    last = folder / "weights" / "last.pt"
    kept = f"the last whole epoch is in {last}" if last.is_file() else "no epoch was saved yet"
    how = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
    reason, outcome = f"the launcher of the processes {how}, and none of them could say why; {kept}", "failed"
    signalled = stopping.received()
    if signalled is not None:
        reason, outcome = f"{signalled}; {kept}", "interrupted"
    report = summarise(context, force, outcome, (reason,), State.FAILED)
    report["signal"] = signalled.signal if signalled is not None else None
    report["ranks"] = {"processes": 0, "lost": []}
    report["paths"] = {"save_dir": str(folder), "report": str(folder / REPORT_NAME)}
    if folder.is_dir():
        run_listener.save(folder, report, context)
    return report


def error_of(report: Mapping[str, Any]) -> BaseException:
    """The exception for a failed distributed run that the guard did not stop."""
    from yolo_nanfix.guard.lost_ranks import LostRank

    reasons = "; ".join(map(str, report["reasons"]))
    if report["outcome"] == "interrupted":
        return KeyboardInterrupt(reasons)
    lost = [LostRank.from_dict(one) for one in report.get("ranks", {}).get("lost", ())]
    return RankLost("; ".join(map(str, lost))) if lost else NanfixError(reasons)


def _start_unguarded(model: Any, arguments: Mapping[str, Any]) -> None:
    """Train without guard, and write the report, which has no counts of the guard."""
    from yolo_nanfix.guard.recorder import Recorder
    from yolo_nanfix.patching import tally

    recorder = Recorder()
    try:
        training.start(model, arguments)
        recorder.finished = True
    finally:
        if (trainer := getattr(model, "trainer", None)) is not None:
            recorder.pretrained = run_listener.pretrained(trainer)
            with stopping.later():
                run_listener.write_report(trainer, recorder, api.status().as_dict(), {})
            tally.clear()


def _train(model: Any, data: str | Path, context: RunContext, arguments: Mapping[str, Any], *, guarded: bool) -> Run:
    from yolo_nanfix.guard.quarantine import leave_out

    token = run_summary.current.set(context)
    stopped: tuple[str, ...] = ()
    began = time.time()
    try:
        with leave_out(context.quarantined), stopping.passed_on(_to_launcher):
            start = training.start if guarded else _start_unguarded
            start(model, {**arguments, "data": str(data)})
    except GuardStop as error:
        stopped = (str(error),)
    except subprocess.CalledProcessError as failed:  # of the launcher: the report of its processes has the reason
        context.summary = told = _of_workers(model, context, began, failed.returncode)
        if stopping.received() is None and told.get("outcome") != "stopped":
            raise error_of(told) if told else failed from failed
    except (stopping.Stopped, Exception):  # a signal to all processes may show as an error first
        if stopping.received() is None or context.summary is None:
            raise
    finally:
        run_summary.current.reset(token)
    summary = context.summary or _of_workers(model, context)
    if not summary and (signalled := stopping.received()) is not None:
        raise signalled
    if not stopped and summary.get("outcome") == "stopped":
        stopped = tuple(summary["reasons"])
    reasons = stopped or tuple(summary.get("reasons", ()))
    outcome = "interrupted" if summary.get("signal") else "stopped" if stopped else "finished"
    return Run(outcome, not reasons, reasons, summary)


def _to_launcher(number: int) -> bool:
    """Forward a signal to the launcher of a distributed run, which forwards it to each process; False if none runs."""
    import psutil

    passed = False
    for child in psutil.Process().children():
        with suppress(psutil.Error):
            if any("torch.distributed" in word for word in child.cmdline()):
                child.send_signal(number)
                passed = True
    return passed
