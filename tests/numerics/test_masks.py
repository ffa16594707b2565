"""The area under the mask loss."""

from __future__ import annotations

import torch

from yolo_nanfix.numerics.targets import positive_area


def test_areas_from_the_floor_up_are_unchanged():
    area = torch.tensor([0.25, 1.0, 300.0]) / 576
    assert torch.equal(positive_area(area, 576, 0.25), area)


def test_zero_negative_and_tiny_areas_get_the_floor():
    area = torch.tensor([0.0, -1.0, 1e-30])
    assert torch.equal(positive_area(area, 100, 0.25), torch.full((3,), 0.0025))


def test_nan_stays_nan():
    assert positive_area(torch.tensor([float("nan")]), 100, 0.25).isnan().all()
