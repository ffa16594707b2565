"""A training run as text for a terminal: lines before it, its summary, and verdicts."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.text import Text

from yolo_nanfix import overrides
from yolo_nanfix.findings import Report, Severity
from yolo_nanfix.health import LossKind, State, state_of
from yolo_nanfix.overrides import join_overrides, unguarded_note, unguarded_warning
from yolo_nanfix.report import event_text, health_text, recipe_text
from yolo_nanfix.report.panel import put
from yolo_nanfix.report.words import PLACES, printable, severity_counts
from yolo_nanfix.run_folder.summary import REPORT_NAME
from yolo_nanfix.tasks import option

VAGUE = ("unknown", "nondeterministic")
"""Causes that explain nothing; listed last."""
SHOWN = 8
BEFOREHAND = 5
"""At most this many findings about the whole set are printed before a run."""
TOLD = {"refused": "red", "replaced": "red", "partly-on": "yellow"}
"""States of patches that are printed with their reasons, and their colours."""


def render(summary: Mapping[str, Any], console: Console | None = None, *, quiet: bool = False) -> None:
    """Print what `yolo-nanfix.json` holds: images left out, what the guard did and why, files; at the end a summary.

    `quiet`: nothing of a healthy run, else how it ended and why; and what settings switched off.
    """
    console = console or Console(soft_wrap=True, highlight=False, emoji=False)
    if quiet:
        for line in () if state_of(summary) is State.HEALTHY else (_headline(summary), *_reasons(summary)):
            console.print(line)
        for line in _settings(summary, off=True):
            console.print(line)
        return
    _patches(summary, console)
    _recipe(summary, console)
    _quarantine(summary, console)
    _guard(summary["guard"], console)
    _verdicts(summary, console)
    if paths := summary.get("paths"):
        console.print("\n[bold]Files[/]")
        for name, path in paths.items():
            console.print(f"  {name:<9} {_escaped(_short(path))}")
    console.print()
    lines = [
        *_unguarded(summary, unguarded_warning),
        _headline(summary),
        *_reasons(summary),
        *_go_on(summary),
        *_step_lines(summary),
        *_lint(summary),
        _counts(summary),
        *_metrics(summary),
        *_settings(summary),
        *_unguarded(summary, unguarded_note),
    ]
    put(console, "yolo-nanfix", [Text.from_markup(line, emoji=False) for line in lines], _colour(summary))


def _unguarded(summary: Mapping[str, Any], words: Callable[[str], str]) -> list[str]:
    off = summary["guard"].get("off")
    return [f"[yellow]{_escaped(words(str(off)))}[/]"] if off else []


def _settings(summary: Mapping[str, Any], *, off: bool = False) -> list[str]:
    found = join_overrides((overrides.read_overrides(summary, "lint"), overrides.read_overrides(summary)))
    colour = "yellow" if found.switch_off else "dim"
    return [f"[{colour}]{_escaped(line)}[/]" for line in found.lines(off=off)]


def _colour(summary: Mapping[str, Any]) -> str:
    """The colour of the frame; green only for runs that are known to be good."""
    state = state_of(summary)
    if state is State.HEALTHY and summary["guard"].get("off"):
        return "yellow"
    if state is State.HEALTHY:
        return "cyan" if health_text.finds_nothing_yet(summary) else "green"
    return "yellow" if state is State.DEGRADED else "red"


def _reasons(summary: Mapping[str, Any]) -> list[str]:
    """Why a run failed; the headline names what a degraded run lost, and a signal."""
    if state_of(summary) is not State.FAILED or summary.get("signal"):
        return []
    return [f"[red]-[/] {_escaped(str(reason))}" for reason in summary["reasons"]]


def _go_on(summary: Mapping[str, Any]) -> list[str]:
    """How to resume a run that a signal ended, if it has a checkpoint."""
    if not summary.get("signal"):
        return []
    if (last := summary.get("paths", {}).get("last")) is None:
        return ["No epoch was finished, so there is no checkpoint to resume from"]
    data = shlex.quote(str((summary["lint"] or summary.get("arguments") or {}).get("data", "data.yaml")))
    return [_escaped(f"To go on: yolo-nanfix train {_short(data)} model={shlex.quote(_short(last))} resume=True")]


def _step_lines(summary: Mapping[str, Any]) -> list[str]:
    """Optimizer steps, rate and checkpoints, if any were refused, undone or lowered."""
    guard = summary["guard"]
    refused, undone, backs = (guard.get(key, 0) for key in ("steps_refused", "steps_undone", "rollbacks"))
    shown = [f"{refused} held back"] if refused else []
    shown += [f"{undone} undone by {backs} rollback{'' if backs == 1 else 's'}"] if backs else []
    lines = [f"Optimizer steps: {guard.get('steps_taken', 0)} taken, {', '.join(shown)}"] if shown else []
    if (times := guard.get("learning_rate_times", 1.0)) != 1.0:
        lines.append(f"Learning rate: lowered by the guard to {times:.3g} of what was asked for")
    if checkpoints := (guard.get("events_by_check") or {}).get("checkpoint"):
        lines.append(f"Checkpoints not written: {checkpoints}")
    return lines


def _metrics(summary: Mapping[str, Any]) -> list[str]:
    named = (f"{key.removeprefix('metrics/')} {value:.4g}" for key, value in (summary.get("metrics") or {}).items())
    return [_escaped(f"Metrics: {line}")] if (line := ", ".join(named)) else []


def _headline(summary: Mapping[str, Any]) -> str:
    state, outcome, colour = state_of(summary), summary["outcome"], _colour(summary)
    detail = ", ".join(_lost(summary, state))
    ends = {"finished": "The run ended, but failed", "stopped": "The run was stopped"}
    if outcome == "dry-run" and state is State.HEALTHY:
        end = "Dry run: training would start"
    elif summary.get("signal"):
        end = f"The run was ended by {summary['signal']}"
    elif outcome != "finished" or state is State.FAILED:
        end = ends.get(outcome, f"The run {outcome}")
    elif state is State.HEALTHY and summary["guard"].get("off"):
        end = "The run ended, without guard"
    elif state is State.HEALTHY and health_text.finds_nothing_yet(summary):
        end = "The run ended too early to tell whether it learns"
    else:
        end = f"The run ended {state.value}"
    return f"[{colour}]{end}[/]: {detail}."


def _lost(summary: Mapping[str, Any], state: State) -> list[str]:
    """What was lost; the reasons of a failed run are printed below."""
    guard = summary["guard"]
    dropped, total = guard.get("dropped_micro_batches", 0), guard.get("micro_batches", 0)
    left_out = len({*summary["quarantined"], *guard.get("quarantined", ())})
    losses = health_text.losses(summary)
    many = any(one.kind is LossKind.IMAGES and one.state is not State.HEALTHY for one in losses)  # its phrase says it
    below = state is State.FAILED and summary["outcome"] == "finished"
    lost = [one for one in losses if not below or one.state is State.HEALTHY]
    without = (LossKind.MICRO_BATCHES, LossKind.STEPS_REFUSED, *(() if many else (LossKind.IMAGES,)))
    return [
        *([f"{dropped} of {total} micro-batches dropped"] if total else []),
        *([] if many else [f"{left_out} image{'' if left_out == 1 else 's'} left out"]),
        *health_text.phrases(lost, without),
    ]


def _lint(summary: Mapping[str, Any]) -> list[str]:
    lint = summary["lint"]
    if why := summary.get("not_linted"):
        return [f"Lint: not done, {_escaped(why)}"]
    if not lint or not lint["findings"]:
        return []
    codes = {finding.get("code", "") for finding in lint["findings"]}
    found = severity_counts(one["severity"] for one in lint["findings"] if one.get("because") not in codes)
    task = option(str(lint.get("task", "")), (lint.get("basis") or {}).get("guess"))
    return [f"Lint: {found}; see them with: yolo-nanfix lint {_escaped(shlex.quote(_short(lint['data'])))}{task}"]


def _counts(summary: Mapping[str, Any]) -> str:
    states = Counter(patch["state"] for patch in summary["patches"].values())
    counts = ", ".join(f"{count} {state}" for state, count in sorted(states.items(), key=lambda s: s[0] != "on"))
    return f"Patches (ultralytics {_escaped(summary['environment']['ultralytics'])}): {counts}"


def _patches(summary: Mapping[str, Any], console: Console) -> None:
    """Print the patches that were refused or do not cover the run, and those that changed values."""
    shown = {name: patch for name, patch in summary["patches"].items() if patch["state"] in TOLD or patch["counted"]}
    if shown:
        console.print("\n[bold]Patches[/]")
    for name, patch in shown.items():
        if patch["state"] in TOLD:
            console.print(f"  {name:<30} [{TOLD[patch['state']]}]{patch['state']}[/]: {_escaped(patch['reason'])}")
        else:
            console.print(f"  {name:<30} acted on {patch['counted']} values")


def _recipe(summary: Mapping[str, Any], console: Console) -> None:
    """What the recipe of the run changed, and what happened on its schedule."""
    if lines := recipe_text.told(summary):
        console.print("\n[bold]Recipe[/]")
    for line in lines:
        console.print(f"  {_escaped(line)}")


def _quarantine(summary: Mapping[str, Any], console: Console) -> None:
    quarantined = summary["quarantined"]
    if not quarantined:
        return
    console.print("\n[bold]Left out of this run[/] (no image or label on disk was changed)")
    for image, findings in list(quarantined.items())[:SHOWN]:
        first = findings[0]
        console.print(f"  {_escaped(_short(image))}: {first['code']} {_escaped(first['message'])}")
    if len(quarantined) > SHOWN:
        console.print(f"  ... and {len(quarantined) - SHOWN} more")


def _guard(guard: Mapping[str, Any], console: Console) -> None:
    events = guard.get("events", ())
    if not events:
        return
    console.print("\n[bold]What the guard did[/]")
    groups: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for event in events:
        key = (*event_text.checks(event), event_text.action(event), *_event_files(event))
        groups.setdefault(key, []).append(event)
    for same in list(groups.values())[:SHOWN]:
        files = [_short(f) for f in _event_files(same[0])][:3]
        images = f" [{', '.join(files)}]" if files else ""
        times = f"{len(same)} times, " if len(same) > 1 else ""
        where = _where(same[0]) + (f" to {_where(same[-1])}" if len(same) > 1 else "")
        ranks = event_text.rank_lines(same[0])
        said = f"{len(ranks)} ranks met a fault in the same step" if ranks else event_text.detail(same[0])
        shown = "" if ranks else images
        console.print(f"  {times}{where}: {_escaped(said)}; {_escaped(event_text.action(same[0]))}{_escaped(shown)}")
        for line in ranks:
            console.print(f"    {_escaped(line)}")
    more = len(groups) - SHOWN
    if more > 0 or guard.get("events_left_out"):
        console.print(f"  ... and more in {REPORT_NAME}")


def _verdicts(summary: Mapping[str, Any], console: Console) -> None:
    """Print the causes, the first one first, since later ones may follow from it; and the command for details."""
    verdicts = sorted(summary["guard"].get("verdicts", ()), key=lambda v: v["cause"] in VAGUE)
    if not verdicts:
        return
    console.print("\n[bold]Why[/]")
    for verdict in verdicts[:SHOWN]:
        verdict_text(verdict, console, short=True)
    if len(verdicts) > SHOWN:
        console.print(f"  ... and {len(verdicts) - SHOWN} more in {REPORT_NAME}")
    folder = summary.get("paths", {}).get("incidents")
    if folder:
        console.print(f"  All about each of them: yolo-nanfix diagnose {_escaped(shlex.quote(_short(folder)))}/FILE")


def _event_files(event: Mapping[str, Any]) -> list[str]:
    return [s["file"] for s in event["sources"] if s["suspect"]] or [s["file"] for s in event["sources"]]


def _where(event: Mapping[str, Any]) -> str:
    return f"epoch {event['epoch']}" + (f", batch {event['batch']}" if event["batch"] else "")


def _escaped(text: str) -> str:
    return escape(printable(text))


def _short(path: str) -> str:
    """A path relative to the current folder, if it is below that."""
    here = str(Path.cwd()) + "/"
    return path.removeprefix(here)


def verdict_text(verdict: Mapping[str, Any], console: Console | None = None, *, short: bool = False) -> None:
    """Print what `Verdict.as_dict()` gives, without markup and with control characters escaped.

    `short`: only the verdict, the operation and what to do.
    """
    console = console or Console()
    cause, confidence = str(verdict["cause"]), float(verdict["confidence"])
    style = "yellow" if cause in VAGUE else "bold red"
    _print_line(
        console, (f"{cause}", style), (f" (confidence {confidence:.2f}): ", "dim"), (str(verdict["summary"]), "")
    )
    if short:
        where = " ".join(filter(None, [verdict["op"], f"in {verdict['module']}" if verdict["module"] else ""]))
        for line in (where, *_to_do(verdict)):
            if line:
                _print_line(console, ("  - ", "dim"), (str(line), ""))
        return
    for key, name in PLACES:
        if verdict[key]:
            _print_line(console, (f"  {name:<10}", "bold"), (str(verdict[key]), ""))
    _list(console, "images", verdict["images"])
    _list(console, "labels", verdict["labels"])
    _list(console, "what was seen", [f"{asked}: {line}" for asked, line in verdict["evidence"].items()])
    _list(console, "what to do", _to_do(verdict))
    count = int(verdict["replays"])
    _print_line(console, (f"{count} replay{'' if count == 1 else 's'} in {float(verdict['seconds']):.1f} s", "dim"))


def _to_do(verdict: Mapping[str, Any]) -> list[str]:
    return [*verdict["advice"], *verdict.get("commands", ())]


def _list(console: Console, name: str, entries: Any) -> None:
    entries = list(entries)
    if not entries:
        return
    _print_line(console, (name, "bold"))
    limit = SHOWN if name in ("images", "labels") else len(entries)
    for entry in entries[:limit]:
        _print_line(console, ("  - ", "dim"), (str(entry), ""))
    if len(entries) > limit:
        _print_line(console, (f"    and {len(entries) - limit} more", "dim"))


def _print_line(console: Console, *parts: tuple[str, str]) -> None:
    """Print one line, with escapes for what the console's encoding cannot show."""
    shown = [(printable(t).encode(console.encoding, "backslashreplace").decode(console.encoding), s) for t, s in parts]
    console.print(Text.assemble(*shown), soft_wrap=True, highlight=False, markup=False, emoji=False)


