"""The segmentation and OBB losses on outputs that are finite where nothing but a keep-alive term reads them."""

from __future__ import annotations

import inspect
from typing import Any

from torch import Tensor

from yolo_nanfix.numerics.targets import finite_rows, without_labels
from yolo_nanfix.patching import tally
from yolo_nanfix.patching.fix import Fix, wrapper
from yolo_nanfix.patching.probe import text_probe

NAME = "keep-alive-infinite"
KEPT_ALIVE = ("mask_coefficient", "proto", "angle")
"""What the keep-alive terms multiply by 0, as the heads of 8.4 and later name it."""


@wrapper
def loss(wrapped: Any, instance: Any, preds: Any, batch: dict[str, Any]) -> Any:
    """Upstream's loss on outputs that are finite for the images without labels."""
    outputs = preds
    if not isinstance(preds, dict):  # up to 8.3: (feats, outputs...) or, in evaluation, (decoded, (feats, outputs...))
        outputs = preds if isinstance(preds[0], list) else preds[1]
    feats = outputs["feats"] if isinstance(outputs, dict) else outputs[0]
    empty = without_labels(batch["batch_idx"], len(feats[0]))
    if empty.device.type == "cpu" and not empty.any():  # on a GPU this would be a host read
        return wrapped(preds, batch)
    empty = empty.to(feats[0].device, non_blocking=True)
    if isinstance(outputs, dict):
        return wrapped({**outputs, **{k: _finite_output(outputs[k], empty) for k in KEPT_ALIVE if k in outputs}}, batch)
    return wrapped((feats, *(_finite_output(output, empty) for output in outputs[1:])), batch)


def _finite_output(output: Any, empty: Tensor) -> Any:
    """The output with finite rows for the images without labels."""
    if isinstance(output, tuple):  # prototypes and a semantic map, which has a loss for all images if one has a label
        proto, semantic = output
        return _finite_output(proto, empty), None if semantic is None else _finite_output(semantic, empty & empty.all())
    output, lost = finite_rows(output, empty)
    tally.add(NAME, lost)
    return output


def _probe(stock: Any, patched: Any) -> str | None:
    """Healthy outputs are passed on unchanged. The method must still read the outputs that are made finite here."""
    if reason := text_probe(takes=("preds", "batch"))(stock, patched):
        return reason
    outputs = {"proto", "pred_angle"} & set(inspect.unwrap(stock).__code__.co_varnames)
    return None if outputs else "it no longer reads prototypes or angles"


FIX = Fix(wrapper=loss, probe=_probe)
