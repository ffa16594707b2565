"""float16 kept away from modules that overflow in it, and from models and GPUs that cannot train in it."""

from __future__ import annotations

import inspect
import math
import re
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.func import functional_call

from yolo_nanfix import upstream
from yolo_nanfix.numerics.precision import float16_autocast, float32_state, in_float32, overflow_in_half
from yolo_nanfix.patching import tally
from yolo_nanfix.patching.fix import Fix, float32_wrapper, wrapper
from yolo_nanfix.patching.probe import amp_difference, calling, difference, generator

CHECKED = ("cuda",)
"""Device types on which `check_amp` looks at the model itself: those that train in float16."""
BATCH = 8
"""Broken GPUs fail from 7 images on (https://github.com/ultralytics/ultralytics/pull/17977)."""


class Family(NamedTuple):
    """GPUs of one kind: a pattern of their names, their names in a message, and the report."""

    pattern: str
    cards: str
    report: str


BROKEN_HALF = (
    Family(r"gtx\s*16[356]0", "GTX 1630, 1650 and 1660", "https://github.com/pytorch/pytorch/issues/77955"),
    Family(
        r"\bt(400|550|600|1000|1200|2000)",
        "T400, T550, T600, T1000, T1200 and T2000",
        "https://github.com/ultralytics/ultralytics/pull/17977",
    ),
    Family(r"\bk40m", "Tesla K40m", "https://github.com/ultralytics/ultralytics/pull/17977"),
    Family(r"\bcmp\s*[34]0hx", "CMP 30HX and 40HX", "https://github.com/RVC-Boss/GPT-SoVITS/issues/2563"),
)


def broken_half(name: str) -> str | None:
    """Why a GPU must not compute in float16, or None if no fault is known.

    Args:
        name: as `torch.cuda.get_device_name` gives it, such as "NVIDIA GeForce GTX 1660 Ti".
    """
    for family in BROKEN_HALF:
        if re.search(family.pattern, name, re.IGNORECASE):
            return f"{family.cards} return NaN or zeros from float16 convolutions ({family.report})"
    return None


@wrapper
def check_gpu(wrapped: Any, instance: Any, model: Any, *args: Any, **kwargs: Any) -> Any:
    """Upstream's `check_amp`, but False on a GPU that is known to be broken."""
    device = next(model.parameters()).device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
    if (reason := broken_half(name)) is None:
        return wrapped(model, *args, **kwargs)
    tally.add("gpu-half-broken", 1)
    upstream.log(f"yolo-nanfix: gpu-half-broken: AMP is turned off on {name}: {reason}")
    return False


@wrapper
def check_model(wrapped: Any, instance: Any, *args: Any, **kwargs: Any) -> Any:
    """Upstream's `check_amp`; if it is True, the model itself is checked."""
    return wrapped(*args, **kwargs) and _holds_in_half(*args, **kwargs)


def _holds_in_half(model: Any) -> bool:
    """Whether the model is as finite in float16 as in float32; True if the check cannot run."""
    if next(model.parameters()).device.type not in CHECKED:
        return True
    plain, card = getattr(model, "_orig_mod", model), "yolo-nanfix: amp-check-skipped"
    try:
        module = overflow_in_half(plain, image_batch(plain), torch.float16)
    except Exception as error:  # models of users may refuse this call in any way
        upstream.log(f"{card}: the check could not run ({type(error).__name__}: {error}), AMP stays on")
        return True
    if module is None:
        return True
    tally.add("amp-check-skipped", 1)
    upstream.log(
        f"{card}: {module} of this model is finite in float32 but not in float16 on this device, so AMP is turned off"
    )
    return False


def image_batch(model: Any) -> tuple[int, int, int, int]:
    """The shape of an image batch as in training, with at most `BATCH` images."""
    settings = getattr(model, "args", None)
    stride = int(max(model.stride)) if hasattr(model, "stride") else 32
    size = getattr(settings, "imgsz", None) or 640
    side = math.ceil((max(size) if isinstance(size, (list, tuple)) else int(size)) / stride) * stride
    batch = getattr(settings, "batch", BATCH)
    channels = next(m.in_channels for m in model.modules() if isinstance(m, torch.nn.Conv2d))
    return (min(batch, BATCH) if isinstance(batch, int) and batch > 0 else BATCH, channels, side, side)


