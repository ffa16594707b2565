"""Which operation, module, line, tensor and images a verdict names, once its cause is known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from yolo_nanfix.diagnosis.evidence import Evidence
from yolo_nanfix.verdicts import Cause, Verdict

GROUPS = "optimizer.groups."
"""How the names of settings of parameter groups begin."""


def images(evidence: Evidence) -> tuple[str, ...]:
    """The guilty images; where a label row of theirs was traced to a mosaic parent, that one instead.

    Where there was no time to ask image by image: those whose pixels the run's dtype cannot hold, or, where the trace
    leads to pixels or targets, those that look sick.
    """
    found = (
        evidence.guilt.images
        or evidence.scan.beyond
        or (evidence.scan.images() if evidence.leaf.startswith("batch.") else ())
    )
    guilty = [file for i in found if i < len(evidence.files) for file in _blamed_files(evidence, i)]
    parents = {origin.image for origin in evidence.origins} - set(evidence.files)
    return tuple(sorted(parents)) if parents else tuple(guilty)


def _blamed_files(evidence: Evidence, image: int) -> list[str]:
    """Those files of an image of the batch that are sick on disk; its own where that is not known."""
    sources = evidence.facts.get("sources") or ()
    blamed = sources[image].get("blamed") if image < len(sources) else None
    return list(map(str, blamed)) if blamed else [evidence.files[image]]


def group_setting(number: Any, name: Any) -> str:
    """How a verdict names a setting of a parameter group of the optimizer."""
    return f"{GROUPS}{number}.{name}"


def named(verdict: Verdict, evidence: Evidence, setting: str = "") -> Verdict:
    """With op, module and line, as the trace gave them; `setting` is the name of the one to blame, if one is."""
    if verdict.cause is Cause.NONDETERMINISTIC:
        return replace(verdict, images=(), labels=())
    if verdict.cause is Cause.SETTING:
        return _named_setting(verdict, evidence, setting)
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
    note, leaf = roots[0].note, roots[0].leaf
    return replace(
        verdict,
        op=note.op,
        module=note.module,
        code=note.code,
        phase=note.phase,
        dtype=note.dtype,
        tensor=leaf.name if leaf else _state_tensor(evidence) if verdict.cause is Cause.STATE else "",
    )


def _state_tensor(evidence: Evidence) -> str:
    return evidence.kept_root or (evidence.scan.state[:1] or (large_weight(evidence),))[0]


def _named_setting(verdict: Verdict, e: Evidence, setting: str) -> Verdict:
    """Of settings nothing else is to blame, whatever the trace leads to."""
    named = replace(verdict, images=(), labels=(), tensor=setting)
    if setting.startswith(GROUPS):
        return replace(named, module="optimizer", phase="step")
    roots = e.roots()
    note = roots[0].note if roots else None
    if note is None:
        return named
    return replace(named, op=note.op, module=note.module, code=note.code, phase=note.phase, dtype=note.dtype)


def large_weight(e: Evidence) -> str:
    """The first weight that somebody made large, or empty."""
    jumped = e.growth.jumped if e.growth is not None and e.growth.was_set else ()
    return next(iter((*e.large, *jumped)), "")
