"""Where the wings meet: patching, status and lint. `runs` builds a whole training on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yolo_nanfix import run_report
from yolo_nanfix.errors import PatchRefused, UsageError
from yolo_nanfix.findings import Report

if TYPE_CHECKING:
    from yolo_nanfix.guard.recorder import Recorder
    from yolo_nanfix.guard.settings import GuardSettings
    from yolo_nanfix.patching.engine import PatchState

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Status:
    """What is in force: the release, every patch with its state and reason, and the guard's settings or None."""

    ultralytics: str
    patches: tuple[PatchState, ...]
    guard: GuardSettings | None

    def __str__(self) -> str:
        """A table for people."""
        rows = [f"{p.name:<32}{p.state:<12}{p.reason}" for p in self.patches]
        guard = f"on          {self.guard}" if self.guard else "off"
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
        }


def patch(*names: str, guard: bool | None = None, **params: Any) -> Status:
    """Put patches over ultralytics, and the guard over its trainers. Twice is once; `unpatch()` takes all back.

    Args:
        names: the patches to put; none for the default set.
        guard: also guard every trainer built from now on; by default yes for the default set, while a named set
            leaves the guard as it is. False takes a guard that is on away.
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

    guarding = not names if guard is None else guard
    for_guard = {k: params.pop(k) for k in GuardSettings.names() if k in params}
    if for_guard and not guarding:
        raise UsageError(f"{', '.join(for_guard)} is a setting of the guard, which is off; add guard=True")
    settings = GuardSettings.from_mapping(for_guard)
    before = engine.snapshot()
    engine.apply(names, params)
    if guarding:
        try:
            adapter.install(settings, _write_report)
        except PatchRefused:
            engine.restore(before)
            raise
    elif guard is False:
        adapter.uninstall()
    return status()


def unpatch(*names: str) -> None:
    """Take the named patches back, or everything, guard included; the very same objects stand there again."""
    from yolo_nanfix.guard import adapter
    from yolo_nanfix.patching import engine

    if not names:
        adapter.uninstall()
    engine.remove(names or None)


@contextmanager
def patched(*names: str, guard: bool | None = None, **params: Any) -> Iterator[Status]:
    """`patch(...)` for the length of a `with` block; afterwards everything is as it was before, also on errors."""
    from yolo_nanfix.guard import adapter
    from yolo_nanfix.patching import engine

    before, guarded = engine.snapshot(), adapter.installed()
    try:
        yield patch(*names, guard=guard, **params)
    finally:
        adapter.uninstall()
        engine.restore(before)
        if guarded is not None:
            adapter.install(guarded, _write_report)


def status() -> Status:
    """What is in force: patches on, off, refused or not needed, with reasons, and the guard."""
    from yolo_nanfix import upstream
    from yolo_nanfix.guard import adapter
    from yolo_nanfix.patching import engine

    return Status(upstream.version(), engine.states(), adapter.installed())


def lint(data: str | Path, *, task: str = "detect", progress: Progress | None = None) -> Report:
    """Look for what breaks, poisons or silently thins out training in a dataset. Reads only, never writes.

    Args:
        data: data.yaml, a folder that holds one, or a dataset name that Ultralytics knows.
        task: detect, segment, pose or obb; the rules for label rows apply to detect.
        progress: called with (done, total, what) as files are read.

    Raises:
        DataError: data.yaml or the dataset it names cannot be used.
    """
    from yolo_nanfix.linting.runner import run

    return run(data, task=task, progress=progress)


def _write_report(trainer: Any, recorder: Recorder) -> None:
    run_report.write_report(trainer, recorder, status().as_dict())
