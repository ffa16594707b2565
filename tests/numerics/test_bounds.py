"""Full precision and a bounded range: healthy values untouched, NaN and Inf never hidden."""

from __future__ import annotations

import pytest
import torch

from yolo_nanfix.numerics.precision import bounded, widened


def test_values_inside_the_limit_and_their_gradients_are_bit_identical():
    """Alone, and beside a value beyond it, which takes the tensor through every operation, as on a GPU."""
    for values in ([0.0, 1e-45, -3.3, 1e5, -1e5], [0.0, 1e-45, -3.3, 1e5, -1e5, 2e5]):
        x = torch.tensor(values, requires_grad=True)
        y, moved = bounded(x, 1e5)
        y.square().sum().backward()
        assert torch.equal(y[:5], x[:5]) and torch.equal(x.grad[:5], 2 * x.detach()[:5])
        assert moved.sum() == len(values) - 5


def test_values_beyond_the_limit_come_back_as_the_limit_and_are_named():
    x = torch.tensor([3e38, -2e5, 7.0])
    y, moved = bounded(x, 1e5)
    assert y.tolist() == [1e5, -1e5, 7.0]
    assert moved.tolist() == [True, True, False]


@pytest.mark.parametrize("bad", (float("nan"), float("inf"), float("-inf")))
def test_what_is_not_finite_becomes_nan_and_is_not_called_moved(bad):
    y, moved = bounded(torch.tensor([bad]), 1.0)
    assert y.isnan().all() and not moved.any()


@pytest.mark.parametrize(
    ("given", "gives"),
    [
        (torch.float16, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
        (torch.int64, torch.int64),
    ],
)
def test_only_half_precision_is_widened(given, gives):
    assert widened(torch.ones(2, dtype=given)).dtype is gives
