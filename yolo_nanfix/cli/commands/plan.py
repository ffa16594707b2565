"""`yolo-nanfix plan`: advices for training, from the figures of the dataset and the machine."""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from yolo_nanfix.cli.output import CLEAN, Answer, bar, console, say
from yolo_nanfix.cli.parsing import add_training, add_trust
from yolo_nanfix.errors import UsageError

if TYPE_CHECKING:
    from yolo_nanfix.plans import Plan

EXAMPLES = (
    ("which settings for this dataset, and why", "yolo-nanfix plan data.yaml model=yolov8n.pt"),
    ("with a size and a number of epochs of your own", "yolo-nanfix plan data.yaml imgsz=320 epochs=30"),
    ("as a file that Ultralytics takes", "yolo-nanfix plan data.yaml --output plan.yaml"),
    ("a page to look at", "yolo-nanfix plan data.yaml --page plan.html"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    add_training(parser, "training arguments that are decided: model=yolov8n.pt imgsz=640 epochs=50 ...")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="write the plan to FILE, for cfg=FILE")
    parser.add_argument("--page", type=Path, metavar="FILE.html", help="also write a page")
    parser.add_argument("--overwrite", action="store_true", help="replace FILE if it exists")
    parser.add_argument("--no-cache", action="store_true", help="read all files, and cache nothing")
    add_trust(parser)
    parser.epilog = (
        "At most 10 advices are shown: those that differ from the defaults, and defaults that the figures of the "
        "dataset confirm; each with its figures, a source, and what it rests on: measured here, published, or a rule "
        "of thumb. There is no advice on arguments that you give, and none without evidence."
    )


def run(args: argparse.Namespace) -> Answer:
    """Make the plan; the exit code is 0.

    Raises:
        UsageError: an argument or the dataset cannot be used, or a file exists or cannot be written.
    """
    from yolo_nanfix import api, training

    arguments = training.parse_pairs(args.arguments)
    if "data" in arguments:
        raise UsageError("data is the first argument: yolo-nanfix plan data.yaml key=value ...")
    with bar(args.quiet) as progress:
        plan = api.plan(
            args.data,
            output=args.output,
            page=args.page,
            overwrite=args.overwrite,
            cache=not args.no_cache,
            trust_dataset_settings=args.trust_dataset_settings,
            progress=progress,
            **arguments,
        )
    for file in filter(None, (args.output, args.page)):
        if not args.quiet:
            say(f"wrote {file}", sys.stderr)
    return Answer(CLEAN, plan.as_dict(), partial(_print, plan, args.quiet))


def _print(plan: Plan, quiet: bool) -> None:
    from yolo_nanfix.report import plan_text

    plan_text.render(plan, console(), quiet=quiet)
