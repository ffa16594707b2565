"""What a rule is, and the list of all rules.

A rule is a generator function under `@rule(...)`. It takes what it needs by parameter name, yields one `Hit` per
defect, and its docstring documents it. There are two kinds:

- rules about single files ask for `images`, for the `unusual` ones among them (see `Image.usual`) or for `labels`. They
  run on one part of the dataset after the other, in several processes, and their hits are cached as long as the
  file, its label file and data.yaml stay the same;
- rules about the whole set ask for `table`, `fates` (see `fates.Fates`), `survey`, `folders` or `notes`, or
  for none. They run once, at the end.

Both may ask for `config`, `task` and `options`.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib import import_module
from typing import Any, NamedTuple

from yolo_nanfix.dataset.options import LABELLED as LABELLED
from yolo_nanfix.dataset.options import TASKS as TASKS
from yolo_nanfix.dataset.options import UNLABELLED, LintOptions
from yolo_nanfix.findings import Effect, Finding, Place, RuleText, Severity, Skip, frozen
from yolo_nanfix.linting.autofix.operations import Autofix

FAMILIES = (
    "data_yaml", "file_set", "names", "class_folders", "image_headers", "turned", "pixels", "label_text", "boxes",
    "systematic", "outliers", "polygons", "keypoints", "oriented", "classes", "class_order", "splits", "annotations",
)  # fmt: skip
"""The modules of `yolo_nanfix.linting.rules`, one a family, in the order of the README."""

ABOUT_FILES = frozenset(("images", "unusual", "labels"))
"""What rules about single files ask for."""
WITHOUT_LABELS = ("FS", "IM", "SP")
"""Families whose rules are asked about images without labels, if they read the datasets of all tasks."""
ABOUT_TRAINING = frozenset(("FS055", "FS056", "SP008", "SP009"))
"""Rules that speak of a training, which nobody plans on images without labels."""
_SECTIONS = ("Why", "Ultralytics", "Example", "Fix")


class Hit(NamedTuple):
    """One defect as a rule sees it: its file, place, split and image, as in `Finding`.

    `says` is a constant text with the names of `values` in braces (`wording.sentence`). A hit of a rule over the whole
    set may also say which other findings follow from it, and that it is milder or worse than most of its rule.

    Attributes:
        explains: the codes of the rules whose findings follow from it, in its split if it has one.
        explains_in: the label or image files that they must be about; None for all.
        explains_not: places (file, line) with a defect of their own, which it does not explain.
        severity, effect: if not those of the rule.
    """

    file: str
    says: str
    line: int | None = None
    pixel: tuple[int, int, int] | None = None
    split: str | None = None
    image: str | None = None
    values: Mapping[str, Any] = {}
    related: tuple[Place, ...] = ()
    explains: tuple[str, ...] = ()
    explains_in: frozenset[str] | None = None
    explains_not: frozenset[tuple[str, int]] = frozenset()
    severity: Severity | None = None
    effect: Effect | None = None


Check = Callable[..., Iterator[Hit]]


@dataclass(frozen=True)
class Rule(RuleText):
    """One rule.

    Attributes:
        autofix: what `lint --fix` does about it; None if a person has to.
        check: the function that yields the hits.
    """

    autofix: Autofix | None
    check: Check

    @cached_property
    def asks(self) -> tuple[str, ...]:
        """What the rule asks for, by name."""
        code = self.check.__code__
        return code.co_varnames[: code.co_argcount]

    @cached_property
    def about_files(self) -> bool:
        """Whether the rule is about single files, not about the whole set."""
        return not ABOUT_FILES.isdisjoint(self.asks)

    def skipped(self, options: LintOptions) -> Skip | None:
        """Why the rule is not asked under these options; None if it is."""
        if options.settled == UNLABELLED:
            if self.code[:2] not in WITHOUT_LABELS or self.code in ABOUT_TRAINING or set(self.tasks) < set(TASKS):
                return Skip.UNLABELLED
        elif options.settled not in self.tasks:
            return Skip.OTHER_TASK
        return Skip.DEEP if self.deep and not options.deep else None

    def run(self, facts: Mapping[str, Any], causes: list[tuple[str, Hit]]) -> Iterable[Finding]:
        """Run the rule on `facts`, by parameter name; hits that explain others are added to `causes`."""
        wanted = {name: facts[name] for name in self.asks}
        for hit in self.check(**wanted):
            if hit.explains:
                causes.append((self.code, hit))
            yield self.finding(hit)

    def finding(self, hit: Hit) -> Finding:
        """A hit of this rule as a finding."""
        return Finding(
            code=self.code,
            name=self.name,
            severity=hit.severity or self.severity,
            effect=hit.effect or self.effect,
            place=Place(hit.file, hit.line, hit.pixel),
            says=hit.says,
            fix=self.fix,
            split=hit.split,
            image=hit.image,
            values=frozen(hit.values),
            related=hit.related,
        )


_registry: dict[str, Rule] = {}


def rule(
    code: str,
    severity: Severity,
    effect: Effect,
    tasks: tuple[str, ...] | None = None,
    *,
    deep: bool = False,
    autofix: Autofix | None = None,
) -> Callable[[Check], Check]:
    """Register a function as the rule of its name; its docstring must have a title line and all four sections.

    Args:
        code, severity, effect, tasks, deep, autofix: as in `Rule`; `tasks` is by default all, and for a
            rule that asks for `labels` all that have label files.
    """

    def register(check: Check) -> Check:
        title, sections = _parse(inspect.getdoc(check) or "")
        missing = [s for s in _SECTIONS if not sections.get(s)]
        if missing or not title or not re.fullmatch(r"[A-Z]{2}\d{3}", code) or code in _registry:
            raise TypeError(f"rule {code}: the docstring lacks {missing}, or the code is malformed or taken")
        why, upstream, example, fix = (sections[s] for s in _SECTIONS)
        asked = check.__code__.co_varnames[: check.__code__.co_argcount]
        known = tasks or (LABELLED if "labels" in asked else TASKS)
        if ABOUT_FILES & set(asked) and {"table", "survey"} & set(asked):
            raise TypeError(f"rule {code} asks for single files and for the whole set")
        texts = (title, why, upstream, example, fix)
        name = check.__name__.replace("_", "-")
        _registry[code] = Rule(code, name, severity, effect, *texts, known, deep, autofix, check)
        return check

    return register


def _parse(doc: str) -> tuple[str, dict[str, str]]:
    """Title and sections of a rule's docstring, each folded to one line that begins as a sentence does."""
    title, _, body = doc.partition("\n")
    parts = re.split(rf"^({'|'.join(_SECTIONS)}):", body, flags=re.MULTILINE)
    texts = [" ".join(text.split()) for text in parts[2::2]]
    return title.strip(), {key: _sentence(text) for key, text in zip(parts[1::2], texts, strict=True)}


def _sentence(text: str) -> str:
    """With a capital first letter, unless the first word is the name of a file or folder."""
    first = text.partition(" ")[0]
    return text if re.search(r"[/_]|\.\w", first) else text[:1].upper() + text[1:]


@lru_cache(maxsize=1)
def all_rules() -> tuple[Rule, ...]:
    """Every rule, by family and code."""
    for family in FAMILIES:
        import_module(f"yolo_nanfix.linting.rules.{family}")
    place = {f"yolo_nanfix.linting.rules.{family}": number for number, family in enumerate(FAMILIES)}
    return tuple(sorted(_registry.values(), key=lambda rule: place.get(rule.check.__module__, len(place))))


@lru_cache(maxsize=1)
def autofixes() -> Mapping[str, Autofix]:
    """The autofix of each rule that has one, by its code."""
    return {rule.code: rule.autofix for rule in all_rules() if rule.autofix is not None}
