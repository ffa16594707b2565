"""From an incident to a verdict."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import nn

from yolo_nanfix import kept, upstream
from yolo_nanfix.diagnosis import advice, evidence, label_lines, places, scan, tree
from yolo_nanfix.diagnosis.bisect import Bisection, bisect, failing
from yolo_nanfix.diagnosis.evidence import Evidence, growth
from yolo_nanfix.diagnosis.incident_checks import check_incident
from yolo_nanfix.diagnosis.rebuild import import_modules
from yolo_nanfix.diagnosis.replay import Outcome, OutOfTime, Replay
from yolo_nanfix.diagnosis.tree import HUGE, decide
from yolo_nanfix.errors import DataError
from yolo_nanfix.incident import Incident
from yolo_nanfix.verdicts import Cause, Verdict


def examine(
    incident: Incident,
    model: nn.Module | None = None,
    *,
    budget: float | None = None,
    imports: Iterable[str] = (),
) -> Verdict:
    """Find out why a step went wrong.

    Args:
        incident: the step.
        model: the live, unwrapped model in training mode; a copy of it is used, and it stays bit for bit as it is.
            None: it is built from the incident, on the CPU.
        budget: seconds after which no further replay is begun, except that in float32 of a run in half precision.
        imports: modules that hold model classes of the user's own; only used without a model.

    Returns:
        The verdict; with a live model also where no replay was possible, which its evidence says.

    Raises:
        DataError: without a live model: the incident cannot be replayed here.
    """
    began = time.perf_counter()
    if model is None:
        names = tuple(imports)
        import_modules(names)
        check_incident(incident)
        with _threads(incident):
            verdict = _examine(incident, None, budget, names)
    else:
        try:
            verdict = _examine(incident, model, budget, ())
        except Exception as error:  # the run goes on, whatever a diagnosis stumbles over
            said = f"failed: {type(error).__name__}: {error}"
            verdict = Verdict(Cause.UNKNOWN, "the cause could not be found", evidence={"diagnosis": said})
    return replace(verdict, seconds=time.perf_counter() - began)


THREADS = 256
"""Most threads, also if an incident says more: a thousand on a few cores take ten times as long."""


@contextmanager
def _threads(incident: Incident) -> Iterator[None]:
    """Use as many threads as the run: the order of sums depends on it."""
    before, wanted = torch.get_num_threads(), incident.facts.get("threads")
    try:
        torch.set_num_threads(min(wanted, THREADS) if isinstance(wanted, int) and wanted > 0 else before)
        yield
    finally:
        torch.set_num_threads(before)


def _examine(incident: Incident, model: nn.Module | None, budget: float | None, imports: tuple[str, ...]) -> Verdict:
    files = tuple(str(source.get("file", "")) for source in incident.facts.get("sources") or ())
    args = incident.facts.get("args") or {}
    seen = Evidence(
        incident.facts,
        files,
        scan.scan(incident),
        groups=scan.groups(incident.facts),
        odd_arguments=(odd := scan.arguments(args, upstream.default_arguments())),
        usual_arguments={name: upstream.default_arguments()[name] for name in odd},
        large=scan.large(incident),
    )
    if seen.groups.non_finite:
        return decide(replace(seen, why_not="no step was taken"))
    if "batch.img" not in incident.tensors:
        return decide(replace(seen, why_not="the incident has no batch"))
    try:
        replay = Replay(incident, model, budget, imports)
    except DataError:
        raise
    except Exception as error:
        if model is None:
            raise DataError(f"the incident cannot be replayed: {type(error).__name__}: {error}") from error
        why = f"the model cannot be copied: {type(error).__name__}: {error}"
        return decide(replace(seen, why_not=why))
    try:
        asked = _gathered(replay, incident, seen)
    except OutOfTime:
        asked = replace(seen, why_not="time was up before the first one")
    verdict = replace(decide(asked, advice.rate_proposer(replay)), replays=replay.count)
    return verdict if model is not None else _of_the_run(verdict, asked)


def _of_the_run(verdict: Verdict, seen: Evidence) -> Verdict:
    """The run's own verdict, where the replay lacks something that the run had and does not fail as the run did."""
    again = seen.failed and seen.same is not False and verdict.cause is not Cause.NONDETERMINISTIC
    if again or not seen.lacks:
        return verdict
    try:
        own = Verdict.from_dict(seen.facts.get("verdict"))
    except ValueError:
        return verdict
    here = f"lacks {', '.join(map(str, seen.lacks))}; this is the run's own verdict"
    found = {"replay": verdict.evidence["replay"], "this process": here}
    found |= {"replay in the run" if asked == "replay" else asked: line for asked, line in own.evidence.items()}
    return replace(own, evidence=found, reproduced=verdict.reproduced, replays=verdict.replays)


