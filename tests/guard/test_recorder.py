"""The counts that say how much of a run was lost."""

from __future__ import annotations

from yolo_nanfix.events import Event, Point
from yolo_nanfix.guard.recorder import Recorder

EVENT = Event(Point.AFTER_LOSS, "loss", 1, 1, (), "loss not finite", "dropped")


def test_steps_taken_refused_and_undone_are_counted_and_reported():
    recorder = Recorder()
    for _ in range(5):
        recorder.stepped()
    recorder.refused()
    recorder.rolled_back(3)
    recorder.rolled_back(0)
    told = recorder.as_dict()
    assert (told["steps_taken"], told["steps_refused"]) == (5, 1)
    assert (told["rollbacks"], told["steps_undone"]) == (2, 3)


def test_an_epoch_counts_as_lost_only_where_something_kept_it_from_stepping():
    """With a window longer than an epoch, epochs without a step are usual."""
    recorder = Recorder()

    def trained(epoch, micro_batches, dropped=0):
        recorder.micro_batches += micro_batches
        for _ in range(dropped):
            recorder.add(EVENT, dropped=1)
        recorder.epoch_over(epoch)

    recorder.stepped()
    trained(1, 4)
    trained(2, 4)  # the window is open still
    trained(3, 4, dropped=2)  # and goes on with what is left
    trained(4, 4, dropped=4)
    recorder.refused()
    recorder.stepped()
    trained(5, 4, dropped=1)
    recorder.refused()
    trained(6, 4, dropped=1)
    recorder.scaler_skips += 1
    trained(7, 4)
    assert recorder.as_dict()["epochs_without_step"] == [4, 6, 7]
