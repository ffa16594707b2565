"""The two RT-DETR patches: the matcher in 8.4.170 and here, the decoder and the losses after it here."""

from __future__ import annotations

import json

import pytest
import torch
from marks import matrix
from releases import run
from ultralytics.models.utils.loss import RTDETRDetectionLoss
from ultralytics.models.utils.ops import HungarianMatcher
from ultralytics.nn.modules.head import RTDETRDecoder

import yolo_nanfix
from yolo_nanfix.patching import tally

pytestmark = pytest.mark.usefixtures("unpatched")
MATCHER, DECODER = "rtdetr-matcher-half", "rtdetr-decoder-half"

MATCH = """
import json, sys
import torch
import yolo_nanfix

yolo_nanfix.patch("torchvision-operators-missing", "compat-pkg-resources")
from ultralytics.models.utils.ops import HungarianMatcher

box = torch.tensor([[0.5, 0.5, 0.2, 0.2]])
boxes = box.repeat(1, 3, 1)
scores = torch.tensor([[[3.0], [9.0], [-2.0]]])


def matched(dtype):
    try:
        pairs = HungarianMatcher()(boxes.to(dtype), scores.to(dtype), box, torch.tensor([0]), [1])
    except ValueError as error:
        return str(error)
    return pairs[0][0].tolist()


stock = [matched(torch.float16), matched(torch.float32)]
with yolo_nanfix.patched("rtdetr-matcher-half"):
    ours = [matched(torch.float16), matched(torch.float32)]
print(json.dumps([stock, ours]))
"""


@pytest.mark.parametrize(
    ("release", "gives"),
    [("8.4.170", [0]), *matrix(("8.0.136", "matrix contains invalid numeric entries"), ("8.3.253", [0]))],
)
def test_the_surest_query_is_matched_in_ours_and_not_in_stock(release, gives):
    """Three queries on the very box of the object; the one that is sure of it is to be matched."""
    stock, ours = json.loads(run(release, MATCH).splitlines()[-1])
    assert stock == [gives, [1]]
    assert ours == [[1], [1]]


def predictions():
    random = torch.Generator().manual_seed(0)
    return torch.rand(2, 40, 4, generator=random), torch.randn(2, 40, 3, generator=random)


def pairs(boxes, scores):
    targets = torch.tensor([[0.5, 0.5, 0.3, 0.3], [0.2, 0.3, 0.1, 0.1], [0.6, 0.6, 0.2, 0.4]])
    found = HungarianMatcher()(boxes, scores, targets, torch.tensor([0, 1, 2]), [2, 1])
    return [part.tolist() for pair in found for part in pair]


def test_predictions_that_are_nan_are_counted_and_matched_as_stock_does():
    boxes, scores = predictions()
    healthy = pairs(boxes, scores)
    boxes[0, 3], scores[1, 5] = float("nan"), float("nan")
    stock = pairs(boxes, scores)
    with yolo_nanfix.patched(MATCHER):
        tally.clear()
        assert pairs(boxes, scores) == stock
        assert tally.read() == {MATCHER: 2}
        tally.clear()
        assert pairs(*predictions()) == healthy
        assert tally.read() == {}


@pytest.fixture
def decoder():
    """A new one for each test: it keeps the anchors of the first precision that it sees."""
    torch.manual_seed(0)
    return RTDETRDecoder(nc=3, ch=(16, 32, 32), hd=64, nq=40, nh=4, ndl=3, d_ffn=128, nd=20)


def features():
    random = torch.Generator().manual_seed(1)
    return [torch.randn(2, c, n, n, generator=random) for c, n in zip((16, 32, 32), (16, 8, 4), strict=True)]


