"""Target scores whose sum may be divided by."""

from __future__ import annotations

import pytest
import torch

from yolo_nanfix.numerics.targets import scores_with_a_sum


@pytest.mark.parametrize("matched", (torch.zeros(2, 5), torch.zeros(2, 5, dtype=torch.bool)))
def test_scores_without_a_sum_get_a_one_at_an_anchor_without_an_object(matched):
    matched[0, :2] = 1
    scores, empty = scores_with_a_sum(torch.zeros(2, 5, 3), matched)
    assert scores.sum() == 1 and scores[0, 2, 0] == 1 and empty.all()


def test_scores_with_a_sum_are_bit_identical():
    given = torch.rand(2, 5, 3, generator=torch.Generator().manual_seed(0)) * 1e-20
    scores, empty = scores_with_a_sum(given, given[..., 0] > 5e-21)
    assert torch.equal(scores, given) and not empty.any()


def test_nan_scores_stay_nan():
    scores, empty = scores_with_a_sum(torch.full((1, 4, 1), torch.nan), torch.zeros(1, 4))
    assert scores.isnan().all() and not empty.any()
