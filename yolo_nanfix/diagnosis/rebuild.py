"""Builds the model of an incident in a process that does not have it: its class, its yaml, its weights."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from yolo_nanfix import upstream
from yolo_nanfix.diagnosis import model_yaml
from yolo_nanfix.diagnosis.allowance import Allowance
from yolo_nanfix.errors import DataError
from yolo_nanfix.incident import Incident, NotReadable

BRANCH = re.compile(r"model\.\d+\.(one2one_)?cv3\.")
"""The branches of a head that Ultralytics takes from a checkpoint as they are."""
FIXED = ".dfl"
"""Ultralytics never trains parameters with this in their name."""


def import_modules(names: Iterable[str]) -> None:
    """Import the modules that the user named, also from the current folder, so that their classes are found.

    Raises:
        DataError: a module does not exist, or cannot be imported.
    """
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    for name in names:
        try:
            importlib.import_module(name)
        except Exception as error:  # a user's module may raise anything
            raise DataError(f"--import {name}: {type(error).__name__}: {error}") from error


def build_model(incident: Incident, imported: Iterable[str] = ()) -> nn.Module:
    """The model of an incident, in training mode, with its weights; its class may be in an imported module.

    Raises:
        DataError: it holds no weights, or its class is the user's own and not imported.
        NotReadable: the class is not known here, cannot be built from data alone, or the weights do not fit it.
    """
    facts = incident.facts.get("model")
    weights = incident.part("model")
    own = incident.facts.get("own") or {}
    if not weights:
        raise DataError("the incident holds no weights (it was over the size limit), so it cannot be replayed")
    if not isinstance(facts, Mapping):
        raise NotReadable("it does not say how its model is built")
    cls = _class(str(facts.get("class")), imported)
    try:
        definition = model_yaml.checked(facts, users=cls.__module__.partition(".")[0] != "ultralytics")
        model = _built(cls, definition, weights)
        _fit(model, weights)
    except NotReadable as error:
        raise NotReadable(error.what + _missing(own)) from error
    yaml = definition.yaml
    names = (facts.get("names") or {}).items()  # JSON made their integer keys text
    known: dict[str, Any] = {"nc": facts.get("nc")}
    known["names"] = {int(k) if isinstance(k, str) and k.isdigit() else k: v for k, v in names}
    known["args"] = upstream.resolve("ultralytics.utils:IterableSimpleNamespace").raw(**incident.facts.get("args", {}))
    for key in ("kpt_shape", "kpt_oks_sigmas"):
        if (held := facts.get(key, yaml.get(key))) is not None:
            known[key] = held
    if isinstance(weighted := facts.get("class_weights"), list):
        known["class_weights"] = torch.tensor([float(w) for w in weighted])
    for key, value in known.items():
        setattr(model, key, value)
    return _as_in_training(model, incident.facts)


def _built(cls: type[nn.Module], definition: model_yaml.Definition, weights: Mapping[str, Tensor]) -> nn.Module:
    """The model with initial weights; it gets no more memory than the incident's weights account for."""
    allowance = Allowance(weights.values())
    try:
        with _restricted(definition.plain), allowance:
            return cls(cfg=dict(definition.yaml), ch=definition.ch, nc=definition.nc, verbose=False)
    except NotReadable:
        raise
    except Exception as error:
        raise NotReadable(f"its model cannot be built: {type(error).__name__}: {str(error)[:300]}") from error


@contextmanager
def _restricted(plain: bool) -> Iterator[None]:
    """Use Ultralytics' restricted mode, where the release has one; restore the default activation afterwards."""
    with ExitStack() as after:
        try:
            convolution = upstream.resolve("ultralytics.nn.modules.conv:Conv").raw
        except LookupError:  # releases before 8.0.106 have one file of modules
            convolution = upstream.resolve("ultralytics.nn.modules:Conv").raw
        if (usual := getattr(convolution, "default_act", None)) is not None:
            after.callback(setattr, convolution, "default_act", usual)
        try:
            local = upstream.resolve(f"{model_yaml.TASKS_MODULE}:_SafeLoad").raw._local
        except (LookupError, AttributeError):
            local = None
        if local is not None and plain:
            after.callback(setattr, local, "active", getattr(local, "active", False))
            local.active = True
        yield


