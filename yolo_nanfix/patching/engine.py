"""Selects, verifies, applies and undoes patches, and records which are on, off or refused, and why."""

from __future__ import annotations

import json
import sys
from collections import ChainMap
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from yolo_nanfix import upstream
from yolo_nanfix.cards import Card, Value, load_all
from yolo_nanfix.errors import PatchRefused, UsageError, nearest
from yolo_nanfix.json_values import JsonValue
from yolo_nanfix.patching import children, cover, stack, tally
from yolo_nanfix.patching.fix import Fix
from yolo_nanfix.patching.fixes import load_fixes

Undo = Callable[[], None]


@dataclass(frozen=True)
class PatchState(JsonValue):
    """The state of one patch, as `status()` reports it.

    Attributes:
        name: the card's name.
        state: on, off, refused, fixed (upstream fixed it before this release) or not-needed; partly-on or replaced
            where functions of the user replace some or all functions that the patch covers.
        reason: why.
        params: its parameters, if it is on.
        counted: how many values it clamped, floored or skipped since the last report.
    """

    name: str
    state: str
    reason: str
    params: Mapping[str, Value]
    counted: int = 0


@dataclass(frozen=True)
class _Applied:
    params: Mapping[str, Value]
    reason: str
    undo: Undo


_applied: dict[str, _Applied] = {}
_not_applied: dict[str, tuple[str, str]] = {}


@dataclass(frozen=True)
class Choice:
    """What differs from the cards' defaults: cards added to the default set, cards left out of it, parameters."""

    enable: tuple[str, ...] = ()
    disable: tuple[str, ...] = ()
    params: Mapping[str, Any] = field(default_factory=dict)


def apply(
    names: Iterable[str] = (), params: Mapping[str, Any] | None = None, choice: Choice | None = None
) -> list[str]:
    """Apply patches: those named, or the default set. A patch that is on with the same parameters stays as it is.

    Args:
        names: card names; empty for the default set, every card that is not off by default.
        params: parameter values by name; each goes to the selected card that has a parameter of that name. A patch
            that is on keeps its other values.
        choice: the user's changes to the default set and to default parameters.

    Returns:
        The names that this call applied (not those that were on already).

    Raises:
        UsageError: a name or a parameter is unknown, or a value is not allowed. Nothing was changed.
        PatchRefused: a patch that was named cannot be applied. What this call had applied is undone.
    """
    named = list(names)
    choice = choice or Choice()
    chosen = _choose(named, choice)
    settings = _params_in_force(chosen, dict(params or {}), choice.params)
    put: list[str] = []
    if not named:
        remove(choice.disable)
        _not_applied.update(dict.fromkeys(choice.disable, ("off", "left out by the settings")))
    with stack.at_once():
        for card in chosen:
            if card.name in _applied and _applied[card.name].params == settings[card.name]:
                continue
            remove([card.name])
            try:
                _apply_card(card, settings[card.name])
            except PatchRefused as refusal:
                if card.name in named:
                    remove(put)
                    raise
                _not_applied[card.name] = ("refused", refusal.reason)
            else:
                put.extend([card.name] if card.name in _applied else [])
    if refused := [card.name for card in chosen if _not_applied.get(card.name, ("", ""))[0] == "refused"]:
        upstream.log(f"yolo-nanfix: refused here: {', '.join(refused)}; `yolo-nanfix patches` says why")
    return put


def apply_installing(choice: Choice) -> None:
    """Apply the cards that must be on before ultralytics is imported."""
    apply([card.name for card in _choose([], choice) if load_fixes()[card.name].early], choice=choice)


def remove(names: Iterable[str] | None = None) -> None:
    """Undo the named patches, or all: the very same upstream objects are restored."""
    with stack.at_once():
        for name in reversed(list(_applied) if names is None else [n for n in names if n in _applied]):
            _applied.pop(name).undo()
    for name in list(_not_applied) if names is None else names:
        _not_applied.pop(name, None)


def snapshot() -> dict[str, Mapping[str, Value]]:
    """The patches that are on, with their parameters, for `restore_patches`."""
    return {name: applied.params for name, applied in _applied.items()}


