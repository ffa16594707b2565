"""Globs of settings: what many wildcards match is what a regular expression says, and none of them takes for ever."""

from __future__ import annotations

import random
import re
import time

import pytest

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


def test_matches_what_a_regular_expression_matches():
    rng = random.Random(7)
    wanted = {"**/": r"(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    for _ in range(3000):
        tokens = [rng.choice((*wanted, "/", "a", "b", ".")) for _ in range(rng.randrange(1, 7))]
        glob, path = "".join(tokens), "".join(rng.choice("ab/.") for _ in range(rng.randrange(9)))
        parts = re.split(r"(\*\*/|\*\*|\*|\?)", glob.removeprefix("./").rstrip("/"))
        pattern = "".join(wanted.get(part, re.escape(part)) for part in parts)
        assert matches(glob, path) is bool(re.fullmatch(f"{pattern}(?:/.*)?", path)), (glob, path)


def test_a_glob_of_many_wildcards_takes_no_time():
    started = time.perf_counter()
    assert not matches("**a" * 200 + "b", "a" * 4000)
    assert not matches("*a" * 200 + "b", "a" * 4000)
    assert time.perf_counter() - started < 5
