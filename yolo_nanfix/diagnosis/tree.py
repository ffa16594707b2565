"""The decision tree: evidence in, verdict out. Nothing here touches a model, a file or a clock.

    data, label      pixels or label rows are not finite or out of range, and without them the step is healthy
    setting          a training argument, or a setting of the optimizer, is not finite or far outside of its range
    state            weights, statistics, optimizer state, or what a loss keeps were not finite before the step
    learning rate    weights grew, and with those of an earlier snapshot the step is healthy; or the run diverges
    gradient         the gradient overflows on its way back, or its norm does
    precision        in float32 the step is healthy
    numerics         an operation in a function of the installed release of ultralytics left its range or its domain
    definition       the same in any other code: a loss, a hook or a module of the user's own, a fork edited in place
    nondeterministic the replay is healthy although it lacked nothing that the run had, and modules have no user's hooks

Each node gives a line of evidence; the first that decides gives the cause. For the confidence see `SURE` and below.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from yolo_nanfix.diagnosis import advice
from yolo_nanfix.diagnosis.advice import Suggest
from yolo_nanfix.diagnosis.evidence import Evidence, Lack, rise
from yolo_nanfix.diagnosis.scan import GROUPS, group_setting
from yolo_nanfix.diagnosis.trace import Note
from yolo_nanfix.events import Check, OnDisk
from yolo_nanfix.verdicts import Cause, Verdict

SURE = 0.95
"""Seen in the replay, and a counter-test (without the image, in float32, with earlier weights) was healthy; or the
non-finite tensor itself was found."""
SEEN = 0.8
"""Seen in the replay, without a counter-test."""
LOOKED = 0.6
"""Seen without a replay."""
GREW = 10.0
"""A weight whose largest magnitude grew this much since the snapshot was driven by the learning rate."""
MOVED = 0.5
"""So did weights that moved this far, as a share of their size."""
ROSE = 30.0
"""A loss or gradient norm this many times its usual size is rising."""
HUGE = 1e15
"""A finite input of this size in a backward pass means that the gradient explodes; the squares of such overflow."""
DIVERGENCE = {Check.DIVERGENCE, Check.UPDATE_RATIO}


@dataclass(frozen=True)
class Answer:
    """The answer of a node: a sentence, and, if it decides, the cause and the confidence.

    Attributes:
        says: the line of evidence, and the summary of the verdict if this node decides.
        cause: of a node that decides.
        confidence: see `SURE` and below.
        seen: the line of evidence, where it is another one.
        came_later: the file is in order on disk: code between it and the model spoilt the sample.
        images: those that are named nevertheless, for only they are affected.
        setting: the setting that is to blame: `optimizer.groups.N.NAME` or `args.NAME`.
    """

    says: str
    cause: Cause | None = None
    confidence: float = 0.0
    seen: str = ""
    came_later: bool = False
    images: tuple[str, ...] = ()
    setting: str = ""


def decide(evidence: Evidence, suggest: Suggest | None = None) -> Verdict:
    """Go through the nodes in order; the first that decides gives the verdict. `suggest` proposes a learning rate."""
    seen = {"replay": _replayed(evidence)}
    for node in NODES:
        answer = node(evidence)
        seen[node.__name__.replace("_", " ")] = answer.seen or answer.says
        if answer.cause is not None:
            break
    verdict = Verdict(
        cause=answer.cause or Cause.UNKNOWN,
        summary=answer.says if answer.cause else "the cause could not be found",
        confidence=answer.confidence,
        evidence=seen,
        reproduced=evidence.same,
        labels=tuple(origin.place for origin in evidence.origins),
        images=_images_at_fault(evidence),
    )
    if answer.came_later:
        tensor = evidence.leaf if evidence.leaf.startswith("batch.") else ""
        return replace(verdict, images=answer.images, labels=(), tensor=tensor, advice=advice.came_later())
    verdict = _located(verdict, evidence, answer.setting)
    rate = suggest(evidence) if suggest and verdict.cause is Cause.LEARNING_RATE else None
    way_out = advice.of(verdict, evidence, rate)
    return replace(verdict, advice=way_out, commands=advice.commands(verdict, evidence), lr0=rate)


def _replayed(evidence: Evidence) -> str:
    outcome = evidence.outcome
    if outcome is None:
        return f"none ({evidence.why_not or 'not needed'})"
    same = {True: ", loss terms bit-identical to the run's", False: ", loss terms differ from the run's", None: ""}
    if outcome.error:
        return f"raised {outcome.error}"
    if not outcome.bad:
        norm = f", gradient norm {outcome.norm:.4g}" if outcome.norm is not None else ""
        return f"finite{norm}{same[evidence.same]}"
    bad = ", ".join(outcome.bad[:3]) + (f" and {len(outcome.bad) - 3} more" if len(outcome.bad) > 3 else "")
    where = f"; first {_where(evidence)}" if outcome.root else ""
    return f"not finite in {outcome.phase}: {bad}{where}{same[evidence.same]}"


def _where(evidence: Evidence) -> str:
    root = evidence.roots()[0]
    note = root.note
    changed = " (its running statistics, not its result)" if note.changed else ""
    read = f" reading {root.leaf.name}" if root.leaf else ""
    span = f" of values {_span(note)}" if not root.leaf else ""
    return f"{note.op} in {note.module} at {note.code or 'an unknown line'}{changed}{read}{span}"


def data(e: Evidence) -> Answer:
    """Pixels, then label rows, then masks and depth maps."""
    scan, found = e.scan, e.bisection
    said = f"; {found.said}" if found.said else ""
    count = f"of {len(e.files)} images"
    if scan.pixels and _at_fault(e, set(scan.pixels), "batch.img"):
        first = _not_in_order(e, {i: i for i in scan.pixels})
        line = f"{len(scan.pixels)} {count} have bad pixels: {scan.pixels[first]}{said}"
        tested = bool(found.images or scan.beyond)
        return _bad_sample(e, Cause.DATA, first, line, f"{_file(e, first)}: {scan.pixels[first]}", tested)
    if rows := scan.rows or {r: why for r, why in scan.odd_rows.items() if r in found.rows}:
        first = _not_in_order(e, {r: scan.owners[r] for r in rows})
        where = e.origins[0].place if e.origins else f"label row {first} of the batch"
        line = f"label rows: {rows[first]}{said}"
        return _bad_sample(e, Cause.LABEL, scan.owners[first], line, f"{where}: {rows[first]}")
    if maps := {i: key for i, key in scan.maps.items() if i in found.images or e.leaf == f"batch.{key}"}:
        first = _not_in_order(e, {i: i for i in maps})
        what = f"{maps[first]} not finite"
        line = f"targets of {len(maps)} {count}: {what}{said}"
        answer = _bad_sample(e, Cause.LABEL, first, line, f"{_file(e, first)}: {what}")
        return replace(answer, images=tuple(e.files[i] for i in maps if i < len(e.files)))
    return Answer(f"pixels and label rows look healthy{said}" + _labels_said(e))


def _bad_sample(e: Evidence, cause: Cause, image: int, line: str, summary: str, tested: bool = True) -> Answer:
    """A sample is at fault: its files, or, where these are in order on disk, the code between them and the model."""
    if not _in_order(e, image):
        return Answer(summary, cause, _confidence(e, tested), line)
    summary += "; augmentation or preprocessing code made them so, for the file is in order on disk"
    line += "; on disk they are in order"
    return Answer(summary, Cause.DEFINITION, _confidence(e, True), line, came_later=True)


def _file(e: Evidence, image: int) -> str:
    return e.files[image] if image < len(e.files) else f"image {image + 1} of the batch"


def _not_in_order(e: Evidence, images: Mapping[int, int]) -> int:
    """The first key whose image was not found in order on disk, or else the first."""
    return next((key for key, image in images.items() if not _in_order(e, image)), next(iter(images)))


def _in_order(e: Evidence, image: int) -> bool:
    """Whether the files of an image of the batch were read again and are in order."""
    sources = e.facts.get("sources") or ()
    return image < len(sources) and sources[image].get("on_disk") == OnDisk.FINITE.value


def _labels_said(e: Evidence) -> str:
    if not e.bisection.images or e.bisection.by_labels is None:
        return ""
    return (
        "; without its label rows it does not fail"
        if e.bisection.by_labels
        else "; it fails without its label rows too"
    )


def _at_fault(e: Evidence, images: set[int], leaf: str) -> bool:
    """Whether these images explain the step: no dtype holds them, the trace leads there, or they alone fail."""
    if e.scan.beyond:
        return True
    if e.outcome is None or not e.failed:
        return diverges(e)
    return e.leaf == leaf or bool(images & set(e.bisection.images))


def setting(e: Evidence) -> Answer:
    """Training arguments and settings of the optimizer that are far out of range."""
    if e.groups.non_finite:
        return _non_finite_group(e)
    damage = e.failed or bool(e.scan.state or e.scan.optimizer) or diverges(e)
    grown = e.growth is None or bool(e.growth.jumped) or _grew(e)
    if e.groups.odd and grown and (damage or (e.outcome is not None and (e.outcome.norm or 0) > HUGE)):
        number, name, value = e.groups.odd[0]
        says = f"{name} of optimizer group {number} is {value:g}: one step with it drives weights out of range"
        cause = Cause.LEARNING_RATE if name == "lr" else Cause.SETTING
        return Answer(says, cause, SEEN, setting=group_setting(number, name))
    if not e.odd_arguments:
        return Answer("arguments and settings of the optimizer are in their usual range")
    odd = ", ".join(f"{name}={value:g}" for name, value in e.odd_arguments.items())
    better = e.healthy_with_usual_arguments
    if better or (diverges(e) and not e.failed):
        what = "with the usual value the step is healthy" if better else "the run diverges"
        says, setting = f"the training argument {odd} is out of range; {what}", f"args.{next(iter(e.odd_arguments))}"
        return Answer(says, Cause.SETTING, SURE if better else SEEN, setting=setting)
    return Answer(f"{odd}; with the usual value the step is {'bad too' if better is False else 'not asked about'}")


def _non_finite_group(e: Evidence) -> Answer:
    first = e.groups.non_finite[0]
    name, number = first.get("name"), first.get("group")
    words = {"lr": "learning rate", "weight_decay": "weight decay"}.get(str(name), name)
    since = f"step {step} (epoch {first.get('epoch')})" if (step := first.get("step")) else "the start of the run"
    what = f"{words} of optimizer group {number} is {first.get('value')} since {since}"
    says = f"{what}{_and_more(len(e.groups.non_finite) - 1, 'setting')}; no step was taken with it"
    return Answer(says, Cause.SETTING, SURE, setting=group_setting(number, name))


def _and_more(count: int, what: str) -> str:
    return f", and {count} more {what}{'' if count == 1 else 's'}" if count else ""


def state(e: Evidence) -> Answer:
    """Weights, statistics and optimizer state before the step."""
    bad = (*e.scan.state, *(f"optimizer.{name}" for name in e.scan.optimizer))
    if not e.scan.state and (name := e.kept_root):
        return _kept_state(e, name)
    if not e.scan.state and e.healthy_without_large and not e.healthy_in_float32 and not _driven(e):
        return _set(e)
    if e.leaf and not e.leaf.startswith("batch.") and e.leaf not in bad:
        bad = (e.leaf, *bad)  # a buffer that may hold what it likes, but not here
    if not bad:
        return Answer("weights, BatchNorm statistics and optimizer state were finite before the step")
    first = e.leaf if e.leaf in bad else bad[0]
    return Answer(f"{first} was not finite before the step began{_and_more(len(bad) - 1, 'tensor')}", Cause.STATE, SURE)


def _set(e: Evidence) -> Answer:
    """Finite weights far larger than training makes them."""
    jumped, name = e.set_weights, _large_weight(e)
    factor = e.growth.factor if e.growth else 0.0
    size = f"up to {e.large[name]:.3g}" if name in e.large else f"{factor:.3g} times as large"
    when = " since the last snapshot, while the others stayed" if jumped else ""
    what = f"{name} holds finite values {size}{_and_more(len({*e.large, *jumped}) - 1, 'weight')}"
    return Answer(f"{what}; it was set{when}, not learnt: without them the step is healthy", Cause.STATE, SURE)


def _driven(e: Evidence) -> bool:
    """Whether weights grew by steps: the loss or gradient norm rose before, or all weights moved."""
    rises = (rise(e.facts.get("history"), "loss"), rise(e.facts.get("history"), "norm"))
    if any(value and value > ROSE for value in rises):
        return True
    return e.growth is not None and bool(e.growth.jumped) and not e.growth.was_set


def _kept_state(e: Evidence, name: str) -> Answer:
    value, number = e.kept[name].get("value"), e.kept[name].get("since")
    since = {None: "", 0: ", as it was when the run began"}.get(number, f", not finite since incident {number}")
    return Answer(f"state kept outside of weights and buffers: {name} is {value}{since}", Cause.STATE, SURE)


def learning_rate(e: Evidence) -> Answer:
    """Growth since the snapshot, rise of loss and norm, and finite divergence."""
    loss, norm = rise(e.facts.get("history"), "loss"), rise(e.facts.get("history"), "norm")
    parts = [f"{what} at {value:.3g} times its usual size" for what, value in (("loss", loss), ("norm", norm)) if value]
    if g := e.growth:
        parts.append(f"{g.name} at {g.factor:.3g} times, all weights moved by {g.distance:.3g} of their size")
    rates = ", ".join(f"{rate:.3g}" for rate in e.facts.get("lr") or ())
    line = f"lr {rates or 'unknown'}" + "".join(f"; {part}" for part in parts)
    if e.healthy_with_earlier_weights is not None:
        line += f"; with the earlier weights the step is {'healthy' if e.healthy_with_earlier_weights else 'bad too'}"
    rising = any(value and value > ROSE for value in (loss, norm))
    if diverges(e) and not e.failed and not e.hooked:
        says = f"the run diverges with finite numbers: {e.facts.get('detail') or 'its loss or its weights run away'}"
        return Answer(says, Cause.LEARNING_RATE, SEEN if rising or _grew(e) else LOOKED, line)
    if e.failed and e.healthy_with_earlier_weights and (_grew(e) or rising):
        says = "the weights were driven out of range by too large steps; with those of an earlier step it is healthy"
        return Answer(says, Cause.LEARNING_RATE, SURE, line)
    return Answer(line)


def diverges(e: Evidence) -> bool:
    """Whether what the run saw was a divergence with finite numbers."""
    return not DIVERGENCE.isdisjoint(e.facts.get("checks", ()))


def _grew(e: Evidence) -> bool:
    return e.growth is not None and (e.growth.factor > GREW or e.growth.distance > MOVED)


def gradient(e: Evidence) -> Answer:
    """Explosion in the backward pass, or a norm that overflows."""
    outcome = e.outcome
    if outcome is None:
        return Answer("not asked")
    if outcome.norm is not None:
        says = f"every gradient is finite, their norm is {outcome.norm:.4g}{_in_the_run(e)}"
        return Answer(says, Cause.GRADIENT, SEEN) if outcome.norm > HUGE else Answer(says)
    roots = e.roots()
    if outcome.phase != "backward" or not roots:
        return Answer("the forward pass fails already")
    note = roots[0].note
    what = f"gradients up to {note.largest:.3g} reach {note.op} in {note.module}"
    if note.largest > HUGE and not e.healthy_in_float32:
        return Answer(f"the gradient explodes: {what}", Cause.GRADIENT, SEEN)
    return Answer(what)


def _in_the_run(e: Evidence) -> str:
    seen = e.facts.get("gradients") or {}
    bad = [str(name) for name in seen.get("bad") or ()]
    if not bad:
        return ""
    named = "all weights" if seen.get("count") == seen.get("of") else ", ".join(bad[:5])
    return f"; in the run that of {named} was not finite ({seen.get('count')} of {seen.get('of')} weights)"


def precision(e: Evidence) -> Answer:
    """Whether the step is healthy in float32, where the run was in half precision."""
    used = e.facts.get("precision", "float32")
    if used == "float32":
        return Answer("the run is in float32 already")
    if e.healthy_in_float32 is None:
        return Answer(f"the step was not replayed in float32 (the run is in {used})")
    if not e.healthy_in_float32 or not e.failed:
        return Answer(f"in float32 the step {'is healthy' if e.healthy_in_float32 else 'fails too'}")
    note = e.roots()[0].note if e.roots() else None
    where = f": {note.op} in {note.module}" if note else ""
    scale = f" (loss scale {e.facts['loss_scale']:g})" if e.facts.get("loss_scale") else ""
    return Answer(f"a value leaves the range of {used}{scale}{where}; in float32 it does not", Cause.PRECISION, SURE)


def numerics(e: Evidence) -> Answer:
    """Range and domain of the operation, in code of ultralytics."""
    roots = e.roots()
    if not e.failed or not roots:
        return Answer("no operation went wrong in the replay")
    note = roots[0].note
    if not e.by_release:
        copy = ", whose text is not that of the release" if note.code.startswith("ultralytics/") else ""
        return Answer(f"{note.op} was asked for by {note.code or 'code that is not known'}{copy}")
    cards = f"; patches there: {', '.join(e.patches)}" if e.patches else ""
    says = f"{note.op} at {note.code} gives {'NaN' if note.nan else 'Inf'} from finite values"
    return Answer(f"{says}, {_span(note)}, in {note.dtype}{cards}", Cause.NUMERICS, SEEN)


def _span(note: Note) -> str:
    return f"from {note.smallest:.3g} on, at most {note.largest:.3g} in size"


def definition(e: Evidence) -> Answer:
    """Range and domain of the operation, in code that is not the release's."""
    if e.hooked:
        return _hooked(e)
    roots = e.roots()
    if not e.failed or not roots:
        return Answer("no operation went wrong in the replay")
    note = roots[0].note
    where = note.code or "code outside of ultralytics"
    half = e.facts.get("precision", "float32") != "float32" and e.healthy_in_float32 is None
    sure = (SEEN if half else SURE) if note.code else LOOKED
    says = f"{note.op} in {note.module}, written in {where}, "
    if note.given:
        named = f" ({', '.join(note.names)})" if note.names else ""
        says += f"computes with {note.given}{named}, which is of no tensor of the step"
    else:
        says += f"leaves its domain: it gets values {_span(note)}"
    hook = e.outcome.hook if e.outcome is not None else ""
    return Answer(says + (f"; it is a hook on {hook}" if hook else ""), Cause.DEFINITION, sure)


