"""The loss patches in releases whose functions had other signatures, other formulas or fewer floors."""

from __future__ import annotations

import json
from functools import cache

import pytest
import torch
from marks import matrix
from releases import run

HEAD = """
import json, torch, yolo_nanfix
compat = "torchvision-operators-missing", "compat-numpy-trapz", "compat-torch-load", "compat-pkg-resources"
yolo_nanfix.patch(*compat)
import ultralytics.utils.loss as loss
import ultralytics.utils.metrics as metrics
from yolo_nanfix.patching import tally

def values(function, leaf):
    leaf = leaf.clone().requires_grad_(True)
    value = function(leaf)
    value.sum().backward()
    return [*value.detach().flatten().tolist(), *leaf.grad.flatten().float().tolist()]

def raised(function, leaf):
    try:
        return values(function, leaf)
    except Exception as error:
        return type(error).__name__
"""
TAIL = """
stock = cases()
states = {p.name: p.state for p in yolo_nanfix.patch(guard=False).patches}
tally.clear()
print(json.dumps({"stock": stock, "ours": cases(), "counted": tally.read(), "states": states}))
"""

FIRST = """
def cases():
    keypoints = torch.tensor([[[3.0, 4], [5, 6]]])
    target = torch.tensor([[[3.0, 4], [5, 7]]])
    def pose(sigma):
        criterion = loss.KeypointLoss(sigmas=torch.full((2,), sigma))
        return lambda leaf: criterion(leaf, target, torch.ones(1, 2), torch.tensor([[4.0]]))
    logits, label = torch.tensor([[[1.0, -200.0, 0.5, -3.0]]]), torch.tensor([[[1.0, 0, 0, 0]]])
    focal, varifocal = loss.FocalLoss(), loss.VarifocalLoss()
    dist = torch.randn(8, 16, generator=torch.Generator().manual_seed(0))
    def dfl(last):
        return lambda leaf: loss.BboxLoss._df_loss(leaf, torch.tensor([[1.0, 2, 3, 4], [5, 6, 7, last]]))
    return {
        "keypoint, sigma 0": values(pose(0.0), keypoints),
        "keypoint, healthy": values(pose(0.1), keypoints),
        "focal, gamma 0.5": values(lambda leaf: focal(leaf, label, 0.5), logits),
        "focal, healthy": values(lambda leaf: focal(leaf, label, alpha=0.3), logits),
        "varifocal, gamma 0.5": values(lambda leaf: varifocal(leaf, label, label, 0.75, 0.5), logits),
        "varifocal, healthy": values(lambda leaf: varifocal(leaf, label, label), logits),
        "dfl, nan": raised(dfl(float("nan")), dist),
        "dfl, healthy": raised(dfl(14.99), dist),
    }
"""
ROTATED = """
def turned(height):
    same = torch.tensor([10.0, 10.0, 4.0, height]).expand(200, 4)
    return torch.cat((same, torch.linspace(0, 3.14, 200)[:, None]), 1)

def cases():
    def iou(leaf):
        return metrics.probiou(leaf, turned(1.0))
    criterion = loss.PoseLoss26.__new__(loss.PoseLoss26)
    torch.manual_seed(0)
    from ultralytics.nn.modules.block import RealNVP
    criterion.flow_model, criterion.rle_loss = RealNVP(), loss.RLELoss()
    criterion.target_weights = torch.ones(4)
    points = torch.randn(2, 4, 5, generator=torch.Generator().manual_seed(1))
    target, visible = torch.zeros(2, 4, 3), torch.ones(2, 4, dtype=torch.bool)
    def rle(leaf):
        return criterion.calculate_rle_loss(leaf, target, visible).clamp(min=0)
    def with_logit(logit, dtype=torch.float32):
        changed = points.clone()
        changed[1, :, 3:] = logit
        return changed.to(dtype)
    return {
        "probiou, no side": values(iou, turned(0.0)),
        "probiou, healthy": values(iou, turned(1.5)),
        "rle, sigma 0": values(rle, with_logit(-110.0)),
        "rle, healthy": values(rle, points),
        "rle, float16": values(rle, with_logit(-20.0, torch.float16)),
    }
"""


@cache
def results(release, cases):
    return json.loads(run(release, HEAD + cases + TAIL).splitlines()[-1])


def finite(numbers):
    return bool(torch.tensor(numbers).isfinite().all())


@pytest.mark.parametrize("case", ("keypoint, sigma 0", "focal, gamma 0.5", "varifocal, gamma 0.5"))
@pytest.mark.parametrize("release", ("8.0.136", *matrix("8.0.191")))
def test_the_edges_are_nan_in_stock_and_finite_in_ours(release, case):
    """8.0.136: alpha and gamma as arguments of methods, one factor for all keypoints; 8.0.191: static methods."""
    done = results(release, FIRST)
    assert not finite(done["stock"][case])
    assert finite(done["ours"][case])


@pytest.mark.parametrize("release", ("8.0.136", *matrix("8.0.191")))
def test_the_static_dfl_raises_in_stock_and_gives_nan_for_that_row_in_ours(release):
    done = results(release, FIRST)
    assert done["stock"]["dfl, nan"] == "IndexError"
    value = torch.tensor(done["ours"]["dfl, nan"])
    assert value[0].isfinite() and value[1].isnan()
    assert done["counted"]["dfl-target-not-finite"] == 1


@pytest.mark.parametrize("case", ("keypoint, healthy", "focal, healthy", "varifocal, healthy", "dfl, healthy"))
@pytest.mark.parametrize("release", ("8.0.136", *matrix("8.0.191")))
def test_healthy_input_is_bit_identical(release, case):
    done = results(release, FIRST)
    assert finite(done["stock"][case]) and done["ours"][case] == done["stock"][case]


def test_without_upstreams_floor_a_missing_side_is_a_nan_gradient_in_stock_alone():
    done = results("8.4.60", ROTATED)
    assert torch.tensor(done["stock"]["probiou, no side"]).isnan().sum() > 40
    assert finite(done["ours"]["probiou, no side"])
    assert done["counted"]["probiou-degenerate-box"] == 200


def test_a_sigma_that_underflows_poisons_the_gradient_of_yolo26_pose_in_stock_alone():
    done = results("8.4.60", ROTATED)
    stock, ours = done["stock"]["rle, sigma 0"], done["ours"]["rle, sigma 0"]
    assert stock[0] == 0 and not finite(stock[1:])
    assert finite(ours)
    assert done["counted"]["rle-sigma-zero"] == 8


def test_keypoints_whose_sigma_underflows_float16_stay_in_the_loss():
    """Stock leaves the four of them out, and so divides their gradient of 0 by their sigma of 0."""
    done = results("8.4.60", ROTATED)
    stock, ours = (torch.tensor(done[who]["rle, float16"]) for who in ("stock", "ours"))
    assert stock[0].isfinite() and stock[1:].view(2, 4, 5)[1].isnan().any(-1).all()
    assert ours.isfinite().all() and ours[1:].view(2, 4, 5)[1, :, 3:].any()
    assert "rle-errors-dropped" not in done["counted"]


@pytest.mark.parametrize("case", ("probiou, healthy", "rle, healthy"))
def test_healthy_input_of_8_4_60_is_bit_identical(case):
    done = results("8.4.60", ROTATED)
    assert finite(done["stock"][case]) and done["ours"][case] == done["stock"][case]
