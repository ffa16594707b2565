"""Findings as text for a terminal: a line each, a table of rules, what Ultralytics keeps, what to do next."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from yolo_nanfix.findings import Finding, Place, Report, Severity
from yolo_nanfix.report.panel import put
from yolo_nanfix.report.words import (
    EFFECT_WORDS,
    base,
    explains,
    in_order,
    printable,
    relative_message,
    severity_counts,
    skipped,
    task_sentence,
    where,
)

MAX_LINES_PER_CODE = 50
"""At most this many findings of one code are listed; the rest are counted. JSON output lists all."""
MAX_LEFT_OUT = 50
"""At most this many images that are not worth labelling are named; the rest are counted."""
MAX_CODES = 6
"""At most this many codes that were not checked for one reason are named."""
STYLES = {Severity.FATAL: "bold red", Severity.ERROR: "red", Severity.WARNING: "yellow", Severity.INFO: "cyan"}
_NEXT = {
    Severity.FATAL: "Training on this data breaks or is poisoned: fix the fatal findings first.",
    Severity.ERROR: "Training runs, but not on the data that you see: fix the errors.",
    Severity.WARNING: "Training runs; the warnings may cost accuracy.",
    Severity.INFO: "Nothing has to be done.",
}
_MARK = "[*]"


@dataclass(frozen=True)
class Fixable:
    """What autofix would fix of a report.

    Attributes:
        marked: the findings that it would fix with the given options.
        safe: how many `--fix` fixes.
        unsafe: how many more `--fix --unsafe-fixes` fixes.
        tried: whether the two numbers were tried out; else they are upper bounds.
        command: the command that fixes, without these options.
        outside: at most how many more could be fixed in files outside of the dataset.
    """

    marked: frozenset[Finding] = frozenset()
    safe: int = 0
    unsafe: int = 0
    tried: tuple[bool, bool] = (True, True)
    command: str = ""
    outside: int = 0


NOT_FIXABLE = Fixable()


def render(
    report: Report, console: Console, *, quiet: bool = False, fixable: Fixable = NOT_FIXABLE, root: Path | None = None
) -> None:
    """Print a report to a rich console.

    Text from the dataset (file names, label text) is printed literally: never as rich markup, with control
    characters escaped. Paths, also those in messages, are printed relative to the
    folder of the dataset.

    Args:
        report: what lint found.
        console: where to print.
        quiet: print the findings only, without task, table and closing sentence.
        fixable: what autofix would fix.
        root: another folder to which printed paths are relative.
    """
    root = root or base(report)
    if not quiet and (task := task_sentence(report)):
        _print(console, Text(task, style="dim"))
    listed: Counter[str] = Counter()
    for finding in in_order(report.own):
        listed[finding.code] += 1
        if listed[finding.code] <= MAX_LINES_PER_CODE:
            _print(console, _finding_line(finding, root, finding in fixable.marked))
            if follows := explains(report, finding):
                _print(console, Text(f"    {follows}", style="dim"))
    for code, count in sorted(listed.items()):
        if count > MAX_LINES_PER_CODE:
            rest = f"... and {count - MAX_LINES_PER_CODE} more of {code}; --output-format json lists them all"
            _print(console, Text(rest, style="dim"))
    if quiet:
        return
    if report.findings:
        console.print()
    parts = [_in(console, part) if isinstance(part, Text) else part for part in _summary_parts(report, fixable, root)]
    put(console, "yolo-nanfix lint", parts, _style(report))


def _summary_parts(report: Report, fixable: Fixable, root: Path) -> Iterator[Table | Text]:
    if report.findings:
        yield _rules_table(report)
        if root.absolute() != Path.cwd():
            yield Text(f"Files are named from {printable(str(root))} on.", style="dim")
    reasons = [
        f"{' '.join(codes) if len(codes) <= MAX_CODES else f'{len(codes)} rules'} ({reason})"
        for reason, codes in skipped(report, {}).items()
    ]
    if reasons:
        yield Text(f"Not checked: {', '.join(reasons)}.", style="dim")
    yield from (Text(printable(line), style=_said(report)) for line in report.overrides.lines())
    if report.known:
        yield Text(f"{report.known} findings of the baseline are not shown.", style="dim")
    yield from (Text(line) for line in ([] if report.choice else kept_lines(report.counts, report.starts)))
    yield from (Text(line) for line in _choice(report, root))
    yield from map(Text, _fixes(fixable))
    yield _closing(report)


def _print(console: Console, text: Text) -> None:
    console.print(_in(console, text), soft_wrap=True, highlight=False, markup=False, emoji=False)


def _in(console: Console, text: Text) -> Text:
    """The text, with escapes for what the console's encoding cannot show."""
    plain = text.plain.encode(console.encoding, "backslashreplace").decode(console.encoding)
    return text if plain == text.plain else Text(plain)


def _finding_line(finding: Finding, root: Path, fixable: bool) -> Text:
    """`file:line: CODE [severity] [*] message`; the star marks what autofix fixes."""
    return Text.assemble(
        (where(finding.place, root), "bold"),
        ": ",
        (f"{finding.code} [{finding.severity.value}]", STYLES[finding.severity]),
        (f" {_MARK}" if fixable else "", "green"),
        f" {relative_message(finding, root)}",
    )


