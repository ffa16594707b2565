"""`DetectionTrainer.build_dataset` without rectangular validation batches."""

from __future__ import annotations

import inspect
from typing import Any

from yolo_nanfix import upstream
from yolo_nanfix.patching.fix import Fix, Params, Wrapper

BUILDER = "build_yolo_dataset"


def _wrapper(params: Params) -> Wrapper:
    square = params["rect"] == "off"

    def build_dataset(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        mode = kwargs.get("mode", args[1] if len(args) > 1 else "train")
        if not square or mode != "val":
            return wrapped(*args, **kwargs)
        if instance.args.rect:
            upstream.log("rect-validation: rect=True is set by you, so validation batches stay rectangular")
        return _without_rect(wrapped, args, kwargs)

    return build_dataset


def _without_rect(wrapped: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call upstream's method while the dataset builder in its module's globals ignores `rect=True`.

    Upstream writes `rect=mode == "val"` into that call; the user's own `rect=True` is in `cfg` and still counts.
    """
    scope = inspect.unwrap(wrapped.__func__).__globals__
    builder = scope[BUILDER]

    def square_builder(*builder_args: Any, **builder_kwargs: Any) -> Any:
        return builder(*builder_args, **{**builder_kwargs, "rect": False})

    scope[BUILDER] = square_builder
    try:
        return wrapped(*args, **kwargs)
    finally:
        scope[BUILDER] = builder


def _probe(stock: Any, patched: Any) -> str | None:
    """No tensors to compare: the method must still pass `rect` by name to the builder that we intercept."""
    function = inspect.unwrap(stock)
    builder = function.__globals__.get(BUILDER)
    if BUILDER not in function.__code__.co_names or not callable(builder):
        return f"the method no longer calls {BUILDER}"
    if "rect" not in inspect.signature(builder).parameters:
        return f"{BUILDER} no longer takes rect"
    if not any("rect" in c for c in function.__code__.co_consts if isinstance(c, tuple)):
        return f"the method no longer passes rect to {BUILDER} by name"
    return None


FIX = Fix(wrapper=_wrapper, probe=_probe)
