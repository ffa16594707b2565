"""The pure-torch NMS against a plain reading of the definition and against Ultralytics' own."""

from __future__ import annotations

import pytest
import torch
from ultralytics.utils.nms import TorchNMS

from yolo_nanfix.numerics.nms import nms


def by_definition(boxes, scores, threshold):
    kept = []
    for i in sorted(range(len(boxes)), key=lambda i: -scores[i].item()):
        if all(iou(boxes[i], boxes[j]) <= threshold for j in kept):
            kept.append(i)
    return kept


def iou(a, b):
    w = max(0.0, (min(a[2], b[2]) - max(a[0], b[0])).item())
    h = max(0.0, (min(a[3], b[3]) - max(a[1], b[1])).item())
    area = [((x[2] - x[0]) * (x[3] - x[1])).item() for x in (a, b)]
    return w * h / (sum(area) - w * h) if w * h else 0.0


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("threshold", (0.3, 0.5, 0.7))
def test_keeps_what_the_definition_and_upstream_keep(seed, threshold):
    random = torch.Generator().manual_seed(seed)
    corner = torch.rand(120, 2, generator=random) * 60
    boxes = torch.cat((corner, corner + torch.rand(120, 2, generator=random) * 30 + 1), 1)
    scores = torch.rand(120, generator=random)
    kept = nms(boxes, scores, threshold)
    assert kept.tolist() == by_definition(boxes, scores, threshold)
    assert kept.tolist() == TorchNMS.nms(boxes, scores, threshold).tolist()


def test_nothing_in_nothing_out():
    kept = nms(torch.zeros(0, 4), torch.zeros(0), 0.5)
    assert kept.shape == (0,) and kept.dtype == torch.int64


def test_equal_scores_keep_their_order():
    boxes = torch.tensor([[0.0, 0, 10, 10], [20, 20, 30, 30], [0, 0, 10, 10]])
    assert nms(boxes, torch.ones(3), 0.5).tolist() == [0, 1]


def test_boxes_without_area_are_kept():
    boxes = torch.tensor([[5.0, 5, 5, 5], [5, 5, 5, 5]])
    assert nms(boxes, torch.tensor([0.9, 0.8]), 0.5).tolist() == [0, 1]
