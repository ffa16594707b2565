"""Sentences are made from a form and its values; values of files are shown as `repr` writes them, but cut."""

from __future__ import annotations

import datetime

import pytest

from yolo_nanfix.wording import cut, literal, sentence, shown


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


@pytest.mark.parametrize("says", ["{gone}", "{n:.2q}", "{", "{a!z}", "{a.b}", "{a:1=one|}{b}", "{n:9999999999}"])
def test_a_form_of_another_version_is_shown_as_it_is(says: str):
    assert sentence(says, {"a": "text", "n": 1}) == says


def test_a_literal_says_itself():
    assert sentence(literal("{x} of }{"), {"x": 1}) == "{x} of }{"


@pytest.mark.parametrize(
    "value",
    [
        *("a", "it's", "größe\n", b"\x00", 1, -2.5, True, None, float("nan"), 10**100, datetime.date(2020, 1, 2)),
        *([], (), {}, set(), [1], (1,), {1}, {"a": [1, (2,), {"b": None}]}, [[], {}, ()]),
    ],
)
def test_a_short_value_is_shown_as_python_writes_it(value):
    assert shown(value) == repr(value)


@pytest.mark.parametrize(
    "value", ["x" * 10**7, b"x" * 10**7, list(range(10**6)), dict.fromkeys(range(9999), "x" * 100)]
)
def test_a_long_value_is_cut(value):
    assert len(shown(value)) == 200
    assert shown(value, 60) == repr(value)[:57] + "..."


def test_what_stands_for_gigabytes_costs_nothing():
    value: list[object] = ["x"]
    for _ in range(60):
        value = [value] * 9
    assert shown(value, 70) == "[" * 61 + "'x'], ..."
    value[0] = value
    assert shown(value, 10) == "[[[[[[[..."


def test_a_number_that_python_refuses_to_write_is_named_by_its_size():
    assert shown([16**5000]) == "[<a whole number of 20001 bits>]"


def test_text_is_cut():
    assert (cut("abc", 4), cut("abcde", 4)) == ("abc", "a...")
