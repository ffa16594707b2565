"""Puts patches and guard over ultralytics, takes them back, and says what is in force; `api` hands it on."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from yolo_nanfix.errors import PatchRefused, UsageError
from yolo_nanfix.patching import revival
from yolo_nanfix.settings import Settings
from yolo_nanfix.settings import load as load_settings

if TYPE_CHECKING:
    from torch import nn

    from yolo_nanfix.guard.audience import Audience
    from yolo_nanfix.guard.recorder import Recorder
    from yolo_nanfix.guard.settings import GuardSettings
    from yolo_nanfix.incident import Incident
    from yolo_nanfix.patching import engine
    from yolo_nanfix.patching.engine import PatchState
    from yolo_nanfix.verdicts import Verdict


@dataclass(frozen=True)
class Status:
    """What is in force: the release, every patch with its state and reason, and the guard's settings or None.

    `guard_refused` says why a guard that was wanted is not on.
    """

    ultralytics: str
    patches: tuple[PatchState, ...]
    guard: GuardSettings | None
    guard_refused: str | None = None

    def __str__(self) -> str:
        """A table for people."""
        rows = [f"{p.name:<32}{p.state:<12}{p.reason}" for p in self.patches]
        off = f"refused     {self.guard_refused}" if self.guard_refused else "off"
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
        }


def patch(
    *names: str,
    guard: bool | None = None,
    enable: Iterable[str] = (),
    disable: Iterable[str] = (),
    **params: Any,
) -> Status:
    """Put patches over ultralytics, and the guard over its trainers. Twice is once; `unpatch()` takes all back.

    What is not given here comes from `YOLO_NANFIX_*` variables, then from `nanfix.yaml` or `[tool.yolo-nanfix]` in
    `pyproject.toml`, then from the cards. A second call adds to the first: patches that are on stay on, with the
    parameters they have unless this call gives others.

    Args:
        names: the patches to put; none for the default set.
        guard: also guard every trainer built from now on; by default yes for the default set, while a named set
            leaves the guard as it is. False takes a guard that is on away.
        enable: patches to put beside the default set.
        disable: patches to leave out of the default set.
        params: parameters of the patches (`rect="stock"`) and of the guard (`max_bad_in_a_row=20`).

    Returns:
        What is in force now. A patch of the default set that was refused is listed there with its reason.

    Raises:
        UsageError: a name or parameter is unknown, or a value is not allowed; nothing was changed.
        PatchRefused: a patch that was named, or the guard, cannot be applied; nothing was changed.
    """
    from yolo_nanfix.guard import adapter
    from yolo_nanfix.guard.settings import GuardSettings
    from yolo_nanfix.patching import engine

    choice, settings = _settled(tuple(enable), tuple(disable))
    wanted = settings.values.get("guard", True) if guard is None and not names else guard
    if wanted not in (True, False, None):
        raise UsageError(f"{settings.sources.get('guard', 'guard')} must be true or false, not {wanted!r}")
    for_guard = {k: params.pop(k) for k in GuardSettings.names() if k in params}
    if for_guard and not wanted:
        raise UsageError(f"{', '.join(for_guard)} is a setting of the guard, which is off; add guard=True")
    preferred = {k: v for k, v in settings.values.items() if k in GuardSettings.names()}
    in_force = vars(guarded) if (guarded := adapter.installed()) else {}
    guarding = GuardSettings.from_mapping({**preferred, **in_force, **for_guard})
    before = engine.snapshot()
    engine.apply(names, params, choice)
    if wanted:
        try:
            adapter.install(guarding, _listen, _examine, _known)
        except PatchRefused:
            if guard:  # asked for by name; else status() tells
                engine.restore(before)
                raise
    elif wanted is False:
        adapter.uninstall()
    return _status(objects=False)


def _settled(enable: tuple[str, ...], disable: tuple[str, ...]) -> tuple[engine.Choice, Settings]:
    """The user's settings, and what they make of the default set once the arguments of the call are added."""
    from yolo_nanfix.guard.settings import GuardSettings
    from yolo_nanfix.patching import engine

    if both := set(enable) & set(disable):
        raise UsageError(f"patch '{min(both)}' is in enable and in disable")
    of_cards = engine.params_of_all()
    settings = load_settings((*of_cards, *GuardSettings.names()))
    on, off = settings.values.get("enable", ()), settings.values.get("disable", ())
    choice = engine.Choice(
        enable=(*(n for n in on if n not in disable), *enable),
        disable=(*(n for n in off if n not in enable), *disable),
        params={name: value for name, value in settings.values.items() if name in of_cards},
    )
    return choice, settings


