"""The model yaml of an incident, restricted before it goes to Ultralytics' model builder.

That builder evaluates parts of a model yaml as Python: the activation, the names of layers, texts among their
arguments, in older releases all of it. In an incident from anybody that is not safe. What passes here is data: layer
names that are known modules, arguments that are literals of bounded size, an activation that is a known class with
literal arguments. All upstream yamls pass, and give the same model.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Any

from torch import nn

from yolo_nanfix import upstream
from yolo_nanfix.diagnosis.incident_checks import CLASSES, Form, Wrong, requirement, shown, whole_number
from yolo_nanfix.incident import NotReadable

TASKS_MODULE = "ultralytics.nn.tasks"
"""The module whose names a model yaml uses."""
LAYERS = 1000
"""Upstream's largest yaml has 43 rows."""
REPEATS = 256
"""Of one row; upstream's largest is 18."""
ALL_REPEATS = 4096
"""Of all rows together."""
CHANNELS = 4096
"""Channels of an image: hyperspectral cameras give some hundred."""
MULTIPLE = 64.0
"""Largest width or depth multiple."""
LARGEST_ARGUMENT = 65_536
"""Largest magnitude of a number among arguments; upstream's largest is 2 048."""
MOST_ARGUMENTS = 256
"""Most entries of one list of arguments."""
NESTED = 4
LONGEST_TEXT = 200
"""Longest text of an argument or an activation."""
NO_LAYERS = tuple(
    f"ultralytics.nn.{name}" for name in ("text_model", "autobackend", "backends", "distill_model", "tasks.Ensemble")
)
"""Modules whose classes load files or fetch them."""
PASSED = ("nc", "kpt_shape", "reg_max", "scale", "depth", "width", "max_channels", "end2end")
"""Names of a yaml's own values that its arguments may use."""
VISION = "torchvision.ops."
WORD = re.compile(r"[A-Za-z][A-Za-z0-9_.\-]*\Z")
SCALE = re.compile(r"[A-Za-z0-9_]{0,16}\Z")


@dataclass(frozen=True)
class Definition:
    """What a model class is built with.

    Attributes:
        yaml: a mapping of plain values that the builder may evaluate.
        ch, nc: channels of an image, and classes; None for those of the yaml.
        plain: the activation, if any, is allowed in the restricted mode that some releases of Ultralytics have.
    """

    yaml: Mapping[str, Any]
    ch: int
    nc: int | None
    plain: bool


def checked(facts: Mapping[str, Any], *, users: bool = False) -> Definition:
    """Restrict the definition of an incident's model (`yaml`, `ch` and `nc`, as JSON has them).

    `users`: the model's class is the user's own, and may read other keys.

    Raises:
        NotReadable: something does not have the form of a model yaml; the message says what.
    """
    held = facts.get("yaml")
    if not isinstance(held, Mapping):
        raise NotReadable("it does not say how its model is built")
    tasks = upstream.resolve(f"{TASKS_MODULE}:parse_model").owner
    if not isinstance(tasks, ModuleType):  # it never is: the path names no class
        raise NotReadable(f"{TASKS_MODULE} is no module")
    found: dict[str, Any] = {}
    for key, value in held.items():
        if key in YAML_KEYS:
            if value is not None:
                found[key] = _at(key, YAML_KEYS[key], value)
        elif users and isinstance(key, str) and len(key) <= LONGEST_TEXT:
            found[key] = _at(key, _literal, value)
    if act := found.get("activation"):
        _at("activation", lambda text: _activation(text, tasks), act)
    rows = [(part, i, row) for part in ("backbone", "head") for i, row in enumerate(found.get(part, ()))]
    if not rows:
        raise NotReadable("its model yaml has no layers: there is neither backbone nor head")
    if len(rows) > LAYERS:
        raise NotReadable(f"its model yaml has {len(rows)} layers; at most {LAYERS} are read")
    for part in ("backbone", "head"):
        found[part] = []
    for number, (part, i, row) in enumerate(rows):
        found[part].append(_at(f"{part}[{i}]", partial(_layer_row, number=number, tasks=tasks), row))
    repeats = sum(row[1] for part in ("backbone", "head") for row in found[part])
    if repeats > ALL_REPEATS:
        raise NotReadable(f"the layers of its model yaml are repeated {repeats} times; at most {ALL_REPEATS} are read")
    ch = _at("ch", whole_number(1, CHANNELS), facts.get("ch") or 3)
    nc = facts.get("nc")
    classes = None if nc is None else _at("nc", whole_number(1, CLASSES), nc)
    if classes is None and "nc" not in found:
        raise NotReadable("its model yaml has no 'nc'")
    return Definition(found, ch, classes, not act or act.strip().startswith(("nn.", "torch.nn.")))


def _at(place: str, check: Form, value: Any) -> Any:
    try:
        return check(value)
    except Wrong as wrong:
        raise NotReadable(f"'{place}' of its model yaml {wrong.what}") from None


