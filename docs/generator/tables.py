"""Tables that pages include: `generated/<name>.md`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import yaml

from generator import exporters
from generator.commands import parser
from generator.markup import block, code, prose, table
from yolo_nanfix import api
from yolo_nanfix import errors as api_errors
from yolo_nanfix.cards import load_all
from yolo_nanfix.finetune import recipe
from yolo_nanfix.linting.selection import KEYS
from yolo_nanfix.trackers.services import TRACKERS

ROOT = Path(__file__).resolve().parents[2]
WITHOUT_OPTION = {"per-path-ignores": "By glob what to leave out for the files that it matches."}
"""Settings of lint that are no options of the command."""


def fragments() -> Iterator[tuple[str, str]]:
    """Path and text of each fragment."""
    yield "generated/sensors.md", sensors()
    yield "generated/settings.md", settings()
    yield "generated/params.md", params()
    yield "generated/lint-settings.md", lint_settings()
    yield "generated/errors.md", errors()
    yield "generated/recipes.md", recipes()
    yield "generated/trackers.md", "\n".join(f"- {called}" for called, _ in TRACKERS.values()) + "\n"
    yield "generated/action.md", action()
    yield "generated/exporters.md", exporters.fragment()
    for name in ("ladder", "matrix"):
        yield f"generated/{name}.md", of_readme(name)


def sensors() -> str:
    """One row a sensor of the guard."""
    known = yaml.safe_load((ROOT / "docs" / "sensors.yaml").read_text(encoding="utf-8"))
    rows = [(code(name), *map(prose, facts.values())) for name, facts in known.items()]
    return table(("sensor", "looks at", "when", "costs of a step", "then"), rows)


def settings() -> str:
    """One row a setting of the guard, in its two spellings."""
    rows = [
        (code(name), code(str(default).lower()), _option(name, default), prose(text))
        for name, default, text in api.guard_settings()
    ]
    return table(("setting", "default", "option of `train`", "what it does"), rows)


def _option(name: str, default: object) -> str:
    option = name.replace("_", "-")
    return f"`--{option}`, `--no-{option}`" if isinstance(default, bool) else f"`--{option}`"


def params() -> str:
    """One row a parameter of a patch."""
    rows = [
        (code(name), code(str(param.default)), code(card.name), prose(param.help))
        for card in load_all().values()
        for name, param in card.params.items()
    ]
    return table(("setting", "default", "patch", "what it is"), rows)


def lint_settings() -> str:
    """One row a setting of lint, with what the option of that name says.

    Raises:
        KeyError: a setting is no option, and `WITHOUT_OPTION` does not describe it.
    """
    told = {word: action.help or "" for action in parser("lint")._actions for word in action.option_strings}
    rows = [(code(key), prose(told.get(f"--{key}") or WITHOUT_OPTION[key])) for key in KEYS]
    return table(("setting", "what it does"), rows)


def recipes() -> str:
    """One row a recipe that comes along."""
    rows = [(code(one.name), prose(one.summary), prose(one.evidence)) for one in map(recipe.find, recipe.names())]
    return table(("recipe", "for", "what is known of it"), rows)


def errors() -> str:
    """The tree of errors, as the docstring of their module draws it."""
    tree = [line for line in (api_errors.__doc__ or "").splitlines() if line.startswith("    ")]
    return block(dedent("\n".join(tree)))


def action() -> str:
    """One row an input of the GitHub action."""
    inputs = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))["inputs"]
    rows = [
        (code(name), code(told["default"]) if told["default"] else "", prose(told["description"]))
        for name, told in inputs.items()
    ]
    return table(("input", "default", "what it is"), rows)


def of_readme(name: str) -> str:
    """A block of the README, between its markers.

    Raises:
        LookupError: the README has no such block.
    """
    found = re.search(
        rf"<!-- {name}\b.*? -->\n(.*?)<!-- end -->", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL
    )
    if not found:
        raise LookupError(f"README.md has no block '<!-- {name} -->'")
    return found[1]
