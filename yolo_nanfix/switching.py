"""Applies patches and guard to ultralytics, undoes them, and reports what is in force; `api` exports it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yolo_nanfix.errors import PatchRefused, UsageError
from yolo_nanfix.guard.guard_settings import GuardSettings, InForce
from yolo_nanfix.json_values import JsonValue
from yolo_nanfix.overrides import NO_OVERRIDES, Override, Overrides, What
from yolo_nanfix.patching import children
from yolo_nanfix.settings import Settings, as_text, load_settings, nobodys, trusts
from yolo_nanfix.wording import shown

if TYPE_CHECKING:
    from torch import nn

    from yolo_nanfix.guard.listener import Callbacks, Listener
    from yolo_nanfix.guard.recorder import Recorder
    from yolo_nanfix.incident import Incident
    from yolo_nanfix.patching import engine
    from yolo_nanfix.patching.engine import PatchState
    from yolo_nanfix.verdicts import Verdict


_announced: list[Overrides] = []
"""The overrides of all calls so far, in one value; empty before the first."""


@dataclass(frozen=True)
class Status(JsonValue):
    """What is in force.

    Attributes:
        ultralytics: the release.
        patches: every patch, with its state and reason.
        guard: the settings of the guard; None if it is off.
        guard_refused: why a guard that was wanted is not on.
        guard_off: what switched the guard off.
        settings: the settings files, and what files, variables and arguments change.
    """

    ultralytics: str
    patches: tuple[PatchState, ...]
    guard: GuardSettings | None
    guard_refused: str | None = None
    guard_off: str | None = None
    settings: Overrides = NO_OVERRIDES

    def __str__(self) -> str:
        """A table with a line for each patch, and one for the guard."""
        rows = [f"{p.name:<32}{p.state:<12}{p.reason}" for p in self.patches]
        off = f"off         by {self.guard_off}" if self.guard_off else "off"
        off = f"refused     {self.guard_refused}" if self.guard_refused else off
        guard = f"on          {self.guard}" if self.guard else off
        return "\n".join([f"ultralytics {self.ultralytics}", *rows, f"{'guard':<32}{guard}"])

    def as_dict(self) -> dict[str, Any]:
        """A JSON-ready dict, with the patches by name."""
        held = super().as_dict()
        return {**held, "patches": {patch.pop("name"): patch for patch in held["patches"]}}


@dataclass(frozen=True)
class PatchCall:
    """The arguments of one call of `patch`.

    Attributes:
        named: whether it names patches, which leaves the default set and the guard as they are.
        guard: whether to guard; None if not given.
        enable, disable: patches added to the default set, and left out of it.
        params: parameters of patches.
        for_guard: settings of the guard.
    """

    named: bool = False
    guard: bool | None = None
    enable: tuple[str, ...] = ()
    disable: tuple[str, ...] = ()
    params: Mapping[str, Any] = field(default_factory=dict)
    for_guard: Mapping[str, Any] = field(default_factory=dict)


def patch(
    *names: str,
    guard: bool | None = None,
    enable: Iterable[str] = (),
    disable: Iterable[str] = (),
    data: str | Path | None = None,
    trust_dataset_settings: bool = False,
    **params: Any,
) -> Status:
    """Apply patches to ultralytics, and guard its trainers. `unpatch()` undoes both.

    What is not given here comes from `YOLO_NANFIX_*` variables, then from `nanfix.yaml` or `[tool.yolo-nanfix]` in
    `pyproject.toml`, then from the cards. A settings file that came with the dataset is not taken; without `data` this
    is checked when a trainer is built, for the settings of the guard. A second call adds to the first: patches that are
    on stay on, and keep their parameters unless this call changes them.

    Args:
        names: the patches to apply; none for the default set.
        guard: also guard every trainer built from now on; by default yes for the default set, while named patches
            leave the guard as it is. False removes a guard that is on.
        enable: patches to add to the default set.
        disable: patches to leave out of the default set.
        data: the dataset that will be trained on, so that settings files that came with it are known.
        trust_dataset_settings: treat such files as your own.
        params: parameters of the patches (`rect="stock"`) and of the guard (`max_bad_in_a_row=20`).

    Returns:
        What is in force now. A patch of the default set that was refused is listed there with its reason.

    Raises:
        UsageError: a name or parameter is unknown, or a value is not allowed; nothing was changed.
        PatchRefused: a patch that was named, or the guard, cannot be applied; nothing was changed.
    """
    from yolo_nanfix.guard import adapter
    from yolo_nanfix.patching import engine

    for_guard = {name: params.pop(name) for name in GuardSettings.names() if name in params}
    call = PatchCall(bool(names), guard, tuple(enable), tuple(disable), params, for_guard)
    trust = trust_dataset_settings or trusts()
    settings = _settings_of(data, trust)
    choice, wanted = _default_set(settings, call), _wants_guard(settings, call)
    if names and wanted is False and adapter.installed() is None:
        wanted, call = None, replace(call, guard=None)  # there is no guard to remove: only patches were asked for
    if for_guard and not wanted:
        raise UsageError(f"{', '.join(for_guard)} is a setting of the guard, which is off; add guard=True")
    known = data is not None or trust
    force = _force_of(settings, call, bool(wanted), adapter.in_force(), known_data=known)
    before = engine.snapshot()
    engine.apply(names, params, choice)
    if wanted is not None:
        try:
            adapter.install(force, _callbacks())
        except PatchRefused:
            if guard:  # asked for by name; else status() tells
                engine.restore_patches(before)
                raise
    changes = (*_by_settings(settings, call, wanted), *settings.not_taken, *_by_call(call))
    _announced[:] = [_later(_overrides_told(), Overrides(settings.files, changes), wanted)]
    return _status(objects=False)


def unpatch(*names: str) -> None:
    """Undo the named patches, or everything including the guard: the very same upstream objects are restored."""
    from yolo_nanfix.guard import adapter
    from yolo_nanfix.patching import engine

    if not names:
        adapter.uninstall()
        _announced.clear()
    engine.remove(names or None)


@contextmanager
def patched(*names: str, **settings: Any) -> Iterator[Status]:
    """`patch(...)` for a `with` block; afterwards everything is as it was before, also on errors."""
    from yolo_nanfix.guard import adapter
    from yolo_nanfix.patching import engine

    before, guarded, said = engine.snapshot(), adapter.in_force(), list(_announced)
    try:
        yield patch(*names, **settings)
    finally:
        adapter.uninstall()
        engine.restore_patches(before)
        _announced[:] = said
        if guarded is not None:
            adapter.install(guarded, _callbacks())


@contextmanager
def unguarded(*names: str, **settings: Any) -> Iterator[Status]:
    """`patched(...)` without guard, for training whose result is discarded; this is not logged."""
    from yolo_nanfix.guard import adapter

    with patched(*names, guard=False, **settings) as status:
        adapter.uninstall()
        yield status


def prepare(**settings: Any) -> None:
    """Apply what must be on before ultralytics is imported; `patch()` with the same settings does the rest."""
    from yolo_nanfix.patching import engine

    call = PatchCall(enable=tuple(settings.get("enable", ())), disable=tuple(settings.get("disable", ())))
    found = _settings_of(settings.get("data"), bool(settings.get("trust_dataset_settings")))
    engine.apply_installing(_default_set(found, call))


@contextmanager
def prepared(**settings: Any) -> Iterator[None]:
    """`prepare(...)` for a `with` block."""
    from yolo_nanfix.patching import engine

    before = engine.snapshot()
    prepare(**settings)
    try:
        yield
    finally:
        engine.restore_patches(before)


def _overrides_told() -> Overrides:
    """The overrides of all calls so far."""
    return _announced[-1] if _announced else NO_OVERRIDES


def _came_with(trainer: Any, file: str) -> bool:
    """Whether a settings file came with the dataset of a trainer; if so, this is logged."""
    from yolo_nanfix import upstream
    from yolo_nanfix.dataset.discover import belongs

    data = getattr(getattr(trainer, "args", None), "data", None)
    if not isinstance(data, (str, Path)) or not belongs(data)(Path(file)):
        return False
    _announced[:] = [_distrusted(_overrides_told(), file)]
    for line in _overrides_told().lines(off=True):
        upstream.log(f"yolo-nanfix: {line}")
    return True


def restore_before(state: str) -> None:
    """Apply what of another process's state must be on before ultralytics is imported; `restore` does the rest."""
    from yolo_nanfix.patching import engine

    engine.restore_patches(engine.installing(json.loads(state)["patches"]))


