"""`yolo-nanfix bench`: repeated trainings, and whether two settings differ."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from yolo_nanfix.cli.commands.score import add_grouping
from yolo_nanfix.cli.output import CLEAN, Answer, bar
from yolo_nanfix.cli.parsing import add_training
from yolo_nanfix.errors import UsageError

EXAMPLES = (
    ("how much does the seed matter?", "yolo-nanfix bench data.yaml model=yolov8n.pt epochs=50 --seeds 5"),
    ("cross-validation", "yolo-nanfix bench data.yaml model=yolov8n.pt epochs=50 --folds 5"),
    ("is that setting better?", "yolo-nanfix bench data.yaml model=yolov8n.pt epochs=50 --against frozen.yaml"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    add_training(parser, "training arguments of all trainings: model=yolov8n.pt epochs=50 imgsz=640 ...")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--seeds", type=int, metavar="N", help="train with the seeds 0 to N - 1 (default 3)")
    how.add_argument("--folds", type=int, metavar="K", help="cross-validation over the images of train and val")
    parser.add_argument(
        "--against", type=Path, metavar="RUN.yaml", help="a second arm: the training arguments that differ"
    )
    add_grouping(parser)
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        default=Path("runs") / "bench",
        help="where the runs go; what is finished there is not trained again (default runs/bench)",
    )


def run(args: argparse.Namespace) -> Answer:
    """Train and compare; the exit code is 0, whether or not there is a difference.

    Raises:
        UsageError: an argument, the model or the dataset cannot be used.
        NanfixError: a training failed.
    """
    from yolo_nanfix import finetuning, training
    from yolo_nanfix.report import intervals

    arguments = training.parse_pairs(args.arguments)
    if "data" in arguments:
        raise UsageError("data is the first argument: yolo-nanfix bench data.yaml key=value ...")
    with bar(args.quiet) as progress:
        found = finetuning.bench(
            args.data,
            seeds=args.seeds,
            folds=args.folds,
            against=args.against,
            group_by=args.group_by,
            deep=args.deep,
            out=args.out,
            progress=progress,
            **arguments,
        ).as_dict()
    return Answer(CLEAN, found, partial(intervals.render_bench, found, quiet=args.quiet))
