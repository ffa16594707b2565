"""`yolo-nanfix diagnose INCIDENT`: why a step went wrong, found out by replaying it here."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument("incident", type=Path, help="an incident file, or a run folder for its newest incident")
    parser.add_argument("--json", action="store_true", help="print the verdict as JSON")
    parser.add_argument(
        "--import",
        dest="imports",
        action="append",
        default=[],
        metavar="MODULE",
        help="import a module of yours first, for a model class of your own; may be given several times",
    )


def run(args: argparse.Namespace) -> int:
    """Replay, print, and answer 0 when there is a verdict.

    Raises:
        UsageError: the incident cannot be read, or cannot be replayed here.
    """
    from yolo_nanfix import api
    from yolo_nanfix.report import verdict_text

    with contextlib.redirect_stdout(sys.stderr):  # what Ultralytics logs is not part of the verdict
        verdict = api.diagnose(args.incident, imports=args.imports).as_dict()
    if args.json:
        sys.stdout.write(json.dumps(verdict, indent=2) + "\n")
    else:
        verdict_text.render(verdict)
    return 0
