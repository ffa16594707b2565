"""Findings as text for people: one line a finding, a table of the codes, one sentence on what to do next."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from yolo_nanfix.findings import Finding, Place, Report, Severity
from yolo_nanfix.report.panel import put
from yolo_nanfix.report.words import EFFECT_WORDS, explains, printable

MAX_LINES_PER_CODE = 50
"""So many findings of one code are listed; the rest are counted. JSON output lists all."""

MAX_CODES = 6
"""So many codes that were not asked for one reason are named."""

STYLES = {
    Severity.FATAL: "bold red",
    Severity.ERROR: "red",
    Severity.WARNING: "yellow",
    Severity.INFO: "cyan",
}
_NEXT = {
    Severity.FATAL: "Training on this data breaks or is poisoned: mend the fatal findings first.",
    Severity.ERROR: "Training runs, but not on the data that you see: mend the errors.",
    Severity.WARNING: "Training runs; the warnings may cost accuracy.",
    Severity.INFO: "Nothing has to be done.",
}


def render(report: Report, console: Console, *, quiet: bool = False) -> None:
    """Print a report to a rich console.

    Text from the dataset (file names, label text) is printed literally: never as rich markup, with control
    characters escaped. Paths inside the working directory are printed relative to it.

    Args:
        report: what lint found.
        console: where to print; rich leaves colours out where they do not belong.
        quiet: print the findings only, without table and closing sentence.
    """
    here = Path.cwd()
    listed: Counter[str] = Counter()
    for finding in report.own:
        listed[finding.code] += 1
        if listed[finding.code] <= MAX_LINES_PER_CODE:
            _print(console, _line(finding, here))
            if follows := explains(report, finding):
                _print(console, Text(f"    {follows}", style="dim"))
    for code, count in sorted(listed.items()):
        if count > MAX_LINES_PER_CODE:
            rest = f"... and {count - MAX_LINES_PER_CODE} more of {code}; --output-format json lists them all"
            _print(console, Text(rest, style="dim"))
    if quiet:
        return
    parts: list[Table | Text] = [_table(report)] if report.findings else []
    parts += [Text(f"Not asked: {codes} ({reason}).", style="dim") for codes, reason in _skipped(report)]
    if report.known:
        parts.append(Text(f"{report.known} findings of the baseline are not shown.", style="dim"))
    if report.findings:
        console.print()
    shown = [_in(console, part) if isinstance(part, Text) else part for part in (*parts, _closing(report))]
    put(console, "yolo-nanfix lint", shown, "green" if report.worst is None else STYLES[report.worst])


def _print(console: Console, text: Text) -> None:
    """Print one logical line, not wrapped."""
    console.print(_in(console, text), soft_wrap=True, highlight=False, markup=False, emoji=False)


def _in(console: Console, text: Text) -> Text:
    """The text in what the console's encoding can show."""
    plain = text.plain.encode(console.encoding, "backslashreplace").decode(console.encoding)
    return text if plain == text.plain else Text(plain)


def _line(finding: Finding, here: Path) -> Text:
    """`file:line: CODE [severity] message (what Ultralytics does)`."""
    place = finding.place
    file = Path(place.file)
    if file.is_relative_to(here):
        place = Place(str(file.relative_to(here)), place.line, place.pixel)
    return Text.assemble(
        (printable(str(place)), "bold"),
        ": ",
        (f"{finding.code} [{finding.severity.value}]", STYLES[finding.severity]),
        f" {printable(finding.message)} ",
        (f"({EFFECT_WORDS[finding.effect]})", "dim"),
    )


def _table(report: Report) -> Table:
    """Counts by code, the worst first."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for title in ("code", "severity", "count", "defect", "what to do"):
        table.add_column(title, no_wrap=title != "what to do", justify="right" if title == "count" else "left")
    first = {finding.code: finding for finding in reversed(report.own)}
    counts = Counter(finding.code for finding in report.own)
    for finding in sorted(first.values(), key=lambda f: (f.severity.rank, f.code)):
        severity = Text(finding.severity.value, style=STYLES[finding.severity])
        table.add_row(finding.code, severity, str(counts[finding.code]), finding.name, Text(finding.mend))
    return table


def _skipped(report: Report) -> list[tuple[str, str]]:
    """The codes that were not asked, joined by reason (other tasks are one); where they are many, their number."""
    reasons: dict[str, list[str]] = {}
    for code, reason in report.skipped:
        other = reason.endswith(f"; the task is {report.task}")
        reasons.setdefault("they read the labels of other tasks" if other else reason, []).append(code)
    return [
        (" ".join(codes) if len(codes) <= MAX_CODES else f"{len(codes)} rules", reason)
        for reason, codes in reasons.items()
    ]


def _closing(report: Report) -> Text:
    """How much was read, how much was found, and what to do next."""
    images = sum(counts["images"] for counts in report.counts.values())
    rows = sum(counts["rows"] for counts in report.counts.values())
    read = f"{images} images and {rows} label rows in {', '.join(report.counts)}"
    if report.worst is None:
        return Text(f"No findings in {read}.", style="green")
    kinds = Counter(finding.severity for finding in report.own)
    found = ", ".join(_count(kinds[severity], severity) for severity in Severity if kinds[severity])
    return Text(f"Found {found} in {read}. {_NEXT[report.worst]}", style=STYLES[report.worst])


def _count(count: int, severity: Severity) -> str:
    """`2 errors`, `1 warning`, `3 fatal`, `4 info`."""
    return f"{count} {severity.value}{'s' if count > 1 and severity in (Severity.ERROR, Severity.WARNING) else ''}"
