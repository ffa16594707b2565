"""Keeps predictions that are not finite from metrics where no training goes on: `model.val()`, `yolo val`.

There is no guard and no report then: what was left out is said in the log, batch by batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

import wrapt
from torch import Tensor

from yolo_nanfix import batches, upstream
from yolo_nanfix.guard import predictions

VALIDATOR = "ultralytics.engine.validator:BaseValidator"
GUARDED = "_nanfix_guarded"
"""Attribute of a validator whose trainer has a guard, which does the same and more."""


def install() -> Callable[[], None]:
    """Watch every validator that is built from now on; call the result to take it back."""
    try:
        target = upstream.resolve(f"{VALIDATOR}.__init__")
    except LookupError:
        return lambda: None

    def build(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        wrapped(*args, **kwargs)
        if all(hasattr(instance, name) for name in ("preprocess", "postprocess", "update_metrics")):
            _Watch(instance)

    setattr(target.owner, target.attribute, wrapt.FunctionWrapper(target.raw, build))
    return lambda: setattr(target.owner, target.attribute, target.raw)


class _Watch:
    """Stands around three methods of one validator."""

    def __init__(self, validator: Any) -> None:
        self.validator = validator
        self.batch: Mapping[str, Any] = {}
        self.bad: dict[int, int] = {}
        for name in ("preprocess", "postprocess", "update_metrics"):
            setattr(validator, name, self._around(getattr(validator, name), getattr(self, name)))

    def _around(self, bound: Callable[..., Any], ours: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(bound)
        def either(*args: Any, **kwargs: Any) -> Any:
            guarded = GUARDED in vars(self.validator) or kwargs
            return bound(*args, **kwargs) if guarded else ours(bound, *args)

        return either

    def preprocess(self, call: Callable[..., Any], batch: Any) -> Any:
        self.batch, self.bad = call(batch), {}
        return self.batch

    def postprocess(self, call: Callable[..., Any], raw: Any, *rest: Any) -> Any:
        _, sound = predictions.both_finite((), raw)
        if sound or not batches.collated(self.batch):
            return call(raw, *rest)
        self.bad = predictions.bad_images(raw, batches.size(self.batch))
        made, gone = predictions.finite_rows(call(raw, *rest), self.bad)
        files = ", ".join(s.file for s in predictions.sources(self.batch, self.bad)[:4])
        what = "left out" if isinstance(made, Tensor) else f"{gone} rows left out"
        upstream.log(f"yolo-nanfix: predictions that are not finite: {what} of the metrics; images: {files}")
        return made

    def update_metrics(self, call: Callable[..., Any], made: Any, batch: Any) -> Any:
        if self.bad and isinstance(made, Tensor):
            made, batch = predictions.without_images(made, batch, self.bad)
            if not len(made):
                return None
        return call(made, batch)
