"""The attention patch in 8.4.79, one of the last releases that scale the logits after the product."""

from __future__ import annotations

import json

import pytest
from releases import run

CODE = """
import copy, json
import torch
import yolo_nanfix

yolo_nanfix.patch("torchvision-operators-missing")
from ultralytics.nn.modules.block import AAttn, Attention

NAME = "attention-logits-half"


def block(kind, gain):
    "A block in evaluation mode, whose queries and keys have a standard deviation of `gain`."
    torch.manual_seed(0)
    module = kind(64, 2).train()
    module.qkv.bn.weight.data.fill_(gain)
    for m in module.modules():
        if isinstance(m, torch.nn.BatchNorm2d):
            m.momentum = 1.0
    with torch.no_grad():
        module(images)
    return module.eval()


def training(module, x):
    module = copy.deepcopy(module).train()
    leaf = x.clone().requires_grad_(True)
    out = module(leaf)
    out.float().square().sum().backward()
    return out.detach(), leaf.grad, [p.grad for p in module.parameters()], [b.clone() for b in module.buffers()]


def halves(module):
    "The outputs under float16 autocast, and of float16 weights."
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.float16):
        yield module(images)
    with torch.no_grad():
        yield copy.deepcopy(module).half()(images.half())


def exact(module):
    "What the two outputs of `halves` are in float32, from the same weights and images."
    rounded = copy.deepcopy(module).half().float()
    with torch.no_grad():
        yield module(images)
        yield rounded(images.half().float())


def error(outputs, references):
    return [float((out.float() - ref).abs().max() / ref.abs().max()) for out, ref in zip(outputs, references)]


def flat(x):
    return [x] if isinstance(x, torch.Tensor) else [t for y in x for t in flat(y)]


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(flat(a), flat(b), strict=True))


images = torch.randn(2, 64, 8, 8, generator=torch.Generator().manual_seed(1))
answer = {}
for kind in (Attention, AAttn):
    loud, quiet = block(kind, 100.0), block(kind, 1.0)
    stock = [training(quiet, images), training(loud, images)]
    lost = [float(out.isnan().float().mean()) for out in halves(loud)]
    with yolo_nanfix.patched(NAME):
        ours = [training(quiet, images), training(loud, images)]
        outs = list(halves(loud))
        near = list(halves(quiet))
        with torch.autocast("cpu", dtype=torch.float16):
            _, gradient, _, buffers = training(loud, images)
        with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
            brain = loud(images)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        brain_stock = loud(images)
    answer[kind.__name__] = {
        "nan in stock": lost,
        "error": error(outs, exact(loud)),
        "healthy error": error(near, exact(quiet)),
        "dtypes": [str(out.dtype) for out in outs],
        "gradient finite": bool(gradient.isfinite().all()),
        "buffers updated": not same(buffers, list(loud.buffers())),
        "float32 identical": same(stock, ours),
        "bfloat16 identical": same(brain, brain_stock),
    }
print(json.dumps(answer))
"""


@pytest.fixture(scope="module")
def blocks():
    return json.loads(run("8.4.79", CODE).splitlines()[-1])


@pytest.mark.parametrize("name", ("Attention", "AAttn"))
def test_large_products_are_nan_in_stock_and_exact_in_ours(blocks, name):
    block = blocks[name]
    assert min(block["nan in stock"]) > 0.9
    assert max(block["error"]) < 2e-3
    assert block["dtypes"] == ["torch.float16", "torch.float16"]
    assert block["gradient finite"] and block["buffers updated"]


@pytest.mark.parametrize("name", ("Attention", "AAttn"))
def test_float32_and_bfloat16_runs_are_bit_identical_and_healthy_float16_within_its_rounding(blocks, name):
    block = blocks[name]
    assert block["float32 identical"] and block["bfloat16 identical"]
    assert max(block["healthy error"]) < 2e-3


def test_the_card_is_fixed_in_the_installed_release(unpatched):
    import yolo_nanfix

    states = {p.name: p.state for p in yolo_nanfix.patch("attention-logits-half").patches}
    assert states["attention-logits-half"] == "fixed"
