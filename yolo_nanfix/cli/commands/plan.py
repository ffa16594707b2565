"""`yolo-nanfix plan`: advices for training, from the figures of the dataset and the machine."""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    ("which recipe, shown by trainings on this set", "yolo-nanfix plan data.yaml model=yolov8n.pt --trial 60"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    add_training(parser, "training arguments that are decided: model=yolov8n.pt imgsz=640 epochs=50 ...")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="write the plan to FILE, for cfg=FILE")
    parser.add_argument("--page", type=Path, metavar="FILE.html", help="also write a page")
    group = parser.add_argument_group("trial", "trainings that choose a recipe")
    group.add_argument("--trial", type=float, metavar="MINUTES", help="try recipes for so long, and write plan.yaml")
    group.add_argument("--recipes", metavar="NAMES", help="which, joined by commas (default: those for any set)")
    group.add_argument("--trial-epochs", type=int, metavar="N", help="epochs of each training (default 10)")
    group.add_argument(
        "--out", type=Path, metavar="DIR", help="where the runs go; finished ones are kept (default runs/trial)"
    )
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
    if args.trial is not None:
        api.check_plan_files(args.output, args.page, overwrite=args.overwrite)
    with bar(args.quiet) as progress:
        plan = api.plan(
            args.data,
            output=None if args.trial is not None else args.output,
            page=None if args.trial is not None else args.page,
            overwrite=args.overwrite,
            cache=not args.no_cache,
            trust_dataset_settings=args.trust_dataset_settings,
            progress=progress,
            **arguments,
        )
    if args.trial is None:
        _say_written(args, args.output, args.page)
        return Answer(CLEAN, plan.as_dict(), partial(_print, plan, args.quiet))
    return _tried(args, plan)


def _tried(args: argparse.Namespace, plan: Plan) -> Answer:
    """Try recipes, and write the plan with the one that was chosen."""
    from yolo_nanfix import finetuning

    given = {"recipes": args.recipes and args.recipes.split(","), "epochs": args.trial_epochs, "out": args.out}
    with bar(args.quiet) as progress:
        wanted = {key: value for key, value in given.items() if value is not None}
        found = finetuning.trial(plan, args.trial, progress=progress, **wanted)
    output, page = args.output or found.out / "plan.yaml", args.page or found.out / "plan.html"
    finetuning.write_plan(plan, output, page, found)
    _say_written(args, output, page)
    told = found.as_dict()
    return Answer(CLEAN, {**plan.as_dict(), "trial": told}, partial(_print, plan, args.quiet, told))


def _say_written(args: argparse.Namespace, *files: Path | None) -> None:
    for file in filter(None, files):
        if not args.quiet:
            say(f"wrote {file}", sys.stderr)


def _print(plan: Plan, quiet: bool, trial: dict[str, Any] | None = None) -> None:
    from yolo_nanfix.report import plan_text, trial_text

    if trial is None or not quiet:
        plan_text.render(plan, console(), quiet=quiet)
    if trial is not None:
        trial_text.render(trial, console(), quiet=quiet)
