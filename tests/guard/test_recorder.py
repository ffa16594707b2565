"""The counts that say how much of a run was lost."""

from __future__ import annotations

from yolo_nanfix.events import Action, Check, Did, Event, Point
from yolo_nanfix.guard.recorder import Recorder


def event(*actions):
    return Event(Point.AFTER_LOSS, (Check.LOSS, Check.PIXELS), 1, 1, (), "loss not finite", {}, actions)


def test_steps_taken_refused_and_undone_are_counted_and_reported():
    recorder = Recorder()
    for _ in range(5):
        recorder.steps_taken += 1
    recorder.steps_refused += 1
    recorder.add(event(Action(Did.DROPPED, count=2), Action(Did.ROLLED_BACK, step=2, count=3)))
    recorder.add(event(Action(Did.ROLLED_BACK, step=2, count=0), Action(Did.QUARANTINED, images=("a.jpg",))))
    recorder.keep(event(Action(Did.DROPPED, count=1)), None)  # another rank's
    told = recorder.as_dict()
    assert (told["steps_taken"], told["steps_refused"]) == (5, 1)
    assert (told["rollbacks"], told["steps_undone"]) == (2, 3)
    assert (told["dropped_micro_batches"], told["quarantined"]) == (2, ["a.jpg"])
    assert told["events_by_check"] == {"loss": 3, "pixels": 3} and told["events_left_out"] == 0


def test_an_epoch_counts_as_lost_only_where_something_kept_it_from_stepping():
    """With a window longer than an epoch, epochs without a step are usual."""
    recorder = Recorder()

    def trained(epoch, micro_batches, dropped=0):
        recorder.micro_batches += micro_batches
        for _ in range(dropped):
            recorder.add(event(Action(Did.DROPPED, count=1)))
        recorder.epoch_over(epoch)

    recorder.steps_taken += 1
    trained(1, 4)
    trained(2, 4)  # the window is open still
    trained(3, 4, dropped=2)  # and goes on with what is left
    trained(4, 4, dropped=4)
    recorder.steps_refused += 1
    recorder.steps_taken += 1
    trained(5, 4, dropped=1)
    recorder.steps_refused += 1
    trained(6, 4, dropped=1)
    recorder.scaler_skips += 1
    trained(7, 4)
    assert recorder.as_dict()["epochs_without_step"] == [4, 6, 7]
