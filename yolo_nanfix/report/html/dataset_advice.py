"""The top of a dataset's page: a headline, and what to do, in order."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence

from yolo_nanfix.findings import Effect, Finding, Report, Safety, Severity
from yolo_nanfix.report.html.dataset_facts import Show
from yolo_nanfix.report.html.page import Advice
from yolo_nanfix.report.words import explains, grouped, many, printable

DOES = {
    Effect.CRASHES: ("stops training with an error", "stop training with an error"),
    Effect.POISONS: ("turns training into NaN", "turn training into NaN"),
    Effect.DROPS: ("is left out by Ultralytics", "are left out by Ultralytics"),
    Effect.GARBAGE: ("is trained on as something else than you see", "are trained on as something else than you see"),
    Effect.REWRITES: ("has labels that Ultralytics changes", "have labels that Ultralytics changes"),
    Effect.ACCEPTS: ("has a defect that Ultralytics trains on", "have defects that Ultralytics trains on"),
}
"""What an effect does to one image, and to several; the worst first."""
MODELS = {"segment": "-seg", "pose": "-pose", "obb": "-obb", "classify": "-cls"}
"""Suffixes of the models of each task."""
PARTS = 3
"""At most this many effects are named in the headline."""
CODES = 8
"""At most this many rules are named in one step."""


def headline(report: Report) -> str:
    """How many images, what is wrong with them, and what that does to training."""
    total = many(sum(counts.get("images", 0) for counts in report.counts.values()), "image")
    if report.choice:
        return f"Of {total} without labels, {_worth_labelling(report)} worth labelling."
    if not report.findings:
        but = ", but for what settings leave out" if any(c.count for c in report.overrides.changes) else ""
        return f"Nothing is wrong with these {total}{but}."
    if report.worst is Severity.INFO:
        return f"Nothing breaks training on these {total}; {many(len(report.findings), 'thing')} may be worth a look."
    serious = [f for f in report.findings if f.severity is not Severity.INFO]
    parts = [DOES[effect][number > 1].join((f"{grouped(number)} ", "")) for effect, number in _by_effect(serious)]
    whole = [f for f in serious if f.image is None]
    if not parts:
        return f"{many(len(whole), 'finding')} about the whole set of {total}: {_effect_on_set(whole)}.{_stop(report)}"
    more = f"; {many(len(whole), 'finding')} more about the whole set" if whole else ""
    return f"Of {total}, {_and(parts)}{more}.{_stop(report)}"


def _stop(report: Report) -> str:
    return "" if report.starts else " Training does not start."


def _worth_labelling(report: Report) -> str:
    """`156 are`, `1 is`, `all are`."""
    kept = sum(choice.keep for choice in report.choice)
    if kept == len(report.choice):
        return "all are" if kept > 1 else "it is"
    return f"{grouped(kept)} {'is' if kept == 1 else 'are'}"


def _effect_on_set(findings: Sequence[Finding]) -> str:
    """What the worst finding about the whole set does."""
    worst = min(findings, key=lambda f: f.severity.rank)
    does = {
        Effect.CRASHES: "training stops with an error",
        Effect.POISONS: "training turns into NaN",
        Effect.GARBAGE: "it is not trained as you see it",
    }
    return does.get(worst.effect, "training runs, perhaps not as well as it could")


def _by_effect(findings: Sequence[Finding]) -> list[tuple[Effect, int]]:
    """The number of images by effect; each image counts for its worst one."""
    worst: dict[str, Effect] = {}
    order = list(DOES)
    for finding in findings:
        if finding.image is not None:
            known = worst.setdefault(finding.image, finding.effect)
            worst[finding.image] = min(known, finding.effect, key=order.index)
    counts = [(effect, sum(one is effect for one in worst.values())) for effect in order]
    return [(effect, number) for effect, number in counts if number][:PARTS]


def _and(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def steps(report: Report, show: Show) -> list[Advice]:
    """What to do, the most urgent step first."""
    return list(_steps_in_order(report, show)) if report.findings or report.choice else []


def _steps_in_order(report: Report, show: Show) -> Iterator[Advice]:
    data = printable(shlex.quote(report.data))
    task = report.said
    met = {finding.code for finding in report.findings}
    deep = " --deep" if any(rule.deep and rule.code in met for rule in show.rules) else ""
    lint = f"yolo-nanfix lint {data}{task}{deep}"
    out = printable(shlex.quote(f"{report.root or report.data}-to-label"))
    fatal = [f for f in report.findings if f.severity is Severity.FATAL]
    if fatal:
        yield _fatal(fatal)
    safe, unsafe, hand = _split(report, show)
    causes = [f for f in (*safe, *unsafe) if f.image is None and report.follows(f)]
    safe, unsafe = ([f for f in found if f not in causes] for found in (safe, unsafe))
    if show.fixable and causes:
        yield _cause(causes[0], report, show, lint)
    if show.fixable and safe:
        yield Advice(
            f"Fix what can be fixed without loss: {_safe_fixes(safe, show)}. Only labels change; --undo reverts it.",
            commands=(f"{lint} --diff", f"{lint} --fix"),
        )
    if show.fixable and unsafe:
        yield Advice(
            f"Look at what would drop rows, clip far or move files, for {many(len(unsafe), 'finding')} "
            f"({_codes(unsafe)}), and do it if you agree.",
            commands=(f"{lint} --diff --unsafe-fixes", f"{lint} --fix --unsafe-fixes"),
        )
    labels = [] if report.choice else [f for f in hand if f.image is not None and f.partner is None]
    if show.fixable and labels:
        yield Advice(
            f"Give {many(len({f.image for f in labels}), 'image')} that a person has to look at "
            f"({_codes(labels)}) to those who label.",
            commands=(f"yolo-nanfix handoff {data} {out} --to cvat{task}{deep}",),
        )
    whole = [f for f in hand if f.image is None]
    if whole:
        yield Advice(f"Fix what concerns the whole set: {_codes(whole)}. Each rule below says how.")
    pairs = [f for f in report.own if f.partner is not None]
    if pairs:
        yield Advice(
            f"Decide which copies to keep: {many(len(pairs), 'pair')} of images below are the same or look alike."
        )
    if report.choice:
        yield Advice(
            "Give what is worth labelling to those who label; what is broken, damaged or a copy stays behind.",
            commands=(f"yolo-nanfix handoff {data} {out} --to cvat --unlabelled",),
        )
        return
    model = f"yolov8n{MODELS.get(report.task, '')}.pt"
    yield Advice("Lint again, then train under the guard.", commands=(lint, f"yolo-nanfix train {data} model={model}"))


def _cause(cause: Finding, report: Report, show: Show, lint: str) -> Advice:
    """The first step if one finding causes many: its fix rewrites all label files."""
    option = show.fixes[cause.code][0].option
    return Advice(
        f"First fix the cause of the rest: {cause.code} {cause.name} {explains(report, cause)}. "
        f"Its fix {show.fixes[cause.code][1]}; look at the diff, and lint again afterwards.",
        commands=(f"{lint} --diff{option.removeprefix('--fix')}", f"{lint} {option}"),
    )


def _safe_fixes(findings: Sequence[Finding], show: Show) -> str:
    """What safe fixes do: some fix a defect only if it is small."""
    sure = show.tried is not None
    whole = [f for f in findings if sure or show.fixes[f.code][0] is Safety.SAFE]
    small = [f for f in findings if not sure and show.fixes[f.code][0] is not Safety.SAFE]
    parts = [f"{many(len(whole), 'finding')} ({_codes(whole)})"] if whole else []
    if small:
        parts.append(f"of {many(len(small), 'finding')} ({_codes(small)}) those that reach 1 % out or less")
    return " and ".join(parts)


def _fatal(fatal: Sequence[Finding]) -> Advice:
    images = {f.image for f in fatal if f.image is not None}
    if images and all(f.image is not None for f in fatal):
        word = "it breaks or poisons" if len(images) == 1 else "they break or poison"
        return Advice(
            f"First fix or remove {many(len(images), 'image')} with fatal findings ({_codes(fatal)}): {word} "
            "training. yolo-nanfix train leaves them out of a run meanwhile."
        )
    return Advice(f"First fix what breaks training: {_codes(fatal)}.")


def _split(report: Report, show: Show) -> tuple[list[Finding], list[Finding], list[Finding]]:
    """The findings above info by how they are fixed: safely, unsafely, by hand."""
    sorts: dict[Safety | None, list[Finding]] = {Safety.SAFE: [], Safety.UNSAFE: [], None: []}
    for finding in report.own:
        safety = _safety(finding, show)
        if finding.severity is not Severity.INFO or safety is Safety.SAFE:
            sorts[safety].append(finding)
    return sorts[Safety.SAFE], sorts[Safety.UNSAFE], sorts[None]


def _safety(finding: Finding, show: Show) -> Safety | None:
    """SAFE, UNSAFE, or None if a person has to fix it: as tried out, else by its rule."""
    if show.tried is not None:
        safe, unsafe = show.tried
        return Safety.SAFE if finding in safe else Safety.UNSAFE if finding in unsafe else None
    safety, _ = show.fixes.get(finding.code, (None, ""))
    return Safety.SAFE if safety is Safety.SAFE_IF_SLIGHT else safety


def _codes(findings: Sequence[Finding]) -> str:
    """`BX004, IM011 and 3 more rules`."""
    codes = sorted({f.code for f in findings})
    more = f" and {len(codes) - CODES} more rules" if len(codes) > CODES + 1 else ""
    return ", ".join(codes[:CODES] if more else codes) + more
