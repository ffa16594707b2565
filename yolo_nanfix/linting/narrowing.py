"""What the wishes of a user take out of a report, each with the settings file or option that says so."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from yolo_nanfix.findings import Finding, Report, Severity
from yolo_nanfix.linting.registry import all_rules
from yolo_nanfix.linting.selection import Selection, Wishes
from yolo_nanfix.overrides import Override, Overrides, What
from yolo_nanfix.shown import cut

OPTIONS = ("task", "imgsz", "deep", "root")
"""Wishes that have a value; those of the command itself are said elsewhere, or seen in what comes out."""


def narrowed(selection: Selection, report: Report, keeps: Callable[[Finding], bool] | None = None) -> Overrides:
    """What a selection changes of a report.

    Args:
        selection: the wishes.
        report: with all findings, at the severities of their rules.
        keeps: whether a finding stays; by default as the selection says.
    """
    if not any(layer.narrows for layer in selection.layers):
        return Overrides(changes=tuple(_options(selection)))
    keeps = keeps or selection.keeps
    hidden = [finding for finding in report.findings if not keeps(finding)]
    gone = set(map(id, hidden))
    kept = [finding for finding in report.findings if id(finding) not in gone]
    changes = (*_rules(selection, hidden), *_paths(selection, hidden), *_severities(selection, kept))
    return Overrides(changes=(*changes, *_options(selection)))


def left_out(what: What, layer: Wishes, key: str, before: Report, after: Report, value: str = "") -> Override:
    """What a step takes out of a report.

    Args:
        what: the kind of the step.
        layer: whose wish it is.
        key: the name of the wish.
        before, after: the report without it and with it.
        value: what the wish says.
    """
    count, fatal = (len(before.findings) - len(after.findings), _fatal(before.findings) - _fatal(after.findings))
    return Override(what, layer.file, f"{layer.prefix}{key}", value=value, count=count, fatal=fatal)


def trained(selection: Selection, findings: Iterable[Finding], *, taken: bool = True) -> Iterator[Override]:
    """The images with fatal findings that are trained on, because the selection ignores their rules on purpose.

    Args:
        selection: the wishes.
        findings: those that it ignores on purpose.
        taken: False if they are not trained on, as these wishes came with the dataset.
    """
    images: dict[tuple[str, str], set[str]] = {}
    codes: dict[tuple[str, str], set[str]] = {}
    for finding in findings:
        if finding.severity is not Severity.FATAL or finding.image is None:
            continue
        layer, key = selection.leaves_out(finding.code, finding.name) or (None, "")
        if layer is None and (found := selection.ignoring(finding)) is not None:
            layer, key = found[0], "per-path-ignores"
        if layer is not None:
            place = (layer.file, f"{layer.prefix}{key}")
            images.setdefault(place, set()).add(finding.image)
            codes.setdefault(place, set()).add(finding.code)
    for place, named in images.items():
        yield Override(What.FATAL_TRAINED, *place, names=tuple(sorted(codes[place])), count=len(named), taken=taken)


def _rules(selection: Selection, hidden: Iterable[Finding]) -> Iterator[Override]:
    """The rules that are left out, by the layer and key that say so, with their findings."""
    where: dict[str, tuple[int, str]] = {}
    for rule in all_rules():
        if (out := selection.leaves_out(rule.code, rule.name)) is not None:
            where[rule.code] = (_number(selection, out[0]), out[1])
    for place in dict.fromkeys(where.values()):
        layer, found = selection.layers[place[0]], [f for f in hidden if where.get(f.code) == place]
        names = tuple(sorted(code for code, other in where.items() if other == place))
        words, key = (
            ", ".join((layer.ignore if place[1] == "ignore" else layer.select) or ()),
            f"{layer.prefix}{place[1]}",
        )
        yield Override(What.RULES_OFF, layer.file, key, names, cut(words), len(found), _fatal(found))


def _paths(selection: Selection, hidden: Iterable[Finding]) -> Iterator[Override]:
    """The findings of rules that are asked, left out for their paths; a layer with globs is named if none are."""
    found: dict[int, list[Finding]] = {n: [] for n, layer in enumerate(selection.layers) if layer.per_path_ignores}
    for finding in hidden if found else ():
        ignoring = selection.ignoring(finding) if finding.code in selection.codes else None
        if ignoring is not None:
            found[_number(selection, ignoring[0])].append(finding)
    for number, findings in found.items():
        layer = selection.layers[number]
        key, globs = f"{layer.prefix}per-path-ignores", tuple(layer.per_path_ignores)
        yield Override(What.PATHS_OFF, layer.file, key, globs, count=len(findings), fatal=_fatal(findings))


def _severities(selection: Selection, kept: Iterable[Finding]) -> Iterator[Override]:
    """The severities that are otherwise; as fatal ones count those that are so no more."""
    found: dict[int, list[Finding]] = {n: [] for n, layer in enumerate(selection.layers) if layer.severity}
    for finding in kept if found else ():
        layer, _ = selection.levels(finding)
        if layer is not None and selection.severity(finding) is not finding.severity:
            found[_number(selection, layer)].append(finding)
    for number, findings in found.items():
        layer = selection.layers[number]
        names = tuple(f"{word}={level.value}" for word, level in layer.severity.items())
        fatal = _fatal(findings)
        yield Override(What.SEVERITY, layer.file, f"{layer.prefix}severity", names, count=len(findings), fatal=fatal)


def _options(selection: Selection) -> Iterator[Override]:
    for name in OPTIONS:
        layer = selection.says(name)
        if layer is not None and layer.file:
            value = getattr(layer, name)
            said = str(value).lower() if isinstance(value, bool) else str(value)
            yield Override(What.OPTION, layer.file, f"{layer.prefix}{name}", value=said)


def _number(selection: Selection, layer: Wishes) -> int:
    return next(number for number, one in enumerate(selection.layers) if one is layer)


def _fatal(findings: Iterable[Finding]) -> int:
    return sum(finding.severity is Severity.FATAL for finding in findings)


def without_root(layer: Wishes) -> tuple[Wishes, tuple[Override, ...]]:
    """A layer that came with a dataset: it does not say where images are looked for, for training looks elsewhere."""
    if layer.root is None:
        return layer, ()
    said = Override(What.OPTION, layer.file, f"{layer.prefix}root", value=str(layer.root), taken=False)
    return replace(layer, root=None), (said,)
