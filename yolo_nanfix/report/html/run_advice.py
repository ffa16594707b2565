"""The top of a run's page: a headline, and what the user should do, in order."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterable, Mapping

import numpy as np

from yolo_nanfix import stopping
from yolo_nanfix.health import LossKind, State, state_of
from yolo_nanfix.report import health_text
from yolo_nanfix.report.html import event_list
from yolo_nanfix.report.html.event_list import from_root, short
from yolo_nanfix.report.html.page import Advice
from yolo_nanfix.report.words import figure, grouped, many, printable, severity_counts
from yolo_nanfix.run_folder import lenient
from yolo_nanfix.run_folder.read import METRICS, RunFolder
from yolo_nanfix.tasks import option

EXPLAINED = {
    LossKind.MICRO_BATCHES,
    LossKind.IMAGES,
    LossKind.SAMPLES,
    LossKind.STEPS_REFUSED,
    LossKind.STEPS_UNDONE,
    LossKind.EPOCHS_WITHOUT_STEP,
}
"""Losses that verdicts explain, so that no further advice is needed."""
ENDED = {
    "finished": ("the run came to its end, but failed", "The run failed: "),
    "stopped": ("the guard stopped the run", "The guard stopped the run: "),
    "failed": ("the run failed with an error", "The run failed: "),
    "interrupted": ("the run was interrupted", "The run did not finish: "),
}
"""How a run that failed ended, by its outcome: at the end of a sentence, and before its reasons."""
WAYS: Mapping[str, tuple[str, ...]] = {
    LossKind.NO_STEP: (
        "look at nbs and batch: a step is taken every nbs / batch micro-batches; and at lr0 and freeze",
    ),
    LossKind.START_WEIGHTS: ("look at lr0 and freeze: no weight moved",),
    LossKind.NOTHING_FOUND: (
        "look at the curves: if the losses fall, train longer; if not, look at lr0 and at the labels",
    ),
    LossKind.COLLAPSED: ("use best.pt, and look at the curves from that epoch on; a lower lr0 may help",),
}
"""What to do about a loss that no verdict explains."""
NAMED_IMAGES = 5
"""At most this many images are named in one piece of advice."""


def headline(run: RunFolder) -> str:
    """How a run went, in one sentence."""
    metric = f", {metric_of(run)}" if metric_of(run) else ""
    if not run.summary:
        epochs = many(run.results.rows, "epoch") if run.results.rows else "no epoch"
        return f"A run without a report of yolo-nanfix: {epochs} in results.csv{metric}{_nan_epochs(run)}."
    if lenient.text(run.summary, "outcome") == "dry-run":
        would = "training would start" if run.summary.get("healthy") is True else "training would not start"
        return f"{'; '.join(filter(None, [f'Dry run: {would}', _images_left_out(run)]))}."
    parts = [_dropped(run)]
    if backs := lenient.count(run.summary, "guard", "rollbacks"):
        parts.append(f"rolled back {'once' if backs == 1 else f'{backs} times'}")
    parts += [_images_left_out(run)]
    said = (LossKind.MICRO_BATCHES, LossKind.IMAGES, LossKind.STEPS_REFUSED)
    parts += map(printable, health_text.phrases(health_text.losses(run.summary), said))
    return f"{', '.join(filter(None, parts))}; {_ending(run)[0]}{metric}."


def level(run: RunFolder) -> str:
    """The colour of the headline: good, warning or fatal; empty if nothing is known."""
    if not run.summary:
        return "warning" if _nan_epochs(run) else ""
    return _ending(run)[1]


def _ending(run: RunFolder) -> tuple[str, str]:
    """How a run ended, in words and as a level."""
    outcome, state = lenient.text(run.summary, "outcome"), state_of(run.summary)
    if outcome == "finished" and state is State.DEGRADED:
        return "the run is degraded", "warning"
    if outcome == "finished" and state is State.HEALTHY:
        if lenient.text(run.summary, "guard", "off"):
            return "the run came to its end", "warning"
        if health_text.finds_nothing_yet(run.summary):
            return "too early to tell whether it learns", ""
        return "the model is healthy", "good"
    bad = "warning" if outcome == "interrupted" or state is State.DEGRADED else "fatal"
    if (signal := lenient.text(run.summary, "signal")) in stopping.NAMES:
        return f"the run was ended by {signal}", bad
    return ENDED.get(outcome, ("how the run ended is not known", ""))[0], bad


def metric_of(run: RunFolder) -> str:
    """The most important metric at the end of the run: `mAP50 0.71`."""
    final = lenient.mapping(run.summary, "metrics")
    for key, name in METRICS:
        value = lenient.number(final, key)
        if value is None and (column := run.results.column(key)) is not None:
            value = float(column[run.results.known[key]][-1])
        if value is not None:
            return f"{name} {value:.2f}" if np.isfinite(value) else f"{name} {figure(value)}"
    return ""


def to_do(run: RunFolder) -> list[Advice]:
    """What the user should do, the most urgent first; empty if there is nothing to do."""
    root = event_list.root_of(run)
    ended = ENDED.get(lenient.text(run.summary, "outcome"), ("", ""))[1]
    first: list[Advice] = []
    if state_of(run.summary) is State.FAILED:
        first = [Advice(f"{ended}{lenient.line(reason)}") for reason in lenient.entries(run.summary, "reasons")]
    found = [*first, *_verdicts(run, root), *_left_out_advice(run, root), *_degraded(run), *_lint(run), *_refused(run)]
    return _once(found)


def _degraded(run: RunFolder) -> Iterable[Advice]:
    """What was lost in a degraded run, unless verdicts or the images left out explain it."""
    if state_of(run.summary) is not State.DEGRADED:
        return
    explained = lenient.entries(run.summary, "guard", "verdicts") or lenient.texts(run.summary, "guard", "quarantined")
    for one in health_text.losses(run.summary):
        if not (explained and one.kind in EXPLAINED):
            yield from (Advice(f"Degraded: {line}.", WAYS.get(one.kind, ())) for line in health_text.reasons([one]))


def _once(advice: Iterable[Advice]) -> list[Advice]:
    """The advice without repeated lines and commands, and without advice that has become empty by this."""
    said: set[str] = set()
    kept = []
    for step in advice:
        what = tuple(line for line in step.what if line not in said)
        commands = tuple(line for line in step.commands if line not in said)
        said.update((*what, *commands))
        if what or commands or not (step.what or step.commands):
            kept.append(Advice(step.why, what, commands))
    return kept


def _dropped(run: RunFolder) -> str:
    """`2 of 14 400 micro-batches dropped because of 1 image`."""
    guard = lenient.mapping(run.summary, "guard")
    if lenient.text(guard, "off"):
        return "Not guarded"
    total, lost = lenient.count(guard, "micro_batches"), lenient.count(guard, "dropped_micro_batches")
    if not total:
        return "No micro-batch was trained"
    if not lost:
        return f"None of {grouped(total)} micro-batches dropped"
    images = _offenders(run)
    causes = Counter(lenient.text(v, "cause") for v in lenient.entries(guard, "verdicts"))
    why = ""
    if images:
        then = ", left out from then on" if images == set(lenient.texts(guard, "quarantined")) else ""
        why = f" because of {many(len(images), 'image')}{then}"
    elif causes:
        words = {"learning-rate": "the learning rate", "precision": "float16", "definition": "a loss or module"}
        named = [words.get(cause, f"the {cause}") for cause, _ in causes.most_common(2) if cause not in ("", "unknown")]
        why = f" because of {' and '.join(named)}" if named else ""
    return f"{grouped(lost)} of {grouped(total)} micro-batches dropped{why}"


def _images_left_out(run: RunFolder) -> str:
    """How many images were left out, unless the part on dropped micro-batches says it."""
    before = set(lenient.mapping(run.summary, "quarantined"))
    out = {*before, *lenient.texts(run.summary, "guard", "quarantined")}
    if not out or out == _offenders(run):
        return ""
    when = " beforehand" if out == before else ""
    return f"{many(len(out), 'image')} left out{when}"


def _offenders(run: RunFolder) -> set[str]:
    """The images suspected in events that cost micro-batches."""
    events = [e for e in lenient.entries(run.summary, "guard", "events") if isinstance(e, Mapping)]
    return {image for event in events if event_list.dropped(event) for image in event_list.suspects(event)}


def _nan_epochs(run: RunFolder) -> str:
    """For runs without a report: epochs with non-finite losses."""
    names = [n for n in run.results.columns if n.startswith(("train/", "val/"))]
    bad = np.zeros(run.results.rows, bool)
    for name in names:
        bad |= run.results.known[name] & ~np.isfinite(run.results.columns[name])
    count = int(bad.sum())
    return f"; losses were not finite in {many(count, 'epoch')}" if count else ""


def _verdicts(run: RunFolder, root: str) -> Iterable[Advice]:
    """Advice of verdicts, vague causes last."""
    verdicts = [v for v in lenient.entries(run.summary, "guard", "verdicts") if isinstance(v, Mapping)]
    for verdict in sorted(verdicts, key=lambda v: lenient.text(v, "cause") in ("unknown", "nondeterministic"))[:20]:
        given = lenient.texts(verdict, "commands")
        commands = tuple(filter(_is_command, given))
        lines = (*lenient.texts(verdict, "advice"), *(line for line in given if line not in commands))
        words = tuple(from_root(root, line) for line in lines)
        if words or commands:
            summary = lenient.text(verdict, "summary")
            yield Advice(from_root(root, summary), words, commands)


def _is_command(line: str) -> bool:
    """Whether a line of a report is just one yolo-nanfix command: people paste what a page shows as such."""
    try:
        words = shlex.split(line)
    except ValueError:
        return False
    return words[:1] == ["yolo-nanfix"] and shlex.join(words) == line


def _left_out_advice(run: RunFolder, root: str) -> Iterable[Advice]:
    before = lenient.mapping(run.summary, "quarantined")
    if before:
        named = []
        for image, found in list(before.items())[:NAMED_IMAGES]:
            first = found[0] if isinstance(found, list) and found else None
            code, message = lenient.text(first, "code"), lenient.text(first, "message")
            named.append(f"{short(image, root)}: {code} {message}".rstrip(": "))
        count = f"{len(before)} image{' was' if len(before) == 1 else 's were'}"
        yield Advice(f"{count} left out of this run before it began. Fix or remove:", (*named, *_more(len(before))))
    during = [i for i in lenient.texts(run.summary, "guard", "quarantined") if i not in before]
    if during:
        named = [f"fix or remove {short(image, root)}" for image in during[:NAMED_IMAGES]]
        count = f"{len(during)} image{' was' if len(during) == 1 else 's were'}"
        yield Advice(f"{count} left out by the guard from some batch on.", (*named, *_more(len(during))))


def _lint(run: RunFolder) -> Iterable[Advice]:
    findings = lenient.entries(run.summary, "lint", "findings")
    severities = (lenient.text(finding, "severity") for finding in findings)
    if words := severity_counts((name for name in severities if name != "info"), grouped):
        data = shlex.quote(lenient.text(run.summary, "lint", "data") or "data.yaml")
        task = lenient.text(run.summary, "lint", "task")
        whole = f"yolo-nanfix lint {data}{option(task, None)}"  # as verdicts say it, who do not know the guess
        verdicts = lenient.entries(run.summary, "guard", "verdicts")
        guess = lenient.text(run.summary, "lint", "basis", "guess") or None
        said = any(whole in lenient.texts(verdict, "commands") for verdict in verdicts)
        lint = whole if said else f"yolo-nanfix lint {data}{option(task, guess)}"
        commands = (lint, f"{lint} --fix")
        yield Advice(f"Lint found {words} in the dataset. See them, then fix what can be fixed safely:", (), commands)


def _refused(run: RunFolder) -> Iterable[Advice]:
    for name, patch in lenient.mapping(run.summary, "patches").items():
        state = lenient.text(patch, "state")
        if state == "refused":
            how = "was refused"
            what = "use a release of Ultralytics that yolo-nanfix knows, or look for a newer yolo-nanfix"
        elif state in ("replaced", "partly-on"):
            how = "does not cover all of this run"
            what = "guard that function yourself: let it call Ultralytics' own, or do what the patch does"
        else:
            continue
        why = f"The patch {lenient.text(name)} {how}: {lenient.text(patch, 'reason')}"
        yield Advice(why, (what,), (f"yolo-nanfix explain {shlex.quote(name)}",))
    if reason := lenient.text(run.summary, "guard_refused"):
        yield Advice(f"The guard was refused: {reason}")


def _more(total: int) -> tuple[str, ...]:
    return (f"and {total - NAMED_IMAGES} more",) if total > NAMED_IMAGES else ()