def _bounded(low: float, high: float) -> Form:
    return requirement(f"a number from {low:g} to {high:g}", lambda v: type(v) in (int, float) and low <= v <= high)


_flag = requirement("true or false", lambda value: type(value) is bool)
_scale = requirement("the name of a scale", lambda value: type(value) is str and SCALE.match(value))
_layers = requirement("a list of layers", lambda value: isinstance(value, list))
_short_text = requirement(
    f"a text of at most {LONGEST_TEXT} letters",
    lambda value: type(value) is str and value.isprintable() and len(value) <= LONGEST_TEXT,
)


def _scales(value: Any) -> dict[str, list[int | float]]:
    """By name: depth and width multiples, and the largest number of channels."""
    if not isinstance(value, Mapping) or len(value) > MOST_ARGUMENTS:
        raise Wrong(f"must be a mapping of scales, not {shown(value)}")
    forms = (_bounded(0, MULTIPLE), _bounded(0, MULTIPLE), _bounded(0, math.inf))
    found = {}
    for name, numbers in value.items():
        if not isinstance(numbers, list) or len(numbers) != len(forms):
            raise Wrong(f"must have three numbers for each scale, not {shown(numbers)}")
        found[_scale(name)] = [check(number) for check, number in zip(forms, numbers, strict=True)]
    return found


def _kpt_shape(value: Any) -> list[int]:
    if not isinstance(value, list) or len(value) != 2:
        raise Wrong(f"must be the number of keypoints and 2 or 3, not {shown(value)}")
    return [whole_number(1, 10_000)(value[0]), whole_number(2, 3)(value[1])]


def _literal(value: Any, depth: int = 0) -> Any:
    """A copy of literals and texts, which a user's own model class may read itself."""
    if isinstance(value, (list, tuple)):
        if depth > NESTED or len(value) > MOST_ARGUMENTS:
            raise Wrong(f"must not hold lists of more than {MOST_ARGUMENTS} entries, or in lists deeper than {NESTED}")
        return [_literal(entry, depth + 1) for entry in value]
    if isinstance(value, Mapping):
        if depth > NESTED or len(value) > MOST_ARGUMENTS or not all(isinstance(key, str) for key in value):
            raise Wrong(f"must not hold mappings of more than {MOST_ARGUMENTS} entries, or deeper than {NESTED}")
        return {_short_text(key): _literal(entry, depth + 1) for key, entry in value.items()}
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _short_text(value)
    return _bounded(-LARGEST_ARGUMENT, LARGEST_ARGUMENT)(value)


YAML_KEYS: Mapping[str, Form] = {
    "nc": whole_number(1, CLASSES),
    "ch": whole_number(1, CHANNELS),
    "channels": whole_number(1, CHANNELS),
    "scales": _scales,
    "scale": _scale,
    "depth_multiple": _bounded(0, MULTIPLE),
    "width_multiple": _bounded(0, MULTIPLE),
    "max_channels": _bounded(0, math.inf),
    "reg_max": whole_number(1, 1024),
    "end2end": _flag,
    "inplace": _flag,
    "kpt_shape": _kpt_shape,
    "activation": _short_text,
    "task": _short_text,
    "yaml_file": lambda value: value if isinstance(value, str) and len(value) < 4096 else "",
    "backbone": _layers,
    "head": _layers,
}
"""The keys that a model is built from, and the form of each; others are dropped."""


def _activation(text: str, tasks: ModuleType) -> None:
    """Check `nn.SiLU()`, `torch.nn.LeakyReLU(0.1)`, or a module that the user added to Ultralytics' own."""
    try:
        call = ast.parse(text.strip(), mode="eval").body
        named = ast.unparse(call.func) if isinstance(call, ast.Call) else ""
        values = [*call.args, *(k.value for k in call.keywords)] if isinstance(call, ast.Call) else []
        literals = [ast.literal_eval(value) for value in values]
        keywords = [k.arg for k in call.keywords] if isinstance(call, ast.Call) else []
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        named, literals, keywords = "", [], []
    if not re.match(r"(torch\.nn\.|nn\.)?[A-Za-z_]\w*\Z", named) or None in keywords:
        raise Wrong(f"must be the call of one activation with numbers, as nn.ReLU(), not {shown(text)}")
    for literal in literals:
        _literal(literal)
    if named.startswith(("nn.", "torch.nn.")):
        name = named.rpartition(".")[2]
        found = vars(nn).get(name)
        if not _of_torch(found) or (found.__module__ != "torch.nn.modules.activation" and name != "Identity"):
            raise Wrong(f"must be an activation of torch.nn, not {named}")
    elif any(isinstance(literal, str) for literal in literals):  # as the name of a model with weights to be fetched
        raise Wrong(f"must be called with numbers, not as {shown(text)}")
    elif not _known_layer(vars(tasks).get(named)):
        raise Wrong(f"is {shown(named)}, which is none of Ultralytics' modules; --import MODULE brings one of yours")