def restore_patches(before: Mapping[str, Mapping[str, Value]]) -> None:
    """Go back to a snapshot: later patches are undone, and changed parameters restored."""
    remove([name for name, applied in _applied.items() if before.get(name) != applied.params])
    for name, params in before.items():
        if name not in _applied:
            apply([name], params)


def installing(patches: Mapping[str, Mapping[str, Value]]) -> dict[str, Mapping[str, Value]]:
    """The patches of a snapshot that must be on before ultralytics is imported."""
    return {name: params for name, params in patches.items() if load_fixes()[name].early}


def states(*, objects: bool = False) -> tuple[PatchState, ...]:
    """The state of every card, in alphabetical order; `objects` as in `cover.own`."""
    counts = tally.read()
    mine = cover.own([stack.original(path) for path in stack.paths()], objects=objects)
    return tuple(_state_of(card, counts.get(card.name, 0), mine) for card in load_all().values())


def _state_of(card: Card, counted: int, mine: Mapping[str, list[cover.Own]]) -> PatchState:
    if applied := _applied.get(card.name):
        state_now = load_fixes()[card.name].state_now
        state, reason = (state_now() if state_now else None) or _covered(card, mine) or ("on", applied.reason)
        return PatchState(card.name, state, reason, applied.params, counted)
    state, reason = _not_applied.get(card.name) or _outside(card) or ("off", "")
    return PatchState(card.name, state, reason, {})


def _covered(card: Card, mine: Mapping[str, list[cover.Own]]) -> tuple[str, str] | None:
    """State and reason where functions of the user replace patched ones; None where none do."""
    paths = stack.paths(card.name)
    if not (found := [one for path in paths for one in mine[path]]):
        return None
    said = "; ".join(dict.fromkeys(map(str, found)))
    if not any(_in_use(stack.original(path)) for path in paths):
        return "replaced", f"{said}; the patch has nothing to act on"
    return "partly-on", f"on, but {said}"


def _in_use(target: upstream.Target) -> bool:
    """Whether any module or class of ultralytics still holds the patched function, or something that wraps it."""
    name = target.attribute
    owners = [target.owner, *(m for m in list(sys.modules.values()) if m.__name__.partition(".")[0] == "ultralytics")]
    return any(cover.covers(vars(owner).get(name), target.path) for owner in owners)


def params_of_all() -> dict[str, str]:
    """The name of the card that has each parameter, by the name of the parameter."""
    return {name: card.name for card in load_all().values() for name in card.params}


def _choose(names: list[str], choice: Choice) -> list[Card]:
    cards = load_all()
    for name in (*names, *choice.enable, *choice.disable):
        if name not in cards:
            raise UsageError(f"no patch named '{name}'; {nearest(name, cards)}")
    defaults = {n for n, c in cards.items() if (c.default != "off" or n in choice.enable) and n not in choice.disable}
    chosen = [card for card in cards.values() if card.name in (names or defaults)]
    # what must be on early goes first: releases before 8.4 import torchvision when ultralytics itself is imported
    return sorted(chosen, key=lambda card: not load_fixes()[card.name].early)


def _params_in_force(
    cards: list[Card], given: Mapping[str, Any], preferred: Mapping[str, Any]
) -> dict[str, Mapping[str, Value]]:
    """The parameters of the chosen cards: as given, else as in force, else as preferred, else the card's default."""
    names = [name for card in cards for name in card.params]
    for name in given:
        if name not in names:
            raise UsageError(f"no patch parameter '{name}'; {nearest(name, names)}")
    settings: dict[str, Mapping[str, Value]] = {}
    for card in cards:
        in_force = _applied[card.name].params if card.name in _applied else {}
        layers = ChainMap(dict(given), dict(in_force), dict(preferred))
        values = {name: param.plain(layers.get(name, param.default)) for name, param in card.params.items()}
        for name, param in card.params.items():
            if reason := param.check(values[name]):
                raise UsageError(f"patch '{card.name}': {name} {reason}, not {values[name]!r}")
        settings[card.name] = values
    return settings