def restore(state: str) -> None:
    """Apply the patches, guard, recipe and quarantine of another process, as `patching.children.state` wrote them."""
    from yolo_nanfix.guard import adapter, quarantine
    from yolo_nanfix.patching import engine, label_caches

    carried = json.loads(state)
    engine.restore_patches(carried["patches"])
    if carried.get("label_caches"):
        label_caches.read_as_values()
    quarantine.leave_out_here(carried["left_out"])
    if carried["guard"] is not None:
        adapter.install(InForce.from_dict(carried["guard"]), _callbacks())
    if carried.get("recipe") is not None:
        from yolo_nanfix import upstream
        from yolo_nanfix.finetune import schedule
        from yolo_nanfix.report import recipe_text

        schedule.install_carried(carried["recipe"], lambda fact: upstream.log(recipe_text.logged(fact), good_news=True))
    _announced[:] = [Overrides.from_dict(carried["settings"])]


def status() -> Status:
    """What is in force: patches on, off, refused or not needed, with reasons, and the guard.

    Where your own functions replace patched ones, set before `patch()` or after it, the patch is partly-on or replaced,
    and the reason names them.
    """
    return _status(objects=True)


def _status(*, objects: bool) -> Status:
    """The status; with `objects` methods set on single objects in memory are found, too."""
    from yolo_nanfix import upstream
    from yolo_nanfix.guard import adapter
    from yolo_nanfix.patching import engine

    force = adapter.in_force()
    off = (force.off or None) if force is not None else None
    states = engine.states(objects=objects)
    return Status(upstream.version(), states, adapter.installed(), adapter.refusal(), off, _overrides_told())


