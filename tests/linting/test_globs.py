"""Globs of settings: what many wildcards match is what a regular expression says, and none of them takes for ever."""

from __future__ import annotations

import random
import time

import pytest

from yolo_nanfix.dataset import globs
from yolo_nanfix.dataset.globs import matches


@pytest.mark.parametrize(
    ("glob", "path", "matched"),
    [
        ("images/*", "images/a.jpg", True),
        ("images/*.jpg", "images/x/a.jpg", False),
        ("**/train/*_?.jp*g*", "a/b/train/x_1.jpeg", True),
        ("**/train/*_?.jp*g*", "train/x_/.jpg", False),
        ("*a*b*c*", "xaxbxcx", True),
        ("*a*b*c*", "xaxbx/cx", False),
        ("**a*b*c", "a/xa/yb/c", False),
        ("**a*b**c", "a/xa_b/c/below/it", True),
        ("labels", "labels/train/a.txt", True),
    ],
)
def test_what_a_glob_matches(glob: str, path: str, matched: bool):
    assert matches(glob, path) is matched


def test_both_ways_say_the_same(monkeypatch: pytest.MonkeyPatch):
    rng = random.Random(7)
    for _ in range(3000):
        glob = "".join(rng.choice(("*", "**", "**/", "?", "/", "a", "b", ".")) for _ in range(rng.randrange(1, 7)))
        path = "".join(rng.choice("ab/.") for _ in range(rng.randrange(9)))
        said = []
        for few in (0, 99):
            monkeypatch.setattr(globs, "FEW", few)
            said.append(matches(glob, path))
        assert said[0] is said[1], (glob, path)


def test_a_glob_of_many_wildcards_takes_no_time():
    started = time.perf_counter()
    assert not matches("**a" * 200 + "b", "a" * 4000)
    assert not matches("*a" * 200 + "b", "a" * 4000)
    assert time.perf_counter() - started < 5
