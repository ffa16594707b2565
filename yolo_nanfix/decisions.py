"""What settings and a call together make of patches and guard, and what is to be said of that."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yolo_nanfix.errors import UsageError
from yolo_nanfix.guard.guard_settings import GuardSettings, InForce
from yolo_nanfix.overrides import Override, Overrides, What
from yolo_nanfix.patching.children import RUN
from yolo_nanfix.settings import Settings, as_text, load, nobodys
from yolo_nanfix.shown import shown

if TYPE_CHECKING:
    from yolo_nanfix.patching import engine

OF_GUARD = (What.GUARD_OFF, What.GUARD_SETTING)


@dataclass(frozen=True)
class Call:
    """The arguments of one call of `patch`.

    Attributes:
        named: whether it names patches, which leaves the default set and the guard as they are.
        guard: whether there shall be a guard; None if it does not say.
        enable, disable: patches put beside the default set, and taken out of it.
        params: parameters of patches.
        for_guard: settings of the guard.
    """

    named: bool = False
    guard: bool | None = None
    enable: tuple[str, ...] = ()
    disable: tuple[str, ...] = ()
    params: Mapping[str, Any] = field(default_factory=dict)
    for_guard: Mapping[str, Any] = field(default_factory=dict)


def settings_of(data: str | Path | None, trust: bool) -> Settings:
    """The settings that hold in the current folder; what came with the dataset is passed over unless it is trusted."""
    from yolo_nanfix.dataset.discover import Belongs
    from yolo_nanfix.patching import engine

    known = (*engine.params_of_all(), *GuardSettings.names())
    return load(known, belongs=nobodys if data is None else Belongs(data), trust=trust)


def choice(settings: Settings, call: Call) -> engine.Choice:
    """What settings and call make of the default set.

    Raises:
        UsageError: a patch is put and taken out by the same call.
    """
    from yolo_nanfix.patching import engine

    if both := set(call.enable) & set(call.disable):
        raise UsageError(f"patch '{min(both)}' is in enable and in disable")
    on, off = settings.values.get("enable", ()), settings.values.get("disable", ())
    of_cards = engine.params_of_all()
    return engine.Choice(
        enable=(*(n for n in on if n not in call.disable), *call.enable),
        disable=(*(n for n in off if n not in call.enable), *call.disable),
        params={name: value for name, value in settings.values.items() if name in of_cards},
    )


def wants_guard(settings: Settings, call: Call) -> bool | None:
    """Whether there shall be a guard; None to leave it as it is.

    Raises:
        UsageError: the settings say neither yes nor no.
    """
    if call.named or call.guard is not None:
        return call.guard
    wanted = settings.values.get("guard", True)
    if type(wanted) in (bool, int) and wanted in (0, 1):
        return bool(wanted)
    raise UsageError(f"{settings.sources.get('guard', 'guard')} must be true or false, not {shown(wanted)}")


def in_force(settings: Settings, call: Call, wanted: bool, before: InForce | None, *, known_data: bool) -> InForce:
    """What becomes of every trainer that is built.

    Args:
        settings, call: what was said.
        wanted: whether there shall be a guard.
        before: what is in force now; its settings stay where the call does not say otherwise.
        known_data: whether the settings were read knowing the dataset; else a file that decides is doubtful.

    Raises:
        UsageError: a setting is wrong.
    """
    preferred = {name: value for name, value in settings.values.items() if name in GuardSettings.names()}
    standing = vars(before.settings) if before is not None and before.settings is not None else {}
    guarding = GuardSettings.from_mapping({**preferred, **standing, **call.for_guard})
    off = ""
    if not wanted:
        off = off_by_call() if call.guard is False else settings.sources.get("guard", "")
    files = [settings.places[name][0] for name in (*preferred, "guard") if settings.places.get(name, ("", ""))[1]]
    file = files[0] if files else ""
    if known_data or not file or call.guard is False:
        return InForce(guarding if wanted else None, off)
    own = {name: value for name, value in preferred.items() if settings.places[name][0] != file}
    if before is not None and before.instead is not None:
        standing = vars(before.instead)
    instead = GuardSettings.from_mapping({**own, **standing, **call.for_guard})
    return InForce(guarding if wanted else None, off, file, instead)


def off_by_call() -> str:
    """What is said to have switched the guard off where a call did: an option of `yolo-nanfix run`, or the argument."""
    try:
        ran = json.loads(os.environ.get(RUN, "null"))
    except ValueError:
        ran = None
    return "--no-guard" if isinstance(ran, dict) and ran.get("guard") is False else "guard=False"


def overrides(settings: Settings, call: Call, wanted: bool | None) -> Overrides:
    """What is to be said of settings and call: the files, and all that is otherwise than by default."""
    changes = [*_by_settings(settings, call, wanted), *settings.not_taken, *_by_call(call)]
    return Overrides(settings.files, tuple(changes))


def later(before: Overrides, now: Overrides, wanted: bool | None) -> Overrides:
    """What is to be said after another call: of the same thing what the later one says."""
    again = {(change.what, change.names) for change in now.changes}
    kept = [
        c for c in before.changes if (c.what, c.names) not in again and (c.what is not What.GUARD_OFF or not wanted)
    ]
    return Overrides(tuple(dict.fromkeys((*before.files, *now.files))), (*kept, *now.changes))


def distrusted(said: Overrides, file: str) -> Overrides:
    """The same, once it is known that a settings file came with the dataset: of the guard nothing of it was taken."""
    files = (replace(one, of_dataset=True, trusted=False) if one.file == file else one for one in said.files)
    changes = (replace(c, taken=False) if c.source == file and c.what in OF_GUARD else c for c in said.changes)
    return Overrides(tuple(files), tuple(changes))


def _by_settings(settings: Settings, call: Call, wanted: bool | None) -> Iterator[Override]:
    defaults = vars(GuardSettings())
    for name, value in settings.values.items():
        place = settings.places[name]
        if name == "guard":
            if wanted is False and call.guard is None:
                yield Override(What.GUARD_OFF, *place, value="false")
        elif name in ("enable", "disable"):
            names = tuple(n for n in value if n not in (*call.enable, *call.disable))
            what = What.PATCHES_ON if name == "enable" else What.PATCHES_OFF
            yield from () if call.named or not names else (Override(what, *place, names=names),)
        elif name in defaults:
            if wanted and name not in call.for_guard and value != defaults[name]:
                yield Override(What.GUARD_SETTING, *place, names=(name,), value=as_text(value))
        elif name not in call.params:
            yield Override(What.PATCH_SETTING, *place, names=(name,), value=as_text(value))


def _by_call(call: Call) -> Iterator[Override]:
    if call.guard is False:
        yield Override(What.GUARD_OFF, "", off_by_call())
    for what, key, names in (
        (What.PATCHES_ON, "enable", call.enable),
        (What.PATCHES_OFF, "disable", call.disable),
    ):
        if names:
            yield Override(what, "", key, names)
    for what, params in ((What.PATCH_SETTING, call.params), (What.GUARD_SETTING, call.for_guard)):
        yield from (Override(what, "", name, (name,), as_text(value)) for name, value in params.items())
