"""Keeps count of the samples that could not be made in a run: names each, sees it come back, stops when many fail."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from yolo_nanfix.errors import TooManyUnreadable
from yolo_nanfix.events import Action, Check, Did, Point, Source
from yolo_nanfix.guard import sample_sources
from yolo_nanfix.guard.fault_handling import Faults
from yolo_nanfix.guard.sample_sources import Composed, Failure


@dataclass(frozen=True)
class Limits:
    """When samples that cannot be made end the run.

    Attributes:
        share: of the set's images. With a quarter of them gone, what is learned from is not what was chosen any more;
            single files and folders that go missing lie far below it, a drive or a share that is gone far above.
        least: images, however small the set is: one file more or less is no reason in a set of ten.
        in_a_row: samples without one in between that could be read. Nothing comes any more: the drive is gone, or code
            raises at each sample. It is met long before a quarter of a large set.
    """

    share: float = 0.25
    least: int = 5
    in_a_row: int = 50


LIMITS = Limits()
SAID = "could not be read"


class Unreadable:
    """The samples of one set that could not be made so far.

    Attributes:
        epochs: for each file that could not be read when it was last asked for, in how many epochs that was so.
    """

    def __init__(self, point: Point, loader: Any, faults: Faults) -> None:
        """Nothing has failed yet; `loader` gives the batches of the set."""
        self.point, self.faults = point, faults
        self.size = _length(getattr(loader, "dataset", ()))
        self.record = faults.run.recorder
        self.epochs: dict[str, int] = {}
        self.in_a_row = 0
        self._last: dict[str, int] = {}

    @property
    def errors(self) -> dict[str, str]:
        """The last error of each file that ever failed, in either set."""
        return self.record.unreadable

    def look(self, names: Sequence[Any], epoch: int) -> list[int]:
        """Tell of what failed in a batch, and of what came back.

        Returns:
            The places at which another sample stands in.

        Raises:
            GuardStop: too many fail.
        """
        if not self.epochs and not any(isinstance(name, Composed) and name.failures for name in names):
            self.in_a_row = 0
            return []
        out = []
        for place, name in enumerate(names):
            if isinstance(name, Composed):
                for failure in name.failures:
                    self._failed(failure, epoch, mixed=not name.stands_in)
                if name.stands_in:
                    out.append(place)
            self.in_a_row = self.in_a_row + 1 if place in out[-1:] else 0
            self._stop_where_many_fail()
            if self.epochs and place not in out[-1:]:
                self._came_back([str(name), *sample_sources.parents(name)])
        self.record.unreadable_samples += len(out)
        return out

    def _failed(self, failure: Failure, epoch: int, *, mixed: bool) -> None:
        file, seen = failure.file, self._last.get(failure.file) == epoch
        self._last[file] = epoch
        self.errors[file] = failure.error
        if not failure.overcome:
            self.epochs[file] = self.epochs.get(file, 0) + (not seen)
        if seen:
            return
        did = Did.REPLACED_IN_MIX if mixed else Did.SAMPLES_LEFT_OUT
        says = f"{SAID}: {{error}}"
        if failure.overcome:
            says, did = f"{SAID} at first: {{error}}", Did.READ_AGAIN
        files = (Source(file, SAID),)
        self.faults.note(self.point, Check.SAMPLES, says, {"error": failure.error}, Action(did), files=files)

    def _came_back(self, files: Sequence[str]) -> None:
        for file in files:
            if self.epochs.pop(file, None) is not None:
                del self._last[file]
                done = Action(Did.CAME_BACK)
                self.faults.note(self.point, Check.SAMPLES, "can be read again", {}, done, files=(Source(file),))

    def _stop_where_many_fail(self) -> None:
        many = bool(self.size) and len(self.epochs) > max(LIMITS.least, LIMITS.share * self.size)
        if not many and self.in_a_row < LIMITS.in_a_row:
            return
        file = next(reversed(self.epochs), "")
        what = (
            f"{len(self.epochs)} of {self.size} images cannot be read"
            if many
            else f"{self.in_a_row} samples in a row could not be read"
        )
        self.faults.stop(f"{what} (the last: {file}: {self.errors.get(file, '')})", None, TooManyUnreadable)


def _length(dataset: Any) -> int:
    """The number of samples of a set, 0 where it cannot say it, as one that is only gone through."""
    try:
        return len(dataset)
    except TypeError:
        return 0
