"""The keep-alive patch inside the real segmentation and OBB losses, of this release and of 8.3.253."""

from __future__ import annotations

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from releases import run
from ultralytics.cfg import get_cfg
from ultralytics.nn.tasks import OBBModel, SegmentationModel

import yolo_nanfix
from yolo_nanfix.numerics.targets import finite_rows, without_labels
from yolo_nanfix.patching import tally

pytestmark = pytest.mark.usefixtures("unpatched")
NAME = "keep-alive-infinite"
LABELLED = torch.tensor([[0.5, 0.5, 0.6, 0.6]])
NOT_FINITE = (float("inf"), float("-inf"), float("nan"))


@pytest.fixture(scope="module", params=("yolov8n-seg.yaml", "yolo26n-seg.yaml"))
def segment(request):
    return trainable(SegmentationModel(request.param, nc=2, verbose=False))


@pytest.fixture(scope="module")
def obb():
    return trainable(OBBModel("yolo26n-obb.yaml", nc=2, verbose=False))


def trainable(model):
    torch.manual_seed(0)
    model.args = get_cfg()
    model.args.epochs = 10
    return model.train()


def losses(model, spoil, labelled=1):
    """Value and head gradients of the loss of three images, the last `labelled` of which have an object."""
    torch.manual_seed(0)
    images = torch.rand(3, 3, 64, 64)
    box = LABELLED if not isinstance(model, OBBModel) else torch.cat((LABELLED, torch.zeros(1, 1)), 1)
    masks = torch.zeros(3, 16, 16)
    masks[3 - labelled :, 3:13, 3:13] = 1
    batch = {
        "img": images,
        "cls": torch.zeros(labelled, 1),
        "bboxes": box.repeat(labelled, 1),
        "batch_idx": torch.arange(3 - labelled, 3).float(),
        "masks": masks,
        "sem_masks": torch.zeros(3, 16, 16),
    }
    state = {k: v.clone() for k, v in model.state_dict().items()}
    preds = model(images)
    heads = preds.values() if "one2many" in preds else [preds]
    leaves = []
    for head in heads:
        spoil(head)
        for key, value in head.items():
            parts = value if isinstance(value, (tuple, list)) else (value,)
            fresh = [part.detach().requires_grad_(True) for part in parts]
            leaves += fresh
            head[key] = type(value)(fresh) if isinstance(value, (tuple, list)) else fresh[0]
    model.criterion = None
    value, items = model.loss(batch, preds)
    gradients = torch.autograd.grad(value.sum(), leaves, allow_unused=True)
    model.load_state_dict(state)
    return {k: float(v) for k, v in items.items()}, [g for g in gradients if g is not None]


def healthy(head):
    """Nothing is spoilt."""


def spoilt(key, image, value):
    """Puts one value into an output of one image."""

    def spoil(head):
        output = head[key][0] if isinstance(head[key], tuple) else head[key]
        output.data[image].view(-1)[5] = value

    return spoil


@pytest.mark.parametrize("value", NOT_FINITE)
@pytest.mark.parametrize("key", ("proto", "mask_coefficient"))
def test_one_background_image_makes_seg_loss_nan_in_stock_and_leaves_ours_as_it_was(segment, key, value):
    expected, gradients = losses(segment, healthy)
    stock, _ = losses(segment, spoilt(key, 0, value))
    assert torch.tensor(stock["seg_loss"]).isnan()
    with yolo_nanfix.patched(NAME):
        ours, our_gradients = losses(segment, spoilt(key, 0, value))
        assert {p.name: p.counted for p in yolo_nanfix.status().patches}[NAME] >= 1
    assert ours == expected
    assert all(torch.equal(a, b) for a, b in zip(gradients, our_gradients, strict=True))


def test_a_batch_of_backgrounds_too_with_its_semantic_map(segment):
    def spoil(head):
        outputs = head["proto"] if isinstance(head["proto"], tuple) else (head["proto"],)
        for output in outputs:
            output.data[1].view(-1)[:3] = torch.tensor(NOT_FINITE)

    expected, _ = losses(segment, healthy, labelled=0)
    stock, _ = losses(segment, spoil, labelled=0)
    assert torch.tensor(stock["seg_loss"]).isnan()
    with yolo_nanfix.patched(NAME):
        assert losses(segment, spoil, labelled=0)[0] == expected


