"""Reads and checks the patch cards: one `Card` for each `patches/<name>.yaml`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from yolo_nanfix.errors import CardError

Value = bool | int | float | str
MODES = ("on", "off", "auto")
REQUIRED = ("name", "target", "affected", "fingerprints", "default", "symptom", "cause", "does", "references")
OPTIONAL = ("leaves", "measured", "params")
LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""As `yaml.safe_load`; eight times as fast if PyYAML has its C parser."""


@dataclass(frozen=True)
class Param:
    """One parameter of a patch: its default, its permitted values (empty: any of the default's type), its help text."""

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
class Affected:
    """A half-open range of releases: `introduced` has the defect, `fixed` (None: not yet) does not."""

    introduced: str
    fixed: str | None


@dataclass(frozen=True)
class Card:
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

    name: str
    targets: tuple[str, ...]
    affected: tuple[Affected, ...]
    fingerprints: Mapping[str, str]
    default: str
    symptom: str
    cause: str
    does: str
    leaves: str
    measured: str
    references: tuple[str, ...]
    params: Mapping[str, Param]


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
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise CardError(f"{path}: not valid YAML: {error}") from error
    if not isinstance(raw, dict):
        raise CardError(f"{path}: a card is a mapping, not a {type(raw).__name__}")
    for key in raw:
        if key not in REQUIRED + OPTIONAL:
            raise CardError(f"{path}: unknown key '{key}'; known: {', '.join(REQUIRED + OPTIONAL)}")
    for key in REQUIRED:
        if key not in raw:
            raise CardError(f"{path}: key '{key}' is missing")
    return _build(path, raw)


def _build(path: Path, raw: dict[str, Any]) -> Card:
    def text(key: str) -> str:
        value = raw.get(key, "")
        if not isinstance(value, str):
            raise CardError(f"{path}: '{key}' must be text, not {type(value).__name__}")
        return " ".join(value.split())

    if raw["name"] != path.stem:
        raise CardError(f"{path}: 'name' is {raw['name']!r}, but the file is named {path.stem!r}")
    if raw["default"] not in MODES:
        raise CardError(f"{path}: 'default' must be one of {', '.join(MODES)} (quoted), not {raw['default']!r}")
    prints = raw["fingerprints"]
    if not isinstance(prints, dict) or not all(re.fullmatch(r"sha256:[0-9a-f]{64}", str(k)) for k in prints):
        raise CardError(f"{path}: 'fingerprints' must map sha256:<64 hex digits> to a range of releases")
    if not isinstance(raw["references"], list):
        raise CardError(f"{path}: 'references' must be a list of addresses")
    return Card(
        name=raw["name"],
        targets=_targets(path, raw["target"]),
        affected=_affected(path, raw["affected"]),
        fingerprints={str(k): str(v) for k, v in prints.items()},
        default=raw["default"],
        symptom=text("symptom"),
        cause=text("cause"),
        does=text("does"),
        leaves=text("leaves"),
        measured=text("measured"),
        references=tuple(map(str, raw["references"])),
        params=_params(path, raw.get("params") or {}),
    )


def _targets(path: Path, raw: Any) -> tuple[str, ...]:
    targets = tuple(raw) if isinstance(raw, list) and raw else (raw,)
    for target in targets:
        if not isinstance(target, str) or not re.fullmatch(r"[\w.]+:[\w.]+", target):
            form = "package.module:Qual.name, or be a list of such"
            raise CardError(f"{path}: 'target' must read {form}, not {target!r}")
    return targets


def _affected(path: Path, raw: Any) -> tuple[Affected, ...]:
    if not isinstance(raw, list) or not raw:
        raise CardError(f"{path}: 'affected' must be a list of {{introduced: release, fixed: release or null}}")
    ranges = []
    for entry in raw:
        if not isinstance(entry, dict) or set(entry) != {"introduced", "fixed"}:
            raise CardError(f"{path}: each entry of 'affected' has exactly the keys introduced and fixed")
        fixed = entry["fixed"]
        ranges.append(Affected(str(entry["introduced"]), None if fixed is None else str(fixed)))
    return tuple(ranges)


def _params(path: Path, raw: Any) -> dict[str, Param]:
    if not isinstance(raw, dict):
        raise CardError(f"{path}: 'params' must be a mapping")
    params = {}
    for name, entry in raw.items():
        if not isinstance(entry, dict) or not {"default", "help"} <= set(entry) <= {"default", "help", "choices"}:
            raise CardError(f"{path}: 'params.{name}' must have the keys default and help, and may have choices")
        param = Param(entry["default"], str(entry["help"]), tuple(entry.get("choices", ())))
        if reason := param.check(param.default):
            raise CardError(f"{path}: 'params.{name}.default' {reason}, not {param.default!r}")
        params[str(name)] = param
    return params
