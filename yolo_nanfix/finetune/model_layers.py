"""The layers of a model by the parts that its YAML names: backbone, neck and head.

The backbone has as many layers as `backbone` has entries, the head is the last layer, the neck all in between. So it is
in the definitions of YOLOv5u to YOLO26 and RT-DETR, for every task.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from yolo_nanfix.errors import UsageError, nearest
from yolo_nanfix.wording import shown

LAYER_PARTS = ("backbone", "neck", "head")


@dataclass(frozen=True)
class LayerNames:
    """The layers of one model.

    Attributes:
        parts: the numbers of the layers of each part.
        modules: names of modules below the layers (`23.cv2`), for single branches.
    """

    parts: Mapping[str, range]
    modules: frozenset[str] = field(default_factory=frozenset)

    @property
    def count(self) -> int:
        """How many layers there are."""
        return sum(map(len, self.parts.values()))

    def find(self, wanted: Any, who: str) -> list[int | str]:
        """The numbers of layers and names of modules, in order, each once.

        Args:
            wanted: a part; a part and the share of its layers, from its start (`{backbone: 0.5}`); the number of layers
                from the start; or a list of parts, numbers of layers, and names of modules.
            who: names the layers, for errors.

        Raises:
            UsageError: the model has no such layer, or none is left to train.
        """
        found: dict[int | str, None] = {}
        if isinstance(wanted, int) and not isinstance(wanted, bool):
            found = dict.fromkeys(self._first(wanted, who))
        else:
            for one in wanted if isinstance(wanted, list) else [wanted]:
                found |= dict.fromkeys(self._one(one, who))
        if not found:
            raise UsageError(f"{who} freezes no layer: {shown(wanted)}")
        numbers = {number for number in found if isinstance(number, int)}
        if len(numbers) == self.count:
            raise UsageError(f"{who} freezes all {self.count} layers of this model, so that none would train")
        return sorted(numbers) + sorted(name for name in found if isinstance(name, str))

    def _first(self, count: int, who: str) -> range:
        if not 1 <= count <= self.count:
            raise UsageError(f"{who} freezes {count} layers, but this model has {self.count}")
        return range(count)

    def _one(self, wanted: Any, who: str) -> list[int | str]:
        if isinstance(wanted, dict) and len(wanted) == 1:
            (part, share), *_ = wanted.items()
            if not isinstance(share, (int, float)) or isinstance(share, bool) or not 0 < share <= 1:
                raise UsageError(f"{who}: a share of the {shown(part)} is above 0 and at most 1, not {shown(share)}")
            layers = self._one(str(part), who)
            return layers[: max(1, round(share * len(layers)))]
        if isinstance(wanted, int) and not isinstance(wanted, bool):
            if not 0 <= wanted < self.count:
                raise UsageError(f"{who} names layer {wanted}, but this model has 0 to {self.count - 1}")
            return [wanted]
        if wanted in LAYER_PARTS:
            if not self.parts[wanted]:
                raise UsageError(f"{who} names the {wanted}, which this model has not")
            return list(self.parts[wanted])
        if isinstance(wanted, str) and wanted in self.modules:
            return [wanted]
        if isinstance(wanted, str):
            close = nearest(wanted, [*LAYER_PARTS, *sorted(self.modules)] if "." in wanted else LAYER_PARTS)
            raise UsageError(f"{who} names the layer '{wanted}', which this model has not; {close}")
        raise UsageError(f"{who}: {shown(wanted)} names no layers")


def layers_of(model: Any) -> LayerNames | None:
    """The layers of a model (`YOLO(...).model`); None if it was not built from a definition with its parts."""
    definition = getattr(model, "yaml", None)
    layers = getattr(model, "model", None)
    if not isinstance(definition, dict) or not isinstance(definition.get("backbone"), list) or layers is None:
        return None
    count, backbone = len(layers), len(definition["backbone"])
    if not 0 < backbone < count:
        return None
    parts = {
        "backbone": range(backbone),
        "neck": range(backbone, count - 1),
        "head": range(count - 1, count),
    }
    return LayerNames(parts, frozenset(name for name, _ in layers.named_modules() if "." in name))
