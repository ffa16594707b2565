"""One page for each command, `commands/<name>.md`, from its own parser."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from itertools import pairwise

from generator.markup import block, code, prose, table
from yolo_nanfix.cli.parsing import COMMANDS, build_parser

WIDTH = "84"
"""Columns of a usage line; argparse takes it from the environment."""
TITLES = {"positional arguments": "Arguments", "options": "Options"}


def pages() -> Iterator[tuple[str, str]]:
    """Path and text of each page."""
    yield "commands/index.md", _index()
    for name, text in COMMANDS.items():
        yield f"commands/{name}.md", _page(parser(name), text)


def parser(name: str) -> argparse.ArgumentParser:
    """The parser of one command."""
    commands = next(a for a in build_parser([name])._actions if isinstance(a, argparse._SubParsersAction))
    made: argparse.ArgumentParser = commands.choices[name]
    return made


def _index() -> str:
    rows = [(f"[yolo-nanfix {name}]({name}.md)", prose(text)) for name, text in COMMANDS.items()]
    names = "\n".join(COMMANDS)
    return f"""# Commands

{table(("command", "what it does"), rows)}
Exit codes, for all commands: 0 clean (also a degraded run), 1 findings or a run that failed, 2 wrong use or bad input,
3 our own fault, 130 interrupted, 143 and 129 [ended by SIGTERM and SIGHUP](../ideas/stopping.md).

All commands take `--json`: stdout holds one JSON document and nothing else, of an error
`{{"error": ..., "exit_code": ...}}`, and logs go to stderr. `--quiet` leaves the result alone. Frames, colours and
progress are for terminals; `NO_COLOR` takes colours away. `eval "$(yolo-nanfix completion bash)"`, or `zsh` or `fish`,
completes commands, options, rules, patches, training arguments and files.

```{{toctree}}
:hidden:

{names}
```
"""


def _page(made: argparse.ArgumentParser, text: str) -> str:
    parts = [f"# {made.prog}\n", prose(text[:1].upper() + text[1:]) + ".\n", block(_usage(made))]
    notes, examples = _epilog(made.epilog or "")
    parts += ["## Examples\n", *(f"{_sentence(what)}\n\n{block(f'$ {line}', 'console')}" for what, line in examples)]
    for group in made._action_groups:
        rows = [_row(action) for action in group._group_actions if not isinstance(action, argparse._HelpAction)]
        if rows:
            title = TITLES.get(group.title or "", group.title or "")
            told = f"{_sentence(group.description)}\n\n" if group.description else ""
            parts.append(
                f"## {title[:1].upper()}{title[1:]}\n\n{told}{table((_what(title), 'default', 'what it does'), rows)}"
            )
    return "\n".join([*parts, *(f"{prose(note)}\n" for note in notes)])


def _what(title: str) -> str:
    return "argument" if title == "Arguments" else "option"


def _usage(made: argparse.ArgumentParser) -> str:
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = WIDTH
    try:
        return made.format_usage().removeprefix("usage: ")
    finally:
        if before is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = before


def _epilog(text: str) -> tuple[list[str], list[tuple[str, str]]]:
    """The paragraphs of an epilog, and its examples: what each does, and its line."""
    whole = text.split("\n\n")
    lines = [line.strip() for part in whole if part.startswith(" ") for line in part.splitlines()]
    examples = [(what.removeprefix("# "), line) for what, line in pairwise(lines) if what.startswith("# ")]
    return [part for part in whole if part.strip() and not part.startswith(" ")], examples


def _row(action: argparse.Action) -> tuple[str, str, str]:
    """Names with what they take, default, and what it does."""
    shown = ", ".join(code(f"{name}{_taken(action)}") for name in action.option_strings) or code(_metavar(action))
    unset = action.default in (None, [], False, argparse.SUPPRESS)
    default = "" if unset else code(str(action.default).lower())
    told = (action.help or "") % {**vars(action), "prog": "yolo-nanfix"}
    choices = f" One of {', '.join(code(str(choice)) for choice in action.choices)}." if action.choices else ""
    return shown, default, _sentence(told) + choices


def _sentence(text: str) -> str:
    return prose(text[:1].upper() + text[1:].rstrip(".")) + ("." if text else "")


def _taken(action: argparse.Action) -> str:
    """What stands behind an option on the command line."""
    if action.nargs == 0 or isinstance(action, argparse.BooleanOptionalAction):
        return ""
    return f" {_metavar(action)}" + (" ..." if action.nargs in ("*", "+") else "")


def _metavar(action: argparse.Action) -> str:
    if isinstance(action.metavar, tuple):
        return " ".join(action.metavar)
    word = action.dest.upper() if action.option_strings else action.dest
    return action.metavar or ("WORD" if action.choices else word)
