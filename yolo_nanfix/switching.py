"""Puts patches and guard over ultralytics, takes them back, and says what is in force; `api` hands it on."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yolo_nanfix.errors import PatchRefused, UsageError
from yolo_nanfix.overrides import NOTHING, Overrides
from yolo_nanfix.patching import children
from yolo_nanfix.settings import trusts

if TYPE_CHECKING:
    from torch import nn

    from yolo_nanfix.guard.guard_settings import GuardSettings
    from yolo_nanfix.guard.listener import Listener
    from yolo_nanfix.guard.recorder import Recorder
    from yolo_nanfix.incident import Incident
    from yolo_nanfix.patching.engine import PatchState
    from yolo_nanfix.verdicts import Verdict


_announced: list[Overrides] = []
"""What settings and arguments of all calls so far are in force."""


@dataclass(frozen=True)
class Status:
    """What is in force: the release, every patch with its state and reason, and the guard's settings or None.

    `guard_refused` says why a guard that was wanted is not on, `guard_off` what switched it off, `settings` which
    files, variables and arguments are in force, and what they change.
    """

    ultralytics: str
    patches: tuple[PatchState, ...]
    guard: GuardSettings | None
    guard_refused: str | None = None
    guard_off: str | None = None
    settings: Overrides = NOTHING

    def __str__(self) -> str:
        """A table with a line for each patch, and one for the guard."""
        rows = [f"{p.name:<32}{p.state:<12}{p.reason}" for p in self.patches]
        off = f"off         by {self.guard_off}" if self.guard_off else "off"
        off = f"refused     {self.guard_refused}" if self.guard_refused else off
        guard = f"on          {self.guard}" if self.guard else off
        return "\n".join([f"ultralytics {self.ultralytics}", *rows, f"{'guard':<32}{guard}"])

    def as_dict(self) -> dict[str, Any]:
        """A JSON-ready dict."""
        patches = {
            p.name: {"state": p.state, "reason": p.reason, "params": dict(p.params), "counted": p.counted}
            for p in self.patches
        }
        return {
            "ultralytics": self.ultralytics,
            "patches": patches,
            "guard": vars(self.guard) if self.guard else None,
            "guard_refused": self.guard_refused,
            "guard_off": self.guard_off,
            "settings": self.settings.as_dict(),
        }


def patch(
    *names: str,
    guard: bool | None = None,
    enable: Iterable[str] = (),
    disable: Iterable[str] = (),
    data: str | Path | None = None,
    trust_dataset_settings: bool = False,
    **params: Any,
) -> Status:
    """Put patches over ultralytics, and the guard over its trainers. `unpatch()` takes all back.

    What is not given here comes from `YOLO_NANFIX_*` variables, then from `nanfix.yaml` or `[tool.yolo-nanfix]` in
    `pyproject.toml`, then from the cards. A file that came with the dataset decides nothing; without `data` this is
    found out when a trainer is built, and holds for the guard. A second call adds to the first: patches that are on
    stay on, with the parameters they have unless this call gives others.

    Args:
        names: the patches to put; none for the default set.
        guard: also guard every trainer built from now on; by default yes for the default set, while a named set
            leaves the guard as it is. False takes a guard that is on away.
        enable: patches to put beside the default set.
        disable: patches to leave out of the default set.
        data: the dataset that will be trained on, so that settings files which came with it are known.
        trust_dataset_settings: take such files as your own.
        params: parameters of the patches (`rect="stock"`) and of the guard (`max_bad_in_a_row=20`).

    Returns:
        What is in force now. A patch of the default set that was refused is listed there with its reason.

    Raises:
        UsageError: a name or parameter is unknown, or a value is not allowed; nothing was changed.
        PatchRefused: a patch that was named, or the guard, cannot be applied; nothing was changed.
    """
    from yolo_nanfix import decisions
    from yolo_nanfix.guard import adapter
    from yolo_nanfix.guard.guard_settings import GuardSettings
    from yolo_nanfix.patching import engine

    for_guard = {name: params.pop(name) for name in GuardSettings.names() if name in params}
    call = decisions.Call(bool(names), guard, tuple(enable), tuple(disable), params, for_guard)
    trust = trust_dataset_settings or trusts()
    settings = decisions.settings_of(data, trust)
    choice, wanted = decisions.choice(settings, call), decisions.wants_guard(settings, call)
    if names and wanted is False and adapter.installed() is None:
        wanted, call = None, replace(call, guard=None)  # nothing is taken away: these patches alone were asked for
    if for_guard and not wanted:
        raise UsageError(f"{', '.join(for_guard)} is a setting of the guard, which is off; add guard=True")
    known = data is not None or trust
    force = decisions.in_force(settings, call, bool(wanted), adapter.in_force(), known_data=known)
    before = engine.snapshot()
    engine.apply(names, params, choice)
    if wanted is not None:
        try:
            adapter.install(force, _listen, _examine, _known_facts, _came_with)
        except PatchRefused:
            if guard:  # asked for by name; else status() tells
                engine.restore_patches(before)
                raise
    _announced[:] = [decisions.later(_overrides_told(), decisions.overrides(settings, call, wanted), wanted)]
    return _status(objects=False)


def unpatch(*names: str) -> None:
    """Take the named patches back, or everything, guard included; the very same objects stand there again."""
    from yolo_nanfix.guard import adapter
    from yolo_nanfix.patching import engine

    if not names:
        adapter.uninstall()
        _announced.clear()
    engine.remove(names or None)


@contextmanager
def patched(*names: str, **settings: Any) -> Iterator[Status]:
    """`patch(...)` for the length of a `with` block; afterwards everything is as it was before, also on errors."""
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
            adapter.install(guarded, _listen, _examine, _known_facts, _came_with)


@contextmanager
def unguarded(*names: str, **settings: Any) -> Iterator[Status]:
    """`patched(...)` for what trains nothing that is kept: there is no guard, and nothing is said of that."""
    from yolo_nanfix.guard import adapter

    with patched(*names, guard=False, **settings) as status:
        adapter.uninstall()
        yield status


def prepare(**settings: Any) -> None:
    """What has to be patched before ultralytics is imported at all; `patch()` with the same settings does the rest."""
    from yolo_nanfix import decisions
    from yolo_nanfix.patching import engine

    call = decisions.Call(enable=tuple(settings.get("enable", ())), disable=tuple(settings.get("disable", ())))
    found = decisions.settings_of(settings.get("data"), bool(settings.get("trust_dataset_settings")))
    engine.apply_installing(decisions.choice(found, call))


@contextmanager
def prepared(**settings: Any) -> Iterator[None]:
    """For the length of a `with` block: what has to be patched for ultralytics to be imported here at all."""
    from yolo_nanfix.patching import engine

    before = engine.snapshot()
    prepare(**settings)
    try:
        yield
    finally:
        engine.restore_patches(before)


def _overrides_told() -> Overrides:
    """What is to be said of all calls so far."""
    return _announced[-1] if _announced else NOTHING


def _came_with(trainer: Any, file: str) -> bool:
    """Whether a settings file came with the dataset of a trainer; then it is said that it does not decide."""
    from yolo_nanfix import decisions, upstream
    from yolo_nanfix.dataset.discover import Belongs

    data = getattr(getattr(trainer, "args", None), "data", None)
    if not isinstance(data, (str, Path)) or not Belongs(data)(Path(file)):
        return False
    _announced[:] = [decisions.distrusted(_overrides_told(), file)]
    for line in _overrides_told().lines(off=True):
        upstream.log(f"yolo-nanfix: {line}")
    return True


def restore_before(state: str) -> None:
    """What of the state of another process has to be put before ultralytics is imported; `restore` puts the rest."""
    from yolo_nanfix.patching import engine

    engine.restore_patches(engine.installing(json.loads(state)["patches"]))


def restore(state: str) -> None:
    """Put the patches, the guard and the quarantine of another process, as `patching.children.state` wrote them."""
    from yolo_nanfix.guard import adapter, quarantine
    from yolo_nanfix.guard.guard_settings import InForce
    from yolo_nanfix.patching import engine, label_caches

    carried = json.loads(state)
    engine.restore_patches(carried["patches"])
    if carried.get("label_caches"):
        label_caches.read_as_values()
    quarantine.leave_out_here(carried["left_out"])
    if carried["guard"] is not None:
        adapter.install(InForce.from_dict(carried["guard"]), _listen, _examine, _known_facts, _came_with)
    _announced[:] = [Overrides.from_dict(carried["settings"])]


def status() -> Status:
    """What is in force: patches on, off, refused or not needed, with reasons, and the guard.

    Where functions of your own stand in the place of patched ones, put there before `patch()` or after it, the patch is
    partly-on, or replaced, and the reason names them.
    """
    return _status(objects=True)


def _status(*, objects: bool) -> Status:
    """The status, with a look at all objects in memory for methods set on single ones, or without."""
    from yolo_nanfix import upstream
    from yolo_nanfix.guard import adapter
    from yolo_nanfix.patching import engine

    force = adapter.in_force()
    off = (force.off or None) if force is not None else None
    states = engine.states(objects=objects)
    return Status(upstream.version(), states, adapter.installed(), adapter.refusal(), off, _overrides_told())


def _examine(incident: Incident, model: nn.Module, budget: float) -> Verdict:
    """What the guard asks about a fault: diagnosis on a copy of the live model, within `budget` seconds."""
    from yolo_nanfix.diagnosis.examine import examine

    return examine(incident, model, budget=budget)


def _known_facts() -> dict[str, Any]:
    """What an incident should hold beside what the guard sees: the patches under which it happened."""
    from yolo_nanfix.patching import engine

    return {"patches": list(engine.snapshot())}


def _listen(trainer: Any, recorder: Recorder) -> Listener:
    """Who is told of a run: its report has what the patches counted in it, and the next run counts anew."""
    from yolo_nanfix.patching import tally
    from yolo_nanfix.run_listener import RunListener

    return RunListener(trainer, recorder, lambda: status().as_dict(), tally.clear)


def _carried() -> dict[str, Any]:
    """What another process puts beside the patches; see `restore`."""
    from yolo_nanfix.guard import adapter, quarantine
    from yolo_nanfix.patching import label_caches

    force = adapter.in_force()
    return {
        "label_caches": label_caches.on(),
        "guard": force.as_dict() if force is not None else None,
        "left_out": quarantine.left_out(),
        "settings": _overrides_told().as_dict(),
    }


children.carry(_carried)