def unpatch(*names: str) -> None:
    """Take the named patches back, or everything, guard included; the very same objects stand there again."""
    from yolo_nanfix.guard import adapter
    from yolo_nanfix.patching import engine

    if not names:
        adapter.uninstall()
    engine.remove(names or None)


@contextmanager
def patched(*names: str, **settings: Any) -> Iterator[Status]:
    """`patch(...)` for the length of a `with` block; afterwards everything is as it was before, also on errors."""
    from yolo_nanfix.guard import adapter
    from yolo_nanfix.patching import engine

    before, guarded = engine.snapshot(), adapter.installed()
    try:
        yield patch(*names, **settings)
    finally:
        adapter.uninstall()
        engine.restore(before)
        if guarded is not None:
            adapter.install(guarded, _listen, _examine, _known)


def prepare(**settings: Any) -> None:
    """What has to be patched before ultralytics is imported at all; `patch()` with the same settings does the rest."""
    from yolo_nanfix.patching import engine

    choice, _ = _settled(tuple(settings.get("enable", ())), tuple(settings.get("disable", ())))
    engine.prepare(choice)


@contextmanager
def prepared() -> Iterator[None]:
    """For the length of a `with` block: what has to be patched for ultralytics to be imported here at all."""
    from yolo_nanfix.patching import engine

    before = engine.snapshot()
    prepare()
    try:
        yield
    finally:
        engine.restore(before)


def restore_before(state: str) -> None:
    """What of the state of another process has to be put before ultralytics is imported; `restore` puts the rest."""
    from yolo_nanfix.patching import engine

    engine.restore(engine.installing(json.loads(state)["patches"]))


def restore(state: str) -> None:
    """Put the patches, the guard and the quarantine of another process, as `patching.revival.state` wrote them."""
    from yolo_nanfix.guard import adapter, quarantine
    from yolo_nanfix.guard.settings import GuardSettings
    from yolo_nanfix.patching import engine, label_caches

    carried = json.loads(state)
    engine.restore(carried["patches"])
    if carried.get("label_caches"):
        label_caches.put()
    quarantine.leave_out_here(carried["left_out"])
    if carried["guard"] is not None:
        adapter.install(GuardSettings(**carried["guard"]), _listen, _examine, _known)


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

    return Status(upstream.version(), engine.states(objects=objects), adapter.installed(), adapter.refusal())


def _examine(incident: Incident, model: nn.Module, budget: float) -> Verdict:
    """What the guard asks about a fault: diagnosis on a copy of the live model, within `budget` seconds."""
    from yolo_nanfix.diagnosis.examine import examine

    return examine(incident, model, budget=budget)


def _known() -> dict[str, Any]:
    """What an incident should hold beside what the guard sees: the patches under which it happened."""
    from yolo_nanfix.patching import engine

    return {"patches": list(engine.snapshot())}


def _listen(trainer: Any, recorder: Recorder) -> Audience:
    """Who is told of a run: its report has what the patches counted in it, and the next run counts anew."""
    from yolo_nanfix.patching import tally
    from yolo_nanfix.telling import Telling

    return Telling(trainer, recorder, lambda: status().as_dict(), tally.clear)


def _guard_in_force() -> dict[str, Any] | None:
    from yolo_nanfix.guard import adapter

    settings = adapter.installed()
    return vars(settings) if settings else None


def _left_out() -> list[str]:
    from yolo_nanfix.guard import quarantine

    return quarantine.left_out()


def _label_caches() -> bool:
    from yolo_nanfix.patching import label_caches

    return label_caches.on()


revival.carry("label_caches", _label_caches)
revival.carry("guard", _guard_in_force)
revival.carry("left_out", _left_out)