def _examine(incident: Incident, model: nn.Module, budget: float) -> Verdict:
    """Diagnose a fault for the guard, on a copy of the live model, within `budget` seconds."""
    from yolo_nanfix.diagnosis.examine import examine

    return examine(incident, model, budget=budget)


def _known_facts() -> dict[str, Any]:
    """Facts for an incident that the guard does not know: the patches that are on."""
    from yolo_nanfix.patching import engine

    return {"patches": list(engine.snapshot())}


def _callbacks() -> Callbacks:
    """What the guard calls outside of its own package."""
    from yolo_nanfix.guard import listener

    return listener.Callbacks(_listen, _examine, _known_facts, _came_with)


def _listen(trainer: Any, recorder: Recorder) -> Listener:
    """The listener of a run; the counts of the patches are in its report, and are reset after it."""
    from yolo_nanfix.patching import tally
    from yolo_nanfix.run_listener import RunListener

    return RunListener(trainer, recorder, lambda: status().as_dict(), tally.clear)


def _carried() -> dict[str, Any]:
    """The state for other processes besides the patches; see `restore`."""
    from yolo_nanfix.finetune import schedule
    from yolo_nanfix.guard import adapter, quarantine
    from yolo_nanfix.patching import label_caches

    force = adapter.in_force()
    return {
        "label_caches": label_caches.on(),
        "guard": force.as_dict() if force is not None else None,
        "left_out": quarantine.left_out(),
        "settings": _overrides_told().as_dict(),
        "recipe": schedule.carried(),
    }


def _settings_of(data: str | Path | None, trust: bool) -> Settings:
    """The settings for the current folder; a file that came with the dataset is skipped unless it is trusted."""
    from yolo_nanfix.dataset.discover import belongs
    from yolo_nanfix.patching import engine

    names = (*engine.params_of_all(), *GuardSettings.names())
    return load_settings(names, belongs=nobodys if data is None else belongs(data), trust=trust)


