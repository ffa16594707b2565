"""`yolo-nanfix score`: the mAP of a model with its interval, and the honest one."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from yolo_nanfix.cli.output import CLEAN, Answer, bar
from yolo_nanfix.cli.parsing import add_trust
from yolo_nanfix.errors import UsageError

EXAMPLES = (
    ("how much is this mAP worth?", "yolo-nanfix score runs/detect/train/weights/best.pt data.yaml"),
    ("frames of one recording count once", "yolo-nanfix score best.pt data.yaml --group-by '(cam\\d+_\\d{8})'"),
    ("what happened to the old classes?", "yolo-nanfix score best.pt data.yaml --old yolov8n.pt"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument("model", metavar="MODEL", type=Path, help="weights, such as best.pt")
    parser.add_argument("data", metavar="DATA", help="data.yaml, as Ultralytics takes it")
    parser.add_argument(
        "arguments", nargs="*", metavar="key=value", help="validation arguments: imgsz=640 batch=16 device=0 ..."
    )
    parser.add_argument("--split", default="val", choices=("val", "test", "train"), help="what judges (default val)")
    parser.add_argument("--old", type=Path, metavar="MODEL", help="an earlier model: also the mAP of its classes alone")
    add_grouping(parser)
    add_trust(parser)


def add_grouping(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which images belong together."""
    parser.add_argument(
        "--group-by",
        metavar="REGEX",
        help="images in whose paths it finds the same text belong together, besides copies and near copies",
    )
    parser.add_argument(
        "--no-deep", dest="deep", action="store_false", help="do not decode the images to find near copies"
    )


def run(args: argparse.Namespace) -> Answer:
    """Validate and score; the exit code is 0.

    Raises:
        UsageError: an argument, the model or the dataset cannot be used.
    """
    from yolo_nanfix import finetuning, training
    from yolo_nanfix.report import intervals

    arguments = training.parse_pairs(args.arguments)
    for key in ("data", "model", "split"):
        if key in arguments:
            raise UsageError(
                f"{key}= is an argument of its own: yolo-nanfix score MODEL DATA --split val key=value ..."
            )
    with bar(args.quiet) as progress:
        found = finetuning.score(
            args.model,
            args.data,
            split=args.split,
            group_by=args.group_by,
            old=args.old,
            deep=args.deep,
            trust_dataset_settings=args.trust_dataset_settings,
            progress=progress,
            **arguments,
        ).as_dict()
    return Answer(CLEAN, found, partial(intervals.render_score, found, quiet=args.quiet))
