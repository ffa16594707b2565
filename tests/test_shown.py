"""Values of files in messages: as `repr` writes them, cut, at no more cost than what is shown."""

from __future__ import annotations

import datetime

import pytest

from yolo_nanfix.shown import cut, shown


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
