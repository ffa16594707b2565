"""Writes the outputs of a run: steps file, trackers and log lines while it trains, report and page when it ends."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from yolo_nanfix import files, pages, stopping, upstream
from yolo_nanfix.errors import DataError, GuardStop
from yolo_nanfix.events import Event
from yolo_nanfix.files import write_text
from yolo_nanfix.findings import Finding
from yolo_nanfix.guard import carry_over, sample_sources, snapshots
from yolo_nanfix.guard.guard_settings import GuardSettings
from yolo_nanfix.guard.listener import Listener, Pictures
from yolo_nanfix.guard.recorder import INCIDENTS, Recorder
from yolo_nanfix.guard.step_log import TOTALS
from yolo_nanfix.health import Figures, LossKind, State, judge, state_of
from yolo_nanfix.report import event_text, health_text
from yolo_nanfix.run_folder import csv_tables, summary
from yolo_nanfix.run_folder.csv_tables import STEPS_NAME, Table
from yolo_nanfix.run_folder.read import METRICS
from yolo_nanfix.run_folder.summary import REPORT_NAME, RunContext
from yolo_nanfix.trackers.feed import Feed, active
from yolo_nanfix.wording import many

Force = Callable[[], Mapping[str, Any]]


class RunListener(Listener):
    """The listener of one run."""

    def __init__(self, trainer: Any, recorder: Recorder, force: Force, done: Callable[[], None]) -> None:
        """Listen to a run that has not begun.

        `force` returns the patches and guard in force, as `Status.as_dict()`; `done` is called after the report was
        written.
        """
        self.trainer, self.recorder, self.force, self.done = trainer, recorder, force, done
        self.feed = Feed({})
        self._unwritable = self._handles = self._reported = False
        self._state = ""
        self._logged_counts = self._counts()

    def begins(self) -> None:
        """Find the trackers; a resumed run continues the steps file of its earlier part."""
        self._handles = stopping.begin_if_allowed()
        self._clear()
        self.feed = Feed(active(self.trainer))
        path = self._steps_file()
        if self.trainer.start_epoch < 1:
            self.recorder.pretrained = pretrained(self.trainer)
            for old in (path, self._state_file()):
                with suppress(OSError):
                    old.unlink()  # of another run in the same folder, as Ultralytics does with its results.csv
            return
        try:
            rows = self.recorder.step_log.go_on(csv_tables.read_steps(path), self.trainer.start_epoch)
            upstream.log(f"yolo-nanfix: {path} goes on after {rows} rows", good_news=True)
        except DataError as error:
            upstream.log(f"yolo-nanfix: the curves of this run begin where it was resumed: {error}")

    def _clear(self) -> None:
        """Remove temporary files of killed runs of this project."""
        here = Path(self.trainer.save_dir)
        try:
            runs = [here, *(path for path in here.parent.iterdir() if path != here and path.is_dir())]
        except OSError:
            runs = [here]
        for run in runs:
            for folder in (run, run / "weights", run / INCIDENTS):
                files.clear_leftovers(folder)

    def micro_batch(self) -> None:
        """Every so often, pass the latest readings to the trackers."""
        if self.feed.due(self.recorder.micro_batches):
            self._give_scalars()

    def event(self, event: Event, pictures: Pictures) -> None:
        """Log the event, save it for a resumed run, and pass it to the trackers, with images if it has an incident."""
        line = event_text.line(event)
        upstream.log(f"yolo-nanfix guard: {line}")
        self._write_state()
        if not self.feed.trackers:
            return
        where = f"epoch {event.epoch}" + (f", batch {event.batch}" if event.batch else "")
        if not self.feed.note(event.step, f"{where}: {_check_names(event)}", line):
            return
        for file, pixels in pictures() if event.incident else ():
            self.feed.picture(event.step, Path(file).name, pixels)
        self._give_scalars()

    def epoch_trained(self) -> None:
        """Write the steps file and the state, and pass the latest readings to the trackers."""
        self._write_steps()
        self._write_state()
        self._give_scalars()

    def about_to_save(self) -> None:
        """Save the state after validation: a killed run is resumed from the checkpoint that is written next."""
        self._write_state()

    def epoch_done(self) -> None:
        """Log what the guard did so far, if that changed; the progress bar of the epoch is closed by now."""
        self._write_state()
        counts = self._counts()
        if counts != self._logged_counts and self.trainer.args.verbose:
            upstream.log(f"yolo-nanfix guard: {self._so_far()}", good_news=True)
        self._logged_counts = counts

    def ends(self) -> None:
        """Write the steps file and the report, once; signals that come meanwhile are delayed.

        If a signal comes before that, and becomes an exception, this is to be called again.
        """
        _wait_for_signal(self.trainer)
        with stopping.later():
            if not self._reported:
                self._reported = True
                self._write_all()
        if self._handles:
            stopping.end()

    def _write_all(self) -> None:
        if self.recorder.micro_batches:
            self._write_steps()
        write_report(self.trainer, self.recorder, self.force(), self.feed.as_dict())
        if self.recorder.finished:
            with suppress(OSError):
                self._state_file().unlink()
        self.done()

    def ends_instead(self) -> None:
        """Write the report in place of rank 0, whose steps file and state stay as they are."""
        write_report(self.trainer, self.recorder, self.force(), {})

    def _counts(self) -> tuple[int, int, int]:
        """Counts that change with everything that the guard does."""
        recorder = self.recorder
        return recorder.dropped, len(recorder.quarantined), recorder.seen

    def _so_far(self) -> str:
        """What the guard did so far, in one line."""
        recorder = self.recorder
        parts = [f"{recorder.dropped} of {recorder.micro_batches} micro-batches dropped"]
        if recorder.quarantined:
            parts.append(f"{many(len(recorder.quarantined), 'image')} left out")
        if recorder.steps_undone:
            parts.append(f"{recorder.steps_undone} of {recorder.steps_taken} steps undone by rollbacks")
        if recorder.epochs_without_step:
            parts.append(f"{many(len(recorder.epochs_without_step), 'epoch')} without a step")
        if (last := recorder.last) is not None:
            batch = f" batch {last.batch}" if last.batch else ""
            parts.append(f"last: epoch {last.epoch}{batch} {_check_names(last)}")
        return ", ".join(parts)

    def _give_scalars(self) -> None:
        recorder = self.recorder
        values = {
            **{name: recorder.step_log.latest[name] for name in TOTALS if name in recorder.step_log.latest},
            "micro_batches": recorder.step,
            "dropped_micro_batches": recorder.dropped,
            "left_out_images": len(recorder.quarantined),
            "steps_skipped_by_grad_scaler": recorder.scaler_skips,
            "steps_refused": recorder.steps_refused,
            "steps_undone": recorder.steps_undone,
            "rollbacks": recorder.rollbacks,
            "spikes": recorder.spikes,
            "events": recorder.seen,
            **{f"events_{check}": count for check, count in recorder.counts.items()},
        }
        self.feed.scalars(values, recorder.step)

    def _steps_file(self) -> Path:
        return Path(self.trainer.save_dir) / STEPS_NAME

    def _state_file(self) -> Path:
        return Path(self.trainer.save_dir) / carry_over.STATE_NAME

    def _write_state(self) -> None:
        """Write the state for a resumed run, if it changed."""
        if self.recorder.in_force is None:
            return  # the state of the earlier part is not restored yet
        context = summary.current.get()
        found = {**self.recorder.beforehand, **(context.quarantined if context else {})}
        beforehand = {image: [f.as_dict() for f in findings] for image, findings in found.items()}
        row = carry_over.first_row(self.trainer.csv)
        text = carry_over.state_text(self.recorder, self.recorder.in_force(), row, beforehand)
        if text == self._state:
            return
        try:
            write_text(self._state_file(), text)
            self._state = text
        except OSError as problem:
            self._cannot_write("the state for a run that is resumed", problem)

    def _cannot_write(self, what: str, problem: OSError) -> None:
        if not self._unwritable:
            upstream.log(f"yolo-nanfix: {what} could not be written: {problem}")
        self._unwritable = True

    def _write_steps(self) -> None:
        try:
            write_text(self._steps_file(), self.recorder.step_log.text())
        except OSError as problem:
            self._cannot_write("the readings of the steps", problem)


def write_report(trainer: Any, recorder: Recorder, force: Mapping[str, Any], trackers: Mapping[str, Any]) -> None:
    """Write the report of a run and its page; called when its trainer tears down.

    If it did not finish, the exception in flight is the outcome. `force` is what `Status.as_dict()` gives.
    """
    signalled = stopping.received()
    error = None if recorder.finished else recorder.processes.cut_short or signalled or sys.exc_info()[1]
    context = summary.current.get() or RunContext()
    context.quarantined = {**recorder.beforehand, **context.quarantined}
    outcome = "finished" if error is None else "stopped" if isinstance(error, GuardStop) else "failed"
    outcome = "interrupted" if isinstance(error, KeyboardInterrupt) else outcome
    health = judge(figures(trainer, recorder, context.quarantined, finished=error is None))
    if error is None:
        report = summary.summarise(context, force, outcome, health_text.reasons(health.lost), health.state)
    else:
        report = summary.summarise(context, force, outcome, (str(error) or type(error).__name__,), State.FAILED)
    folder, defaults = Path(trainer.save_dir), vars(GuardSettings())
    report["signal"] = error.signal if isinstance(error, stopping.Stopped) else None
    report["lost"] = [one.as_dict() for one in health.lost]
    settings = report["guard"]["settings"] or {}
    report["guard"] |= recorder.as_dict()
    report["guard"]["changed"] = [name for name, value in settings.items() if defaults.get(name) != value]
    report["ranks"] = {
        "processes": recorder.processes.count,
        "lost": [one.as_dict() for one in recorder.processes.lost],
    }
    report["trackers"] = dict(trackers)
    report["arguments"] = summary.given_arguments(trainer)
    report["metrics"] = {k: float(v) for k, v in (trainer.metrics or {}).items()}
    for event in report["guard"]["events"]:  # the oldest incidents were removed for newer ones
        for one in (event, *event["ranks"]):
            one["incident"] = one["incident"] if (folder / INCIDENTS / one["incident"]).is_file() else ""
    paths = {
        "save_dir": trainer.save_dir,
        "incidents": folder / INCIDENTS,
        "last": trainer.last,
        "best": trainer.best,
        "results": trainer.csv,
        "steps": folder / STEPS_NAME,
    }
    report["paths"] = {name: str(path) for name, path in paths.items() if Path(path).exists()}
    report["paths"]["report"] = str(folder / REPORT_NAME)
    context.summary = report
    save(folder, report, context)
    if summary.current.get() is None:  # trained by Ultralytics itself after patch(): log the outcome
        state = state_of(report)
        phrases = [] if state is State.HEALTHY or outcome != "finished" else [state.value]
        phrases.append(f"{recorder.dropped} of {recorder.micro_batches} micro-batches dropped")
        phrases += health_text.phrases(health.lost, (LossKind.MICRO_BATCHES, LossKind.STEPS_REFUSED))
        where = report["paths"].get("page", folder / REPORT_NAME)
        upstream.log(f"yolo-nanfix: run {outcome}, {', '.join(phrases)}; report: {where}", good_news=report["healthy"])


def save(folder: Path, report: dict[str, Any], context: RunContext) -> None:
    """Write the report, with the page of the run among its paths, then the page."""
    if summary.write_summary(folder, report) and not pages.at_the_end(folder, context.show):
        summary.write_summary(folder, report, page=False)


def _wait_for_signal(trainer: Any) -> None:
    """If dataloader workers died of a signal, it was sent to all processes of the run: wait for it here."""
    loaders = (getattr(trainer, name, None) for name in ("train_loader", "test_loader"))
    workers = [w for loader in loaders for w in getattr(getattr(loader, "iterator", None), "_workers", ())]
    if any(worker.exitcode in {-number for number in stopping.SIGNALS} for worker in workers):
        stopping.wait(1.0)


def figures(
    trainer: Any, recorder: Recorder, beforehand: Mapping[str, Iterable[Finding]], *, finished: bool = True
) -> Figures:
    """The figures by which the health of a run is judged; `beforehand` are the images that were left out before it."""
    results = csv_tables.read_table(Path(trainer.csv)) if Path(trainer.csv).is_file() else Table()
    epochs = _last_rows(results)
    before = {image for image, found in beforehand.items() if any(f.split in (None, "train") for f in found)}
    out = before | set(recorder.quarantined)
    refused, validation = recorder.latest.get("checkpoint"), recorder.latest.get("val-loss")
    last = int(getattr(trainer, "epoch", trainer.start_epoch)) + 1
    by_epoch = _metric_by_epoch(results, epochs)
    best = Path(trainer.best)
    dataset = getattr(getattr(trainer, "train_loader", None), "dataset", ())
    return Figures(
        finished=finished,
        micro_batches=recorder.micro_batches,
        dropped=recorder.dropped,
        images=sample_sources.length(dataset) + len(out - set(recorder.quarantined)),
        left_out=len(out),
        samples=recorder.unreadable_samples + recorder.bad_samples,
        steps_taken=recorder.steps_taken,
        steps_refused=recorder.steps_refused,
        steps_undone=recorder.steps_undone,
        epochs=max(len(epochs), last if not epochs else 0),
        epochs_unknown=recorder.epochs_unknown,
        epochs_without_step=tuple(recorder.epochs_without_step),
        epochs_without_loss=_without_loss(results, epochs),
        checkpoints_refused=recorder.counts["checkpoint"],
        last_refused=refused is not None and refused.epoch == last,
        val_loss_finite=validation is None or validation.epoch != last,
        average_nan=len(recorder.ema_nan),
        metric=_metric(trainer),
        last_metric=by_epoch[-1] if by_epoch else None,
        best_metric=max(by_epoch) if by_epoch else None,
        pretrained=recorder.pretrained,
        start_weights=snapshots.unchanged(best, recorder.start) if finished and best.is_file() else None,
    )


def pretrained(trainer: Any) -> bool | None:
    """Whether a trainer starts from trained weights; None for a resumed run."""
    if trainer.start_epoch:
        return None
    return str(trainer.args.model).endswith(".pt") or isinstance(trainer.args.pretrained, (str, Path))


def _last_rows(results: Table) -> dict[int, int]:
    """The last row of each epoch; an epoch that was trained again after a resume has several."""
    numbers = results.column("epoch")
    if numbers is None:
        return {}
    return {int(number): row for row, number in enumerate(numbers) if np.isfinite(number)}


def _without_loss(results: Table, epochs: Mapping[int, int]) -> tuple[int, ...]:
    names = [name for name in results.columns if name.startswith("train/")]
    return tuple(
        epoch
        for epoch, row in epochs.items()
        if any(results.known[name][row] and not np.isfinite(results.columns[name][row]) for name in names)
    )


def _metric(trainer: Any) -> float | None:
    """The first of `METRICS` that the final model has; None if the validation set has no objects."""
    validator = getattr(trainer, "validator", None)
    for holder in (getattr(validator, "metrics", None), validator):
        targets = getattr(holder, "nt_per_class", None)
        if targets is not None and not np.asarray(targets).any():
            return None
    metrics = trainer.metrics or {}
    return next((float(metrics[key]) for key, _ in METRICS if key in metrics), None)


def _metric_by_epoch(results: Table, epochs: Mapping[int, int]) -> list[float]:
    """The first of `METRICS` in results.csv, for each epoch where it is finite."""
    for key, _ in METRICS:
        if (column := results.column(key)) is not None:
            return [float(column[row]) for row in epochs.values() if np.isfinite(column[row])]
    return []


def _check_names(event: Event) -> str:
    return ", ".join(check.value for check in event.checks)
