"""Declares command lines: the commands, their common options, the help, and errors in one line."""

from __future__ import annotations

import argparse
import importlib
import sys
import textwrap
from collections.abc import Iterable, Sequence
from types import ModuleType
from typing import Any, NoReturn

from yolo_nanfix._version import __version__
from yolo_nanfix.errors import UsageError, close, nearest
from yolo_nanfix.wording import cut

COMMANDS = {
    "train": "lint, patch, guard and train",
    "lint": "check a dataset for what breaks, poisons or silently weakens training",
    "rule": "what one rule of lint looks for, or a list of all",
    "handoff": "give the images with findings to labellers: CVAT, Label Studio, COCO or CSV",
    "plan": "advise on the training settings, from the figures of the dataset",
    "lr-find": "find the learning rate by a range test with your model, data and optimizer",
    "bench": "train several times, by seeds or folds: what the metric is worth, whether two settings differ",
    "score": "the mAP of a model with its interval, and the honest one without images that training has seen",
    "diagnose": "find out why a step of a run went wrong, by replaying its incident here",
    "report": "build the page of a training run again: curves, events, incidents, what to do",
    "compare": "one page with two training runs side by side",
    "run": "run a stock command, such as yolo detect train, under patches and guard",
    "patches": "list the patches and what they do here",
    "explain": "all about one patch or one lint rule",
    "doctor": "check versions, GPU, precision and patches before training",
    "completion": "print a script that lets bash, zsh or fish complete command lines",
}
"""Name and one-line help of each command; `cli/commands/<name>.py` holds its code and is imported when it runs."""

LONGEST_ERROR = 2000
"""Longest error message, in characters: it quotes words of the command line."""
_Commands = argparse._SubParsersAction


class Help(argparse.HelpFormatter):
    """Help text in paragraphs: those of one line are wrapped."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        whole = [part if "\n" in part else textwrap.fill(part, width) for part in text.split("\n\n")]
        return "\n\n".join(whole)


class Parser(argparse.ArgumentParser):
    """A parser that raises errors, so that all are printed in the same way."""

    def error(self, message: str) -> NoReturn:
        """Show the usage, and raise `UsageError`."""
        self.print_usage(sys.stderr)
        raise UsageError(cut(message, LONGEST_ERROR))

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Refuse a value that is none of the choices, and name the nearest one; argparse only lists them all."""
        if action.choices is not None and value not in action.choices:
            hint = nearest(str(value)[:LONGEST_ERROR], map(str, action.choices))
            raise argparse.ArgumentError(action, f"'{value}' is unknown; {hint}")

    def hint(self, word: str, command: str | None) -> str:
        """`; did you mean OPTION?` for an unknown option; empty if none is similar."""
        parsers = [
            self,
            *(p for a in self._actions if isinstance(a, _Commands) for n, p in a.choices.items() if n == command),
        ]
        options = [option for parser in parsers for option in parser._option_string_actions]
        near = close(word.partition("=")[0][:LONGEST_ERROR], options)
        return f"; did you mean {near}?" if near else ""


def parse(words: Sequence[str]) -> argparse.Namespace:
    """Parse the command line; without a command the help is printed.

    Raises:
        UsageError: a word is unknown, missing or wrong.
    """
    parser = build_parser(words)
    args, rest = parser.parse_known_args(words)
    pairs = [word for word in rest if "=" in word and not word.startswith("-")]
    if rest and (pairs != rest or not hasattr(args, "arguments")):
        unknown = next((word for word in rest if word.startswith("-")), "")
        parser.error(f"unrecognized arguments: {' '.join(rest)}{parser.hint(unknown, args.command)}")
    if rest:  # key=value words after an option, which argparse does not put with those before it
        args.arguments += pairs
    if args.command is None:
        parser.print_help()
    return args


def build_parser(words: Sequence[str]) -> Parser:
    """The parser of all commands; only the command in `words` adds its arguments, so that `--help` stays fast."""
    parser = Parser(
        prog="yolo-nanfix",
        description="Keeps Ultralytics YOLO training alive: lints the data, patches the losses, guards each step.",
        epilog="Exit codes: 0 clean, 1 findings or a failed run, 2 wrong use, 3 our own fault, 130 interrupted, "
        "143 and 129 ended by SIGTERM and SIGHUP.",
        formatter_class=Help,
    )
    parser.add_argument("--version", action="version", version=f"yolo-nanfix {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    for name, help_text in COMMANDS.items():
        sub = commands.add_parser(
            name,
            help=help_text,
            description=f"yolo-nanfix {name}: {help_text}.",
            allow_abbrev=False,
            formatter_class=Help,
        )
        if name in words[:1]:
            module = command(name)
            module.add_arguments(sub)
            _add_common(sub)
            sub.epilog = epilog(sub.epilog or "", module.EXAMPLES)
    return parser


def command(name: str) -> ModuleType:
    """The module of a command: `lr-find` is in `lr_find.py`."""
    return importlib.import_module(f"yolo_nanfix.cli.commands.{name.replace('-', '_')}")


def epilog(notes: str, examples: tuple[tuple[str, str], ...]) -> str:
    """The end of a command's help: notes, and examples as pairs of a comment and a command line."""
    shown = "\n".join(f"  # {what}\n  {line}" for what, line in examples)
    return "\n\n".join(part for part in (notes, f"examples:\n{shown}" if shown else "") if part)


def _add_common(parser: argparse.ArgumentParser) -> None:
    """The options of all commands."""
    group = parser.add_argument_group("output")
    group.add_argument("--json", action="store_true", help="one JSON document on stdout, all else on stderr")
    group.add_argument("--quiet", action="store_true", help="the result alone: no progress, no headings, no hints")


def add_dataset(parser: argparse.ArgumentParser, nargs: str | None = None) -> None:
    """Add the argument DATA of a command that lints it."""
    parser.add_argument(
        "data",
        nargs=nargs,
        metavar="DATA",
        help="data.yaml; a folder that holds one, or images with or without labels, class folders, COCO or VOC; "
        "a COCO .json or an .ndjson; or a name such as coco8",
    )


def add_reading(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Add the options for reading a dataset."""
    from yolo_nanfix.tasks import TASKS

    parser.add_argument("--task", choices=TASKS, help="label format (default: read from the dataset)")
    parser.add_argument("--root", metavar="DIR", help="where the images are, whatever data.yaml says")
    parser.add_argument("--deep", action=argparse.BooleanOptionalAction, help="also decode every image")


def add_trust(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Add the option that trusts settings files of datasets."""
    parser.add_argument(
        "--trust-dataset-settings",
        action="store_true",
        help="treat a nanfix.yaml or pyproject.toml that came with the dataset as your own",
    )


def add_training(parser: argparse.ArgumentParser, help_text: str) -> None:
    """Add the dataset and `key=value` training arguments, whose help is `help_text`."""
    parser.add_argument("data", help="data.yaml, as Ultralytics takes it")
    parser.add_argument("arguments", nargs="*", metavar="key=value", help=help_text)


def words_of(options: Iterable[str] | None) -> list[str]:
    """The comma-separated words of an option that may be given several times."""
    return [word.strip() for option in options or () for word in option.split(",") if word.strip()]
