"""Sentences are made from a form and its values."""

from __future__ import annotations

import pytest

from yolo_nanfix.wording import literal, sentence


@pytest.mark.parametrize(
    ("says", "values", "text"),
    [
        ("w h = {size}: a side is 0", {"size": (0.2, 0.0)}, "w h = 0.2 0: a side is 0"),
        ("{x} and {x:.2f}, {n:,}", {"x": 1 / 3, "n": 12345}, "0.333333 and 0.33, 12,345"),
        ("{n:row|rows}", {"n": 1}, "1 row"),
        ("{n:row|rows}", {"n": 0}, "0 rows"),
        ("{names:,}", {"names": ("a", "b")}, "a, b"),
        ("{names:,2}", {"names": ("a", "b", "c")}, "a, b and 1 more"),
        ("{classes:;1:{0!r} ({1})}", {"classes": (("a", 2), ("b", 1))}, "'a' (2) and 1 more"),
        ("{classes:;:{0!r} ({1})}", {"classes": [["a", 2], ["b", 1]]}, "'a' (2); 'b' (1)"),
        ("out{sure:|; perhaps}", {"sure": False}, "out; perhaps"),
        ("out{sure:|; perhaps}", {"sure": True}, "out"),
        ("{form:corners=x1 y1|unsure=?|as #}", {"form": "corners"}, "x1 y1"),
        ("{form:corners=x1 y1|unsure=?|as #}", {"form": "centre"}, "as centre"),
        ("one{n:0=| (and # more)}", {"n": 0}, "one"),
        ("one{n:0=| (and # more)}", {"n": 2}, "one (and 2 more)"),
        ("{size[0]}x{size[1]}", {"size": (64, 48)}, "64x48"),
        ("{name!a}", {"name": "ü\n"}, r"'\xfc\n'"),
        ("a{n:more}", {"n": 2}, "a and 2 more"),
        ("a{n:more}", {"n": 0}, "a"),
        ("{text!r} in {file!n}", {"text": "a\n", "file": "/data/{x}.txt"}, r"'a\n' in {x}.txt"),
        ("as {line!l}", {"line": 3}, "as line 3"),
        ("as {line!l}", {"line": "annotation 77"}, "as annotation 77"),
        ("{side:.3g} px", {"side": "inf"}, "inf px"),
        ("{a} {{b}}", {"a": "{b}"}, "{b} {b}"),
    ],
)
def test_a_form_says_its_values(says: str, values: dict, text: str):
    assert sentence(says, values) == text


@pytest.mark.parametrize("says", ["{gone}", "{n:.2q}", "{", "{a!z}", "{a.b}", "{a:1=one|}{b}"])
def test_a_form_of_another_version_is_shown_as_it_is(says: str):
    assert sentence(says, {"a": "text", "n": 1}) == says


def test_a_literal_says_itself():
    assert sentence(literal("{x} of }{"), {"x": 1}) == "{x} of }{"