def _rules_table(report: Report) -> Table:
    """Counts by code, the worst first, with what stock does and what to do."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for title in ("code", "severity", "count", "defect: what happens; what to do"):
        table.add_column(title, no_wrap=not title.startswith("defect"), justify="right" if title == "count" else "left")
    first: dict[str, Finding] = {}
    for finding in sorted(report.own, key=lambda f: f.severity.rank):
        first.setdefault(finding.code, finding)
    counts = Counter(finding.code for finding in report.own)
    for finding in sorted(first.values(), key=lambda f: (f.severity.rank, f.code)):
        severity = Text(finding.severity.value, style=STYLES[finding.severity])
        says = Text.assemble((finding.name, "bold"), f": {EFFECT_WORDS[finding.effect]}. {finding.fix}")
        table.add_row(finding.code, severity, str(counts[finding.code]), says)
    return table


def kept_lines(counts: Mapping[str, Mapping[str, int]], starts: bool = True) -> Iterator[str]:
    """What Ultralytics keeps, or would keep if training started, of each split, as far as that is known."""
    keep, drop = ("keeps", "drops") if starts else ("would keep", "drop")
    for split, numbers in counts.items():
        if "kept" in numbers:
            images, kept = numbers["images"], numbers["kept"]
            notes = [
                f"{numbers[key]} {what}"
                for key, what in (("background", "without objects"), ("rewritten", "rewritten"))
                if numbers.get(key)
            ]
            drops = f" and {drop} {numbers['dropped']}" if numbers.get("dropped") else ""
            of = "all" if kept == images and not drops else str(kept)
            noted = f" ({', '.join(notes)})" if notes else ""
            yield f"{split}: {images} images, Ultralytics {keep} {of}{noted}{drops}."


def _fixes(fixable: Fixable) -> Iterator[str]:
    """`[*] 12 fixable with --fix, 3 more with --fix --unsafe-fixes: yolo-nanfix lint data.yaml --fix`."""
    one, other = ("" if tried else "up to " for tried in fixable.tried)
    safe = f"{one}{fixable.safe} fixable with --fix" if fixable.safe else ""
    what = "more" if safe else "fixable"
    unsafe = f"{other}{fixable.unsafe} {what} with --fix --unsafe-fixes" if fixable.unsafe else ""
    options = "--fix" if safe else "--fix --unsafe-fixes"
    if safe or unsafe:
        yield f"{_MARK} {', '.join(filter(None, (safe, unsafe)))}: {fixable.command} {options}"
    if fixable.outside:
        yield (
            f"Up to {fixable.outside} fixable in files outside of the dataset (behind links, or listed elsewhere): "
            f"{fixable.command} --fix --fix-outside"
        )


def _choice(report: Report, root: Path) -> Iterator[str]:
    """How many images of a set without labels are worth labelling, and which are left out, with reasons."""
    out = [choice for choice in report.choice if not choice.keep]
    total = len(report.choice)
    if not total:
        return
    if not out:
        yield f"All {total} images are worth labelling."
        return
    yield f"{total - len(out)} of {total} images are worth labelling; left out are:"
    for choice in out[:MAX_LEFT_OUT]:
        partner = f", like {where(Place(choice.partner), root)}" if choice.partner is not None else ""
        yield f"  {where(Place(choice.image), root)}: {', '.join(choice.because)}{partner}"
    if len(out) > MAX_LEFT_OUT:
        yield f"  and {len(out) - MAX_LEFT_OUT} more; --output-format json lists all images, with keep true or false"


def _closing(report: Report) -> Text:
    images = sum(counts["images"] for counts in report.counts.values())
    rows = sum(counts["rows"] for counts in report.counts.values())
    read = f"{images} images and {rows} label rows in {', '.join(report.counts)}"
    if report.choice:
        read = f"{images} images"
        kept = sum(choice.keep for choice in report.choice)
        command = f"yolo-nanfix handoff {printable(shlex.quote(report.data))} OUT --to cvat --unlabelled"
        then = f"; {kept} worth labelling" + (f". To give them to a labelling tool: {command}" if kept else ".")
        return Text(f"Found {found(report) or 'nothing'} in {read}{then}", style=_style(report))
    hidden = report.overrides.fatal_hidden
    if hidden and report.worst is not Severity.FATAL:
        besides = f"{found(report)} and" if report.findings else "nothing but"
        fatal = f"{hidden} fatal that settings of the dataset leave out or make milder"
        return Text(f"Found {besides} {fatal}, in {read}; --isolated shows what they hide.", "bold red")
    if report.worst is None:
        return Text(f"No findings in {read}.", style="green")
    then = _NEXT[report.worst] if report.starts else "Training does not start: fix the fatal findings first."
    return Text(f"Found {found(report)} in {read}. {then}", style=STYLES[report.worst])


def _style(report: Report) -> str:
    return "green" if report.gravest is None else STYLES[report.gravest]


def _said(report: Report) -> str:
    """The style of the lines about settings: yellow if they hide findings or skip checks."""
    return "yellow" if report.overrides.switch_off else "dim"


def found(report: Report) -> str:
    """`1 fatal, 2 errors, 3 info`; empty for none."""
    return severity_counts(finding.severity.value for finding in report.own)
