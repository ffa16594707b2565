"""`yolo-nanfix lint`: what breaks, poisons or silently thins out training in a dataset."""

from __future__ import annotations

import argparse
import io
import sys
from pathlib import Path

from yolo_nanfix.errors import UsageError
from yolo_nanfix.findings import Report

_TASKS = ("detect", "segment", "pose", "obb")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("data", help="data.yaml, a folder that holds one, or a name such as coco8")
    parser.add_argument("--task", choices=_TASKS, default="detect", help="label format (default: detect)")
    parser.add_argument(
        "--output-format", choices=("text", "json"), default="text", help="form of the result (default: text)"
    )
    parser.add_argument("--output-file", metavar="F", type=Path, help="write the result to F, not to stdout")
    parser.add_argument("--quiet", action="store_true", help="only the findings: no progress, no summary")


def run(args: argparse.Namespace) -> int:
    """Lint, print, and answer 0 if nothing above info was found, else 1.

    Raises:
        UsageError: the data cannot be used, or the output file cannot be written.
    """
    from yolo_nanfix import api
    from yolo_nanfix.cli.progress import bar

    with bar(args.quiet) as progress:
        report = api.lint(args.data, task=args.task, progress=progress)
    _put(report, args.output_format, args.output_file, args.quiet)
    return report.exit_code


def _put(report: Report, form: str, file: Path | None, quiet: bool) -> None:
    """Print the report, or write it to a file."""
    from rich.console import Console

    from yolo_nanfix.report import jsonout, text

    if file is None and form == "text":
        return text.render(report, Console(), quiet=quiet)
    if form == "json":
        result = jsonout.dumps(report)
    else:
        page = io.StringIO()
        text.render(report, Console(file=page, width=120, no_color=True, force_terminal=False), quiet=quiet)
        result = page.getvalue()
    if file is None:
        sys.stdout.write(result)
        return None
    try:
        return jsonout.write_text(file, result)
    except OSError as error:
        raise UsageError(f"--output-file {file} cannot be written: {error.strerror or error}") from error
