"""Values as JSON and back: what was written is read, anything else is refused by its key."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import pytest

from yolo_nanfix.files import json_text
from yolo_nanfix.json_values import JsonValue


class Colour(str, Enum):
    RED = "red"


@dataclass(frozen=True)
class Inner:
    rate: float
    colour: Colour | None = None


@dataclass(frozen=True)
class Outer(JsonValue):
    name: str
    inner: tuple[Inner, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    free: Mapping[str, Any] = field(default_factory=dict)
    limit: bool | int | str = 1
    maybe: Inner | None = None


@dataclass(frozen=True)
class Exact(JsonValue):
    strict = True
    name: str


FULL = Outer(
    "a", (Inner(0.5, Colour.RED), Inner(float("inf"))), {"x": 1}, {"boxes": ((1, 2), "b")}, limit=True, maybe=Inner(2.0)
)


@pytest.mark.parametrize("value", [FULL, Outer("b")])
def test_what_was_written_is_read(value):
    assert Outer.from_dict(json.loads(json_text(value.as_dict()))) == value


def test_the_form_is_plain():
    assert Outer("a", (Inner(1.0, Colour.RED),)).as_dict() == {
        "name": "a",
        "inner": [{"rate": 1.0, "colour": "red"}],
        "counts": {},
        "free": {},
        "limit": 1,
        "maybe": None,
    }


@pytest.mark.parametrize(
    ("held", "key"),
    [
        ([], "Outer"),
        ({}, "'name'"),
        ({"name": 1}, "Outer.name"),
        ({"name": "a", "inner": {"rate": 1.0}}, "Outer.inner"),
        ({"name": "a", "inner": [{}]}, "'rate'"),
        ({"name": "a", "inner": [{"rate": True}]}, "Inner.rate"),
        ({"name": "a", "inner": [{"rate": 1.0, "colour": "blue"}]}, "blue"),
        ({"name": "a", "counts": {"x": True}}, "Outer.counts"),
        ({"name": "a", "limit": 1.5}, "Outer.limit"),
    ],
)
def test_anything_else_is_refused_by_its_key(held, key):
    with pytest.raises(ValueError, match=key):
        Outer.from_dict(held)


def test_keys_that_are_no_fields_are_ignored_unless_it_is_strict():
    assert Outer.from_dict({"name": "a", "other": 1}) == Outer("a")
    with pytest.raises(ValueError, match="other"):
        Exact.from_dict({"name": "a", "other": 1})
