"""The segmentation and OBB losses on outputs that are finite where nothing but a keep-alive term reads them."""

from __future__ import annotations

import inspect
from typing import Any

from torch import Tensor

from yolo_nanfix.numerics.keepalive import finite_rows, without_labels
from yolo_nanfix.patching import tally
from yolo_nanfix.patching.fix import Fix, Params, Wrapper

NAME = "keep-alive-infinite"
READ = ("mask_coefficient", "proto", "angle")
"""What the keep-alive terms multiply by 0, as the heads of 8.4 and later name it."""


def _wrapper(params: Params) -> Wrapper:
    def loss(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return _loss(wrapped, *args, **kwargs)

    return loss


def _loss(wrapped: Any, preds: Any, batch: dict[str, Any]) -> Any:
    outputs = preds
    if not isinstance(preds, dict):  # up to 8.3: (feats, outputs...) or, in evaluation, (decoded, (feats, outputs...))
        outputs = preds if isinstance(preds[0], list) else preds[1]
    feats = outputs["feats"] if isinstance(outputs, dict) else outputs[0]
    empty = without_labels(batch["batch_idx"], len(feats[0]))
    if empty.device.type == "cpu" and not empty.any():  # elsewhere the question would stop the host
        return wrapped(preds, batch)
    empty = empty.to(feats[0].device, non_blocking=True)
    if isinstance(outputs, dict):
        return wrapped({**outputs, **{k: _finite(outputs[k], empty) for k in READ if k in outputs}}, batch)
    return wrapped((feats, *(_finite(output, empty) for output in outputs[1:])), batch)


def _finite(output: Any, empty: Tensor) -> Any:
    """The output with finite rows for the images without labels."""
    if isinstance(output, tuple):  # prototypes and a semantic map, which is a target for all images if one has a label
        proto, semantic = output
        return _finite(proto, empty), None if semantic is None else _finite(semantic, empty & empty.all())
    output, lost = finite_rows(output, empty)
    tally.add(NAME, lost)
    return output


def _probe(stock: Any, patched: Any) -> str | None:
    """No tensors to compare: healthy outputs are passed on unchanged. The method must still read what we mend."""
    function = inspect.unwrap(stock)
    names = list(inspect.signature(function).parameters)
    if names != ["self", "preds", "batch"]:
        return f"the method takes {', '.join(names)}"
    outputs = {"proto", "pred_angle"} & set(function.__code__.co_varnames)
    return None if outputs else "the method no longer reads prototypes or angles"


FIX = Fix(wrapper=_wrapper, probe=_probe)
