"""The `yolo-nanfix` command."""

from __future__ import annotations

import errno
import os
import platform
import sys
import traceback
from collections.abc import Sequence

from yolo_nanfix import stopping
from yolo_nanfix._version import __version__
from yolo_nanfix.cli import output, parsing
from yolo_nanfix.cli.output import Answer
from yolo_nanfix.errors import NanfixError, UsageError
from yolo_nanfix.wording import cut, printable

NOT_OUR_FAULT = frozenset(
    (errno.ENAMETOOLONG, errno.ELOOP, errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO, errno.ENOSPC, errno.EFBIG)
)
"""Errors of the system that come from a file name, the disk or its permissions."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    with stopping.handled():
        code = _main(argv)
    if argv is None:
        stopping.done(code)
    return code


def _main(argv: Sequence[str] | None) -> int:
    if "_ARGCOMPLETE" in os.environ and argv is None:
        from yolo_nanfix.cli.commands import completion

        completion.answer()
    words = list(sys.argv[1:] if argv is None else argv)
    as_json = "--json" in words
    output.prepare()
    try:
        args = parsing.parse(words)
        if args.command is None:
            return output.USAGE
        as_json = args.json
        with output.settled(args.json, args.quiet):
            answer: Answer = parsing.command(args.command).run(args)
        return output.put(answer, args)
    except KeyboardInterrupt as error:
        return _stopped(error, as_json)
    except Exception as error:
        if (stopped := stopping.received()) is not None:  # the signal caused the error
            return _stopped(stopped, as_json)
        return _failed(error, words, as_json)


def _failed(error: Exception, words: Sequence[str], as_json: bool) -> int:
    if isinstance(error, NanfixError):
        code = output.USAGE if isinstance(error, UsageError) else output.FINDINGS
        return output.fail(f"error: {printable(str(error))}", code, as_json)  # CI systems take some lines for commands
    if isinstance(error, BrokenPipeError):
        output.give_up_stdout()
        return output.CLEAN
    if isinstance(error, OSError) and error.errno in NOT_OUR_FAULT:
        name = os.fsdecode(error.filename) if isinstance(error.filename, (str, bytes)) else ""
        what = f"{cut(name)}: {error.strerror}" if name else f"the system refuses: {error.strerror}"
        return output.fail(f"error: {printable(what)}", output.USAGE, as_json)
    return _fault(words, as_json)


def _stopped(error: KeyboardInterrupt, as_json: bool) -> int:
    """End by a signal; the message names it, except for Ctrl-C."""
    code = error.exit_code if isinstance(error, stopping.Stopped) else output.INTERRUPTED
    return output.fail("interrupted" if code == output.INTERRUPTED else str(error), code, as_json)


def _fault(words: Sequence[str], as_json: bool) -> int:
    """A fault of yolo-nanfix: all that a bug report needs, ready to paste."""
    message = (
        f"this is a fault of yolo-nanfix, not yours. Please report it with these lines:\n"
        f"yolo-nanfix {__version__}, Python {platform.python_version()}, {platform.platform()}\n"
        f"command: yolo-nanfix {' '.join(words)}\n{traceback.format_exc()}"
    )
    return output.fail(message, output.FAULT, as_json)
