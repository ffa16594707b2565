"""Records the outputs of the head that go to the loss, at no cost, by wrapping the model's criterion."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import wrapt
from torch import nn


class Overheard(wrapt.ObjectProxy):  # type: ignore[type-arg]
    """A proxy of a criterion that keeps the predictions of the last call.

    Copies and pickles are those of the criterion, so the proxy never gets into an EMA or a checkpoint.
    """

    _self_outputs: Any = None

    def __call__(self, outputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Compute the loss."""
        self._self_outputs = outputs
        return self.__wrapped__(outputs, *args, **kwargs)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return deepcopy(self.__wrapped__, memo)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.__wrapped__.__reduce_ex__(protocol)


def overhear(model: nn.Module) -> None:
    """Wrap the criterion, once the model has one.

    A criterion that is a module itself, as RT-DETR's, is left alone: it is part of the model's tree.
    """
    criterion = getattr(model, "criterion", None)
    if criterion is not None and not isinstance(criterion, (Overheard, nn.Module)):
        setattr(model, "criterion", Overheard(criterion))  # noqa: B010 - a plain attribute, not a submodule


def take(model: nn.Module) -> Any:
    """The outputs of the head in the last forward pass, or None; they are released."""
    criterion = getattr(model, "criterion", None)
    if type(criterion) is not Overheard:
        return None
    outputs, criterion._self_outputs = criterion._self_outputs, None
    return outputs
