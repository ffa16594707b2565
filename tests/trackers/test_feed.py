"""Which trackers are given what, and when; and that one of them can neither stop nor change a training."""

from __future__ import annotations

import random
import sys
from types import ModuleType, SimpleNamespace

import lab
import numpy as np
import pytest

from yolo_nanfix.trackers import feed


class Diary:
    """A tracker that writes down what it takes, and may be closed or fail."""

    def __init__(self, *, ready=True, fails=()):
        self.open, self.fails, self.taken = ready, fails, []

    def target(self):
        return self if self.open else None

    def scalars(self, values, step):
        self._take("scalars", (dict(values), step))

    def note(self, *note):
        self._take("notes", note)

    def picture(self, *shown):
        self._take("pictures", shown)

    def _take(self, kind, what):
        random.random()
        np.random.rand()
        if kind in self.fails:
            raise ConnectionError("the server is gone")
        self.taken.append((kind, what))


def note(step):
    return (step, "epoch 1: loss", "nan")


def shown(step):
    return (step, "a.jpg", np.zeros((2, 2, 3), np.uint8))


def test_only_finite_numbers_are_given():
    diary = Diary()
    feed.Feed({"Diary": diary}).scalars({"a": 1.0, "b": float("nan"), "c": float("-inf"), "d": 2}, 7)
    assert diary.taken == [("scalars", ({"a": 1.0, "d": 2}, 7))]


def test_events_and_images_beyond_their_limits_are_not_given():
    diary = Diary()
    fed = feed.Feed({"Diary": diary})
    assert [fed.note(*note(i)) for i in range(60)] == [True] * feed.MOST_NOTES + [False] * (60 - feed.MOST_NOTES)
    for i in range(60):
        fed.picture(*shown(i))
    assert fed.as_dict() == {
        "Diary": {"scalars": 0, "notes": feed.MOST_NOTES, "pictures": feed.MOST_PICTURES, "left_out": ""}
    }


def test_scalars_are_due_each_so_many_micro_batches_but_not_too_often(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(feed, "monotonic", lambda: now[0])
    fed = feed.Feed({"Diary": Diary()})
    assert not fed.due(feed.EVERY)
    now[0] += feed.SECONDS
    assert fed.due(feed.EVERY) and not fed.due(feed.EVERY + 1)
    fed.scalars({}, 1)
    assert not fed.due(2 * feed.EVERY)
    now[0] += 1e6
    assert not feed.Feed({}).due(feed.EVERY)


@pytest.mark.parametrize("kind", feed.GIVEN)
def test_one_that_raises_is_left_out_and_the_others_are_not(kind):
    good, bad = Diary(), Diary(fails=(kind,))
    fed = feed.Feed({"Bad": bad, "Good": good})
    with lab.said() as messages:
        for i in range(3):
            fed.scalars({"a": 1.0}, i)
            fed.note(*note(i))
            fed.picture(*shown(i))
    assert len(good.taken) == 9
    assert len(bad.taken) == feed.GIVEN.index(kind)
    reason = "ConnectionError: the server is gone"
    (message,) = messages
    assert message.endswith(f"yolo-nanfix: Bad did not take the guard's readings: {reason}; it is left out")
    assert fed.as_dict()["Bad"]["left_out"] == reason


def test_one_that_is_closed_is_passed_over_and_not_reported():
    fed = feed.Feed({"Closed": Diary(ready=False)})
    fed.scalars({"a": 1.0}, 1)
    assert fed.as_dict() == {}


@pytest.mark.parametrize("fails", [(), ("scalars",)], ids=("takes", "fails"))
def test_random_numbers_stay_those_of_the_run(fails):
    random.seed(5)
    np.random.seed(5)
    wanted = random.random(), np.random.rand()
    random.seed(5)
    np.random.seed(5)
    feed.Feed({"Diary": Diary(fails=fails)}).scalars({"a": 1.0}, 1)
    assert (random.random(), np.random.rand()) == wanted


def test_trackers_are_found_by_ultralytics_own_callbacks_alone(monkeypatch):
    def module(name):
        def on_fit_epoch_end(trainer): ...

        monkeypatch.setitem(sys.modules, name, ModuleType(name))
        on_fit_epoch_end.__module__ = name
        return on_fit_epoch_end

    theirs = [module(f"ultralytics.utils.callbacks.{name}") for name in ("mlflow", "tensorboard", "dvc", "base")]
    old = module("ultralytics.yolo.utils.callbacks.wb")
    users = module("my.utils.callbacks.comet")
    module("ultralytics.utils.callbacks.clearml")  # loaded, but not on for this trainer
    trainer = SimpleNamespace(callbacks={"on_fit_epoch_end": [*theirs, users], "on_train_end": [old, lambda t: None]})
    assert sorted(feed.active(trainer)) == ["MLflow", "TensorBoard", "Weights & Biases"]
