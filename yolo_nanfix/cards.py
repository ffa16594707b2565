"""Reads and checks the patch cards: one `Card` for each `patches/<name>.yaml`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from yolo_nanfix.errors import CardError
from yolo_nanfix.json_values import JsonValue

Value = bool | int | float | str
MODES = ("on", "off", "auto")
LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""As `yaml.safe_load`; eight times as fast if PyYAML has its C parser."""


@dataclass(frozen=True)
class Param(JsonValue):
    """One parameter of a patch: its default, its permitted values (empty: any of the default's type), its help text."""

    strict = True
    default: Value
    help: str
    choices: tuple[Value, ...] = ()

    def plain(self, value: Any) -> Any:
        """The value; a bool that YAML reads from `rect: off` becomes the choice `off` again."""
        word = {True: "on", False: "off"}.get(value) if isinstance(value, bool) else None
        return word if word in self.choices else value

    def check(self, value: Any) -> str | None:
        """Why `value` is not allowed, or None if it is."""
        if self.choices:
            return None if value in self.choices else f"must be one of {', '.join(map(str, self.choices))}"
        wanted = (int, float) if isinstance(self.default, float) else (type(self.default),)
        if not isinstance(value, wanted) or isinstance(value, bool) != isinstance(self.default, bool):
            return f"must be a {type(self.default).__name__}"
        return None


@dataclass(frozen=True)
class Affected(JsonValue):
    """A half-open range of releases: `introduced` has the defect, `fixed` (None: not yet) does not."""

    strict = True
    introduced: str
    fixed: str | None


@dataclass(frozen=True)
class Card(JsonValue):
    """What one patch changes, in which releases, and why.

    Attributes:
        name: of the card, its file and its code in `patching.fixes`.
        targets: functions of upstream, each `package.module:Qual.name`; a release need not have all of them.
        affected: the releases with the defect.
        fingerprints: of the known texts of the targets, each with its range of releases.
        default: on, off, or auto (on if it is needed here).
        symptom, cause, does, leaves, measured: the documentation; `leaves` is what it does not solve.
        references: addresses.
        params: its parameters, by name.
    """

    strict = True
    name: str
    targets: tuple[str, ...]
    affected: tuple[Affected, ...]
    fingerprints: Mapping[str, str]
    default: str
    symptom: str
    cause: str
    does: str
    references: tuple[str, ...]
    leaves: str = ""
    measured: str = ""
    params: Mapping[str, Param] = field(default_factory=dict)

    def affects(self, version: str) -> bool:
        """Whether a release (`8.4.190`) has the defect."""
        here = _as_numbers(version)
        spans = ((_as_numbers(one.introduced), one.fixed) for one in self.affected)
        return any(first <= here and (fixed is None or here < _as_numbers(fixed)) for first, fixed in spans)


def _as_numbers(version: str) -> tuple[int, ...]:
    """A release as numbers that compare as releases do."""
    return tuple(map(int, re.findall(r"\d+", version)[:3]))


def directory() -> Path:
    """The folder of the cards: inside an installed wheel, or beside the package in a checkout."""
    shipped = Path(str(files("yolo_nanfix"))) / "_cards"
    return shipped if shipped.is_dir() else Path(__file__).parents[1] / "patches"


@lru_cache(maxsize=1)
def load_all() -> Mapping[str, Card]:
    """All cards by name, in alphabetical order.

    Raises:
        CardError: a card is malformed, or there is none.
    """
    found = {path.stem: load_card(path) for path in sorted(directory().glob("*.yaml"))}
    if not found:
        raise CardError(f"no patch cards in {directory()}; reinstall yolo-nanfix")
    return found


def load_card(path: Path) -> Card:
    """Read and check one card.

    Raises:
        CardError: it is not YAML, a key is unknown or missing, or a value has the wrong form.
    """
    try:
        raw = yaml.load(path.read_text(encoding="utf-8"), Loader=LOADER)
        if not isinstance(raw, dict):
            raise CardError(f"{path}: a card is a mapping, not a {type(raw).__name__}")
        target = raw.pop("target", None)
        one_line = {key: " ".join(value.split()) if isinstance(value, str) else value for key, value in raw.items()}
        card = Card.from_dict({**one_line, "targets": target if isinstance(target, list) else [target]})
    except yaml.YAMLError as error:
        raise CardError(f"{path}: not valid YAML: {error}") from error
    except ValueError as error:
        raise CardError(f"{path}: {error}") from error
    for problem in _problems(card, path.stem):
        raise CardError(f"{path}: {problem}")
    return card


def _problems(card: Card, name: str) -> Iterator[str]:
    if card.name != name:
        yield f"'name' is {card.name!r}, but the file is named {name!r}"
    if card.default not in MODES:
        yield f"'default' must be one of {', '.join(MODES)} (quoted), not {card.default!r}"
    if not all(re.fullmatch(r"sha256:[0-9a-f]{64}", mark) for mark in card.fingerprints):
        yield "'fingerprints' must map sha256:<64 hex digits> to a range of releases"
    if wrong := [target for target in card.targets if not re.fullmatch(r"[\w.]+:[\w.]+", target)]:
        yield f"'target' must read package.module:Qual.name, or be a list of such, not {wrong[0]!r}"
    if not (card.targets and card.affected):
        yield "'target' and 'affected' must not be empty"
    for key, param in card.params.items():
        if reason := param.check(param.default):
            yield f"'params.{key}.default' {reason}, not {param.default!r}"
