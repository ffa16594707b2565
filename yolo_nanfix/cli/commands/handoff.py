"""`yolo-nanfix handoff`: the images with findings, their boxes and what is wrong, ready for a labelling tool."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from yolo_nanfix.cli.output import Answer
from yolo_nanfix.errors import UsageError

if TYPE_CHECKING:
    from yolo_nanfix.api import HandedOver

EXAMPLES = (
    ("to CVAT, with copies of the images", "yolo-nanfix handoff data.yaml OUT --to cvat --copy-images"),
    ("the 100 worst images to Label Studio", "yolo-nanfix handoff data.yaml OUT --to label-studio --max 100"),
)
FORMATS = ("cvat", "label-studio", "coco", "csv")
_LEVELS = ("fatal", "error", "warning", "info")
_TASKS = ("detect", "segment", "pose", "obb", "classify")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument("data", help="data.yaml, a folder that holds one, or a name such as coco8")
    parser.add_argument("out", metavar="OUT", type=Path, help="the folder to write; it must not be there")
    parser.add_argument("--to", choices=FORMATS, required=True, help="the form that the labelling tool imports")
    parser.add_argument("--task", choices=_TASKS, help="label format (default: that of the settings, else detect)")
    parser.add_argument("--deep", action=argparse.BooleanOptionalAction, help="lint decodes every image")
    parser.add_argument("--select", metavar="RULES", action="append", help="only findings of these rules")
    parser.add_argument("--ignore", metavar="RULES", action="append", help="no findings of these rules")
    parser.add_argument(
        "--severity", choices=_LEVELS, default="warning", help="only findings at least so severe (default: warning)"
    )
    parser.add_argument("--max", type=int, metavar="N", help="at most N images, those with the worst findings")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--copy-images", action="store_const", const="copy", dest="images", help="copy them to OUT/images")
    how.add_argument("--link", action="store_const", const="link", dest="images", help="link them from OUT/images")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier handoff")


def run(args: argparse.Namespace) -> Answer:
    """Lint, write OUT, say what is in it; 0 also if nothing was found.

    Raises:
        UsageError: an option or the data cannot be used, or OUT is there already or cannot be written.
    """
    from yolo_nanfix import api
    from yolo_nanfix.cli.progress import bar
    from yolo_nanfix.report import jsonout

    if args.max is not None and args.max < 1:
        raise UsageError(f"--max must be at least 1, not {args.max}")
    with bar(args.quiet) as progress:
        report = api.lint(args.data, task=args.task, deep=args.deep, progress=progress)
        chosen = report.select(*_split(args.select), ignore=_split(args.ignore))
        done = api.handoff(
            chosen,
            args.out,
            to=args.to,
            max_images=args.max,
            images=args.images,
            overwrite=args.overwrite,
            severity=args.severity,
            progress=progress,
        )
    return Answer(0, partial(jsonout.text, vars(done)), partial(_say, done, args.quiet))


def _split(options: list[str] | None) -> list[str]:
    """The words of an option that may be given several times, joined by commas."""
    return [word.strip() for option in options or () for word in option.split(",") if word.strip()]


def _say(done: HandedOver, quiet: bool) -> None:
    """What was written, and what was not; nothing if `quiet`."""
    from yolo_nanfix.report.words import printable

    if quiet:
        return
    lines = [
        f"{done.folder}: {done.images} images, {done.boxes} label rows, {done.findings} findings",
        f"import {' and '.join(done.files)}; handoff.csv lists everything, overlays/ shows it",
    ]
    if done.unreadable:
        some = ", ".join(Path(file).name for file in done.unreadable[:3])
        lines.append(f"{len(done.unreadable)} images cannot be opened and are in handoff.csv alone: {some}")
    if done.whole_set:
        about = "1 finding is" if done.whole_set == 1 else f"{done.whole_set} findings are"
        lines.append(f"{about} about no single image; yolo-nanfix lint shows all findings")
    for line in lines:
        print(printable(line))
