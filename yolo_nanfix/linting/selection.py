"""The settings of lint, checked and joined: which rules apply where, and how severe they are.

Settings come in layers: first those of a settings file, then those of the command line or of the call. Within a layer
the most specific word wins (a code or name over a longer prefix over a shorter one over ALL), on a tie `ignore`. A
layer with `select` starts from nothing; one without it changes what the layers before it selected. Findings are
selected after the rules were run, so that the cache does not depend on settings.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from yolo_nanfix.dataset.globs import matches
from yolo_nanfix.dataset.options import LintOptions
from yolo_nanfix.errors import UsageError, close, nearest
from yolo_nanfix.findings import Finding, Report, Severity, match
from yolo_nanfix.linting.registry import all_rules
from yolo_nanfix.overrides import Override, Overrides, SettingsFile, What
from yolo_nanfix.tasks import TASKS
from yolo_nanfix.wording import cut, shown

OPTIONS = ("task", "imgsz", "deep", "root")
"""Settings that become `LintOptions`."""
_EXACT = 5


@dataclass(frozen=True, eq=False)
class LintSettings:
    """One layer of settings; None or empty if not given.

    Attributes:
        select: use these rules only: codes, prefixes of codes, names or ALL.
        extend_select: use these too.
        ignore: do not use these.
        per_path_ignores: by glob, rules to ignore in files that match it.
        severity: another severity for the rules that a word names.
        task, imgsz, deep, root: as in `LintOptions`.
        baseline: the file of known findings.
        folder: where globs and relative paths start.
        file: the settings file; None for the command or call itself.
        prefix: what precedes the name of a setting in messages (`lint.`, `--`).
    """

    select: tuple[str, ...] | None = None
    extend_select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    per_path_ignores: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    severity: Mapping[str, Severity] = field(default_factory=dict)
    task: str | None = None
    imgsz: int | None = None
    deep: bool | None = None
    root: Path | None = None
    baseline: Path | None = None
    folder: Path = Path()
    file: SettingsFile | None = None
    prefix: str = ""

    @property
    def narrows(self) -> bool:
        """Whether it may remove findings from a report, or change their severity."""
        return self.select is not None or bool(self.ignore or self.per_path_ignores or self.severity)

    @cached_property
    def starts(self) -> tuple[str, ...]:
        """The folder as written and as it is on disk, with a final slash."""
        paths = (self.folder.absolute().as_posix(), self.folder.resolve().as_posix())
        return tuple(dict.fromkeys(f"{path.rstrip('/')}/" for path in paths))

    def override(self, what: What, key: str, findings: Iterable[Finding] = (), **more: Any) -> Override:
        """What one setting of the layer changes, in how many findings; `more` are fields of `Override`."""
        found = [finding.severity is Severity.FATAL for finding in findings]
        source = self.file.file if self.file is not None else ""
        return Override(what, source, f"{self.prefix}{key}", **{"count": len(found), "fatal": sum(found), **more})


def read_settings(
    values: Mapping[str, Any], source: str, folder: Path, file: SettingsFile | None = None
) -> LintSettings:
    """Check one layer.

    Args:
        values: by the names in `KEYS`; None if not given.
        source: what precedes the name of a key in messages.
        folder: where its globs and paths start.
        file: the settings file; None for the command or call itself.

    Raises:
        UsageError: a key, code, level or type is wrong; the message names the nearest valid one.
    """
    given = {key: value for key, value in values.items() if value is not None}
    if wrong := next((key for key in given if key not in KEYS), None):
        raise UsageError(f"{source}{wrong} is not a setting of lint; {nearest(wrong, KEYS)}")
    checked = {key.replace("-", "_"): _READERS[key](f"{source}{key}", value) for key, value in given.items()}
    for name in {"baseline", "root"} & set(checked):
        checked[name] = folder / checked[name]
    layer = LintSettings(**checked, folder=folder, file=file, prefix="lint." if file else source)
    if layer.root is not None and not layer.root.is_dir():
        wanted = "it is the one that the paths of the splits start from"
        raise UsageError(f"{source}root: there is no folder {layer.root}; {wanted}")
    return layer


@dataclass(frozen=True)
class Selection:
    """Layers of settings, the later ones winning."""

    layers: tuple[LintSettings, ...] = ()

    @property
    def options(self) -> LintOptions:
        """The options of lint."""
        layers = {name: layer for name in OPTIONS if (layer := self.says(name)) is not None}
        return LintOptions(**{name: getattr(layer, name) for name, layer in layers.items()})

    def says(self, name: str) -> LintSettings | None:
        """The last layer that has one setting; None if none has."""
        return next((layer for layer in reversed(self.layers) if getattr(layer, name) is not None), None)

    @cached_property
    def codes(self) -> frozenset[str]:
        """The codes of the selected rules."""
        return frozenset(rule.code for rule in all_rules() if self.leaves_out(rule.code, rule.name) is None)

    def keeps(self, finding: Finding) -> bool:
        """Whether a finding is selected: its rule is, and not ignored for its path."""
        return finding.code in self.codes and self.ignoring(finding) is None

    def ignored_on_purpose(self, finding: Finding) -> bool:
        """Whether an ignore names the rule itself, by its code or name, for everything or for this path."""
        everywhere = (match(word, finding.code, finding.name) for layer in self.layers for word in layer.ignore)
        return _EXACT in everywhere or self.ignoring(finding, _EXACT) is not None

    def severity(self, finding: Finding) -> Severity:
        """The severity that the user gives to a finding, or its own."""
        layer, word = self.levels(finding)
        return finding.severity if layer is None else layer.severity[word]

    def levels(self, finding: Finding) -> tuple[LintSettings | None, str]:
        """The layer that gives a finding its severity, and the word in it; None if it has its own."""
        if finding.code not in self._levels:
            self._levels[finding.code] = self._level(finding.code, finding.name)
        return self._levels[finding.code]

    @cached_property
    def _levels(self) -> dict[str, tuple[LintSettings | None, str]]:
        """The answers of `_level`, by code."""
        return {}

    def _level(self, code: str, name: str) -> tuple[LintSettings | None, str]:
        for layer in reversed(self.layers):
            near = max(layer.severity, key=lambda word: match(word, code, name), default=None)
            if near is not None and match(near, code, name) >= 0:
                return layer, near
        return None, ""

    def apply(self, report: Report) -> Report:
        """The report with the selected findings at the severities of the settings, and the selected skipped rules."""
        kept = (finding for finding in report.findings if self.keeps(finding))
        if any(layer.severity for layer in self.layers):
            kept = (replace(finding, severity=self.severity(finding)) for finding in kept)
        skipped = tuple(pair for pair in report.skipped if pair[0] in self.codes)
        return replace(report, findings=tuple(kept), skipped=skipped)

    def leaves_out(self, code: str, name: str) -> tuple[LintSettings, str] | None:
        """The layer that deselects a rule, and its key; None if the rule is selected."""
        out: tuple[LintSettings, str] | None = None
        for layer in self.layers:
            chosen = _closest((*(layer.select or ()), *layer.extend_select), code, name)
            ignored = _closest(layer.ignore, code, name)
            if layer.select is not None or max(chosen, ignored) >= 0:
                out = None if chosen > ignored else (layer, "ignore" if ignored >= 0 else "select")
        return out

    def ignoring(self, finding: Finding, closeness: int = 0) -> LintSettings | None:
        """The layer that ignores the rule of a finding for its place or its image; None if none does.

        `closeness`: how specific the word for the rule must be at least, see `findings.match`.
        """
        for layer in self.layers:
            for glob, ignored in layer.per_path_ignores.items():
                if any(match(word, finding.code, finding.name) >= closeness for word in ignored) and any(
                    _lies_under(glob, file, layer.starts) for file in (finding.place.file, finding.image) if file
                ):
                    return layer
        return None

    def changes(self, report: Report, keeps: Callable[[Finding], bool] | None = None) -> Iterator[Override]:
        """What the settings change in a report, each with its settings file or option.

        Args:
            report: with all findings, at the severities of their rules.
            keeps: whether a finding stays; by default `Selection.keeps`.
        """
        if any(layer.narrows for layer in self.layers):
            wanted = list(map(keeps or self.keeps, report.findings))
            pairs = list(zip(report.findings, wanted, strict=True))
            yield from self._left_out([finding for finding, stays in pairs if not stays])
            yield from self._other_severities([finding for finding, stays in pairs if stays])
        for name in OPTIONS:
            layer = self.says(name)
            if layer is not None and layer.file is not None:
                value = getattr(layer, name)
                text = str(value).lower() if isinstance(value, bool) else str(value)
                yield layer.override(What.OPTION, name, value=text)

    def _left_out(self, hidden: list[Finding]) -> Iterator[Override]:
        """The deselected rules and the globs, each with the findings that they remove."""
        off = {rule.code: out for rule in all_rules() if (out := self.leaves_out(rule.code, rule.name)) is not None}
        for layer, key in dict.fromkeys(off.values()):
            names = tuple(sorted(code for code, out in off.items() if out == (layer, key)))
            words = cut(", ".join((layer.ignore if key == "ignore" else layer.select) or ()))
            found = (finding for finding in hidden if off.get(finding.code) == (layer, key))
            yield layer.override(What.RULES_OFF, key, found, names=names, value=words)
        for layer in (layer for layer in self.layers if layer.per_path_ignores):
            found = (f for f in hidden if f.code not in off and self.ignoring(f) is layer)
            yield layer.override(What.PATHS_OFF, "per-path-ignores", found, names=tuple(layer.per_path_ignores))

    def _other_severities(self, kept: list[Finding]) -> Iterator[Override]:
        """The changed severities; the fatal findings among them are those that are fatal by their rule."""
        for layer in (layer for layer in self.layers if layer.severity):
            names = tuple(f"{word}={level.value}" for word, level in layer.severity.items())
            found = (f for f in kept if self.levels(f)[0] is layer and self.severity(f) is not f.severity)
            yield layer.override(What.SEVERITY, "severity", found, names=names)

    def trained(self, findings: Iterable[Finding], *, taken: bool = True) -> Iterator[Override]:
        """The images with fatal findings that are trained on because their rules are ignored on purpose.

        Args:
            findings: the ignored ones.
            taken: False if they are not trained on, because these settings came with the dataset.
        """
        images: dict[tuple[LintSettings, str], dict[str, set[str]]] = {}
        for finding in findings:
            if finding.severity is Severity.FATAL and finding.image is not None:
                out = self.leaves_out(finding.code, finding.name)
                if out is None and (layer := self.ignoring(finding)) is not None:
                    out = layer, "per-path-ignores"
                if out is not None:
                    images.setdefault(out, {}).setdefault(finding.image, set()).add(finding.code)
        for (layer, key), found in images.items():
            names = tuple(sorted(set().union(*found.values())))
            yield layer.override(What.FATAL_TRAINED, key, names=names, count=len(found), taken=taken)


def without_root(layer: LintSettings) -> tuple[LintSettings, Overrides]:
    """A layer that came with a dataset, without `root`: training does not use it."""
    if layer.root is None:
        return layer, Overrides()
    unused = layer.override(What.OPTION, "root", value=str(layer.root), taken=False)
    return replace(layer, root=None), Overrides(changes=(unused,))


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
    near = close(word, (name for rule in rules for name in (rule.code, rule.name)))
    hint = f"did you mean '{near}'?" if near else "'yolo-nanfix rule --all' lists them"
    raise UsageError(f"{where}: '{word}' names no rule; {hint}")


def _mapping(where: str, value: Any) -> Mapping[str, Any]:
    if isinstance(value, dict) and all(isinstance(name, str) for name in value):
        return value
    raise UsageError(f"{where} must be a mapping, not {shown(value)}")


def _paths(where: str, value: Any) -> Mapping[str, tuple[str, ...]]:
    return {glob: _words(f"{where} '{glob}'", words) for glob, words in _mapping(where, value).items()}


def _levels(where: str, value: Any) -> Mapping[str, Severity]:
    levels = [severity.value for severity in Severity]
    for word, level in _mapping(where, value).items():
        _word(where, word)
        if level not in levels:
            raise UsageError(f"{where} '{word}': '{level}' is no severity; {nearest(str(level), levels)}")
    return {word: Severity(level) for word, level in value.items()}


def _task(where: str, value: Any) -> str:
    if value in TASKS:
        return str(value)
    raise UsageError(f"{where}: '{value}' is unknown; {nearest(str(value), TASKS)}")


def _imgsz(where: str, value: Any) -> int:
    if type(value) is int and value > 0:
        return value
    raise UsageError(f"{where} must be a whole number of pixels above 0, not {shown(value)}")


def _typed(wanted: str, *types: type) -> Callable[[str, Any], Any]:
    def read(where: str, value: Any) -> Any:
        if isinstance(value, types):
            return value
        raise UsageError(f"{where} must be {wanted}, not {shown(value)}")

    return read


_READERS: dict[str, Callable[[str, Any], Any]] = {
    "select": _words,
    "ignore": _words,
    "extend-select": _words,
    "per-path-ignores": _paths,
    "severity": _levels,
    "task": _task,
    "imgsz": _imgsz,
    "deep": _typed("true or false", bool),
    "baseline": _typed("the path of a file", str, Path),
    "root": _typed("the path of a folder", str, Path),
}
KEYS = tuple(_READERS)
"""The names of the settings of lint."""
