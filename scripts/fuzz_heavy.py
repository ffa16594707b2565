"""What needs torch and Ultralytics: incidents from anybody, those of run folders, and settings of patches and guard."""

from __future__ import annotations

import random

import fuzz_incidents
import fuzz_runs
import fuzz_settings
from fuzz_core import Box, Case


def warm() -> None:
    """Make the healthy incident once."""
    fuzz_incidents.base()


def make(box: Box, rng: random.Random) -> Case:
    """One case."""
    way = rng.randrange(10)
    if way < 7:
        return _incident(box, rng)
    return fuzz_settings.of_training(box, rng) if way < 9 else fuzz_runs.make(box, rng, diagnosed=True)


def _incident(box: Box, rng: random.Random) -> Case:
    """One of those that `fuzz_incidents.py` makes; their marker file would be one that no command may write."""
    run = box.case / "run"
    (run / "incidents").mkdir(parents=True)
    (run / "results.csv").write_text("epoch,time\n1,0.5\n")
    file = next(fuzz_incidents.cases(run / "incidents", rng, 1))
    as_json = ["--json"] if rng.random() < 0.3 else []
    if rng.random() < 0.8:
        return Case([["diagnose", rng.choice((str(file), "run")), *as_json]])
    return Case([["report", "run", *as_json]], writes=("run/yolo-nanfix.html",))
