"""`yolo-nanfix lint`: what breaks, poisons or silently thins out training in a dataset."""

from __future__ import annotations

import argparse
import io
import json
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from yolo_nanfix.cli import fix_options, output
from yolo_nanfix.cli.output import Answer, nothing
from yolo_nanfix.cli.training_options import add_trust
from yolo_nanfix.errors import UsageError
from yolo_nanfix.findings import Report

if TYPE_CHECKING:
    from rich.console import Console

    from yolo_nanfix.linting.request import Request

TASKS = ("detect", "segment", "pose", "obb", "classify")
FORMS = ("text", "full", "concise", "json", "jsonl", "csv", "sarif", "github", "gitlab", "junit", "html")
EXAMPLES = (
    ("what is wrong with a dataset", "yolo-nanfix lint data.yaml"),
    ("boxes and polygons only, with every image decoded", "yolo-nanfix lint data.yaml --deep --select BX,SG"),
    ("see what would be mended, then mend it", "yolo-nanfix lint data.yaml --diff && yolo-nanfix lint data.yaml --fix"),
    ("for GitHub's code scanning", "yolo-nanfix lint data.yaml --output-format sarif --output-file lint.sarif"),
    ("a page to look at, and to send", "yolo-nanfix lint data.yaml --output-format html --output-file lint.html"),
    ("fail on errors only", "yolo-nanfix lint data.yaml --fail-on error"),
)
LEVELS = ("fatal", "error", "warning", "info", "never")
_POLL_SECONDS = 1.0
"""So long `--watch` waits between two looks; longer where a look takes more than a fifth of it."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "data",
        nargs="*",
        metavar="DATA",
        help="data.yaml; a folder that holds one, or images with or without labels, class folders, COCO or VOC; "
        "a COCO .json or an .ndjson; or a name such as coco8",
    )
    _add_choice(parser)
    _add_output(parser)
    fix_options.add_arguments(parser)
    parser.epilog = (
        "Settings stand under lint in nanfix.yaml or in [tool.yolo-nanfix.lint] of pyproject.toml, looked for from the "
        "folder of data.yaml upward, then from the current one; options win. What came with the dataset hides no fatal "
        "finding from the exit code. With --json, --output-file takes the form "
        "of --output-format beside the document on stdout. Exit codes: 0 nothing above info, 1 findings, 2 wrong use, "
        "130 interrupted, 143 and 129 ended by SIGTERM and SIGHUP."
    )


def _add_choice(parser: argparse.ArgumentParser) -> None:
    """What is asked."""
    group = parser.add_argument_group("what is asked", "RULES: codes, prefixes, names or ALL, joined by commas")
    group.add_argument("--task", choices=TASKS, help="label format (default: read from the set)")
    group.add_argument("--select", metavar="RULES", action="append", help="ask these rules only")
    group.add_argument("--extend-select", metavar="RULES", action="append", help="ask these, too")
    group.add_argument("--ignore", metavar="RULES", action="append", help="leave these out")
    group.add_argument(
        "--severity", metavar="RULE=LEVEL", action="append", help="another level: fatal, error, warning or info"
    )
    group.add_argument("--deep", action=argparse.BooleanOptionalAction, help="also decode every image")
    group.add_argument("--root", metavar="DIR", type=Path, help="where the images are, whatever data.yaml says")
    group.add_argument("--imgsz", type=int, metavar="PX", help="image size of the planned training (default: 640)")
    group.add_argument(
        "--files", nargs="*", metavar="FILE", help="only findings about these files; DATA may be left out"
    )
    group.add_argument("--baseline", metavar="FILE", type=Path, help="leave out the findings that FILE holds")
    group.add_argument("--write-baseline", action="store_true", help="write all findings to the baseline; exit code 0")
    group.add_argument("--jobs", type=int, metavar="N", help="processes that read (default: one a core if worth it)")
    group.add_argument("--no-cache", action="store_true", help="read all files anew, and remember nothing")
    group.add_argument("--isolated", action="store_true", help="leave settings files out")
    add_trust(group)


def _add_output(parser: argparse.ArgumentParser) -> None:
    """What is shown."""
    group = parser.add_argument_group("what is shown")
    group.add_argument(
        "--output-format", choices=FORMS, metavar="FORM", help=f"form of the result: {', '.join(FORMS)} (default: text)"
    )
    group.add_argument("--output-file", metavar="F", type=Path, help="write the result to F, not to stdout")
    group.add_argument(
        "--follow-links",
        action="store_true",
        help="html also shows images that links or lists name outside of the dataset's folders",
    )
    group.add_argument("--statistics", action="store_true", help="counts by rule instead of findings (text or json)")
    group.add_argument(
        "--fail-on", choices=LEVELS, default="warning", help="exit code 1 from this severity on (default: warning)"
    )
    group.add_argument(
        "--exit-zero", action="store_const", const="never", dest="fail_on", help="the same as --fail-on never"
    )
    group.add_argument("--watch", action="store_true", help="lint again whenever a file changes, until Ctrl-C")


def run(args: argparse.Namespace) -> Answer:
    """Lint; 0 if nothing was found that fails, else 1.

    Raises:
        UsageError: an option, a setting or the data cannot be used, or the output file cannot be written.
    """
    _check(args)
    data, files = _targets(args)
    if args.undo:
        return fix_options.undo(args, data)
    request = _request(args, files)
    if args.watch:
        _watch(data, request, args)
    return _once(data, request, args)


def _check(args: argparse.Namespace) -> None:
    """Refuse options that contradict each other; settle the form of the result.

    Raises:
        UsageError: they do.
    """
    given = args.output_format
    args.output_format = given or ("json" if args.json else "text")
    if args.json and args.watch:
        raise UsageError("--json is one document, --watch has no end; --output-format jsonl goes with it")
    if args.json and given not in (None, "json") and args.output_file is None:
        raise UsageError(f"with --json stdout takes JSON; name a file for {given}: --output-file F")
    if args.statistics and args.output_format not in ("text", "json"):
        raise UsageError(f"--statistics has the forms text and json, not {args.output_format}")
    if args.watch and args.write_baseline:
        raise UsageError("--watch and --write-baseline do not go together")
    fix_options.check(args)


def _targets(args: argparse.Namespace) -> tuple[str | None, tuple[Path, ...] | None]:
    """The dataset and the files; the words after `--files --other-option VALUE` are files, as hooks give them."""
    data: list[str] = args.data
    files: list[str] | None = args.files
    if files == []:
        data, files = [], data
    if len(data) > 1:
        raise UsageError(f"one dataset at a time, not {' '.join(data)}; for single files: yolo-nanfix lint --files ...")
    if not data and not files:
        raise UsageError("say which dataset: data.yaml, a folder that holds one, or a name such as coco8")
    return data[0] if data else None, None if files is None else tuple(map(Path, files))


def _request(args: argparse.Namespace, files: tuple[Path, ...] | None) -> Request:
    """What the options ask for."""
    from yolo_nanfix.linting.request import Request

    levels = {}
    for pair in args.severity or ():
        word, equals, level = pair.partition("=")
        if not equals:
            raise UsageError(f"--severity {pair} is not of the form RULE=LEVEL (for example BX006=info)")
        levels[word] = level
    wishes = {
        "select": None if args.select is None else _split(args.select),
        "extend-select": _split(args.extend_select or ()),
        "ignore": _split(args.ignore or ()),
        "severity": levels,
        "baseline": args.baseline,
        "task": args.task,
        "deep": args.deep,
        "imgsz": args.imgsz,
        "root": args.root,
    }
    if args.jobs is not None and args.jobs < 1:
        raise UsageError(f"--jobs {args.jobs} is not a number of processes; 1 is the least")
    keep = not args.no_cache
    request = Request(wishes, "--", not args.isolated, files, args.write_baseline, args.jobs, keep)
    return replace(request, trust=args.trust_dataset_settings)


def _split(options: list[str] | tuple[str, ...]) -> list[str]:
    return [word.strip() for option in options for word in option.split(",") if word.strip()]


def _once(data: str | None, request: Request, args: argparse.Namespace) -> Answer:
    """Lint, mend if that is wanted, and write the output file."""
    from yolo_nanfix import api
    from yolo_nanfix.cli.progress import bar
    from yolo_nanfix.linting import request as linter

    studied: list[api.Studied] = []
    if args.output_format == "html":
        request = replace(request, study=studied.append)
    with bar(args.quiet) as progress:
        report = linter.lint(data, request, progress)
        left = fix_options.run(args, report, lambda: linter.lint(data, request, progress))
        page = ""
        if args.output_format == "html" and isinstance(left, Report) and not args.statistics:
            page = api.lint_page(left, studied, progress, follow_links=args.follow_links)
    if isinstance(left, Answer):
        return replace(left, code=_code(report, args))
    _say_settings(left, args)
    if args.write_baseline and data is not None:
        return _baseline(left, request.selection(data).first("baseline"), args.quiet)
    if args.output_file is not None:
        _write(args.output_file, page or _formed(left, args, args.output_format))
        if not args.quiet:
            print(text_of_file(args, left), file=sys.stderr)
    show = nothing if args.output_file is not None else partial(_show, left, args, page)
    return Answer(_code(left, args), partial(_formed, left, args, "json"), show)


def text_of_file(args: argparse.Namespace, report: Report) -> str:
    """`lint.sarif: 3 errors, 1 warning as sarif`."""
    from yolo_nanfix.report.text import found
    from yolo_nanfix.report.words import printable

    form = "statistics" if args.statistics else args.output_format
    return printable(f"wrote {args.output_file}: {found(report) or 'no findings'} as {form}")


def _code(report: Report, args: argparse.Namespace) -> int:
    """1 if there is a finding at least as severe as `--fail-on` says, else 0."""
    rank = LEVELS.index(args.fail_on) if args.fail_on != "never" else -1
    return 1 if report.gravest is not None and report.gravest.rank <= rank else 0


def _say_settings(report: Report, args: argparse.Namespace) -> None:
    """Say on stderr what settings switch off, where the result itself is not the text that says it."""
    from yolo_nanfix.report.words import printable

    if args.output_format == "text" and not (args.quiet or args.statistics):
        return
    for line in report.overrides.lines(off=True):
        print(f"yolo-nanfix: {printable(line)}", file=sys.stderr)


def _baseline(report: Report, file: Path, quiet: bool) -> Answer:
    """The answer after the baseline was written."""
    from yolo_nanfix.files import json_text
    from yolo_nanfix.report.words import printable

    said = f"{file} holds {len(report.findings)} findings of {report.data} now; only new ones will fail."
    values = {"baseline": str(file), "findings": len(report.findings), "data": report.data}
    return Answer(0, partial(json_text, values), nothing if quiet else partial(print, printable(said)))


def _watch(data: str | None, request: Request, args: argparse.Namespace) -> None:
    """Lint now, and whenever a file of the dataset or its settings changes, until an interrupt.

    Raises:
        UsageError: the first run cannot be done. What goes wrong in a later one is said, and waited out.
    """
    from yolo_nanfix.linting import request as linter
    from yolo_nanfix.report.words import printable

    first = True
    while True:
        before = linter.stamps(data, request)
        if sys.stdout.isatty():
            print("\x1b[2J\x1b[H", end="")
        try:
            output.put(_once(data, request, args), args)
        except UsageError as error:
            if first:
                raise
            output.fail(f"error: {printable(str(error))}", 2, as_json=False)
        first = False
        sys.stdout.flush()
        if not args.quiet:
            print(f"Watching {len(before)} files; {output.ended_by()} ends.", file=sys.stderr, flush=True)
        pause = _POLL_SECONDS
        while True:
            time.sleep(pause)
            begun = time.monotonic()
            if linter.stamps(data, request) != before:
                break
            pause = max(_POLL_SECONDS, 5 * (time.monotonic() - begun))


def _show(report: Report, args: argparse.Namespace, page: str) -> None:
    """Print the report, or its page."""
    from rich.console import Console

    if args.output_format == "text" and not args.statistics:
        _render(report, Console(), args)
    elif page:
        sys.stdout.write(page.encode("ascii", "xmlcharrefreplace").decode())
    else:
        sys.stdout.write(_formed(report, args, args.output_format))


def _write(file: Path, result: str) -> None:
    from yolo_nanfix.files import write_text

    try:
        write_text(file, result)
    except OSError as error:
        raise UsageError(f"--output-file {file} cannot be written: {error.strerror or error}") from error


def _formed(report: Report, args: argparse.Namespace, form: str) -> str:
    """The whole report as text of the wanted form."""
    from rich.console import Console

    from yolo_nanfix.api import rules
    from yolo_nanfix.report import plain, text_forms

    if args.statistics and form == "json":
        names = ("count", "code", "severity", "name")
        return json.dumps([dict(zip(names, row, strict=True)) for row in plain.counts(report)], indent=2) + "\n"
    if args.statistics:
        return plain.statistics(report)
    if form != "text":
        return text_forms.FORMATS[form](report, rules())
    page = io.StringIO()
    _render(report, Console(file=page, width=120, no_color=True, force_terminal=False), args)
    return page.getvalue()


def _render(report: Report, console: Console, args: argparse.Namespace) -> None:
    """The report as text; what is asked about single files is told by the names that files have here."""
    from yolo_nanfix.report import text

    here = None if args.files is None else Path.cwd()
    text.render(report, console, quiet=args.quiet, fixable=fix_options.fixable(args, report), root=here)
