"""What a rule is, and the list of all rules.

A rule is a generator function under `@rule(...)`. It asks for what it needs by parameter name (`config`,
`task`, `images`, `splits`, `labels`, `strays`), yields one `Hit` per defect, and its docstring documents it.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from typing import Any, NamedTuple

from yolo_nanfix.findings import Effect, Finding, Place, Severity

FAMILIES = ("config", "files", "arrays", "images", "pixels", "text", "boxes", "classes")
"""The modules of `yolo_nanfix.linting.rules`, one a family, in the order of the README."""

TASKS = ("detect", "segment", "pose", "obb")
_SECTIONS = ("Why", "Ultralytics", "Example", "Mend")


class Hit(NamedTuple):
    """One defect as a rule sees it; `file`, `line`, `pixel`, `split` and `image` are as in `Finding`."""

    file: str
    message: str
    line: int | None = None
    pixel: tuple[int, int, int] | None = None
    split: str | None = None
    image: str | None = None


Check = Callable[..., Iterator[Hit]]


@dataclass(frozen=True)
class Rule:
    """One rule: its code, the name of the defect, and its documentation.

    Attributes:
        code: two letters and three digits, never reused.
        name: names the defect (`box-side-zero`).
        severity: how much it hurts.
        effect: what Ultralytics does with it.
        title: one line.
        why: why it hurts.
        upstream: what Ultralytics does with it, in a sentence.
        example: what it looks like.
        mend: what to do about it.
        tasks: the tasks whose label format the rule understands.
        check: the function that yields the hits.
    """

    code: str
    name: str
    severity: Severity
    effect: Effect
    title: str
    why: str
    upstream: str
    example: str
    mend: str
    tasks: tuple[str, ...]
    check: Check

    def skipped(self, task: str) -> str | None:
        """Why the rule cannot be asked for this task; None if it can."""
        if task in self.tasks:
            return None
        return f"the rule reads {', '.join(self.tasks)} labels; the task is {task}"

    def run(self, facts: Mapping[str, Any]) -> Iterable[Finding]:
        """Ask the rule; `facts` holds what its parameters may name."""
        wanted = {name: facts[name] for name in inspect.signature(self.check).parameters}
        for hit in self.check(**wanted):
            yield Finding(
                code=self.code,
                name=self.name,
                severity=self.severity,
                effect=self.effect,
                place=Place(hit.file, hit.line, hit.pixel),
                message=hit.message,
                mend=self.mend,
                split=hit.split,
                image=hit.image,
            )


_registry: dict[str, Rule] = {}


def rule(
    code: str, name: str, severity: Severity, effect: Effect, tasks: tuple[str, ...] = TASKS
) -> Callable[[Check], Check]:
    """Register a function as a rule; its docstring must have a title line and all four sections."""

    def register(check: Check) -> Check:
        title, sections = _parse(inspect.getdoc(check) or "")
        missing = [s for s in _SECTIONS if not sections.get(s)]
        if missing or not title or not re.fullmatch(r"[A-Z]{2}\d{3}", code) or code in _registry:
            raise TypeError(f"rule {code}: the docstring lacks {missing}, or the code is malformed or taken")
        why, upstream, example, mend = (sections[s] for s in _SECTIONS)
        _registry[code] = Rule(code, name, severity, effect, title, why, upstream, example, mend, tasks, check)
        return check

    return register


def _parse(doc: str) -> tuple[str, dict[str, str]]:
    """Title and sections of a rule's docstring, each folded to one line with a capital first letter."""
    title, _, body = doc.partition("\n")
    parts = re.split(rf"^({'|'.join(_SECTIONS)}):", body, flags=re.MULTILINE)
    texts = [" ".join(text.split()) for text in parts[2::2]]
    return title.strip(), {key: text[:1].upper() + text[1:] for key, text in zip(parts[1::2], texts, strict=True)}


@lru_cache(maxsize=1)
def all_rules() -> tuple[Rule, ...]:
    """Every rule, by family and code."""
    for family in FAMILIES:
        import_module(f"yolo_nanfix.linting.rules.{family}")
    return tuple(_registry.values())