@wrapper
def attention(wrapped: Any, instance: Any, x: Tensor, *rest: Any, **options: Any) -> Any:
    """`Attention` and `AAttn` in float32, where the product of queries and keys cannot overflow; float16 comes out."""
    if x.dtype is not torch.float16 and not float16_autocast(x.device.type):
        return wrapped(x, *rest, **options)
    with torch.autocast(x.device.type, enabled=False):
        halved = float32_state(instance)
        if halved and instance.training:  # copies would lose the updates of BatchNorm
            return wrapped(x, *rest, **options)
        full = functional_call(instance, halved, (x.float(),)) if halved else wrapped(x.float())
    return full.half()


def _attention_probe(stock: Any, patched: Any) -> str | None:
    """Equal in float32; and under float16 autocast equal to stock in float32, up to the rounding of the result."""
    plain = inspect.unwrap(stock)
    block = plain.__globals__[plain.__qualname__.partition(".")[0]]
    torch.manual_seed(0)
    module = block(64, 2).eval()
    x = torch.randn(2, 64, 8, 8, generator=generator(1))

    call = calling(instance=module)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.float16):
        half = call(patched, [x])
    with torch.no_grad():
        if not torch.allclose(half.float(), call(stock, [x]), rtol=1e-3, atol=1e-3):
            return "its result under float16 autocast is not the one of float32"
    return difference(stock, patched, call, [[x]])


@wrapper
def rtdetr_decoder(wrapped: Any, instance: Any, x: list[Tensor], *rest: Any, **options: Any) -> Any:
    """In float32 where float16 autocast is active."""
    device_type = x[0].device.type
    if not float16_autocast(device_type):
        return wrapped(x, *rest, **options)
    with torch.autocast(device_type, enabled=False):
        return wrapped(in_float32(x), *rest, **options)


def _decoder_probe(stock: Any, patched: Any) -> str | None:
    """Equal in float32; and under float16 autocast equal to stock in float32."""
    decoder = inspect.unwrap(stock).__globals__["RTDETRDecoder"]
    torch.manual_seed(0)
    module = decoder(nc=3, ch=(16, 16), hd=32, nq=10, nh=4, ndl=2, d_ffn=32, nd=0).train()
    random = generator(1)
    inputs = [torch.randn(2, 16, n, n, generator=random) for n in (8, 4)]

    def call(function: Any, tensors: Any) -> Tensor:
        torch.manual_seed(2)
        boxes, scores, *_ = function.__get__(module, decoder)(list(tensors))
        return torch.cat((boxes, scores), -1)

    def under_autocast(function: Any, tensors: Any) -> Tensor:
        with torch.autocast("cpu", dtype=torch.float16, enabled=function is patched):
            return call(function, tensors)

    return difference(stock, patched, call, [inputs]) or difference(stock, patched, under_autocast, [inputs])


@float32_wrapper
def rtdetr_matcher(
    wrapped: Any, instance: Any, pred_bboxes: Tensor, pred_scores: Tensor, *targets: Any, **options: Any
) -> Any:
    """Match in float32, and count the predictions whose costs upstream sets to 0."""
    boxes, scores = in_float32(pred_bboxes.detach()), in_float32(pred_scores.detach())
    tally.add("rtdetr-matcher-half", ~boxes.isfinite().all(-1) | scores.isnan().any(-1))
    return wrapped(boxes, scores, *targets, **options)


def _matcher_probe(stock: Any, patched: Any) -> str | None:
    """Both must match 30 predictions to the same objects."""
    matcher: Any = upstream.resolve("ultralytics.models.utils.ops:HungarianMatcher").raw
    random = generator(0)
    boxes, scores = torch.rand(2, 30, 4, generator=random), torch.randn(2, 30, 5, generator=random)
    targets = torch.rand(3, 4, generator=random), torch.tensor([0, 4, 2]), [2, 1]
    instance = matcher()
    found, ours = (f.__get__(instance, matcher)(boxes, scores, *targets) for f in (stock, patched))
    same = all(torch.equal(a, b) for x, y in zip(found, ours, strict=True) for a, b in zip(x, y, strict=True))
    return None if same else "it matches healthy predictions to other objects than stock"


FIXES = {
    "gpu-half-broken": Fix(check_gpu, amp_difference),
    "amp-check-skipped": Fix(check_model, amp_difference),
    "attention-logits-half": Fix(attention, _attention_probe),
    "rtdetr-decoder-half": Fix(rtdetr_decoder, _decoder_probe),
    "rtdetr-matcher-half": Fix(rtdetr_matcher, _matcher_probe),
}