def _apply_card(card: Card, params: Mapping[str, Value]) -> None:
    _not_applied.pop(card.name, None)
    fix = load_fixes()[card.name]
    if left_out := _outside(card):
        _not_applied[card.name] = left_out
        return
    if fix.needed is not None and (reason := fix.needed()):
        _not_applied[card.name] = ("not-needed", reason)
        return
    if fix.install is not None:
        try:
            undo = fix.install(params)
        except Exception as error:  # upstream code of any release may raise anything
            raise PatchRefused(card.name, f"{type(error).__name__}: {error}") from error
        _applied[card.name] = _Applied(params, "condition met", undo)
        return
    _wrap_targets(card, fix, params)


def _outside(card: Card) -> tuple[str, str] | None:
    """State and reason if the installed release does not have the defect; None if it has it."""
    here = upstream.release(upstream.version())
    fixed = ""
    for span in card.affected:
        if upstream.release(span.introduced) <= here:
            if span.fixed is None or here < upstream.release(span.fixed):
                return None
            fixed = span.fixed
    if fixed:
        return "fixed", f"fixed upstream in ultralytics {fixed}"
    return "not-needed", f"ultralytics {upstream.version()} does not have this defect yet"


def _wrap_targets(card: Card, fix: Fix, params: Mapping[str, Value]) -> None:
    """Wrap every target of the card that this release has; all of them or none."""
    assert fix.wrapper is not None
    found = _found(card)
    reasons = [_verify(card, fix, target, fix.wrapper(params)) for target in found]
    for target in found:
        stack.wrap_target(target.path, card.name, fix.wrapper(params))

    def undo() -> None:
        for target in found:
            stack.unwrap_target(target.path, card.name)

    _applied[card.name] = _Applied(params, "; ".join(dict.fromkeys(reasons)), undo)


def _found(card: Card) -> list[upstream.Target]:
    """The targets of a card that the installed release has."""
    found, missing = [], []
    for path in card.targets:
        try:
            found.append(stack.original(path))
        except LookupError as error:
            missing.append(f"{path} does not resolve: {error}")
        except Exception as error:  # importing upstream's module may fail for reasons of its own
            missing.append(f"{path} cannot be imported: {type(error).__name__}: {error}")
    if not found:
        raise PatchRefused(card.name, "; ".join(missing))
    return found


def _verify(card: Card, fix: Fix, target: upstream.Target, wrapper: Any) -> str:
    """The reason to apply the patch: the text of the target is known, or the parity probe passed, which is logged."""
    mark = upstream.fingerprint(target.raw)
    if mark is not None and mark in card.fingerprints:
        return f"text known ({card.fingerprints[mark]})"
    if fix.probe is None:
        raise PatchRefused(card.name, f"the text of {target.path} is unknown and cannot be probed")
    wrapped = stack.Patched(target.path, target.raw, wrapper)
    try:
        with torch.random.fork_rng(devices=[]), torch.inference_mode(False), torch.enable_grad():
            difference = fix.probe(_callable(target, target.raw), _callable(target, wrapped))
    except Exception as error:  # an upstream function of unknown text may raise anything
        difference = f"its probe raised {type(error).__name__}: {error}"
    if difference:
        raise PatchRefused(card.name, f"the text of {target.path} is unknown and {difference}")
    reason = f"text of {target.path} unknown in ultralytics {upstream.version()}, parity probe passed"
    upstream.log(f"yolo-nanfix: patch '{card.name}': {reason}")
    return reason


def _callable(target: upstream.Target, function: Any) -> Any:
    """The function as a callable: a static method as its class would hand it out."""
    return function.__get__(None, target.owner) if isinstance(target.raw, staticmethod) else function


def revive(state: str, path: str) -> Any:
    """Unpickle a patched function: apply the patches of `state` here, and return the function at `path`."""
    for name, params in json.loads(state)["patches"].items():
        apply([name], params)
    target = stack.original(path)
    return vars(target.owner)[target.attribute]


stack.pickled_by(lambda path: (revive, (children.state(), path)))
children.carry(lambda: {"patches": {name: dict(params) for name, params in snapshot().items()}})
