"""The `yolo-nanfix` command."""

from __future__ import annotations

import argparse
import errno
import importlib
import os
import platform
import sys
import traceback
from collections.abc import Sequence
from types import ModuleType

from yolo_nanfix import stopping
from yolo_nanfix._version import __version__
from yolo_nanfix.cli import exit as codes
from yolo_nanfix.cli import output
from yolo_nanfix.cli.output import Answer
from yolo_nanfix.cli.parsing import Help, Parser, epilog
from yolo_nanfix.errors import NanfixError, UsageError

COMMANDS = {
    "train": "lint, patch, guard and train",
    "lint": "scan a dataset for what breaks, poisons or thins out training",
    "rule": "what one rule of lint looks for, or a list of all",
    "handoff": "give the images with findings to labellers: CVAT, Label Studio, COCO or CSV",
    "lr-find": "find the learning rate by a range test with your model, data and optimizer",
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

SYSTEM = frozenset(
    (errno.ENAMETOOLONG, errno.ELOOP, errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO, errno.ENOSPC, errno.EFBIG)
)
"""What the system says where nobody is at fault but the name, the disk or its owner."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    with stopping.handled():
        code = _main(argv)
    if argv is None:
        stopping.done(code)
    return code


def _main(argv: Sequence[str] | None) -> int:
    if "_ARGCOMPLETE" in os.environ and argv is None:
        _complete()
    words = list(sys.argv[1:] if argv is None else argv)
    as_json = "--json" in words
    output.prepare()
    try:
        args = _parse(words)
        if args.command is None:
            return codes.USAGE
        as_json = args.json
        with output.settled(args.json, args.quiet):
            answer: Answer = _command(args.command).run(args)
        return output.put(answer, args)
    except KeyboardInterrupt as error:
        return _stopped(error, as_json)
    except Exception as error:
        if (stopped := stopping.received()) is not None:  # what failed, failed of the signal
            return _stopped(stopped, as_json)
        return _failed(error, words, as_json)


def _failed(error: Exception, words: Sequence[str], as_json: bool) -> int:
    if isinstance(error, UsageError):
        return output.fail(_told(error), codes.USAGE, as_json)
    if isinstance(error, NanfixError):
        return output.fail(_told(error), codes.FINDINGS, as_json)
    if isinstance(error, BrokenPipeError):
        output.give_up_stdout()
        return codes.CLEAN
    if isinstance(error, OSError) and error.errno in SYSTEM:
        return output.fail(_told(UsageError(_of_system(error))), codes.USAGE, as_json)
    return _fault(words, as_json)


def _of_system(error: OSError) -> str:
    """What the system refuses, with the name of the file if there is one: names may be as long as they want."""
    from yolo_nanfix.shown import cut

    name = os.fsdecode(error.filename) if isinstance(error.filename, (str, bytes)) else ""
    return f"{cut(name)}: {error.strerror}" if name else f"the system refuses: {error.strerror}"


def _stopped(error: KeyboardInterrupt, as_json: bool) -> int:
    """The end that a signal asked for; of Ctrl-C nobody needs to be told the name."""
    code = error.exit_code if isinstance(error, stopping.Stopped) else codes.INTERRUPTED
    return output.fail("interrupted" if code == codes.INTERRUPTED else str(error), code, as_json)


def _complete() -> None:
    """Answer a shell that completes a command line, and end."""
    from yolo_nanfix.cli import completing

    completing.answer()


def _parse(words: Sequence[str]) -> argparse.Namespace:
    """The command and its arguments; the help is printed where there is no command.

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
    """All commands by name; only the one that `words` call adds its arguments, so that `--help` stays fast."""
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
            module = _command(name)
            module.add_arguments(sub)
            output.add_arguments(sub)
            sub.epilog = epilog(sub.epilog or "", module.EXAMPLES)
    return parser


def _command(name: str) -> ModuleType:
    """The module of a command: `lr-find` is in `lr_find.py`."""
    return importlib.import_module(f"yolo_nanfix.cli.commands.{name.replace('-', '_')}")


def _told(error: NanfixError) -> str:
    """An error as one line, whatever it quotes: CI systems take some lines for commands."""
    from yolo_nanfix.report.words import printable

    return f"error: {printable(str(error))}"


def _fault(words: Sequence[str], as_json: bool) -> int:
    """Our own fault: everything a report needs, ready to paste."""
    message = (
        f"this is a fault of yolo-nanfix, not yours. Please report it with these lines:\n"
        f"yolo-nanfix {__version__}, Python {platform.python_version()}, {platform.platform()}\n"
        f"command: yolo-nanfix {' '.join(words)}\n{traceback.format_exc()}"
    )
    return output.fail(message, codes.FAULT, as_json)
