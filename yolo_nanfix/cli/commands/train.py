"""`yolo-nanfix train`: lint, patch, guard and train, then print the outcome."""

from __future__ import annotations

import argparse
import sys
import traceback
from functools import partial

from yolo_nanfix import api
from yolo_nanfix.cli import output
from yolo_nanfix.cli.output import Answer
from yolo_nanfix.cli.parsing import add_training, add_trust
from yolo_nanfix.errors import NanfixError, UsageError

EXAMPLES = (
    ("as with Ultralytics' own command", "yolo-nanfix train data.yaml model=yolov8n.pt epochs=100 imgsz=640"),
    ("with a recipe for fine-tuning", "yolo-nanfix train data.yaml model=yolov8n.pt epochs=50 --recipe small"),
    ("what would be left out?", "yolo-nanfix train data.yaml model=yolov8n.pt --dry-run"),
    ("the outcome for a script", "yolo-nanfix train data.yaml model=yolov8n.pt --json > outcome.json"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_training(
        parser, "training arguments as in Ultralytics' own command line: model=yolov8n.pt epochs=100 imgsz=640 ..."
    )
    parser.add_argument("--dry-run", action="store_true", help="lint and say what would be done, but do not train")
    parser.add_argument(
        "--recipe",
        metavar="NAME|FILE",
        help="a recipe of the package (an unknown name lists them), a recipe of your own, or a plan.yaml",
    )
    add_trust(parser)
    parser.add_argument(
        "--on-fatal",
        choices=("quarantine", "stop", "ignore"),
        default="quarantine",
        help="images with fatal findings: leave them out of this run (default), do not train, or train on them",
    )
    parser.add_argument(
        "--follow-links",
        action="store_true",
        help="the page also shows images that links or lists name outside of the dataset's folders",
    )
    guard = parser.add_argument_group("guard", "settings of the guard; `nanfix.yaml` and YOLO_NANFIX_* hold them too")
    for name, default, help_text in api.guard_settings():
        option, text = f"--{name.replace('_', '-')}", f"{help_text} (default {str(default).lower()})"
        if isinstance(default, bool):
            guard.add_argument(option, action=argparse.BooleanOptionalAction, help=text)
        else:
            guard.add_argument(option, type=type(default), metavar="N" if isinstance(default, int) else "X", help=text)


def run(args: argparse.Namespace) -> Answer:
    """Train; the JSON document is the summary of the run."""
    from yolo_nanfix import runs, training
    from yolo_nanfix.report import run_text

    arguments = training.parse_pairs(args.arguments)
    if "data" in arguments:
        raise UsageError("data is the first argument: yolo-nanfix train data.yaml key=value ...")
    given = {name: getattr(args, name) for name, _, _ in api.guard_settings()}
    guard = {name: value for name, value in given.items() if value is not None}
    if not (output.interruptible() or args.dry_run or args.quiet):
        line = f"yolo-nanfix: Ctrl-C is ignored here; {output.ended_by()} ends the run."
        print(line, "The checkpoints of the last whole epoch stay.", file=sys.stderr)
    try:
        with output.bar(args.quiet) as progress:
            result = runs.train(
                args.data,
                on_fatal=args.on_fatal,
                dry_run=args.dry_run,
                guard=guard,
                trust_dataset_settings=args.trust_dataset_settings,
                follow_links=args.follow_links,
                progress=progress,
                recipe=args.recipe,
                **arguments,
            )
    except NanfixError:
        raise
    except Exception as error:
        traceback.print_exc(file=sys.stderr)
        raise NanfixError(f"training failed: {type(error).__name__}: {error}") from error
    show = partial(run_text.render, result.summary, quiet=args.quiet)
    return Answer(result.exit_code, result.summary, show)
