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
        if (stopped := stopping.received()) is not None:  # what failed, failed of the signal
            return _stopped(stopped, as_json)
        return _failed(error, words, as_json)


def _failed(error: Exception, words: Sequence[str], as_json: bool) -> int:
    if isinstance(error, UsageError):
        return output.fail(_told(error), output.USAGE, as_json)
    if isinstance(error, NanfixError):
        return output.fail(_told(error), output.FINDINGS, as_json)
    if isinstance(error, BrokenPipeError):
        output.give_up_stdout()
        return output.CLEAN
    if isinstance(error, OSError) and error.errno in SYSTEM:
        return output.fail(_told(UsageError(_of_system(error))), output.USAGE, as_json)
    return _fault(words, as_json)


def _of_system(error: OSError) -> str:
    """What the system refuses, with the name of the file if there is one: names may be as long as they want."""
    from yolo_nanfix.shown import cut

    name = os.fsdecode(error.filename) if isinstance(error.filename, (str, bytes)) else ""
    return f"{cut(name)}: {error.strerror}" if name else f"the system refuses: {error.strerror}"


def _stopped(error: KeyboardInterrupt, as_json: bool) -> int:
    """The end that a signal asked for; of Ctrl-C nobody needs to be told the name."""
    code = error.exit_code if isinstance(error, stopping.Stopped) else output.INTERRUPTED
    return output.fail("interrupted" if code == output.INTERRUPTED else str(error), code, as_json)


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
    return output.fail(message, output.FAULT, as_json)