def _missing(own: Mapping[str, Any]) -> str:
    """Which of the run's own classes are missing, and how to import them; empty if none is."""
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
    """The model class; only of Ultralytics or of modules that the user imported: an incident may come from anybody."""
    module = path.partition(":")[0]
    if module != model_yaml.TASKS_MODULE and module not in set(imported):
        if module.partition(".")[0] == "ultralytics":
            raise NotReadable(f"the model's class {path} is none of {model_yaml.TASKS_MODULE}")
        raise DataError(f"the model's class is {path}; import its module with --import {module or 'MODULE'}")
    try:
        found = upstream.resolve(path).raw
    except LookupError as error:
        raise NotReadable(f"the model's class {path} is not here: {error}") from error
    stock = module == model_yaml.TASKS_MODULE
    base = upstream.resolve(f"{module}:BaseModel").raw if stock else nn.Module
    if not (isinstance(found, type) and issubclass(found, base)):
        raise NotReadable(f"{path} is not a model class")
    return found


def _fit(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    _follow_widths(model, weights)
    own = model.state_dict()
    for name, tensor in own.items():
        if name not in weights:
            raise NotReadable(f"it has no weight '{name}', which its model needs")
        if weights[name].shape != tensor.shape:
            shapes = f"{tuple(weights[name].shape)} instead of {tuple(tensor.shape)}"
            raise NotReadable(f"its weight '{name}' has the shape {shapes}")
    if extra := set(weights) - set(own) - {name for name, _ in model.named_buffers()}:
        raise NotReadable(f"its weight '{min(extra)}' has no place in its model")
    model.load_state_dict({name: weights[name] for name in own})


def _follow_widths(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Widen or narrow the layers of the class branches of a new model to the shapes of an incident's tensors.

    Their width follows the number of classes. Fine-tuning keeps the branches of the checkpoint, so a model for two
    classes that was fine-tuned from one for 80 has branches of 80 channels, which its yaml does not say. Only shapes
    are read from an incident, and no tensor is made larger than those in it. Layers that do not fit are not changed.
    """
    own = model.state_dict()
    odd = {n.rpartition(".")[0] for n, t in own.items() if n in weights and weights[n].shape != t.shape}
    for name in sorted(odd):
        layer = model.get_submodule(name)
        mine = {n: weights[f"{name}.{n}"] for n in layer.state_dict() if f"{name}.{n}" in weights}
        if BRANCH.match(f"{name}.") and "weight" in mine and mine.keys() == layer.state_dict().keys():
            if isinstance(layer, nn.Conv2d) and mine["weight"].shape[2:] == layer.weight.shape[2:]:
                _convolution(layer, mine)
            elif isinstance(layer, _BatchNorm) and all(t.dim() < 2 for t in mine.values()):
                layer.num_features = len(mine["weight"]) if mine["weight"].dim() else 0
                _replace(layer, mine)


def _convolution(layer: nn.Conv2d, mine: Mapping[str, Tensor]) -> None:
    out, within = mine["weight"].shape[:2]
    if layer.groups == layer.in_channels and within == 1:  # depth-wise: as many groups as channels
        layer.groups = out
    layer.out_channels, layer.in_channels = out, within * layer.groups
    _replace(layer, mine)


def _replace(layer: nn.Module, mine: Mapping[str, Tensor]) -> None:
    """Make empty tensors of the given shapes and the layer's dtypes; the weights are loaded later."""
    for name, tensor in mine.items():
        before = getattr(layer, name)
        if before.shape == tensor.shape:
            continue
        fresh = torch.empty(tensor.shape, dtype=before.dtype)
        if isinstance(before, nn.Parameter):
            setattr(layer, name, nn.Parameter(fresh, requires_grad=before.requires_grad))
        else:
            setattr(layer, name, fresh)


def _as_in_training(model: nn.Module, facts: Mapping[str, Any]) -> nn.Module:
    """Set training mode; freeze the layers and BatchNorm statistics that the run froze."""
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
    """Make the loss, with the numbers that change in training (`updates` of the end-to-end loss)."""
    if not callable(getattr(model, "init_criterion", None)):
        return
    model.criterion = model.init_criterion()  # type: ignore[operator]
    held: dict[str, Any] = getattr(model.criterion, "__dict__", {})
    for key, value in (facts.get("criterion") or {}).items():
        if isinstance(held.get(key), (int, float)) and isinstance(value, (int, float)):
            held[key] = value


def device_of(model: nn.Module) -> torch.device:
    """The device of the model's parameters; the CPU for a model without any."""
    return next((p.device for p in model.parameters()), torch.device("cpu"))
