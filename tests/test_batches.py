"""Micro-batches without some of their images or rows, for what every task collates."""

from __future__ import annotations

import pytest
import torch

from yolo_nanfix.batches import with_images, without_rows


def batch(overlap=True):
    """Three images with 2, 0 and 3 objects."""
    owner = torch.tensor([0.0, 0.0, 2.0, 2.0, 2.0])
    masks = torch.tensor([1, 2, 0, 0, 0, 0, 3, 1, 2]).view(3, 1, 3) if overlap else torch.eye(5).view(5, 1, 5)
    return {
        "img": torch.arange(3.0).view(3, 1, 1, 1),
        "im_file": ["a.jpg", "b.jpg", "c.jpg"],
        "ori_shape": ((1, 1), (2, 2), (3, 3)),
        "batch_idx": owner,
        "cls": torch.arange(5.0).view(5, 1),
        "bboxes": torch.arange(20.0).view(5, 4),
        "keypoints": torch.zeros(5, 3, 2),
        "masks": masks,
    }


def test_images_take_their_rows_with_them_renumbered():
    part = with_images(batch(), [2, 0])
    assert part["img"].flatten().tolist() == [2, 0] and part["im_file"] == ["c.jpg", "a.jpg"]
    assert part["ori_shape"] == ((3, 3), (1, 1))
    assert part["batch_idx"].tolist() == [0, 0, 0, 1, 1] and part["cls"].flatten().tolist() == [2, 3, 4, 0, 1]
    assert part["masks"].tolist() == [[[3, 1, 2]], [[1, 2, 0]]]
    assert part["keypoints"].shape == (5, 3, 2)


def test_masks_of_their_own_go_with_their_rows():
    part = with_images(batch(overlap=False), [0])
    assert torch.equal(part["masks"], torch.eye(5)[:2].view(2, 1, 5))


def test_an_image_without_objects():
    part = with_images(batch(), [1])
    assert len(part["img"]) == 1 and part["bboxes"].shape == (0, 4) and part["batch_idx"].shape == (0,)


def test_rows_left_out_renumber_the_overlapping_masks():
    part = without_rows(batch(), [0, 3])
    assert part["cls"].flatten().tolist() == [1, 2, 4] and part["batch_idx"].tolist() == [0, 2, 2]
    assert part["masks"].tolist() == [[[0, 1, 0]], [[0, 0, 0]], [[2, 1, 0]]]
    assert len(part["img"]) == 3


@pytest.mark.parametrize("keep", ([0], [2, 1]))
def test_a_classification_batch_has_no_rows(keep):
    part = with_images({"img": torch.rand(3, 3, 4, 4), "cls": torch.tensor([5, 6, 7]), "im_file": list("abc")}, keep)
    assert part["cls"].tolist() == [5 + i for i in keep] and part["im_file"] == ["abc"[i] for i in keep]
