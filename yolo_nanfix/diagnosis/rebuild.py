"""Builds the model of an incident in a process that does not have it: its class, its yaml, its weights."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from yolo_nanfix import upstream
from yolo_nanfix.diagnosis import widths
from yolo_nanfix.errors import DataError
from yolo_nanfix.incident import Incident

FIXED = ".dfl"
"""Ultralytics never trains parameters with this in their name."""


def import_modules(names: Iterable[str]) -> None:
    """Import the modules that the user named, from the current folder too, so that their classes can be found.

    Raises:
        DataError: there is no such module, or it cannot be imported.
    """
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    for name in names:
        try:
            importlib.import_module(name)
        except Exception as error:  # a user's module may raise anything
            raise DataError(f"--import {name}: {type(error).__name__}: {error}") from error


def build(incident: Incident, imported: Iterable[str] = ()) -> nn.Module:
    """The model as it was, in training mode, with the incident's weights.

    Args:
        incident: its facts name class, yaml, channels and classes; its tensors hold the weights.
        imported: modules other than ultralytics that may hold the class.

    Raises:
        DataError: the class is not known here, cannot be built, or the weights do not fit it.
    """
    facts = incident.facts.get("model")
    weights = incident.part("model")
    own = incident.facts.get("own") or {}
    if not weights:
        raise DataError("the incident holds no weights (it was over the size limit), so it cannot be replayed")
    if not isinstance(facts, Mapping) or not isinstance(facts.get("yaml"), Mapping):
        raise DataError("the incident does not say how its model is built")
    cls = _class(str(facts.get("class")), imported)
    yaml = _with_integer_keys(facts["yaml"])
    try:
        model: nn.Module = cls(cfg=yaml, ch=int(facts.get("ch") or 3), nc=facts.get("nc"), verbose=False)
    except Exception as error:
        said = f"the model of the incident cannot be built: {type(error).__name__}: {error}"
        raise DataError(said + _missing(own)) from error
    try:
        _fit(model, weights)
    except DataError as error:
        raise DataError(f"{error}{_missing(own)}") from error
    known: dict[str, Any] = {"names": _with_integer_keys(facts.get("names") or {}), "nc": facts.get("nc")}
    known["args"] = upstream.resolve("ultralytics.utils:IterableSimpleNamespace").raw(**incident.facts.get("args", {}))
    for key in ("kpt_shape", "kpt_oks_sigmas"):
        if key in facts or key in yaml:
            known[key] = facts.get(key, yaml.get(key))
    if isinstance(weighted := facts.get("class_weights"), list):
        known["class_weights"] = torch.tensor([float(w) for w in weighted])
    for key, value in known.items():
        setattr(model, key, value)
    return _as_in_training(model, incident.facts)


def _missing(own: Mapping[str, Any]) -> str:
    """Which of the run's own classes are not here, and how they come here; empty if there is none."""
    here = upstream.replaced()
    places = {str(k): str(v) for k, v in (own.get("replaced") or {}).items() if str(k) not in here}
    classes = {str(v) for k, v in (own.get("classes") or {}).items() if not str(k).startswith("criterion")}
    names = sorted({c.rpartition(":")[2] for c in classes} | {p.rpartition(":")[2] for p in places})
    if not names:
        return ""
    files = sorted({place.rpartition(":")[0] for place in places.values()} | {c.rpartition(":")[0] for c in classes})
    files = [file for file in files if file and file != "__main__"]
    origin = f" (from {', '.join(files)})" if files else ""
    return f"; the run had {', '.join(names)}{origin}: import the module that defines and puts it with --import MODULE"


def _class(path: str, imported: Iterable[str]) -> type[nn.Module]:
    """Only ultralytics and what the user imported are looked into: an incident may come from anybody."""
    module = path.partition(":")[0]
    if module.partition(".")[0] != "ultralytics" and module not in set(imported):
        raise DataError(f"the model's class is {path}; import its module with --import {module or 'MODULE'}")
    try:
        found = upstream.resolve(path).raw
    except LookupError as error:
        raise DataError(f"the model's class {path} is not here: {error}") from error
    if not (inspect.isclass(found) and issubclass(found, nn.Module)):
        raise DataError(f"{path} is not a model class")
    return found


def _fit(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    widths.follow(model, weights)
    own = model.state_dict()
    for name, tensor in own.items():
        if name not in weights:
            raise DataError(f"the incident has no weight '{name}', which its model needs")
        if weights[name].shape != tensor.shape:
            shapes = f"{tuple(weights[name].shape)} instead of {tuple(tensor.shape)}"
            raise DataError(f"the incident's weight '{name}' has the shape {shapes}")
    if extra := set(weights) - set(own) - {name for name, _ in model.named_buffers()}:
        raise DataError(f"the incident's weight '{min(extra)}' has no place in its model")
    model.load_state_dict({name: weights[name] for name in own})


def _as_in_training(model: nn.Module, facts: Mapping[str, Any]) -> nn.Module:
    """Training mode; layers that the run froze stay frozen, and so do their BatchNorm statistics."""
    model.train()
    freeze = (facts.get("args") or {}).get("freeze")
    layers = freeze if isinstance(freeze, list) else range(freeze) if isinstance(freeze, int) else []
    frozen = [f"model.{layer}." for layer in layers] + [FIXED]
    for name, parameter in model.named_parameters():
        parameter.requires_grad = parameter.is_floating_point() and not any(part in name for part in frozen)
    still = set(facts.get("frozen") or ())
    for name, module in model.named_modules():
        if name in still:
            module.eval()
    return model


def restore_criterion(model: nn.Module, facts: Mapping[str, Any]) -> None:
    """Give the loss the numbers that change in training (`updates` of the end-to-end loss)."""
    if not callable(getattr(model, "init_criterion", None)):
        return
    model.criterion = model.init_criterion()  # type: ignore[operator]
    for key, value in (facts.get("criterion") or {}).items():
        if hasattr(model.criterion, key):
            setattr(model.criterion, key, value)


def _with_integer_keys(value: Mapping[str, Any]) -> dict[Any, Any]:
    """JSON turns the integer keys of class names into text; turn them back."""
    return {int(k) if isinstance(k, str) and k.isdigit() else k: v for k, v in value.items()}


def device_of(model: nn.Module) -> torch.device:
    """Where the model lives."""
    return next((p.device for p in model.parameters()), torch.device("cpu"))