def test_an_image_with_labels_keeps_its_nan(segment):
    with yolo_nanfix.patched(NAME):
        tally.clear()
        ours, _ = losses(segment, spoilt("proto", 2, float("nan")))
        assert tally.read() == {}
    assert torch.tensor(ours["seg_loss"]).isnan()


@pytest.mark.parametrize("labelled", (0, 1, 3))
def test_healthy_batches_are_bit_identical_and_count_nothing(segment, obb, labelled):
    for model in (segment, obb):
        expected, gradients = losses(model, healthy, labelled)
        with yolo_nanfix.patched(NAME):
            tally.clear()
            ours, our_gradients = losses(model, healthy, labelled)
            assert tally.read() == {}
        assert ours == expected
        assert all(torch.equal(a, b) for a, b in zip(gradients, our_gradients, strict=True))


def test_angles_of_a_batch_of_backgrounds(obb):
    spoil = spoilt("angle", 1, float("inf"))
    expected, _ = losses(obb, healthy, labelled=0)
    assert torch.tensor(losses(obb, spoil, labelled=0)[0]["box_loss"]).isnan()
    with yolo_nanfix.patched(NAME):
        assert losses(obb, spoil, labelled=0)[0] == expected


OLD = """
import json
import torch
import yolo_nanfix

yolo_nanfix.patch("torchvision-operators-missing")
from ultralytics.cfg import get_cfg
from ultralytics.nn.tasks import OBBModel, SegmentationModel


def answer(model, training, spoilt, box):
    model.args = get_cfg()
    model.train(training)
    torch.manual_seed(0)
    images = torch.rand(2, 3, 64, 64)
    batch = {"img": images, "cls": torch.zeros(1, 1), "bboxes": box, "batch_idx": torch.ones(1)}
    if box.shape[1] == 5:
        batch = {**batch, "cls": torch.zeros(0, 1), "bboxes": box[:0], "batch_idx": torch.zeros(0)}
    batch["masks"] = torch.ones(2, 16, 16)
    with torch.no_grad():
        preds = model(images)
        head = preds if training else preds[1]
        if spoilt:
            head[-1][0].view(-1)[3] = float("inf")
        return model.loss(batch, preds)[1].tolist()


square = torch.tensor([[0.5, 0.5, 0.6, 0.6]])
cases = {
    "segment": (SegmentationModel("yolov8n-seg.yaml", nc=2, verbose=False), square),
    "obb": (OBBModel("yolov8n-obb.yaml", nc=2, verbose=False), torch.cat((square, torch.zeros(1, 1)), 1)),
}
found = {}
for name, (model, box) in cases.items():
    for training in (True, False):
        stock, healthy = (answer(model, training, spoilt, box) for spoilt in (True, False))
        with yolo_nanfix.patched("keep-alive-infinite"):
            ours = answer(model, training, True, box)
        found[f"{name} {training}"] = [stock, ours, healthy]
print(json.dumps(found))
"""


def test_outputs_are_tuples_up_to_8_3():
    found = json.loads(run("8.3.253", OLD).splitlines()[-1])
    assert set(found) == {"segment True", "segment False", "obb True", "obb False"}
    for stock, ours, healthy in found.values():
        assert torch.tensor(stock).isnan().any()
        assert ours == healthy


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from((torch.float32, torch.float16, torch.bfloat16)),
    st.lists(st.floats(width=32), min_size=12, max_size=12),
    st.lists(st.integers(0, 2), max_size=4),
)
def test_keep_alive_terms_of_finite_rows_are_zero(dtype, numbers, labels):
    leaf = torch.tensor(numbers, dtype=dtype).view(3, 4).requires_grad_(True)
    empty = without_labels(torch.tensor(labels).float(), 3)
    assert empty.tolist() == [image not in labels for image in range(3)]
    fixed, lost = finite_rows(leaf, empty)
    term = (fixed[empty] * 0).sum()
    term.backward()
    assert term == 0 and not leaf.grad.any()
    assert torch.equal(fixed[~lost].nan_to_num(0.5), leaf[~lost].nan_to_num(0.5))
    assert torch.equal(lost, ~leaf.isfinite() & empty[:, None])