def _hooked(e: Evidence) -> Answer:
    """Hooks on exactly the weights whose gradients were bad in the run; the replay does not have them."""
    first = e.hooked[0]
    seen = e.facts.get("gradients") or {}
    size = (seen.get("largest") or {}).get(first.name)
    what = "not finite" if first.name in (seen.get("bad") or ()) else f"up to {size:.3g}"
    what += _and_more(len(e.hooked) - 1, "weight")
    says = f"the hook of {first.place} on {first.name} makes its gradient {what}; without it, it is healthy"
    whole = len(e.hooked) >= int(seen.get("of") or 0)  # then nothing tells the hooks from all else
    return Answer(says, Cause.DEFINITION, SURE if e.same and not whole else SEEN)


def nondeterministic(e: Evidence) -> Answer:
    """The replay is healthy, and lacked nothing."""
    if e.outcome is None:
        return Answer("there was no replay")
    if e.outcome.error or e.outcome.bad:
        return Answer("the replay did not end healthy")
    if e.lacks:
        return Answer(f"the step could not be rebuilt here: the replay lacks {_several(e.lacks)}", Cause.UNKNOWN)
    if e.hooks:
        what = f"the replay is healthy; {_several(e.hooks)} may have done otherwise in the run"
        return Answer(f"the step could not be rebuilt: {what}", Cause.UNKNOWN, LOOKED)
    says = "the same batch, weights and random numbers give a healthy step; the fault does not repeat"
    if e.same:
        says = "the step is healthy, bit by bit, and gives the run's loss terms; what was bad came from outside of it"
    return Answer(says, Cause.NONDETERMINISTIC, LOOKED)


