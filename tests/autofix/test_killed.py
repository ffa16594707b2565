"""A fix, and an undo, that are killed at random moments; the whole test is `scripts/fix_kill_test.py`."""

from __future__ import annotations

from pathlib import Path

import pytest
from fix_kill_test import rounds


@pytest.mark.slow
def test_after_five_kills_every_byte_is_back_also_behind_links(tmp_path: Path):
    seen = rounds(tmp_path, kills=5, files=60, seed=1, links=True)
    assert seen["kills"] >= 5


def test_after_three_kills_of_a_fix_of_the_whole_set_every_byte_is_back(tmp_path: Path):
    seen = rounds(tmp_path, kills=3, files=60, seed=2, whole=True)
    assert seen["kills"] >= 3
