"""The trace: which operation is named, and which infinities are left in peace."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from yolo_nanfix.diagnosis.places import Places
from yolo_nanfix.diagnosis.replay import Replay
from yolo_nanfix.diagnosis.trace import Tracer
from yolo_nanfix.incident import Incident

INF = float("inf")


class Net(nn.Module):
    """A model whose loss is a function of one convolution's output."""

    def __init__(self, function):
        super().__init__()
        self.conv, self.norm, self.function = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), function

    def forward(self, batch):
        return self.function(self.norm(self.conv(batch["img"]))), {"loss": torch.zeros(())}


def outcome(function, change=lambda model: None, image=None):
    torch.manual_seed(0)
    model = Net(function)
    change(model)
    image = torch.rand(2, 3, 8, 8) if image is None else image
    tensors = {"batch.img": image, **{f"model.{k}": v for k, v in model.state_dict().items()}}
    return Replay(Incident({}, tensors), model, None, ()).run(traced=True)


def test_an_attention_mask_of_infinities_is_no_fault():
    mask = torch.zeros(4, dtype=torch.bool)
    mask[1] = True
    seen = outcome(lambda x: x.mean((0, 2, 3)).masked_fill(mask, -INF).softmax(0)[0])
    assert seen.bad == () and seen.root is None and seen.norm > 0


def test_a_softmax_over_nothing_but_masked_values_is_named_not_the_mask():
    seen = outcome(lambda x: x.mean((0, 2, 3)).masked_fill(torch.ones(4, dtype=torch.bool), -INF).softmax(0).sum())
    assert seen.root.note.op == "aten._softmax" and seen.root.note.nan


def test_an_overflow_is_named_not_the_subtraction_that_makes_it_nan_nor_a_mask_beside_it():
    def function(x):
        huge = (x.abs() + 100).exp()
        return (huge - huge).sum() + x.new_full((2,), INF).clamp(max=1.0).sum()

    seen = outcome(function)
    assert seen.root.note.op == "aten.exp" and not seen.root.note.nan and seen.root.note.largest > 100


def test_what_is_thrown_away_is_not_blamed():
    def function(x):
        return torch.where(x > x.max(), (-1 - x.abs()).log(), x).square().mean()

    assert outcome(lambda x: function(x.detach()) + x.mean()).bad == ()


def test_batchnorm_is_named_when_only_its_running_variance_overflows():
    seen = outcome(lambda x: x.square().mean(), image=torch.randn(2, 3, 8, 8) * 1e30)
    assert seen.bad[0] == "norm.running_var" or "norm.running_var" in seen.bad
    assert (seen.root.note.op, seen.root.note.module, seen.root.note.changed) == (
        "aten.native_batch_norm",
        "norm",
        True,
    )


def test_a_gradient_that_goes_bad_is_traced_to_module_and_line():
    def spoil(model):
        model.norm.register_forward_hook(lambda m, i, o: o + (o - o).abs().sqrt())

    seen = outcome(lambda x: x.square().mean(), spoil)
    assert seen.phase == "backward" and (seen.root.note.op, seen.root.note.module) == ("aten.div", "norm")
    assert "test_trace.py:" in seen.root.note.code


@pytest.mark.parametrize("name", ("conv.weight", "conv.bias", "norm.weight", "norm.running_mean"))
def test_a_faulty_weight_is_named_with_the_operation_that_reads_it(name):
    def poison(model):
        model.state_dict()[name][0] = float("nan")

    seen = outcome(lambda x: x.square().mean(), poison)
    op = {"conv": "aten.convolution", "norm": "aten.native_batch_norm"}[name.partition(".")[0]]
    assert (seen.root.leaf.name, seen.root.note.op, seen.root.note.module) == (name, op, name.partition(".")[0])


def test_an_in_place_write_of_a_part_does_not_clear_the_rest():
    places = Places(nn.Identity())
    with Tracer(places, {}) as tracer:
        loss = torch.zeros(3)
        loss[0] = (torch.ones(()) * -1).log()
        loss[1] *= 7.5
        loss[2] = 1.0
        total = loss.sum()
    assert tracer.root([total]).note.op == "aten.log"


def test_memory_that_is_used_again_does_not_inherit_the_blame():
    places = Places(nn.Identity())
    with Tracer(places, {}) as tracer:
        for _ in range(50):
            (torch.ones(64) * -1).log().sum()  # freed at once
            healthy = torch.ones(64) * 2.0
    assert tracer.root([healthy]) is None and tracer.notes