def _several(found: tuple[Lack, ...]) -> str:
    return ", ".join(map(str, found[:4])) + (f" and {len(found) - 4} more" if len(found) > 4 else "")


def _confidence(e: Evidence, tested: bool) -> float:
    if e.outcome is None:
        return LOOKED
    return SURE if tested or e.leaf else SEEN


def _images_at_fault(evidence: Evidence) -> tuple[str, ...]:
    """The images that alone fail; where a label row of theirs was traced to a mosaic parent, that one instead.

    Where there was no time to ask image by image: those whose pixels the run's dtype cannot hold, or, where the trace
    leads to pixels or targets, those that are not finite.
    """
    from_batch = evidence.scan.images() if evidence.leaf.startswith("batch.") else ()
    found = evidence.bisection.images or evidence.scan.beyond or from_batch
    files = [file for i in found if i < len(evidence.files) for file in _blamed_files(evidence, i)]
    parents = {origin.image for origin in evidence.origins} - set(evidence.files)
    return tuple(sorted(parents)) if parents else tuple(files)


def _blamed_files(evidence: Evidence, image: int) -> list[str]:
    """Those files of an image of the batch that are not finite on disk; its own where that is not known."""
    sources = evidence.facts.get("sources") or ()
    blamed = sources[image].get("blamed") if image < len(sources) else None
    return list(map(str, blamed)) if blamed else [evidence.files[image]]