def _layer_row(row: Any, number: int, tasks: ModuleType) -> list[Any]:
    """A layer: where its input comes from, how often it is repeated, its module, its arguments."""
    if not isinstance(row, (list, tuple)) or len(row) != 4:
        raise Wrong(f"must be [from, repeats, module, arguments], not {shown(row)}")
    come, repeats, name, args = row
    several = isinstance(come, (list, tuple))
    places = come if several else [come]
    low = -max(number, 1)
    if not 0 < len(places) <= MOST_ARGUMENTS or not all(type(p) is int and low <= p < max(number, 0) for p in places):
        raise Wrong(f"takes its input from {shown(come)}, where there is no layer")
    if not isinstance(args, (list, tuple)) or len(args) > MOST_ARGUMENTS:
        raise Wrong(f"must have a list of at most {MOST_ARGUMENTS} arguments, not {shown(args)}")
    kind = _layer(name, number, tasks)
    given = [_argument(arg, tasks) for arg in args]
    if getattr(kind, "__name__", "") == "TorchVision":
        given = _without_weights(given)
    return [list(places) if several else come, whole_number(1, REPEATS)(repeats), name, given]


def _layer(name: Any, number: int, tasks: ModuleType) -> Any:
    if type(name) is not str or not re.match(r"(nn\.|torchvision\.ops\.)?[A-Za-z_]\w*\Z", name):
        raise Wrong(f"must name a module, not {shown(name)}")
    if name == "Silence" and number == 0:
        return nn.Identity  # Ultralytics puts it there itself
    if name.startswith("nn."):
        found: Any = vars(nn).get(name[3:])
        good = _of_torch(found)
    elif name.startswith(VISION):
        found = _of_torchvision(name.removeprefix(VISION))
        good = found is not None
    else:
        found = vars(tasks).get(name)
        good = _known_layer(found)
    if not good:
        raise Wrong(f"names {shown(name)}, which is no layer that is known here; --import MODULE brings one of yours")
    return found


def _of_torch(found: Any) -> bool:
    return _is_module(found) and found.__module__.startswith("torch.nn.modules.")


def _of_torchvision(name: str) -> Any:
    try:
        found = upstream.resolve(f"torchvision.ops:{name}").raw
    except Exception:  # it is not installed, or does not fit torch
        return None
    return found if _is_module(found) and found.__module__.startswith("torchvision.ops.") else None


def _known_layer(found: Any) -> bool:
    """Whether a yaml may name a module: not a whole model, which would itself be built from a yaml, or loaded."""
    if not _is_module(found) or f"{found.__module__}.{found.__name__}".startswith(NO_LAYERS):
        return False
    return not issubclass(found, upstream.resolve(f"{TASKS_MODULE}:BaseModel").raw)


def _is_module(found: Any) -> bool:
    return inspect.isclass(found) and issubclass(found, nn.Module)


def _argument(value: Any, tasks: ModuleType) -> Any:
    """Check an argument: a literal, or a text that the builder reads as the same literal or as a word."""
    if not isinstance(value, str):
        if isinstance(value, (list, tuple)):
            _no_texts(value)
        return _literal(value)
    if _short_text(value) in PASSED:
        return value
    try:
        literal = ast.literal_eval(value)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        literal = value
    if not isinstance(literal, str):
        return _argument(literal, tasks)
    if not WORD.match(value) or value.partition(".")[0] in _taken(tasks):
        raise Wrong(f"has the argument {shown(value)}, which is no literal")
    return value


def _no_texts(values: Any) -> None:
    """Texts in lists reach modules as they are, so they must be words."""
    for value in values:
        if isinstance(value, (list, tuple)):
            _no_texts(value)
        elif isinstance(value, str) and not WORD.match(value):
            raise Wrong(f"has the argument {shown(value)}, which is no literal")


def _taken(tasks: ModuleType) -> frozenset[str]:
    """Names that have a meaning for the builder: its variables, those of its module, and Python's."""
    code = getattr(inspect.unwrap(vars(tasks)["parse_model"]), "__code__", None)
    own = (*code.co_varnames, *code.co_cellvars) if code else ()
    return frozenset((*own, *vars(tasks), *vars(builtins), "torchvision"))


def _without_weights(args: list[Any]) -> list[Any]:
    """The arguments of a torchvision image model, without the download of weights: the incident has them."""
    name = args[1] if len(args) > 1 else None
    try:
        models = upstream.resolve("torchvision.models:resnet18").owner
    except Exception as error:  # it is not installed, or does not fit torch
        raise Wrong(f"needs torchvision, which cannot be used here: {error}") from None
    listing = getattr(models, "list_models", None)
    good = isinstance(name, str) and name.islower() and inspect.isfunction(vars(models).get(name))
    if not good or (listing is not None and name not in listing(module=models)):
        raise Wrong(f"must name a model of torchvision, not {shown(name)}")
    return [*args[:2], None, *args[3:]]
