"""Parameters that repeat a test for one more release, task, dtype or optimizer: marked `matrix`."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from itertools import product

import pytest


def matrix(*cases: object) -> list:
    """These parameters, marked; a tuple holds one value for each name."""
    return [pytest.param(*_values(case), marks=pytest.mark.matrix) for case in cases]


def combined(*axes: Iterable, quick: Collection[tuple]) -> list:
    """All combinations of the axes, marked but for the quick ones."""
    cases = list(product(*axes))
    assert set(quick) <= set(cases), set(quick) - set(cases)
    return [pytest.param(*case) if case in quick else matrix(case)[0] for case in cases]


def _values(case: object) -> tuple:
    return case if isinstance(case, tuple) else (case,)
