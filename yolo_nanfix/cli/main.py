"""The `yolo-nanfix` command."""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import sys
import traceback
from collections.abc import Sequence
from types import ModuleType

from yolo_nanfix._version import __version__
from yolo_nanfix.cli import exit as codes
from yolo_nanfix.errors import NanfixError, UsageError

COMMANDS = {
    "train": "lint, patch, guard and train",
    "lint": "scan a dataset for what breaks, poisons or thins out training",
    "rule": "what one rule of lint looks for, or a list of all",
    "handoff": "give the images with findings to labellers: CVAT, Label Studio, COCO or CSV",
    "lr-find": "find the learning rate by a range test with your model, data and optimizer",
    "diagnose": "find out why a step of a run went wrong, by replaying its incident here",
    "run": "run a stock command, such as yolo detect train, under patches and guard",
    "patches": "list the patches and what they do here",
    "explain": "all about one patch or one lint rule",
    "doctor": "check versions, GPU, precision and patches before training",
}
"""Name and one-line help of each command; `cli/commands/<name>.py` holds its code and is imported when it runs."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    parser = _parser(words)
    args, rest = parser.parse_known_args(words)
    pairs = [word for word in rest if "=" in word and not word.startswith("-")]
    if rest and (pairs != rest or not hasattr(args, "arguments")):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:  # key=value words after an option, which argparse does not put with those before it
        args.arguments += pairs
    if args.command is None:
        parser.print_help()
        return codes.USAGE
    module = _command(args.command)
    try:
        code: int = module.run(args)
    except UsageError as error:
        return _say(f"error: {error}", codes.USAGE)
    except NanfixError as error:
        return _say(f"error: {error}", codes.FINDINGS)
    except KeyboardInterrupt:
        return _say("interrupted", codes.INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return codes.CLEAN
    except Exception:
        return _fault(words)
    return code


def _parser(words: Sequence[str]) -> argparse.ArgumentParser:
    """All commands by name; only the one that is called adds its arguments, so that `--help` stays fast."""
    parser = argparse.ArgumentParser(
        prog="yolo-nanfix",
        description="Keeps Ultralytics YOLO training alive: lints the data, patches the losses, guards each step.",
        epilog="Exit codes: 0 clean, 1 findings or an unhealthy run, 2 wrong use, 3 our own fault, 130 interrupted.",
    )
    parser.add_argument("--version", action="version", version=f"yolo-nanfix {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    for name, help_text in COMMANDS.items():
        sub = commands.add_parser(
            name, help=help_text, description=f"yolo-nanfix {name}: {help_text}.", allow_abbrev=False
        )
        if name in words[:1]:
            _command(name).add_arguments(sub)
    return parser


def _command(name: str) -> ModuleType:
    """The module of a command: `lr-find` is in `lr_find.py`."""
    return importlib.import_module(f"yolo_nanfix.cli.commands.{name.replace('-', '_')}")


def _say(message: str, code: int) -> int:
    print(f"yolo-nanfix: {message}", file=sys.stderr)
    return code


def _fault(words: Sequence[str]) -> int:
    """Our own fault: everything a report needs, ready to paste."""
    print(
        f"yolo-nanfix: this is a fault of yolo-nanfix, not yours. Please report it with these lines:\n"
        f"yolo-nanfix {__version__}, Python {platform.python_version()}, {platform.platform()}\n"
        f"command: yolo-nanfix {' '.join(words)}\n{traceback.format_exc()}",
        file=sys.stderr,
    )
    return codes.FAULT
