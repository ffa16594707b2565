"""The environment of the oldest versions: what it is made of, and that all it runs is there."""

from __future__ import annotations

import oldest
import pytest
from packaging.requirements import Requirement


def test_each_requirement_stands_at_its_minimum():
    pins = {r.name: str(r.specifier) for r in map(Requirement, oldest.oldest())}
    assert pins["torch"] == "==2.1" and pins["numpy"] == "==1.23" and "ultralytics" not in pins
    assert all(pin.startswith("==") and "," not in pin for pin in pins.values())


@pytest.mark.parametrize("name", oldest.TESTS)
def test_what_it_runs_is_there(name):
    assert (oldest.ROOT / name).exists()


def test_it_takes_the_release_of_the_constraints():
    assert Requirement(oldest.newest_ultralytics()).name == "ultralytics"
