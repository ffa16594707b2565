"""What the shell may offer next, from the parsers themselves; the scripts of `yolo-nanfix completion` ask."""

from __future__ import annotations

import argparse
import importlib.util
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from yolo_nanfix.cli.main import build_parser

Completer = Callable[..., Iterable[str]]
LEVELS = ("fatal", "error", "warning", "info")
_DATA = (".yaml", ".yml", ".json", ".ndjson")
_MODELS = (".pt", ".yaml", ".yml")


def answer() -> None:
    """Answer the shell that asked through the environment, and end the process."""
    import argcomplete

    line = os.environ.get("COMP_LINE", "")
    parser = build_parser(line.split()[1:])
    equip(parser)
    argcomplete.autocomplete(parser, always_complete_options=False)


def equip(parser: argparse.ArgumentParser) -> None:
    """Give each argument its completer, by its name; what has choices completes itself."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for sub in action.choices.values():
                equip(sub)
        elif action.choices is None and action.nargs != 0:
            action.completer = _of(parser.prog.split()[-1], action.dest)  # type: ignore[attr-defined]


def _of(command: str, name: str) -> Completer:
    by_name: dict[str, Completer] = {
        "select": rules,
        "extend_select": rules,
        "ignore": rules,
        "severity": levels,
        "enable": patches,
        "disable": patches,
        "arguments": pairs,
        "data": datasets,
        "name": one_rule if command == "rule" else rule_or_patch,
    }
    return by_name.get(name, files)


def rules(prefix: str, **given: Any) -> Iterator[str]:
    """Codes, families and `ALL`, also the next one after a comma."""
    from yolo_nanfix.api import rules as all_rules

    before, comma, _ = prefix.rpartition(",")
    codes = [rule.code for rule in all_rules()]
    for word in ("ALL", *dict.fromkeys(code[:2] for code in codes), *codes):
        yield f"{before}{comma}{word}"


def levels(prefix: str, **given: Any) -> Iterator[str]:
    """`RULE=LEVEL`: first the rule, then the level."""
    from yolo_nanfix.api import rules as all_rules

    rule, equals, _ = prefix.partition("=")
    if equals:
        yield from (f"{rule}={level}" for level in LEVELS)
    else:
        yield from (f"{one.code}=" for one in all_rules())


def one_rule(prefix: str, **given: Any) -> Iterator[str]:
    """Codes and names of rules."""
    from yolo_nanfix.api import rules as all_rules

    for rule in all_rules():
        yield rule.code
        yield rule.name


def patches(prefix: str, **given: Any) -> Iterable[str]:
    """Names of patches."""
    from yolo_nanfix.cards import load_all

    return load_all()


def rule_or_patch(prefix: str, **given: Any) -> Iterator[str]:
    """All that `explain` knows."""
    yield from patches(prefix)
    yield from one_rule(prefix)


def pairs(prefix: str, **given: Any) -> Iterator[str]:
    """Ultralytics' training arguments as `key=`, then what the key may be, where that is known."""
    defaults = _defaults()
    key, equals, start = prefix.partition("=")
    if not equals:
        yield from (f"{key}=" for key in defaults)
    elif isinstance(defaults.get(key), bool):
        yield from (f"{key}={value}" for value in ("True", "False"))
    else:
        yield from (f"{key}={file}" for file in _files(start, _MODELS if key == "model" else ()))


def _defaults() -> dict[str, Any]:
    """Ultralytics' arguments and their defaults, from its own file: its import would take seconds."""
    from yolo_nanfix import safe_yaml

    spec = importlib.util.find_spec("ultralytics")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder) / "cfg" / "default.yaml"
        if path.is_file():
            found: dict[str, Any] = safe_yaml.load(path.read_text(encoding="utf-8"))
            return found
    return {}


def datasets(prefix: str, **given: Any) -> Iterator[str]:
    """Folders, and files that can describe a dataset."""
    yield from _files(prefix, _DATA)


def files(prefix: str, **given: Any) -> Iterator[str]:
    """Folders and files, for all that has no completer of its own."""
    yield from _files(prefix, ())


def _files(prefix: str, suffixes: tuple[str, ...]) -> Iterator[str]:
    """Folders and files whose path may go on so; of files those with one of the suffixes, or all without any."""
    folder, name = os.path.split(prefix)
    try:
        entries = sorted(os.scandir(Path(folder or ".").expanduser()), key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        if entry.name.startswith(".") and not name.startswith("."):
            continue
        if entry.is_dir():
            yield os.path.join(folder, entry.name, "")  # noqa: PTH118 - as the user began to write it
        elif not suffixes or entry.name.lower().endswith(suffixes):
            yield os.path.join(folder, entry.name)  # noqa: PTH118
