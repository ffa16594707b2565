"""The images of an event as they are shown: RGB, and magenta where they are not finite."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from yolo_nanfix.guard import sensors


def batch(channels):
    images = torch.linspace(0, 1, 2 * channels * 4 * 6).reshape(2, channels, 4, 6)
    images[1, channels - 1, 2, 3] = float("nan")
    images[1, 0, 0, 0], images[1, 0, 0, 1] = float("inf"), 7.0
    return {"img": images, "im_file": ("a.jpg", "b <i>.jpg")}


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_pixels_are_rgb_with_magenta_where_any_channel_is_not_finite(channels):
    ((file, pixels),) = sensors.pictures(batch(channels), ["b <i>.jpg", "of another rank.jpg"])
    assert file == "b <i>.jpg"
    assert pixels.dtype == np.uint8 and pixels.shape == (4, 6, 3)
    magenta = (pixels == (255, 0, 255)).all(2)
    assert set(zip(*map(list, magenta.nonzero()), strict=True)) == {(0, 0), (2, 3)}
    assert pixels[0, 1, 0] == 255  # beyond 1


def test_finite_pixels_are_the_model_s_own():
    images = batch(3)
    ((_, pixels),) = sensors.pictures(images, ["a.jpg"])
    assert np.array_equal(pixels, (images["img"][0].permute(1, 2, 0) * 255).byte().numpy())


def test_a_batch_without_images_to_show_gives_none():
    assert sensors.pictures({}, ["a.jpg"]) == []
    assert sensors.pictures({"img": torch.zeros(1, 3, 4, 4), "im_file": ("a.jpg", "b.jpg")}, ["a.jpg"]) == []
    assert sensors.pictures(batch(3), []) == []
