"""`yolo-nanfix lint`: find what breaks, poisons or silently weakens training in a dataset, and fix it."""

from __future__ import annotations

import argparse
import io
import json
import shlex
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yolo_nanfix import files
from yolo_nanfix.cli import output
from yolo_nanfix.cli.output import Answer, nothing, say
from yolo_nanfix.cli.parsing import add_dataset, add_reading, add_trust, words_of
from yolo_nanfix.errors import NanfixError, UsageError
from yolo_nanfix.findings import Report, Severity
from yolo_nanfix.overrides import What
from yolo_nanfix.report.text_forms import TEXT_FORMS
from yolo_nanfix.wording import many

if TYPE_CHECKING:
    from rich.console import Console

    from yolo_nanfix.api import Fixed, Kept
    from yolo_nanfix.report.text import Fixable

FORMS = ("text", *TEXT_FORMS, "html")
EXAMPLES = (
    ("what is wrong with a dataset", "yolo-nanfix lint data.yaml"),
    ("boxes and polygons only, with every image decoded", "yolo-nanfix lint data.yaml --deep --select BX,SG"),
    ("see what --fix would do, then do it", "yolo-nanfix lint data.yaml --diff && yolo-nanfix lint data.yaml --fix"),
    ("for GitHub's code scanning", "yolo-nanfix lint data.yaml --output-format sarif --output-file lint.sarif"),
    ("a page to look at, and to send", "yolo-nanfix lint data.yaml --output-format html --output-file lint.html"),
    ("fail on errors only", "yolo-nanfix lint data.yaml --fail-on error"),
)
FAIL_ON = (*(severity.value for severity in Severity), "never")
_POLL_SECONDS = 1.0
"""The pause of `--watch` between two checks for changes; longer if a check takes more than a fifth of it."""
_MAX_LINES = 50
"""Most files that were not fixed, or folders outside of the dataset, that are listed."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_dataset(parser, "*")
    _add_choice(parser)
    _add_output(parser)
    _add_fixes(parser)
    parser.epilog = (
        "Settings are read from the key lint of nanfix.yaml or [tool.yolo-nanfix.lint] of pyproject.toml, searched "
        "from the folder of data.yaml upward, then from the current one; options win. Settings that came with the "
        "dataset hide no fatal finding from the exit code. With --json, --output-file gets the form of --output-format "
        "beside the document on stdout. Exit codes: 0 nothing above info, 1 findings, 2 wrong use, 130 interrupted, "
        "143 and 129 ended by SIGTERM and SIGHUP."
    )


def _add_choice(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what is checked", "RULES: codes, prefixes, names or ALL, joined by commas")
    add_reading(group)
    group.add_argument("--select", metavar="RULES", action="append", help="run these rules only")
    group.add_argument("--extend-select", metavar="RULES", action="append", help="run these, too")
    group.add_argument("--ignore", metavar="RULES", action="append", help="leave these out")
    group.add_argument(
        "--severity", metavar="RULE=LEVEL", action="append", help="another level: fatal, error, warning or info"
    )
    group.add_argument("--imgsz", type=int, metavar="PX", help="image size of the planned training (default: 640)")
    group.add_argument(
        "--files", nargs="*", metavar="FILE", help="only findings about these files; DATA may be left out"
    )
    group.add_argument("--baseline", metavar="FILE", help="leave out the findings that FILE holds")
    group.add_argument("--write-baseline", action="store_true", help="write all findings to the baseline; exit code 0")
    group.add_argument("--jobs", type=int, metavar="N", help="processes that read (default: one a core if worth it)")
    group.add_argument("--no-cache", action="store_true", help="read all files, and cache nothing")
    group.add_argument("--isolated", action="store_true", help="leave settings files out")
    add_trust(group)


def _add_output(parser: argparse.ArgumentParser) -> None:
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
        "--fail-on", choices=FAIL_ON, default="warning", help="exit code 1 from this severity on (default: warning)"
    )
    group.add_argument(
        "--exit-zero", action="store_const", const="never", dest="fail_on", help="the same as --fail-on never"
    )
    group.add_argument("--watch", action="store_true", help="lint again whenever a file changes, until Ctrl-C")


def _add_fixes(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("fixes", "the table of rules says which have an autofix")
    group.add_argument("--fix", action="store_true", help="apply the safe autofixes; --undo reverts them")
    group.add_argument(
        "--unsafe-fixes",
        action="store_true",
        help="let --fix and --diff also apply autofixes that may lose data: drop rows, clip far, renumber classes, "
        "rename images, move unusable ones to quarantine with their labels; alone it writes nothing",
    )
    group.add_argument(
        "--fix-outside",
        action="store_true",
        help="let --fix, --diff and --undo also change files outside of the dataset: behind links, listed elsewhere, "
        "in a quarantine that is a link; alone it writes nothing",
    )
    group.add_argument("--diff", action="store_true", help="show what --fix would change; write nothing")
    group.add_argument("--undo", action="store_true", help="revert the last fix run of this dataset, and stop")


def run(args: argparse.Namespace) -> Answer:
    """Lint; 0 without findings from the severity `--fail-on` on, else 1."""
    _check_options(args)
    data, given = _targets(args)
    if args.undo:
        return _undo_last(args, data)
    options = _options(args, given)
    if args.watch:
        _watch(data, options, args)
    return _once(data, options, args)


def _check_options(args: argparse.Namespace) -> None:
    """Refuse options that contradict each other, and set the default of `--output-format`."""
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
    if (args.fix or args.unsafe_fixes or args.fix_outside or args.diff) and (args.watch or args.write_baseline):
        raise UsageError("fixes go neither with --watch nor with --write-baseline")
    if args.undo and (args.fix or args.unsafe_fixes or args.diff):
        raise UsageError("--undo takes a fix back; leave --fix, --unsafe-fixes and --diff out")
    if args.jobs is not None and args.jobs < 1:
        raise UsageError(f"--jobs {args.jobs} is not a number of processes; 1 is the least")


def _targets(args: argparse.Namespace) -> tuple[str | None, list[str] | None]:
    """The dataset and the files; words after `--files --other-option VALUE` are files, as git hooks pass them."""
    data: list[str] = args.data
    given: list[str] | None = args.files
    if given == []:
        data, given = [], data
    if len(data) > 1:
        raise UsageError(f"one dataset at a time, not {' '.join(data)}; for single files: yolo-nanfix lint --files ...")
    if not data and not given:
        raise UsageError("say which dataset: data.yaml, a folder that holds one, or a name such as coco8")
    return data[0] if data else None, given


def _options(args: argparse.Namespace, given: list[str] | None) -> dict[str, Any]:
    """The options as arguments of `api.lint`."""
    pairs = [pair.partition("=") for pair in args.severity or ()]
    if wrong := next((word for word, equals, _ in pairs if not equals), None):
        raise UsageError(f"--severity {wrong} is not of the form RULE=LEVEL (for example BX006=info)")
    return {
        "select": None if args.select is None else words_of(args.select),
        "extend_select": words_of(args.extend_select),
        "ignore": words_of(args.ignore),
        "severity": {word: level for word, _, level in pairs},
        **{key: vars(args)[key] for key in ("task", "deep", "imgsz", "root", "baseline", "write_baseline", "jobs")},
        "files": given,
        "settings": not args.isolated,
        "trust_dataset_settings": args.trust_dataset_settings,
        "cache": not args.no_cache,
        "prefix": "--",
    }


def _once(data: str | None, options: Mapping[str, Any], args: argparse.Namespace) -> Answer:
    """Lint, fix with `--fix`, and write the output file."""
    from yolo_nanfix import api

    studied: list[api.Table] = []
    study = studied.append if args.output_format == "html" else None
    with output.bar(args.quiet) as progress:
        lint = partial(api.lint, data, **options, progress=progress, study=study)
        report = lint()
        left = _fixed(args, report, lint)
        page = ""
        if args.output_format == "html" and isinstance(left, Report) and not args.statistics:
            page = api.lint_page(left, studied, progress, follow_links=args.follow_links)
    if isinstance(left, Answer):
        return left._replace(code=_code(report, args))
    _say_settings(left, args)
    if args.write_baseline:
        return _baseline(left, args.quiet)
    if args.output_file is not None:
        _write_output(args.output_file, page or _formed(left, args, args.output_format))
        if not args.quiet:
            say(text_of_file(args, left))
    show = nothing if args.output_file is not None else partial(_print_report, left, args, page)
    return Answer(_code(left, args), partial(_formed, left, args, "json"), show)


def text_of_file(args: argparse.Namespace, report: Report) -> str:
    """`wrote lint.sarif: 3 errors, 1 warning as sarif`."""
    from yolo_nanfix.report.text import found

    form = "statistics" if args.statistics else args.output_format
    return f"wrote {args.output_file}: {found(report) or 'no findings'} as {form}"


def _code(report: Report, args: argparse.Namespace) -> int:
    """1 if there is a finding at least as severe as `--fail-on` says, else 0."""
    if args.fail_on == "never" or report.gravest is None:
        return 0
    return 1 if report.gravest.rank <= Severity(args.fail_on).rank else 0


def _say_settings(report: Report, args: argparse.Namespace) -> None:
    """Print on stderr what settings switch off, unless the result is the text that has it."""
    if args.output_format == "text" and not (args.quiet or args.statistics):
        return
    for line in report.overrides.lines(off=True):
        say(f"yolo-nanfix: {line}")


def _baseline(report: Report, quiet: bool) -> Answer:
    """The answer of `--write-baseline`."""
    (written,) = report.overrides.of(What.BASELINE)
    line = f"{written.value} holds {len(report.findings)} findings of {report.data} now; only new ones will fail."
    values = {"baseline": written.value, "findings": len(report.findings), "data": report.data}
    return Answer(0, values, nothing if quiet else partial(say, line, sys.stdout))


def _watch(data: str | None, options: Mapping[str, Any], args: argparse.Namespace) -> None:
    """Lint now, and at each change of the dataset or its settings, until an interrupt or an error of the first run."""
    from yolo_nanfix import api

    watched = {name: options[name] for name in ("files", "root", "settings", "trust_dataset_settings")}
    first = True
    while True:
        before = api.watched(data, **watched)
        if sys.stdout.isatty():
            print("\x1b[2J\x1b[H", end="")
        try:
            output.put(_once(data, options, args), args)
        except UsageError as error:
            if first:
                raise
            say(f"yolo-nanfix: error: {error}")
        first = False
        sys.stdout.flush()
        if not args.quiet:
            say(f"Watching {before[0]} files; {output.ended_by()} ends.")
        pause = _POLL_SECONDS
        while True:
            time.sleep(pause)
            begun = time.monotonic()
            if api.watched(data, **watched) != before:
                break
            pause = max(_POLL_SECONDS, 5 * (time.monotonic() - begun))


def _print_report(report: Report, args: argparse.Namespace, page: str) -> None:
    """Print the report, or its page."""
    from rich.console import Console

    if args.output_format == "text" and not args.statistics:
        _render(report, Console(), args)
    elif page:
        sys.stdout.write(page.encode("ascii", "xmlcharrefreplace").decode())
    else:
        sys.stdout.write(_formed(report, args, args.output_format))


def _write_output(file: Path, result: str) -> None:
    try:
        files.write_text(file, result)
    except OSError as error:
        raise UsageError(f"--output-file {file} cannot be written: {error.strerror or error}") from error


def _formed(report: Report, args: argparse.Namespace, form: str) -> str:
    """The report as text of a form."""
    from rich.console import Console

    from yolo_nanfix import api
    from yolo_nanfix.report import plain

    if args.statistics and form == "json":
        names = ("count", "code", "severity", "name")
        return json.dumps([dict(zip(names, row, strict=True)) for row in plain.rule_counts(report)], indent=2) + "\n"
    if args.statistics:
        return plain.statistics(report)
    if form != "text":
        return TEXT_FORMS[form](report, api.rules())
    page = io.StringIO()
    _render(report, Console(file=page, width=120, no_color=True, force_terminal=False), args)
    return page.getvalue()


def _render(report: Report, console: Console, args: argparse.Namespace) -> None:
    """Print the report; with `--files`, files are named from the current folder on."""
    from yolo_nanfix.report import text

    here = None if args.files is None else Path.cwd()
    text.render(report, console, quiet=args.quiet, fixable=_fixable(args, report), root=here)


def _undo_last(args: argparse.Namespace, data: str | None) -> Answer:
    """Revert the last fix run; 0 if all files were restored, else 1."""
    from yolo_nanfix import api

    if data is None:
        raise UsageError("--undo needs the dataset whose last fix run is to be reverted")
    undone = api.undo(data, outside=args.fix_outside, root=args.root)
    for folder in undone.damaged:
        say(f"{folder}: a journal that cannot be read; nothing of it was used")
    if undone.moved_from and not args.quiet:
        say(f"the last fix run is one of {undone.moved_from}, which is {data} now")
    _list_unfixed(undone.kept)
    more = f"; {undone.more} earlier fix runs can be undone" if undone.more else ""
    if not args.quiet:
        say(f"{many(undone.files, 'file')} as before the last fix run{more}")
    if undone.bytes_in:
        say(f"the original bytes of the others are in {undone.bytes_in}")
    return Answer(1 if undone.kept else 0, {**vars(undone), "kept": _unfixed_values(undone.kept)})


def _fixed(args: argparse.Namespace, report: Report, lint: Callable[[], Report]) -> Report | Answer:
    """Fix what `report` has with `--fix`, and call `lint` again.

    Returns:
        The report after the fixes; `report` if there were none; with `--diff` the answer, which is the diff.

    Raises:
        UsageError: another fix is running, or the journal cannot be written; nothing was changed.
        KeyboardInterrupt: it was interrupted; what was changed was printed.
    """
    from yolo_nanfix import api

    if not (args.fix or args.diff):
        alone = "--unsafe-fixes" * args.unsafe_fixes or "--fix-outside" * args.fix_outside
        if alone:
            say(f"{alone} alone writes nothing: --fix writes, --diff shows what --fix would do")
        return report
    try:
        with output.waiting("fixing", args.quiet):
            fixed = api.fix(report, unsafe=args.unsafe_fixes, diff=args.diff, outside=args.fix_outside)
    except KeyboardInterrupt as stop:
        for line in stop.args:
            say(f"{line}")
        raise
    _list_unfixed(fixed.kept)
    values = {**vars(fixed), "kept": _unfixed_values(fixed.kept)}
    if fixed.diff is not None:
        values["done"] = [finding.as_dict() for finding in fixed.done]
        return Answer(report.exit_code, values, partial(_print_diff, fixed, args))
    _print_fixed(fixed, args)
    del values["diff"]
    values["done"] = dict(sorted(Counter(finding.code for finding in fixed.done).items()))
    return replace(lint() if fixed.files else report, fixed=values)


def _fixable(args: argparse.Namespace, report: Report) -> Fixable:
    """What `--fix` would fix of a report, and the command for it."""
    from yolo_nanfix import api
    from yolo_nanfix.report import text

    try:
        found = api.fixable(report, cache=not args.no_cache)
    except NanfixError:
        return text.NOT_FIXABLE
    marked = found.safe | found.unsafe if args.unsafe_fixes else found.safe
    return text.Fixable(marked, len(found.safe), len(found.unsafe), found.tried, _command(args, report), found.outside)


def _command(args: argparse.Namespace, report: Report) -> str:
    """The command line of the same lint, without options of output and fixes."""
    words = ["yolo-nanfix", "lint", *(args.data[:1] or [report.data])]
    words += shlex.split(report.said)
    words += ["--deep"] if args.deep else []
    for option in ("select", "extend_select", "ignore"):
        words += [word for given in getattr(args, option) or () for word in (f"--{option.replace('_', '-')}", given)]
    return shlex.join(words)


def _print_diff(fixed: Fixed, args: argparse.Namespace) -> None:
    """Print the diff on stdout, and what would be fixed on stderr."""
    for line in (fixed.diff or "").splitlines():
        say(line, sys.stdout)
    if not args.quiet:
        _print_fixed(fixed, args)


def _unfixed_values(unfixed: tuple[Kept, ...]) -> list[dict[str, str]]:
    return [
        {"place": one.place, "code": one.code, "why": one.reason.why.name.lower(), "reason": str(one.reason)}
        for one in unfixed
    ]


def _print_fixed(fixed: Fixed, args: argparse.Namespace) -> None:
    """Print on stderr what was fixed, or would be; with `--quiet` one line if anything was written."""
    if args.quiet:
        if fixed.files:
            say(f"{many(fixed.files, 'file')} changed; --undo takes it back")
        return
    counts = Counter(finding.code for finding in fixed.done)
    codes = ", ".join(f"{count} {code}" for code, count in sorted(counts.items()))
    verb = "would fix" if fixed.diff is not None else "fixed"
    done = f"{many(len(fixed.done), 'finding')} in {many(fixed.files, 'file')} ({codes})" if counts else "nothing"
    say(f"{verb} {done}")
    if fixed.unsafe:
        say(f"{many(fixed.unsafe, 'finding')} can be fixed with --unsafe-fixes; --diff shows how")
    went, became = ("would go", "would become") if fixed.diff is not None else ("went", "became")
    if fixed.quarantined:
        where = f": {fixed.quarantine}" if fixed.quarantine else ""
        say(f"{many(fixed.quarantined, 'image')} {went} to quarantine with the labels{where}")
    elif fixed.quarantine:
        say(f"unusable files are in {fixed.quarantine}")
    for folder in fixed.outside[:_MAX_LINES]:
        changes = "files would change" if fixed.diff is not None else "files changed"
        say(f"outside of the dataset {changes} in {folder}")
    if fixed.background or (args.unsafe_fixes and fixed.files):
        say(f"{many(fixed.background, 'image')} {became} background")
    if fixed.journal:
        say(f"--undo takes it back; the original bytes are in {fixed.journal}")


def _list_unfixed(unfixed: tuple[Kept, ...]) -> None:
    """Print a line for each place that was not changed, at most `_MAX_LINES`."""
    for one in unfixed[:_MAX_LINES]:
        code = f" {one.code}" if one.code else ""
        say(f"{one.place}:{code} {one.reason}")
    if len(unfixed) > _MAX_LINES:
        say(f"... and {len(unfixed) - _MAX_LINES} more left as they are")
