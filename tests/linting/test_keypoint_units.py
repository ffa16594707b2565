"""Keypoints that are not normalised: in pixels, in percent, or in pixels of another size."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from yolo_nanfix.dataset.clues import COUNT, Clue
from yolo_nanfix.linting.rules.keypoints import keypoints_in_pixels


@pytest.mark.parametrize(
    ("pixels", "percent", "width", "height", "scale"),
    [
        (98, 97, 640, 480, "pixels"),
        (97, 97, 640, 480, "unknown"),
        (97, 98, 640, 480, "percent"),
        (98, 98, 130, 480, "percent"),
        (98, 98, 129, 480, "unknown"),
        (98, 98, 480, 129, "unknown"),
        (98, 97, 129, 129, "pixels"),
    ],
)
def test_the_unit_is_the_one_that_nearly_all_rows_fit(pixels, percent, width, height, scale):
    """98 of 100 rows; in images of fewer than 130 pixels both fit, and neither is known."""
    clues = np.zeros((1, COUNT), np.int32)
    clues[0, [Clue.POINTS_LARGE, Clue.POINTS_PIXELS, Clue.POINTS_PERCENT]] = 100, pixels, percent
    table = SimpleNamespace(
        clues=clues,
        lines=np.array([100]),
        splits={},
        images_in=lambda split: slice(None),
        splits_in=lambda split: ("train",),
        width=np.array([width]),
        height=np.array([height]),
    )
    (hit,) = keypoints_in_pixels(table, SimpleNamespace(kpt_dims=3, yaml_file="data.yaml"))
    assert (hit.file, hit.values["rows"], hit.values["of"], hit.values["scale"]) == ("data.yaml", 100, 100, scale)