def _located(verdict: Verdict, evidence: Evidence, setting: str = "") -> Verdict:
    """The verdict with op, module and line of the trace; `setting` is the one to blame, if any."""
    if verdict.cause is Cause.NONDETERMINISTIC:
        return replace(verdict, images=(), labels=())
    if verdict.cause is Cause.SETTING:
        return _with_setting(verdict, evidence, setting)
    scan = evidence.scan
    if verdict.cause is Cause.STATE and not scan.state and scan.optimizer:
        return replace(verdict, module="optimizer", phase="step", tensor=f"optimizer.{scan.optimizer[0]}")
    if verdict.cause is Cause.DEFINITION and evidence.hooked:
        first = evidence.hooked[0]
        module = first.name.rpartition(".")[0]
        return replace(verdict, module=module, code=first.place, phase="backward", tensor=first.name, images=())
    roots = evidence.roots()
    if not roots:
        tensor = scan.state[0] if verdict.cause is Cause.STATE and scan.state else ""
        return replace(verdict, tensor=tensor)
    tensor = roots[0].leaf.name if roots[0].leaf else ""
    if not tensor and verdict.cause is Cause.STATE:
        tensor = evidence.kept_root or (scan.state[:1] or (_large_weight(evidence),))[0]
    return replace(_at(verdict, roots[0].note), tensor=tensor)


def _at(verdict: Verdict, note: Note) -> Verdict:
    return replace(verdict, **{name: getattr(note, name) for name in ("op", "module", "code", "phase", "dtype")})


def _with_setting(verdict: Verdict, e: Evidence, setting: str) -> Verdict:
    """The verdict on a setting: no image or label, whatever the trace leads to."""
    named = replace(verdict, images=(), labels=(), tensor=setting)
    if setting.startswith(GROUPS):
        return replace(named, module="optimizer", phase="step")
    roots = e.roots()
    return _at(named, roots[0].note) if roots else named


def _large_weight(e: Evidence) -> str:
    return next(iter((*e.large, *e.set_weights)), "")


NODES: tuple[Callable[[Evidence], Answer], ...] = (
    data,
    setting,
    state,
    learning_rate,
    gradient,
    precision,
    numerics,
    definition,
    nondeterministic,
)
