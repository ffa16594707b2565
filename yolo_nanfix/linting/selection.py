"""Which rules are asked, how severe they are and where: the wishes of a user, checked and joined.

Wishes come in layers: first those of a settings file, then those of the command line or of the call. Within a layer
the closest word wins (a code or name over a longer prefix over a shorter one over ALL), and at the same length
`ignore` wins. A layer that has `select` starts from nothing; one that has not changes what the layers before it chose.
Findings are chosen after the rules were asked, so that what is remembered of a file does not depend on wishes.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any

from yolo_nanfix.dataset.globs import matches
from yolo_nanfix.errors import UsageError, nearest
from yolo_nanfix.findings import Finding, Report, Severity, match
from yolo_nanfix.linting.registry import TASKS, all_rules
from yolo_nanfix.shown import shown

KEYS = (
    "select", "ignore", "extend-select", "per-path-ignores", "severity", "task", "imgsz", "deep", "baseline", "root",
)  # fmt: skip
"""What the settings of lint may hold."""
_EXACT = 5


@dataclass(frozen=True)
class Wishes:
    """One layer of settings; what is None or empty was not said.

    Attributes:
        select: ask these rules only: codes, prefixes of codes, names or ALL.
        extend_select: ask these too.
        ignore: leave these out.
        per_path_ignores: leave rules out for files that match a glob.
        severity: another severity for the rules that a word names.
        task, imgsz, deep, root: as in `LintOptions`.
        baseline: the file whose findings are known.
        folder: where globs and relative paths start.
        file: the settings file that says it; empty for the command or call itself.
        prefix: what stands before the name of a key where it is named (`lint.`, `--`).
    """

    select: tuple[str, ...] | None = None
    extend_select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    per_path_ignores: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    severity: Mapping[str, Severity] = field(default_factory=dict)
    task: str | None = None
    imgsz: int | None = None
    root: Path | None = None
    deep: bool | None = None
    baseline: Path | None = None
    folder: Path = Path()
    file: str = ""
    prefix: str = ""

    @property
    def narrows(self) -> bool:
        """Whether it may take findings out of a report, or give them another severity."""
        return self.select is not None or bool(self.ignore or self.per_path_ignores or self.severity)

    @cached_property
    def starts(self) -> tuple[str, ...]:
        """The folder as written and as it is on disk, with a final slash."""
        paths = (self.folder.absolute().as_posix(), self.folder.resolve().as_posix())
        return tuple(dict.fromkeys(f"{path.rstrip('/')}/" for path in paths))


def read_wishes(values: Mapping[str, Any], source: str, folder: Path, file: str = "") -> Wishes:
    """Check one layer.

    Args:
        values: by the names in `KEYS`; None for what was not said.
        source: what stands before a key's name where it is said that it is wrong.
        folder: where its globs and paths start.
        file: the settings file; empty for the command or call itself.

    Raises:
        UsageError: a key, code, level or type is wrong, with the nearest that is right.
    """
    said = {key: value for key, value in values.items() if value is not None}
    for key in said:
        if key not in KEYS:
            raise UsageError(f"{source}{key} is not a setting of lint; {nearest(key, KEYS)}")
    lists = {key: _words(f"{source}{key}", said[key]) for key in ("select", "ignore", "extend-select") if key in said}
    where, table = f"{source}per-path-ignores", _mapping(source, said, "per-path-ignores")
    paths = {glob: _words(f"{where} '{glob}'", words) for glob, words in table.items()}
    where, table = f"{source}severity", _mapping(source, said, "severity")
    levels = {_word(where, word): _level(f"{where} '{word}'", level) for word, level in table.items()}
    baseline = _typed(source, said, "baseline", (str, Path), "the path of a file")
    root = _typed(source, said, "root", (str, Path), "the path of a folder")
    return Wishes(
        select=lists.get("select"),
        extend_select=lists.get("extend-select", ()),
        ignore=lists.get("ignore", ()),
        per_path_ignores=paths,
        severity=levels,
        task=_task(source, said),
        imgsz=_imgsz(source, said),
        deep=_typed(source, said, "deep", (bool,), "true or false"),
        baseline=None if baseline is None else folder / baseline,
        root=None if root is None else _folder(source, folder / root),
        folder=folder,
        file=file,
        prefix="lint." if file else source,
    )


@dataclass(frozen=True)
class Selection:
    """Layers of wishes, the later ones winning."""

    layers: tuple[Wishes, ...] = ()

    def first(self, name: str) -> Any:
        """The value of one wish in the last layer that has it; None if none has."""
        layer = self.says(name)
        return None if layer is None else getattr(layer, name)

    def says(self, name: str) -> Wishes | None:
        """The last layer that has one wish; None if none has."""
        return next((layer for layer in reversed(self.layers) if getattr(layer, name) is not None), None)

    @cached_property
    def codes(self) -> frozenset[str]:
        """The codes of the rules that are wanted."""
        return frozenset(rule.code for rule in all_rules() if self.leaves_out(rule.code, rule.name) is None)

    def keeps(self, finding: Finding) -> bool:
        """Whether a finding is wanted: its rule is, and no ignore for its path is in the way."""
        return finding.code in self.codes and self.ignoring(finding) is None

    def ignored_on_purpose(self, finding: Finding) -> bool:
        """Whether an ignore names the rule itself, by its code or name, for everything or for this path."""
        everywhere = (match(word, finding.code, finding.name) for layer in self.layers for word in layer.ignore)
        return _EXACT in everywhere or self.ignoring(finding, _EXACT) is not None

    def severity(self, finding: Finding) -> Severity:
        """The severity that the user gives to a finding, or its own."""
        layer, word = self.levels(finding)
        return finding.severity if layer is None else layer.severity[word]

    def levels(self, finding: Finding) -> tuple[Wishes | None, str]:
        """The layer that gives a finding its severity, and by which word; None where it has its own."""
        if finding.code not in self._levels:
            self._levels[finding.code] = self._level(finding.code, finding.name)
        return self._levels[finding.code]

    @cached_property
    def _levels(self) -> dict[str, tuple[Wishes | None, str]]:
        """What gives a rule its severity, as far as it was asked for."""
        return {}

    def _level(self, code: str, name: str) -> tuple[Wishes | None, str]:
        for layer in reversed(self.layers):
            near = max(layer.severity, key=lambda word: match(word, code, name), default=None)
            if near is not None and match(near, code, name) >= 0:
                return layer, near
        return None, ""

    def apply(self, report: Report) -> Report:
        """The report with the wanted findings at the wanted severities, and with the wanted rules that were skipped."""
        kept = (finding for finding in report.findings if self.keeps(finding))
        if any(layer.severity for layer in self.layers):
            kept = (replace(finding, severity=self.severity(finding)) for finding in kept)
        skipped = tuple((code, reason) for code, reason in report.skipped if code in self.codes)
        return replace(report, findings=tuple(kept), skipped=skipped)

    def leaves_out(self, code: str, name: str) -> tuple[Wishes, str] | None:
        """The layer that leaves a rule out, and its key; None where the rule is wanted."""
        out: tuple[Wishes, str] | None = None
        for layer in self.layers:
            chosen = _closest((*(layer.select or ()), *layer.extend_select), code, name)
            ignored = _closest(layer.ignore, code, name)
            if layer.select is not None or max(chosen, ignored) >= 0:
                out = None if chosen > ignored else (layer, "ignore" if ignored >= 0 else "select")
        return out

    def ignoring(self, finding: Finding, closeness: int = 0) -> tuple[Wishes, str] | None:
        """The layer and the glob that ignore the rule of a finding for its place or its image; None if none do.

        `closeness`: so close the word must be that names the rule.
        """
        for layer in self.layers:
            for glob, ignored in layer.per_path_ignores.items():
                if any(match(word, finding.code, finding.name) >= closeness for word in ignored) and any(
                    _lies_under(glob, file, layer.starts) for file in (finding.place.file, finding.image) if file
                ):
                    return layer, glob
        return None


def _closest(words: Iterable[str], code: str, name: str) -> int:
    return max((match(word, code, name) for word in words), default=-1)


def _lies_under(glob: str, file: str, starts: tuple[str, ...]) -> bool:
    """Whether a glob matches a file: its path from a start on, its whole path or, without a slash, any part of it."""
    path = file.replace(os.sep, "/")
    inside = next((path.removeprefix(start) for start in starts if path.startswith(start)), path)
    if "/" not in glob.rstrip("/"):
        return any(matches(glob, part) for part in inside.split("/"))
    return matches(glob, inside) or matches(glob, path)


def _words(where: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, (list, tuple)) or not all(isinstance(word, str) for word in value):
        raise UsageError(f"{where} must be a list of rule codes, not {shown(value)}")
    return tuple(_word(where, word.strip()) for word in value)


def _word(where: str, word: str) -> str:
    """A word that names at least one rule."""
    rules = all_rules()
    if any(match(word, rule.code, rule.name) >= 0 for rule in rules):
        return word
    known = [name for rule in rules for name in (rule.code, rule.name)]
    near = get_close_matches(word.upper(), known, 1) or get_close_matches(word.lower(), known, 1)
    hint = f"did you mean '{near[0]}'?" if near else "'yolo-nanfix rule --all' lists them"
    raise UsageError(f"{where}: '{word}' names no rule; {hint}")


def _level(where: str, value: Any) -> Severity:
    levels = [severity.value for severity in Severity]
    if value not in levels:
        raise UsageError(f"{where}: '{value}' is no severity; {nearest(str(value), levels)}")
    return Severity(value)


def _mapping(source: str, said: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = said.get(key, {})
    if isinstance(value, dict) and all(isinstance(name, str) for name in value):
        return value
    raise UsageError(f"{source}{key} must be a mapping, not {shown(value)}")


def _typed(source: str, said: Mapping[str, Any], key: str, types: tuple[type, ...], wanted: str) -> Any:
    value = said.get(key)
    if value is None or isinstance(value, types):
        return value
    raise UsageError(f"{source}{key} must be {wanted}, not {shown(value)}")


def _task(source: str, said: Mapping[str, Any]) -> str | None:
    task = said.get("task")
    if task is None or task in TASKS:
        return task
    raise UsageError(f"{source}task: '{task}' is unknown; {nearest(str(task), TASKS)}")


def _folder(source: str, path: Path) -> Path:
    if path.is_dir():
        return path
    raise UsageError(f"{source}root: there is no folder {path}; it is the one that the paths of the splits start from")


def _imgsz(source: str, said: Mapping[str, Any]) -> int | None:
    size = said.get("imgsz")
    if size is None or (type(size) is int and size > 0):
        return size
    raise UsageError(f"{source}imgsz must be a whole number of pixels above 0, not {shown(size)}")
