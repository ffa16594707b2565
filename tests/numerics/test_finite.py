"""What many tensors hold, found with one host read."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from yolo_nanfix.numerics.finite import StateDefect, beyond_half, first_not_finite

NAN, INF = float("nan"), float("inf")


def test_the_first_tensor_that_is_not_finite_is_named_with_its_count():
    named = [
        ("a", torch.ones(3)),
        ("n", torch.tensor(7)),
        ("b", torch.tensor([1, NAN, INF])),
        ("c", torch.tensor([-INF])),
    ]
    assert first_not_finite(named) == StateDefect("b", 2)
    assert first_not_finite([("c", torch.tensor([-INF]))]) == StateDefect("c", 1)


def test_finite_empty_and_integer_tensors_are_fine():
    assert first_not_finite([]) is None
    assert (
        first_not_finite([("e", torch.zeros(0)), ("i", torch.tensor([2**40])), ("h", torch.full((2,), 3e38))]) is None
    )
    assert first_not_finite([("d", torch.tensor([1e39], dtype=torch.float64))]) is None
    assert first_not_finite([("h", torch.ones(2).half()), ("d", torch.full((2,), 1e300, dtype=torch.float64))]) is None


def test_tensors_of_two_bytes_are_looked_at_and_those_of_one_are_not():
    half = [("h", torch.tensor([1.0, INF]).half()), ("b", torch.tensor([NAN, NAN]).bfloat16())]
    assert [first_not_finite([one]) for one in half] == [StateDefect("h", 1), StateDefect("b", 2)]
    assert first_not_finite([("e", torch.tensor([NAN]).to(torch.float8_e4m3fn))]) is None


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(width=32), min_size=1, max_size=5))
def test_beyond_half_are_the_finite_tensors_that_half_makes_infinite(values):
    tensor = torch.tensor(values, dtype=torch.float32)
    wide = bool(tensor.isfinite().all()) and not bool(tensor.half().isfinite().all())
    assert [name for name, _ in beyond_half([("one", torch.ones(1)), ("t", tensor)])] == (["t"] if wide else [])


def test_the_limit_is_where_rounding_goes_to_inf():
    assert beyond_half([("a", torch.tensor([65519.0])), ("b", torch.tensor([-65520.0]))])[0][0] == "b"
    assert beyond_half([("c", torch.tensor([INF])), ("d", torch.tensor([NAN]))]) == []
    assert torch.tensor(65519.0).half() == 65504 and torch.tensor(65520.0).half() == INF
