"""The recipe of a run in words: what it changes, and what happened on its schedule."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from yolo_nanfix.wording import cut, printable, shown

LONGEST = 500
"""Characters of a line; a schedule of many phases is cut."""


def lines(recipe: Mapping[str, Any]) -> list[str]:
    """The lines about what a recipe changes, in a run that is about to start.

    Args:
        recipe: `name` and `changes`, as the report of a run has them.
    """
    name = f"recipe {recipe['name']}"
    changes: Sequence[Mapping[str, Any]] = recipe["changes"]
    made = [change for change in changes if change["by"] != "user"]
    kept = [change for change in changes if change["by"] == "user"]
    found = [f"{name}: {text}" for text in map(_change, made) if text]
    found += [f"{name}: your {c['key']}={shown(c['value'])} stands, not its {_instead(c['instead'])}" for c in kept]
    return found or [f"{name}: nothing is changed"]


def told(summary: Mapping[str, Any]) -> list[str]:
    """The lines about the recipe of a run, from its report, which may be damaged; empty without a recipe."""
    recipe = summary.get("recipe")
    if not recipe:
        return []
    try:
        found = [*lines(recipe), *map(happened, recipe["happened"])]
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        return ["what the report holds about the recipe is damaged"]
    return [printable(cut(line, LONGEST)) for line in found]


def happened(fact: Mapping[str, Any]) -> str:
    """The line about one thing that a schedule did in a run."""
    if fact["what"] == "phase":
        frozen = fact["frozen"]
        now = f"{_layer_text(frozen)} frozen, BatchNorm in eval mode" if frozen else "all layers train"
        return f"from epoch {fact['epoch']} on: {now}" + (" (resumed)" if fact["why"] == "resumed" else "")
    if fact["what"] == "cap":
        return f"learning rate {fact['lr0']:.3g} instead of {fact['was']:.3g}, for a set of {fact['images']} images"
    return (
        f"{fact['new']} images with added classes in each epoch, and {fact['replayed']} of {fact['old']} without,"
        " drawn anew each epoch"
    )


def logged(fact: Mapping[str, Any]) -> str:
    """The same line for the log of a training."""
    return f"yolo-nanfix: {happened(fact)}"


def _change(change: Mapping[str, Any]) -> str:
    """What a recipe or plan changed."""
    key, value, figure = change["key"], change["value"], change["figure"]
    if change["instead"] is not None:
        return f"{key}={shown(value)} of the plan stands, not its {_instead(change['instead'])}"
    if key == "freeze" and figure:
        return f"freezes {', then '.join(_phase(phase) for phase in value)}, BatchNorm in eval mode"
    if key == "learning_rate":
        return f"learning rate {', '.join(_rates(value))}"
    if key == "learning_rate.cap":
        most = f"{value['adam']:g} (Adam and its kin) or {value['sgd']:g} (SGD)"
        return f"learning rate at most {most} * sqrt(training images / {value['images']})"
    if key == "ema.tau":
        return f"the moving average nears its limit with a time constant of {value:g} optimizer steps"
    if key == "classes.keep":
        return f"{figure} class{'' if figure == 1 else 'es'} added; rows of the others are copied by name"
    if key == "classes.replay":
        return f"{value:.0%} of the images of an epoch have none of the added classes"
    counted = f" (counted for {figure} epochs)" if figure else ""
    return f"{key}={shown(value)}{' from the plan' if change['by'] == 'plan' else ''}{counted}"


def _instead(value: Any) -> str:
    """A value of a recipe that has no effect."""
    if isinstance(value, list) and all(isinstance(one, dict) and "layers" in one for one in value):
        return f"schedule of {len(value)} phase{'' if len(value) == 1 else 's'}"
    if isinstance(value, dict):
        return "cap by the size of the set"
    return f"{value:g}" if isinstance(value, float) else shown(value)


def _phase(phase: Mapping[str, Any]) -> str:
    layers = _layer_text(phase["layers"])
    if phase["plateau"] is not None:
        return f"{layers} until {phase['plateau']} epochs bring no better fitness"
    if phase["epoch"] is None:
        return f"{layers} throughout"
    return f"{layers} until epoch {phase['epoch']}"


def _layer_text(layers: Sequence[int | str]) -> str:
    """`layers 0-9`, `layers 0-2, 5, 23.cv2`."""
    texts = list(_ranges([layer for layer in layers if isinstance(layer, int)]))
    texts += [layer for layer in layers if isinstance(layer, str)]
    return f"layer{'' if len(layers) == 1 else 's'} {', '.join(texts)}"


def _ranges(numbers: Sequence[int]) -> Iterator[str]:
    start = 0
    for i, number in enumerate(numbers):
        if i + 1 == len(numbers) or numbers[i + 1] != number + 1:
            first = numbers[start]
            yield f"{first}" if first == number else f"{first}-{number}"
            start = i + 1


def _rates(rates: Mapping[str, float]) -> Iterator[str]:
    yield from (f"x{rates[part]:g} in the {part}" for part in rates if part != "decay" and rates[part] != 1.0)
    if rates["decay"] != 1.0:
        yield f"x{rates['decay']:g} more for each layer before the last"