def _default_set(settings: Settings, call: PatchCall) -> engine.Choice:
    """The changes to the default set by settings and call."""
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


def _wants_guard(settings: Settings, call: PatchCall) -> bool | None:
    """Whether to guard; None to leave the guard as it is."""
    if call.named or call.guard is not None:
        return call.guard
    wanted = settings.values.get("guard", True)
    if type(wanted) in (bool, int) and wanted in (0, 1):
        return bool(wanted)
    raise UsageError(f"{settings.origins['guard'].text} must be true or false, not {shown(wanted)}")


def _force_of(
    settings: Settings, call: PatchCall, wanted: bool, before: InForce | None, *, known_data: bool
) -> InForce:
    """The guard of every trainer that is built from now on.

    Args:
        settings, call: the settings and the arguments of the call.
        wanted: whether to guard.
        before: what is in force now; its settings stay where the call does not change them.
        known_data: whether the dataset was known when the settings were read; else a file may turn out to be its own.

    Raises:
        UsageError: a setting is wrong.
    """
    origins = settings.origins
    preferred = {name: value for name, value in settings.values.items() if name in GuardSettings.names()}
    current = vars(before.settings) if before is not None and before.settings is not None else {}
    guarding = GuardSettings.from_mapping({**preferred, **current, **call.for_guard})
    off = ""
    if not wanted:
        off = _off_by_call() if call.guard is False else origins["guard"].text if "guard" in origins else ""
    file = next((origins[name].source for name in (*preferred, "guard") if name in origins and origins[name].key), "")
    if known_data or not file or call.guard is False:
        return InForce(guarding if wanted else None, off)
    own = {name: value for name, value in preferred.items() if origins[name].source != file}
    if before is not None and before.instead is not None:
        current = vars(before.instead)
    instead = GuardSettings.from_mapping({**own, **current, **call.for_guard})
    return InForce(guarding if wanted else None, off, file, instead)


def _off_by_call() -> str:
    """What switched the guard off if a call did: the option of `yolo-nanfix run`, or the argument."""
    try:
        ran = json.loads(os.environ.get(children.RUN, "null"))
    except ValueError:
        ran = None
    return "--no-guard" if isinstance(ran, dict) and ran.get("guard") is False else "guard=False"


def _later(before: Overrides, now: Overrides, wanted: bool | None) -> Overrides:
    """The overrides after another call, which replaces what earlier calls changed of the same thing."""
    again = {(change.what, change.names) for change in now.changes}
    earlier = [
        c for c in before.changes if (c.what, c.names) not in again and (c.what is not What.GUARD_OFF or not wanted)
    ]
    return Overrides(tuple(dict.fromkeys((*before.files, *now.files))), (*earlier, *now.changes))


def _distrusted(told: Overrides, file: str) -> Overrides:
    """The overrides once a settings file is known to be the dataset's: its settings of the guard were not taken."""
    files = (replace(one, of_dataset=True, trusted=False) if one.file == file else one for one in told.files)
    of_guard = (What.GUARD_OFF, What.GUARD_SETTING)
    changes = (replace(c, taken=False) if c.source == file and c.what in of_guard else c for c in told.changes)
    return Overrides(tuple(files), tuple(changes))


def _by_settings(settings: Settings, call: PatchCall, wanted: bool | None) -> Iterator[Override]:
    defaults = vars(GuardSettings())
    for name, value in settings.values.items():
        place = settings.origins[name][:2]
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


def _by_call(call: PatchCall) -> Iterator[Override]:
    if call.guard is False:
        yield Override(What.GUARD_OFF, "", _off_by_call())
    if call.enable:
        yield Override(What.PATCHES_ON, "", "enable", call.enable)
    if call.disable:
        yield Override(What.PATCHES_OFF, "", "disable", call.disable)
    for what, params in ((What.PATCH_SETTING, call.params), (What.GUARD_SETTING, call.for_guard)):
        yield from (Override(what, "", name, (name,), as_text(value)) for name, value in params.items())


children.carry(_carried)
