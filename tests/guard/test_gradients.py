"""Gradients of micro-batches, kept apart until they are judged."""

from __future__ import annotations

import torch
from torch import nn

from yolo_nanfix.guard.gradients import Gradients


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 1))


def inputs(count=4):
    return [torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(i)) for i in range(count)]


def summed(leave_out=()):
    """What autograd itself accumulates."""
    model = net()
    for i, x in enumerate(inputs()):
        if i not in leave_out:
            model(x).square().sum().backward()
    return [p.grad for p in model.parameters()]


def test_what_is_added_afterwards_is_bit_for_bit_what_autograd_accumulates():
    model = net()
    gradients = Gradients(list(model.parameters()))
    for i, x in enumerate(inputs()):
        loss = model(x).square().sum()
        gradients.set_aside()
        assert all(p.grad is None for p in model.parameters())
        loss.backward()
        gradients.join()
        wanted = summed(range(i + 1, 4))
        assert all(torch.equal(p.grad, g) for p, g in zip(model.parameters(), wanted, strict=True))


def test_a_faulty_one_is_dropped_alone_and_leaves_no_trace():
    model = net()
    gradients = Gradients(list(model.parameters()))
    for i, x in enumerate(inputs()):
        loss = model(x).square().sum()
        gradients.set_aside()
        (loss * float("nan") if i == 2 else loss).backward()
        good = bool(gradients.probe().isfinite())
        assert good == (i != 2)
        gradients.join() if good else gradients.drop()
    assert all(torch.equal(p.grad, g) for p, g in zip(model.parameters(), summed((2,)), strict=True))


def test_frozen_parameters_and_those_without_a_gradient_are_left_alone():
    model = net()
    model[0].weight.requires_grad_(False)
    unused = nn.Parameter(torch.zeros(2))
    gradients = Gradients([*model.parameters(), unused])
    for x in inputs(2):
        gradients.set_aside()
        model(x).sum().backward()
        gradients.join()
    assert model[0].weight.grad is None and unused.grad is None and model[0].bias.grad is not None
    assert Gradients([unused]).probe() is None


def test_a_parameter_that_only_later_micro_batches_use_joins_the_sum():
    a, b = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    gradients = Gradients([a, b])
    for loss in (a.sum(), a.sum() + 3 * b.sum()):
        gradients.set_aside()
        loss.backward()
        gradients.join()
    assert a.grad.tolist() == [2, 2] and b.grad.tolist() == [3, 3]


def test_a_hook_that_waits_for_the_sum_sees_it():
    a, seen = nn.Parameter(torch.ones(2)), []
    a.register_post_accumulate_grad_hook(lambda p: seen.append(p.grad.clone()))
    gradients = Gradients([a])
    for _ in range(2):
        gradients.set_aside()
        a.sum().backward()
        gradients.join()
    assert not gradients.apart and [g.tolist() for g in seen] == [[1, 1], [2, 2]]
