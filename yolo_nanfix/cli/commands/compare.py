"""`yolo-nanfix compare RUN RUN`: one page with two training runs side by side."""

from __future__ import annotations

import argparse
from pathlib import Path

from yolo_nanfix.cli.commands import report
from yolo_nanfix.cli.output import Answer

EXAMPLES = (("what changed between two runs", "yolo-nanfix compare runs/detect/train runs/detect/train2 --open"),)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("first", metavar="RUN", type=Path, help="a run folder, shown as A")
    parser.add_argument("second", metavar="RUN", type=Path, help="another one, shown as B")
    report.add_output(parser, "yolo-nanfix-compare.html in the current folder")


def run(args: argparse.Namespace) -> Answer:
    """Write the page; the exit code is 0, also for failed runs."""
    from yolo_nanfix import api

    drawn = api.compare(args.first, args.second, args.output, follow_links=args.follow_links)
    return report.answer(drawn, args)
