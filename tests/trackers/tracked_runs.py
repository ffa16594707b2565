"""Real tiny trainings with trackers on; run by test_trackers in a process that Ultralytics does not take for a test's.

python tracked_runs.py OUT RUN=TRACKER+TRACKER ...
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path

import lab
import mlflow
from make_datasets import make_dataset
from ultralytics.utils import SETTINGS
from ultralytics.utils.callbacks import tensorboard

import yolo_nanfix
from yolo_nanfix.trackers import feed

TRACKERS = ("clearml", "comet", "dvc", "mlflow", "raytune", "tensorboard", "wandb")
DEFAULTS = feed.EVERY, feed.SECONDS


def weights(result):
    """A hash of everything that training changed."""
    whole = b"".join(tensor.numpy().tobytes() for tensor in lab.state(result.trainer).values())
    return hashlib.sha256(whole).hexdigest()


def trainer(where):
    """A user's trainer; Ultralytics gives loggers only to classes with this word in their name."""
    made = lab.poisoned("detect", where)
    made.__name__ = "PoisonedTrainer"
    return made


def full_disk(*args, **kwargs):
    raise OSError("No space left on device")


def break_text(_):
    tensorboard.WRITER.add_text = full_disk


def run(out, name, trackers):
    SETTINGS.update({tracker: tracker in trackers for tracker in TRACKERS})
    mlflow.set_tracking_uri((out / f"ml-{name}").as_uri())
    # The id of a new one takes a number from `random` wherever its UUID gives a leading zero: one training of ten was
    # augmented otherwise, under stock too. So the experiment is there before the seed is set.
    mlflow.create_experiment(str(out))
    feed.EVERY, feed.SECONDS = (2, 0.0) if name == "healthy" else DEFAULTS
    faulty = {(0, 1), (1, 2)} if name in ("faulty", "full") else set()
    callbacks = {"on_train_start": break_text} if name == "full" else {}
    alone = ("torchvision-operators-missing",) if name in ("stock", "healthy") else ()
    with yolo_nanfix.patched(*alone, guard=name != "stock"):
        result = lab.train(out / "set" / "data.yaml", out / name, trainer=trainer(faulty), callbacks=callbacks)
    if result.error:
        raise result.error
    (out / name / "hash.json").write_text(json.dumps(weights(result)))


if __name__ == "__main__":
    assert "PYTEST_CURRENT_TEST" not in os.environ
    folder = Path(sys.argv[1])
    make_dataset(folder / "set", n_train=16, n_val=4, size=(64, 64), seed=1)
    for word in sys.argv[2:]:
        called, _, wanted = word.partition("=")
        run(folder, called, wanted.split("+"))
