"""`yolo-nanfix run -- COMMAND`: run an unchanged command with patches and guard."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

from yolo_nanfix import stopping
from yolo_nanfix.cli.output import Answer
from yolo_nanfix.cli.parsing import add_trust
from yolo_nanfix.errors import UsageError, nearest

EXAMPLES = (
    ("Ultralytics' own command", "yolo-nanfix run -- yolo detect train data=data.yaml model=yolov8n.pt"),
    ("your own script, without the guard", "yolo-nanfix run --no-guard -- python train.py"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = "yolo-nanfix run [options] -- COMMAND ..."
    parser.epilog = (
        "Only the output of the command is printed. With --json it goes to stderr, and the document on stdout holds "
        "the command and its exit code; with --quiet Ultralytics logs errors only."
    )
    parser.add_argument("--enable", metavar="NAME", action="append", default=[], help="apply this patch, too")
    parser.add_argument("--disable", metavar="NAME", action="append", default=[], help="leave this patch out")
    parser.add_argument("--no-guard", action="store_true", help="patches only: do not guard the training steps")
    add_trust(parser)
    parser.add_argument("words", nargs=argparse.REMAINDER, metavar="COMMAND", help="the command and its arguments")


def run(args: argparse.Namespace) -> Answer:
    """Run the command in an environment whose Python processes patch ultralytics; its exit code is ours."""
    from yolo_nanfix import api, hook

    words = args.words[1:] if args.words[:1] == ["--"] else args.words
    if not words:
        raise UsageError("no command given; for example: yolo-nanfix run -- yolo detect train data=data.yaml")
    for name in (*args.enable, *args.disable):
        if name not in api.cards():
            raise UsageError(f"no patch named '{name}'; {nearest(name, api.cards())}")
    settings = {"enable": args.enable, "disable": args.disable, **({"guard": False} if args.no_guard else {})}
    settings |= {"trust_dataset_settings": True} if args.trust_dataset_settings else {}
    try:
        code = _become(words, hook.environment(settings), args.json)
    except OSError as error:
        raise UsageError(f"{words[0]} cannot be started: {error.strerror}") from error
    return Answer(code, {"command": words, "exit_code": code})


def _become(words: list[str], environment: dict[str, str], report: bool) -> int:
    """Replace this process by the command; where its end is to be reported, start it and wait."""
    sys.stdout.flush()
    if os.name == "posix" and not report:
        os.execvpe(words[0], words, environment)
    process = subprocess.Popen(words, env=environment)

    def forward(number: int) -> bool:
        process.send_signal(number)
        return True

    with stopping.passed_on(forward):
        code = process.wait()
    return code if code >= 0 else 128 - code
