"""What a run tells while it goes and when it ends: its steps file, trackers, a line in the log, its report."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from yolo_nanfix import files, stopping, upstream
from yolo_nanfix.errors import DataError
from yolo_nanfix.events import Event
from yolo_nanfix.files import write_text
from yolo_nanfix.guard import carry_over
from yolo_nanfix.guard.listener import Audience, Pictures
from yolo_nanfix.guard.recorder import INCIDENTS, Recorder
from yolo_nanfix.guard.step_log import TOTALS
from yolo_nanfix.run_folder import figures, steps, summary
from yolo_nanfix.trackers.feed import Feed, active

Force = Callable[[], Mapping[str, Any]]


class Telling(Audience):
    """Tells of one run."""

    def __init__(self, trainer: Any, recorder: Recorder, force: Force, done: Callable[[], None]) -> None:
        """Nothing is told yet.

        Args:
            trainer: Ultralytics' trainer.
            recorder: what the guard recorded.
            force: gives the patches and guard in force, as `Status.as_dict()` has them.
            done: called once all is told.
        """
        self.trainer, self.recorder, self.force, self.done = trainer, recorder, force, done
        self.feed = Feed({})
        self._unwritable = self._handles = self._told = False
        self._state = ""
        self._said = self._counts()

    def begins(self) -> None:
        """Find the trackers; go on after the rows of an earlier part, where this run was resumed."""
        self._handles = stopping.begin_if_allowed()
        self._clear()
        self.feed = Feed(active(self.trainer))
        path = self._steps_file()
        if self.trainer.start_epoch < 1:
            self.recorder.pretrained = figures.pretrained(self.trainer)
            for old in (path, self._state_file()):
                with suppress(OSError):
                    old.unlink()  # of another run in the same folder, as Ultralytics does with its results.csv
            return
        try:
            rows = self.recorder.readings.go_on(steps.read(path), self.trainer.start_epoch)
            upstream.log(f"yolo-nanfix: {path} goes on after {rows} rows", good_news=True)
        except DataError as error:
            upstream.log(f"yolo-nanfix: the curves of this run begin where it was resumed: {error}")

    def _clear(self) -> None:
        """Remove what killed runs of this project were writing."""
        here = Path(self.trainer.save_dir)
        try:
            runs = [here, *(path for path in here.parent.iterdir() if path != here and path.is_dir())]
        except OSError:
            runs = [here]
        for run in runs:
            for folder in (run, run / "weights", run / INCIDENTS):
                files.clear(folder)

    def micro_batch(self) -> None:
        """Every so often the trackers are given what was read last."""
        if self.feed.due(self.recorder.micro_batches):
            self._give_scalars()

    def event(self, event: Event, pictures: Pictures) -> None:
        """Keep it for a resumed run; the trackers are given it, and the image if an incident file was written."""
        self._write_state()
        if not self.feed.trackers:
            return
        where = f"epoch {event.epoch}" + (f", batch {event.batch}" if event.batch else "")
        if not self.feed.note(event.step, f"{where}: {event.check}", str(event)):
            return
        for picture in pictures() if event.incident else ():
            self.feed.picture(event.step, Path(picture.file).name, picture.pixels)
        self._give_scalars()

    def epoch_trained(self) -> None:
        """Write the steps file and the state, and give the trackers what was read last."""
        self._write_steps()
        self._write_state()
        self._give_scalars()

    def about_to_save(self) -> None:
        """Keep what validation saw: a run that is killed now goes on from the checkpoint that is written next."""
        self._write_state()

    def epoch_done(self) -> None:
        """Say in the log how the guard stands, if that changed; the bar of the epoch is closed by now."""
        self._write_state()
        counts = self._counts()
        if counts != self._said and self.trainer.args.verbose:
            upstream.log(f"yolo-nanfix guard: {self._standing()}", good_news=True)
        self._said = counts

    def ends(self) -> None:
        """Write the steps file and the report, whole and once: a signal that comes meanwhile has its effect afterwards.

        Where one comes before that, and becomes an exception, this is to be called again.
        """
        summary.wait_for_signal(self.trainer)
        with stopping.later():
            if not self._told:
                self._told = True
                self._tell()
        if self._handles:
            stopping.end()

    def _tell(self) -> None:
        if self.recorder.micro_batches:
            self._write_steps()
        summary.write_report(self.trainer, self.recorder, self.force(), self.feed.as_dict())
        if self.recorder.finished:
            with suppress(OSError):
                self._state_file().unlink()
        self.done()

    def ends_instead(self) -> None:
        """Write the report with what this rank knows; the steps file and the state stay as rank 0 left them."""
        summary.write_report(self.trainer, self.recorder, self.force(), {})

    def _counts(self) -> tuple[int, int, int]:
        """The same as long as nothing happens."""
        recorder = self.recorder
        return recorder.dropped, len(recorder.quarantined), sum(recorder.counts.values())

    def _standing(self) -> str:
        """How the guard stands, in one line."""
        recorder = self.recorder
        parts = [f"{recorder.dropped} of {recorder.micro_batches} micro-batches dropped"]
        if recorder.quarantined:
            images = len(recorder.quarantined)
            parts.append(f"{images} image{'' if images == 1 else 's'} left out")
        if recorder.steps_undone:
            parts.append(f"{recorder.steps_undone} of {recorder.steps_taken} steps undone by rollbacks")
        if recorder.epochs_without_step:
            epochs = len(recorder.epochs_without_step)
            parts.append(f"{epochs} epoch{'' if epochs == 1 else 's'} without a step")
        if (last := recorder.last) is not None:
            batch = f" batch {last.batch}" if last.batch else ""
            parts.append(f"last: epoch {last.epoch}{batch} {last.check.replace('+', ', ')}")
        return ", ".join(parts)

    def _give_scalars(self) -> None:
        recorder = self.recorder
        counts = {f"events_{check.replace('+', '-')}": count for check, count in recorder.counts.items()}
        values = {
            **{name: recorder.readings.latest[name] for name in TOTALS if name in recorder.readings.latest},
            "micro_batches": recorder.step,
            "dropped_micro_batches": recorder.dropped,
            "left_out_images": len(recorder.quarantined),
            "steps_skipped_by_grad_scaler": recorder.scaler_skips,
            "steps_refused": recorder.steps_refused,
            "steps_undone": recorder.steps_undone,
            "rollbacks": recorder.rollbacks,
            "spikes": recorder.spikes,
            "events": sum(recorder.counts.values()),
            **counts,
        }
        self.feed.scalars(values, recorder.step)

    def _steps_file(self) -> Path:
        return Path(self.trainer.save_dir) / steps.STEPS_NAME

    def _state_file(self) -> Path:
        return Path(self.trainer.save_dir) / carry_over.STATE_NAME

    def _write_state(self) -> None:
        """Write what a resumed run has to know, if that changed."""
        if self.recorder.in_force is None:
            return  # what an earlier part left is not taken up yet
        context = summary.current.get()
        found = {**self.recorder.beforehand, **(context.quarantined if context else {})}
        beforehand = {image: [f.as_dict() for f in findings] for image, findings in found.items()}
        row = carry_over.first_row(self.trainer.csv)
        text = carry_over.text(self.recorder, self.recorder.in_force(), row, beforehand)
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
            write_text(self._steps_file(), self.recorder.readings.text())
        except OSError as problem:
            self._cannot_write("the readings of the steps", problem)