def training_step(decoder, half):
    """Losses and gradients of one step of the decoder and its criterion."""
    torch.manual_seed(2)
    state = {k: v.clone() for k, v in decoder.state_dict().items()}
    decoder.train().zero_grad()
    batch = {
        "cls": torch.tensor([0, 1, 2]),
        "bboxes": torch.tensor([[0.5, 0.5, 0.3, 0.3], [0.2, 0.3, 0.1, 0.1], [0.5, 0.5, 0.9, 0.9]]),
        "batch_idx": torch.tensor([0, 0, 1]),
        "gt_groups": [2, 1],
    }
    with torch.autocast("cpu", dtype=torch.float16, enabled=half):
        boxes, scores, first_boxes, first_scores, meta = decoder(features(), batch)
        noisy_boxes, boxes = torch.split(boxes, meta["dn_num_split"], dim=2)
        noisy_scores, scores = torch.split(scores, meta["dn_num_split"], dim=2)
        outputs = torch.cat((first_boxes[None], boxes)), torch.cat((first_scores[None], scores))
        loss = RTDETRDetectionLoss(nc=3, use_vfl=True)(outputs, batch, noisy_boxes, noisy_scores, meta)
    sum(loss.values()).backward()
    gradients = [p.grad for p in decoder.parameters() if p.grad is not None]
    decoder.load_state_dict(state)
    return {k: float(v.detach()) for k, v in loss.items()}, gradients


def finite(losses, gradients):
    return torch.tensor(list(losses.values())).isfinite().all() and all(g.isfinite().all() for g in gradients)


@pytest.fixture
def loud(decoder):
    """The decoder with projected features of 20 000, which float16 holds, but not their sum in a linear layer."""
    for module in decoder.input_proj.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.weight.data.fill_(20000.0)
    return decoder


def test_loud_features_are_nan_in_stock_and_those_of_float32_in_ours(loud):
    exact = training_step(loud, half=False)
    assert finite(*exact)
    assert not finite(*training_step(loud, half=True))
    with yolo_nanfix.patched(DECODER):
        losses, gradients = training_step(loud, half=True)
    assert losses == exact[0]
    assert all(torch.equal(a, b) for a, b in zip(gradients, exact[1], strict=True))


def test_a_box_at_the_border_is_stuck_in_stock_and_refined_in_ours(decoder):
    """The first layer says 9 for all coordinates, which float16 rounds to 1, the second takes 6 of it away."""
    heads = [decoder.enc_bbox_head, *decoder.dec_bbox_head]
    for head, value in zip(heads, (9.0, 0.0, -6.0, 0.0), strict=True):
        head.layers[-1].weight.data.zero_()
        head.layers[-1].bias.data.fill_(value)

    def boxes():
        decoder.eval()
        with torch.no_grad(), torch.autocast("cpu", dtype=torch.float16), as_on_cuda():
            return decoder(features())[1][0].float()

    with torch.no_grad():
        exact = decoder.eval()(features())[1][0]
    decoder.shapes = []
    stock = boxes()
    decoder.shapes = []
    with yolo_nanfix.patched(DECODER):
        ours = boxes()
    assert exact.max() < 0.9995 and torch.equal(ours, exact)
    assert (stock == 1).float().mean() > 0.2


def as_on_cuda():
    """Under CUDA's autocast BatchNorm keeps float16; the CPU's gives float32."""

    def keep(module, inputs, output):
        if isinstance(module, torch.nn.BatchNorm2d) and torch.is_autocast_enabled("cpu"):
            return output.half()
        return None

    return Hook(torch.nn.modules.module.register_module_forward_hook(keep))


class Hook:
    """A hook for the time of a with-block."""

    def __init__(self, handle):
        self.handle = handle

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.handle.remove()


@pytest.mark.parametrize("names", ((MATCHER,), (DECODER,), (MATCHER, DECODER)))
def test_float32_training_is_bit_identical(decoder, names):
    losses, gradients = training_step(decoder, half=False)
    with yolo_nanfix.patched(*names):
        ours, our_gradients = training_step(decoder, half=False)
    assert losses == ours
    assert all(torch.equal(a, b) for a, b in zip(gradients, our_gradients, strict=True))


def test_bfloat16_autocast_is_left_to_upstream(decoder):
    def boxes():
        decoder.eval()
        with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
            return decoder(features())[0]

    stock = boxes()
    with yolo_nanfix.patched(DECODER):
        assert torch.equal(boxes(), stock)
