"""The code of the cards, one module each, and the table that names them."""

from __future__ import annotations

from collections.abc import Mapping

from yolo_nanfix.patching.fix import Fix
from yolo_nanfix.patching.fixes import (
    box_iou_half_precision,
    mask_area_zero,
    rect_validation,
    torchvision_operators_missing,
)

FIXES: Mapping[str, Fix] = {
    "box-iou-half-precision": box_iou_half_precision.FIX,
    "mask-area-zero": mask_area_zero.FIX,
    "rect-validation": rect_validation.FIX,
    "torchvision-operators-missing": torchvision_operators_missing.FIX,
}
