"""Incidents from anybody, for `diagnose`, `report` and the page of a run: those that `fuzz_incidents.py` makes."""

from __future__ import annotations

import random

import fuzz_incidents
from fuzz_core import Box, Case


def warm() -> None:
    """Make the healthy incident once."""
    fuzz_incidents.base()


def make(box: Box, rng: random.Random) -> Case:
    """One case; the marker file would be one that no command may write."""
    run = box.case / "run"
    (run / "incidents").mkdir(parents=True)
    (run / "results.csv").write_text("epoch,time\n1,0.5\n")
    file = next(fuzz_incidents.cases(run / "incidents", rng, 1))
    as_json = ["--json"] if rng.random() < 0.3 else []
    if rng.random() < 0.8:
        return Case([["diagnose", rng.choice((str(file), "run")), *as_json]])
    return Case([["report", "run", *as_json]], writes=("run/yolo-nanfix.html",))