def _gathered(replay: Replay, incident: Incident, seen: Evidence) -> Evidence:
    """Replay, and run as many further checks as the outcome needs."""
    outcome = replay.run(traced=True)
    if outcome.norm is not None:
        outcome = replay.with_hooks(outcome)
    seen = replace(seen, outcome=outcome, same=_reproduced(outcome, incident), growth=growth(incident))
    beside = {name: {"value": said, "since": None} for name, said in kept.not_finite(replay.model).items()}
    seen = replace(seen, kept={**beside, **(incident.facts.get("kept") or {})})
    missing = evidence.lacks_of(incident, replay.model) if replay.live is None else evidence.lacks_of_live(replay.hooks)
    on_modules = evidence.hooks_on_modules(replay.hooks, seen.same) if replay.live is not None else ()
    seen = replace(seen, lacks=missing, live=replay.live is not None, hooks=on_modules)
    if outcome.norm is not None and outcome.norm <= HUGE:
        limit = min(HUGE, evidence.FAR_GRADIENT * max(outcome.norm, 1.0))
        seen = replace(seen, hooked=evidence.hooks_at_fault(replay.hooks, incident.facts.get("gradients") or {}, limit))
    if roots := seen.roots():
        seen = replace(seen, by_release=places.of_release(roots[0].note.code))
    if seen.by_release:
        seen = replace(seen, patches=advice.patches_at(roots[0].note.code))
    if outcome.hook:
        return replace(seen, bisection=Bisection(said="the hook alone makes it fail"))
    if outcome.bad and not seen.scan.state and not seen.scan.images():
        seen = _in_float32(replay, incident, seen)
    if outcome.bad or (outcome.norm or 0.0) > HUGE or tree.diverges(seen):
        seen = _without_what_was_set(replay, seen)
    if outcome.bad and not seen.scan.state and not seen.scan.images():
        seen = _with_earlier_weights(replay, seen)
    seen = replace(seen, bisection=_bisected(replay, outcome, seen.scan))
    rows = seen.bisection.rows or tuple(seen.scan.rows)
    return replace(seen, origins=label_lines.origins(incident.part("batch"), rows, incident.facts.get("sources") or ()))


def _without_what_was_set(replay: Replay, seen: Evidence) -> Evidence:
    """The same step with the default values of suspect arguments, and without large values of weights."""

    def healthy(outcome: Outcome) -> bool:
        return not outcome.bad and not outcome.error and (outcome.norm or 0.0) <= HUGE

    try:
        if seen.odd_arguments:
            usual = healthy(replay.run(arguments=seen.usual_arguments))
            seen = replace(seen, healthy_with_usual_arguments=usual)
        if names := list(dict.fromkeys((*seen.large, *seen.set_weights))):
            seen = replace(seen, healthy_without_large=healthy(replay.run(calm=names)))
    except OutOfTime:
        return seen  # the tree says what was not run
    return seen


def _in_float32(replay: Replay, incident: Incident, seen: Evidence) -> Evidence:
    """The same step in float32: run first and without a time limit, for the guard leaves float16 by its result."""
    if incident.facts.get("precision", "float32") == "float32":
        return seen
    backward = seen.outcome is not None and seen.outcome.phase == "backward"
    full = replay.run(precision="float32", backward=backward, in_time=False)
    return replace(seen, healthy_in_float32=not (full.bad or full.error))


def _with_earlier_weights(replay: Replay, seen: Evidence) -> Evidence:
    backward = seen.outcome is not None and seen.outcome.phase == "backward"
    if seen.growth is None:
        return seen
    try:
        earlier = replay.run(weights="earlier", backward=backward)
    except OutOfTime:
        return seen  # the tree says what was not run
    return replace(seen, healthy_with_earlier_weights=not (earlier.bad or earlier.error))


def _bisected(replay: Replay, outcome: Outcome, seen: scan.Scan) -> Bisection:
    """The images that alone fail. Non-finite state makes all fail; a label that the loss ignores makes none fail."""
    if not outcome.bad or outcome.error:
        said = "the step does not fail, but these label rows are not finite" if seen.rows else ""
        return Bisection(seen.images(), True if seen.rows and not seen.pixels else None, tuple(seen.rows), said)
    if seen.state:
        return Bisection()
    odd = (*seen.rows, *seen.odd_rows)
    suspects = seen.images() or tuple(seen.maps) or tuple(sorted({seen.owners[row] for row in odd}))
    return bisect(replay.batch, suspects, odd, failing(replay, outcome.phase == "backward"))


def _reproduced(outcome: Outcome, incident: Incident) -> bool | None:
    """Whether the replay gave the recorded loss terms, bit by bit; NaN equals NaN."""
    recorded = incident.facts.get("loss")
    if not isinstance(recorded, dict) or not recorded or outcome.error:
        return None
    return recorded.keys() == outcome.items.keys() and all(
        float(recorded[k]) == v or (v != v and float(recorded[k]) != float(recorded[k]))
        for k, v in outcome.items.items()
    )
