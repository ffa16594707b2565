"""`yolo-nanfix diagnose INCIDENT`: replay a bad step and report its cause."""

from __future__ import annotations

import argparse
import contextlib
import sys
from functools import partial
from pathlib import Path

from yolo_nanfix.cli.output import Answer, console, waiting

EXAMPLES = (
    ("the newest incident of a run", "yolo-nanfix diagnose runs/detect/train"),
    ("one of them, for a script", "yolo-nanfix diagnose runs/detect/train/incidents/FILE --json"),
    ("a model class of your own", "yolo-nanfix diagnose runs/detect/train --import mymodels"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("incident", type=Path, help="an incident file, or a run folder for its newest incident")
    parser.add_argument(
        "--import",
        dest="imports",
        action="append",
        default=[],
        metavar="MODULE",
        help="import a module of yours first, for a model class of your own; may be given several times",
    )


def run(args: argparse.Namespace) -> Answer:
    """Replay the step; 0 if there is a verdict."""
    from yolo_nanfix import api
    from yolo_nanfix.report import run_text

    # the log of Ultralytics is not part of the verdict
    with contextlib.redirect_stdout(sys.stderr), waiting("replaying the step", args.quiet):
        verdict = api.diagnose(args.incident, imports=args.imports).as_dict()
    show = partial(run_text.verdict_text, verdict, console(), short=args.quiet)
    return Answer(0, verdict, show)
