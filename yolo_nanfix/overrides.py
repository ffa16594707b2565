"""What settings change from the defaults of lint, patches and guard: values with their sources, and their text.

A settings file is the user's own, or it came with the dataset: it lies in one of the folders of the dataset (that of
data.yaml, those that data.yaml names, all below them), or it was found from data.yaml upward in a folder that is
neither the current one nor above it. A file that came with the dataset may narrow what lint lists. Unless the user
trusts it, it lets no image with fatal findings into a training, has no effect on guard and patches, and hides no fatal
finding from the exit code of lint.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from yolo_nanfix.json_values import JsonValue
from yolo_nanfix.wording import many

TRUST = "--trust-dataset-settings"
"""The option that trusts settings files that came with the dataset."""
NAMED = 6
"""Most rules or patches named in a line; JSON lists all."""


class What(str, Enum):
    """What a setting changes."""

    RULES_OFF = "rules-off"
    """The rules `names` do not run; `count` findings of them are left out."""
    PATHS_OFF = "paths-off"
    """Findings left out for files that match a glob of `names`."""
    SEVERITY = "severity"
    """Other severities, as `rule=level` in `names`; `count` findings have another one than their rule gives."""
    BASELINE = "baseline"
    """Findings left out because the file `value` holds them."""
    FILES = "files"
    """Findings left out because they are about other files than those that were asked for."""
    OPTION = "option"
    """Another option of lint, `value`."""
    FATAL_TRAINED = "fatal-trained"
    """Images with fatal findings that are trained on; `names` are the codes, `count` is of images."""
    GUARD_OFF = "guard-off"
    """No step is guarded."""
    GUARD_SETTING = "guard-setting"
    """The setting `names` of the guard is `value`."""
    PATCHES_OFF = "patches-off"
    """Patches left out of the default set."""
    PATCHES_ON = "patches-on"
    """Patches added to the default set."""
    PATCH_SETTING = "patch-setting"
    """The parameter `names` of a patch is `value`."""


OFF = frozenset((What.RULES_OFF, What.FATAL_TRAINED, What.GUARD_OFF, What.PATCHES_OFF))
"""Changes that always check or keep less."""
COUNTED = frozenset((What.PATHS_OFF, What.SEVERITY, What.BASELINE))
"""Changes that show less if they apply to any finding."""


@dataclass(frozen=True)
class Override(JsonValue):
    """One change from the defaults.

    Attributes:
        what: its kind.
        source: the settings file, or the variable; empty for the command or call itself.
        key: its name there (`lint.ignore`, `--select`, `guard`).
        names: what it applies to: codes of rules, globs, patches, parameters.
        value: the value that was written, unless it is a mapping or in `names`.
        count: findings that are left out or changed; of `FATAL_TRAINED` images.
        fatal: how many of these are fatal.
        taken: False if it was not taken, because it came with the dataset.
    """

    what: What
    source: str
    key: str
    names: tuple[str, ...] = ()
    value: str = ""
    count: int = 0
    fatal: int = 0
    taken: bool = True

    @property
    def narrows(self) -> bool:
        """Whether less is checked, shown or kept, or something was not taken."""
        return not self.taken or self.what in OFF or (self.what in COUNTED and self.count > 0)

    @property
    def where(self) -> str:
        """`/d/nanfix.yaml: lint.ignore`, `YOLO_NANFIX_GUARD`, `--no-guard`."""
        return f"{self.source}: {self.key}" if self.source and self.key else self.source or self.key

    def __str__(self) -> str:
        """`lint.ignore: BX004, IM (41 rules not asked, 12 findings left out, 3 of them fatal)`."""
        text = _value_and_effect(self)
        return f"{self.key}: {text}" if self.key and text else self.key or text


@dataclass(frozen=True)
class SettingsFile(JsonValue):
    """A settings file in force.

    Attributes:
        file: its path.
        use: `lint`, or `training` for patches and guard.
        of_dataset: whether it came with the dataset.
        trusted: whether all its settings are taken.
    """

    file: str
    use: str
    of_dataset: bool = False
    trusted: bool = True


@dataclass(frozen=True)
class Overrides(JsonValue):
    """The settings files in force, and all changes by them, by variables and by the command."""

    files: tuple[SettingsFile, ...] = ()
    changes: tuple[Override, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.files or self.changes)

    def __add__(self, other: Overrides) -> Overrides:
        """Both, without duplicates."""
        files, changes = (*self.files, *other.files), (*self.changes, *other.changes)
        return Overrides(tuple(dict.fromkeys(files)), tuple(dict.fromkeys(changes)))

    def of(self, *what: What) -> tuple[Override, ...]:
        """The changes of these kinds that were taken."""
        return tuple(change for change in self.changes if change.what in what and change.taken)

    @property
    def guard_off(self) -> Override | None:
        """The change that switched the guard off; None if it is on."""
        return next(iter(self.of(What.GUARD_OFF)), None)

    @property
    def distrusted(self) -> frozenset[str]:
        """The files that came with the dataset and are not trusted."""
        return frozenset(one.file for one in self.files if one.of_dataset and not one.trusted)

    @property
    def fatal_hidden(self) -> int:
        """How many fatal findings `distrusted` files leave out or make milder."""
        return sum(change.fatal for change in self.changes if change.source in self.distrusted)

    @property
    def switch_off(self) -> bool:
        """Whether less is checked, shown or kept than by default, or something was not taken."""
        return any(change.narrows for change in self.changes)

    def lines(self, *, off: bool = False) -> Iterator[str]:
        """One line per source with its changes; with `off` only those by files and variables that narrow."""
        by_source: dict[str, list[Override]] = {} if off else {one.file: [] for one in self.files}
        for change in self.changes:
            if not off or (change.source and change.narrows):
                by_source.setdefault(change.source, []).append(change)
        for source, changes in by_source.items():
            yield f"{self._head(source)}{': ' if changes else ''}{_listed_changes(changes)}."
        if self.distrusted and (self.fatal_hidden or not all(change.taken for change in self.changes)):
            yield (
                "What comes with a dataset counts in no training and hides no fatal finding from the exit code; "
                f"{TRUST} takes it whole."
            )

    def _head(self, source: str) -> str:
        found = [one.of_dataset for one in self.files if one.file == source]
        if not found:
            return source or "Asked for"
        return f"Settings of {source}{' (with the dataset)' if any(found) else ''}"


NO_OVERRIDES = Overrides()


def unguarded_warning(off: str) -> str:
    """The warning before a run without guard; `off` is what switched it off."""
    return f"The guard is off ({off}): NaN and Inf are not stopped in this run."


def unguarded_note(off: str) -> str:
    """The note after a run without guard."""
    return f"This run was not guarded: the guard is off ({off})."


def join_overrides(several: Iterable[Overrides]) -> Overrides:
    """The overrides of several datasets; counts of the same change are added up."""
    files: dict[SettingsFile, None] = {}
    changes: dict[Override, Override] = {}
    for one in several:
        files |= dict.fromkeys(one.files)
        for change in one.changes:
            same = replace(change, count=0, fatal=0)
            known = changes.get(same, same)
            changes[same] = replace(known, count=known.count + change.count, fatal=known.fatal + change.fatal)
    return Overrides(tuple(files), tuple(changes.values()))


def _listed_changes(changes: Iterable[Override]) -> str:
    taken = [str(change) for change in changes if change.taken]
    others = [_not_taken(change) for change in changes if not change.taken]
    return "; ".join((*taken, *([f"not taken: {', '.join(others)}"] if others else [])))


def _not_taken(change: Override) -> str:
    if change.what is What.FATAL_TRAINED:
        return f"{change.key} for {many(change.count, 'image')} with fatal findings ({_first_names(change.names)})"
    return f"{change.key}={change.value}" if change.value else change.key


def _value_and_effect(change: Override) -> str:
    """The value that was written, and in brackets its effect."""
    does = ", ".join(filter(None, _effects(change)))
    text = change.value or ("" if change.what in (What.RULES_OFF, What.FATAL_TRAINED) else _first_names(change.names))
    return f"{text} ({does})" if text and does else text or does


def _effects(change: Override) -> tuple[str, ...]:
    """The effects of a change, unless its value already tells them."""
    count, fatal = change.count, change.fatal
    some = f"{many(count, 'finding')} left out" + (f", {fatal} of them fatal" if fatal else "")
    left_out = f"{many(count, 'fatal finding')} left out" if 0 < count == fatal else some if count else ""
    if change.what is What.RULES_OFF:
        return f"{many(len(change.names), 'rule')} not asked", left_out
    if change.what is What.SEVERITY:
        return many(count, "finding") if count else "", f"{fatal} of them fatal by their rule" if fatal else ""
    if change.what is What.FATAL_TRAINED:
        verb = "is" if count == 1 else "are"
        return (f"{many(count, 'image')} with fatal findings {verb} trained on: {_first_names(change.names)}",)
    return (_FIXED.get(change.what, left_out),)


_FIXED = {
    What.OPTION: "",
    What.GUARD_OFF: "the guard is off",
    What.GUARD_SETTING: "",
    What.PATCHES_OFF: "off",
    What.PATCHES_ON: "on",
    What.PATCH_SETTING: "",
}


def _first_names(names: tuple[str, ...]) -> str:
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")


def read_overrides(summary: Mapping[str, Any], *keys: str) -> Overrides:
    """The overrides under the key `settings` of a JSON document, inside of other keys; none if missing or damaged."""
    held: Any = summary
    for key in (*keys, "settings"):
        held = held.get(key) if isinstance(held, Mapping) else None
    try:
        return NO_OVERRIDES if held is None else Overrides.from_dict(held)
    except ValueError:
        return NO_OVERRIDES
