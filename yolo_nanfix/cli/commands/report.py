"""`yolo-nanfix report RUN`: the page of a training run, built again from its folder."""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from yolo_nanfix.cli.output import Answer, bar, say

if TYPE_CHECKING:
    from yolo_nanfix.api import Drawn

EXAMPLES = (
    ("build the page of a run again and look at it", "yolo-nanfix report runs/detect/train --open"),
    ("into another file", "yolo-nanfix report runs/detect/train -o train.html"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, help="a run folder, also of a stock run")
    parser.add_argument(
        "--pictures",
        action=argparse.BooleanOptionalAction,
        help="read the dataset that the run names for pictures (default: for runs of your own that were not moved)",
    )
    add_output(parser, "yolo-nanfix.html in the run folder")


def add_output(parser: argparse.ArgumentParser, default: str) -> None:
    """The options that `report` and `compare` share."""
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help=f"the page to write (default: {default})")
    parser.add_argument(
        "--follow-links", action="store_true", help="follow links that lead out of the run folder or the dataset"
    )
    parser.add_argument("--open", action="store_true", help="open it in the browser")


def run(args: argparse.Namespace) -> Answer:
    """Write the page; the exit code is 0, also for a failed run."""
    from yolo_nanfix import api

    with bar(args.quiet) as progress:
        drawn = api.draw(args.run, args.output, progress, pictures=args.pictures, follow_links=args.follow_links)
    return answer(drawn, args)


def answer(drawn: Drawn, args: argparse.Namespace) -> Answer:
    """Open the page with `--open`, and print where it is."""
    import webbrowser

    opened = not args.open or webbrowser.open(drawn.page.as_uri())
    return Answer(0, drawn.as_dict(), partial(_print_page, drawn, opened, args.quiet))


def _print_page(drawn: Drawn, opened: bool, quiet: bool) -> None:
    for line in (*([] if quiet else (*drawn.sentences, *drawn.notes)), str(drawn.page)):
        say(line, sys.stdout)
    if not opened:
        say("no browser could be started: open the file yourself", sys.stdout)
