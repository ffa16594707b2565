"""Sensors and the BatchNorm copy on real modules."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from yolo_nanfix.diagnosis.scan import scan
from yolo_nanfix.events import Check
from yolo_nanfix.guard import sensors
from yolo_nanfix.guard.module_state import NormBuffers
from yolo_nanfix.incident import Incident
from yolo_nanfix.numerics.finite import StateDefect, state_defect

NAN, INF = float("nan"), float("inf")


def model():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.SiLU(), nn.Conv2d(4, 5, 3), nn.BatchNorm2d(5)
    ).train()


def fired(loss, norms, batch, outputs=None):
    return sensors.fired(sensors.host_values(sensors.step_tensors(loss, norms, batch, outputs)))


def buffers(net):
    return {k: v.clone() for k, v in net.named_buffers()}


@pytest.mark.parametrize("pixel", (NAN, INF, -INF))
def test_a_bad_forward_is_seen_and_undone_bit_for_bit(pixel):
    net = model()
    norms = NormBuffers(net)
    net(torch.rand(2, 3, 8, 8))
    before, saved = buffers(net), norms.copy()
    image = torch.rand(2, 3, 8, 8)
    image[1, 0, 4, 4] = pixel
    loss = net(image).sum()
    assert fired(loss, norms, {"bboxes": torch.rand(3, 4)}) == (Check.LOSS, Check.BATCHNORM)
    norms.restore(saved)
    assert all(torch.equal(before[k], v) for k, v in net.named_buffers())
    assert fired(torch.ones(3), norms, {}) == ()


def test_one_bad_target_is_seen_although_the_loss_is_finite():
    norms = NormBuffers(model())
    boxes = torch.rand(5, 4)
    boxes[3, 2] = NAN
    assert fired(torch.ones(3), norms, {"bboxes": boxes, "cls": torch.zeros(5, 1)}) == (Check.TARGETS,)
    boxes[3, 2] = INF
    assert fired(torch.ones(3), norms, {"bboxes": boxes}) == (Check.TARGETS,)


def test_a_model_without_normalisation_layers():
    norms = NormBuffers(nn.Linear(2, 2))
    norms.restore(norms.copy())
    assert not fired(torch.ones(1), norms, {})


def test_sources_name_the_faulty_images_and_labels():
    images = torch.rand(3, 3, 4, 4)
    images[1, 0, 0, :2] = NAN
    batch = {
        "im_file": ["a", "b", "c"],
        "img": images,
        "batch_idx": torch.tensor([0.0, 2.0]),
        "bboxes": torch.tensor([[0.5, 0.5, 0.1, 0.1], [NAN, 0.5, 0.1, 0.1]]),
        "cls": torch.zeros(2, 1),
    }
    found = {s.file: s.suspect for s in sensors.sources(batch)}
    assert found == {"a": "", "b": "2 pixel values not finite", "c": "bboxes not finite"}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda net: None, None),
        (lambda net: net[0].weight.data[0].fill_(NAN), StateDefect("0.weight", 27)),
        (lambda net: net[1].running_var.fill_(INF), StateDefect("1.running_var", 4)),
        (lambda net: [t.zero_() for t in net.state_dict().values()], StateDefect()),
    ],
)
def test_state_defects_are_named(change, says):
    net = model()
    with torch.no_grad():
        change(net)
    assert state_defect(net.state_dict().items()) == says


def test_gradient_norm_is_the_one_that_clipping_computes():
    net = model()
    net(torch.rand(2, 3, 8, 8)).sum().backward()
    ours = sensors.gradient_norm(list(net.parameters()))
    assert torch.allclose(ours, torch.nn.utils.clip_grad_norm_(net.parameters(), 1e9))
    assert sensors.gradient_norm([]) == 0


INF, NAN = float("inf"), float("nan")
WHOSE = {
    "one an image": ("masks", 2, [0, 0, 1], NAN, ["", "masks not finite"]),
    "one an instance": ("masks", 3, [0, 1, 1], NAN, ["", "masks not finite"]),
    "one an instance of each image": ("masks", 2, [0, 1], NAN, ["", "masks not finite"]),
    "either": ("masks", 2, [1, 0], NAN, ["", ""]),
    "depth": ("depth", 2, [], INF, ["", "depth not finite"]),
    "depth that is left open": ("depth", 2, [], -INF, ["", ""]),
}


@pytest.mark.parametrize("name", WHOSE)
def test_a_mask_or_depth_map_that_is_not_finite_is_its_image_s_if_that_can_be_told(name):
    key, count, owners, value, wanted = WHOSE[name]
    maps = torch.ones(count, 4, 4)
    maps[1, 2, 2] = value
    batch = {"im_file": ["a.jpg", "b.jpg"], "img": torch.zeros(2, 3, 4, 4), key: maps}
    batch["batch_idx"] = torch.tensor(owners, dtype=torch.float32)
    assert [s.suspect for s in sensors.sources(batch)] == wanted
    tensors = {f"batch.{k}": v for k, v in batch.items() if isinstance(v, torch.Tensor)}
    facts = {"args": {"overlap_mask": name == "one an image"}}
    seen = scan(Incident(facts, tensors)).maps
    assert seen == {i: key for i, said in enumerate(wanted) if said} or name == "either"
