"""`yolo-nanfix lr-find`: the learning rate range test, with the trainer, data and optimizer of the run to come."""

from __future__ import annotations

import argparse
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from yolo_nanfix.cli.output import CLEAN, FINDINGS, Answer, bar
from yolo_nanfix.cli.parsing import add_training, add_trust
from yolo_nanfix.errors import UsageError

EXAMPLES = (
    ("suggest lr0 for this model and data", "yolo-nanfix lr-find data.yaml model=yolov8n.pt optimizer=AdamW"),
    ("the curve as a picture", "yolo-nanfix lr-find data.yaml model=yolov8n.pt --plot lr.png"),
    ("train with it", "yolo-nanfix train data.yaml $(yolo-nanfix lr-find data.yaml --quiet)"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_training(
        parser,
        "training arguments of the run to come: model=yolov8n.pt imgsz=640 batch=16 optimizer=SGD ...",
    )
    parser.add_argument("--steps", type=int, default=100, metavar="N", help="optimizer steps (default 100)")
    parser.add_argument("--min-lr", type=float, default=1e-6, metavar="X", help="lowest rate (default 1e-6)")
    parser.add_argument("--max-lr", type=float, default=10.0, metavar="X", help="highest rate (default 10)")
    add_trust(parser)
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="also draw the curve into this file")


def run(args: argparse.Namespace) -> Answer:
    """Run the range test; 0 if there is a suggestion, else 1."""
    from yolo_nanfix.report import lr_text

    if args.plot:
        _check_plot(args.plot)
    report = _sweep(args)
    if args.plot:
        try:
            lr_text.save_png(report, args.plot)
        except OSError as error:
            raise UsageError(f"--plot {args.plot} cannot be written: {error.strerror or error}") from error
        if not args.quiet:
            print(f"Plot: {args.plot}", file=sys.stderr)
    code = FINDINGS if report["suggestion"]["lr"] is None else CLEAN
    return Answer(code, report, partial(lr_text.render_range_test, report, quiet=args.quiet))


def _sweep(args: argparse.Namespace) -> dict[str, Any]:
    from yolo_nanfix import training
    from yolo_nanfix.finetune import lr_range_test

    arguments = training.parse_pairs(args.arguments)
    if "data" in arguments:
        raise UsageError("data is the first argument: yolo-nanfix lr-find data.yaml key=value ...")
    limits = {"steps": args.steps, "min_lr": args.min_lr, "max_lr": args.max_lr}
    with bar(args.quiet) as progress:
        trust = args.trust_dataset_settings
        found = lr_range_test.lr_find(args.data, trust_dataset_settings=trust, progress=progress, **limits, **arguments)
        return found.as_dict()


def _check_plot(path: Path) -> None:
    """Check before minutes of training that the plot can be written."""
    if path.suffix.lower() != ".png":
        raise UsageError(f"--plot {path}: name a .png file")
    if path.is_dir():
        raise UsageError(f"--plot {path} is a folder")
    try:
        tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as error:
        raise UsageError(f"--plot {path} cannot be written: {error.strerror}") from error