def beforehand(report: Report, left: Mapping[str, Mapping[str, int]]) -> Iterator[tuple[str, bool]]:
    """The lines before a training: findings about whole splits, and how many images of each remain (see `fates.Fate`).

    With each line: whether it is good news.
    """
    heavy = (Severity.FATAL, Severity.ERROR)
    found = [f for f in report.findings if f.image is None and f.because is None and f.severity in heavy]
    for finding in sorted(found, key=lambda f: f.severity.rank)[:BEFOREHAND]:
        yield printable(f"{finding.place}: {finding.code} {finding.message}"), False
    if len(found) > BEFOREHAND:
        yield f"... and {len(found) - BEFOREHAND} more findings about the set", False
    for split, numbers in left.items():
        whole = numbers["kept"] == numbers["images"]
        if report.starts or not whole:
            yield f"{split}: {_left(numbers)}", whole and numbers["images"] > numbers["background"]


def _left(numbers: Mapping[str, int]) -> str:
    """`12 of 20 images are left, 3 of them without objects: Ultralytics drops 5, the run puts 3 aside`."""
    images, kept, background = numbers["images"], numbers["kept"], numbers["background"]
    of = f"all {images} images are kept" if kept == images else f"{kept} of {images} images are left"
    empty = f", {background} of them without objects" if background else ""
    dropped, aside = (
        f"Ultralytics drops {numbers['dropped']}",
        f"the run puts {numbers['aside']} aside (fatal findings)",
    )
    out = [dropped] * (numbers["dropped"] > 0) + [aside] * (numbers["aside"] > 0)
    return f"{of}{empty}" + (f": {', '.join(out)}" if out else "")


def nothing_left(split: str, numbers: Mapping[str, int]) -> str:
    """Why a run cannot start."""
    return f"no image of '{split}' is left: {_left(numbers)}"
