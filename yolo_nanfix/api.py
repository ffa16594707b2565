"""Where the wings meet: patching, status and lint. `runs` builds a whole training on it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yolo_nanfix.errors import PatchRefused, UsageError
from yolo_nanfix.findings import Report
from yolo_nanfix.patching import revival
from yolo_nanfix.settings import Settings
from yolo_nanfix.settings import load as load_settings

if TYPE_CHECKING:
    from torch import nn

    from yolo_nanfix.drawing import Drawn as Drawn
    from yolo_nanfix.fixing.apply import Fixed as Fixed
    from yolo_nanfix.fixing.plan import Kept as Kept
    from yolo_nanfix.fixing.undo import Undone as Undone
    from yolo_nanfix.guard.audience import Audience
    from yolo_nanfix.guard.recorder import Recorder
    from yolo_nanfix.guard.settings import GuardSettings
    from yolo_nanfix.handoff.export import HandedOver as HandedOver
    from yolo_nanfix.incident import Incident
    from yolo_nanfix.linting.rule import Rule
    from yolo_nanfix.linting.studied import Studied as Studied
    from yolo_nanfix.mending import Mendable as Mendable
    from yolo_nanfix.patching import engine
    from yolo_nanfix.patching.engine import PatchState
    from yolo_nanfix.verdicts import Verdict

Progress = Callable[[int, int, str], None]


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
    from yolo_nanfix.patching import engine

    carried = json.loads(state)
    engine.restore(carried["patches"])
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


def lint(
    data: str | Path | None = None,
    *,
    task: str | None = None,
    deep: bool | None = None,
    imgsz: int | None = None,
    root: str | Path | None = None,
    select: Iterable[str] | None = None,
    extend_select: Iterable[str] = (),
    ignore: Iterable[str] = (),
    severity: Mapping[str, str] | None = None,
    per_path_ignores: Mapping[str, Iterable[str]] | None = None,
    baseline: str | Path | None = None,
    files: Iterable[str | Path] | None = None,
    settings: bool = True,
    jobs: int | None = None,
    cache: bool = True,
    progress: Progress | None = None,
) -> Report:
    """Look for what breaks, poisons or silently thins out training in a dataset. Reads only, never writes.

    What is not given here comes from the key `lint` of `nanfix.yaml`, or from `[tool.yolo-nanfix.lint]` in
    `pyproject.toml`, looked for from the folder of data.yaml upward, then from the current one.

    Args:
        data: data.yaml, a folder with a dataset, or a name that Ultralytics knows. None with `files`: that above each.
        task: detect, segment, pose, obb or classify; by default read from the set (`Report.basis` says why).
        deep: also decode every image.
        root: the folder in which images are looked for, in the place of the one that data.yaml or annotations name.
        imgsz: the image size of the training that is planned, in pixels; by default 640.
        select: ask these rules only: codes, prefixes of codes, names or ALL.
        extend_select: ask these, too.
        ignore: leave these out.
        severity: by such a word another severity.
        per_path_ignores: by glob what to leave out for the files that it matches.
        baseline: a file of findings to leave out, written by `yolo-nanfix lint --write-baseline`.
        files: report only findings about these files.
        settings: False leaves the settings files out.
        jobs: processes that read files; by default one a core where that is worth it, 1 for none but this one.
        cache: leave files unread that have not changed; remembered in the user's cache folder (YOLO_NANFIX_CACHE).
        progress: called with (done, total, what) as files are read.

    Raises:
        UsageError: an argument or setting is wrong, or a file cannot be used.
        DataError: data.yaml or the dataset it names cannot be used.
    """
    from yolo_nanfix import linter

    wishes = {
        "select": None if select is None else list(select),
        "extend-select": list(extend_select),
        "ignore": list(ignore),
        "severity": dict(severity or {}),
        "per-path-ignores": {glob: list(words) for glob, words in (per_path_ignores or {}).items()},
        "baseline": baseline,
        **{"task": task, "deep": deep, "imgsz": imgsz, "root": root},
    }
    given = None if files is None else tuple(map(Path, files))
    return linter.lint(data, linter.Request(wishes, settings=settings, files=given, jobs=jobs, cache=cache), progress)


def lint_page(report: Report, studied: Iterable[Studied] | None = None, progress: Progress | None = None) -> str:
    """The HTML page of a report, as `lint --output-format html` writes it: one file that stands alone.

    Args:
        report: what `lint` found, or `Report.from_dict` read.
        studied: the datasets as that lint read them; by default they are read again, as far as lint does not remember
            them. Without them, because they are gone, say, the page shows the findings alone.
        progress: called with (done, total, what) as pictures are made.
    """
    from yolo_nanfix import mending
    from yolo_nanfix.pages import dataset
    from yolo_nanfix.showing import gather

    known = list(studied) if studied is not None else gather.study(report, progress)
    show = gather.gather(report, known, progress)
    return dataset.lint_page(report, replace(show, tried=mending.tried(report)) if show.mendable else show)


def fix(report: Report, *, unsafe: bool = False, diff: bool = False) -> Fixed:
    """Mend what a report found, as far as it can be mended; `undo` takes it back.

    Before the first change the original bytes of all files that are to change go to a journal in the user's data
    folder. Each file changes whole or not at all. Files that changed since the lint are left alone.

    Args:
        report: what `lint` found; leave findings out of it to leave them alone.
        unsafe: also what may lose something: drop rows, clip far, rename images, move unusable files to quarantine.
        diff: write nothing, and give what would change as text.

    Returns:
        What was mended, and what was not and why. Lint again to see what is left.

    Raises:
        UsageError: another fix is running, or the journal cannot be written; nothing was changed.
        DataError: the dataset cannot be used any more.
    """
    from yolo_nanfix import mending

    return mending.fix(report, unsafe=unsafe, diff=diff)


def mendable(report: Report, *, cache: bool = True) -> Mendable:
    """What `fix` would mend of a report, tried out unless it is much; nothing is written.

    Args:
        report: what `lint` found.
        cache: leave files unread that have not changed since an earlier run.

    Raises:
        UsageError: the dataset is none in which anything can be mended.
        DataError: the dataset cannot be used any more.
    """
    from yolo_nanfix import mending

    return mending.mendable(report, cache)


def fix_of(code: str) -> tuple[str, str] | None:
    """How safe the fix of a rule is (`safe`, `unsafe`, `safe to 1 %`) and what it does; None if it has none."""
    from yolo_nanfix.fixing.catalogue import FIXES

    return (FIXES[code].safety, FIXES[code].text) if code in FIXES else None


def undo(data: str | Path) -> Undone:
    """Take the newest `fix` of a dataset back: bytes, permission bits, times of change. Again: the one before it.

    Args:
        data: data.yaml or the folder that holds it, as for `lint`.

    Raises:
        UsageError: there is no fix to undo, or another one is running.
    """
    from yolo_nanfix import mending

    return mending.undo(data)


def handoff(
    report: Report,
    out: str | Path,
    *,
    to: str = "cvat",
    max_images: int | None = None,
    images: str | None = "copy",
    unlabelled: bool = False,
    overwrite: bool = False,
    severity: str = "warning",
    progress: Progress | None = None,
) -> HandedOver:
    """Hand the images with findings to labellers: boxes and defects ready to import, and pictures of what is wrong.

    Names of images are their paths below the dataset's folder, whole, so that labels that come back find their images.

    Args:
        report: what `lint` found; `report.select(...)` leaves findings out.
        out: the folder to write; it is there whole or not at all.
        to: cvat, label-studio, coco or csv.
        max_images: at most so many, those with the worst findings; by default all.
        images: copy or link the images into the folder; None to leave them where they are.
        unlabelled: hand over the images that are worth labelling instead: without a label file, sound, and no copies of
            others. `report` must hold all findings; near duplicates are known from `deep=True` only.
        overwrite: replace an earlier handoff.
        severity: only findings at least so severe; `info` hands over those, too, that need no work.
        progress: called with (done, total, what) as images are drawn.

    Raises:
        UsageError: an argument is wrong, `out` is there already, or it cannot be written.
        DataError: the dataset cannot be used any more.
    """
    from yolo_nanfix import mending
    from yolo_nanfix.handoff.export import FORMATS, Options

    if to not in FORMATS or images not in (None, "copy", "link"):
        raise UsageError(f"handoff goes to {', '.join(FORMATS)}, with images copy, link or None; not to {to}, {images}")
    chosen = mending.unlabelled(report, progress) if unlabelled else None
    selected = mending.at_least(report, severity)
    return mending.handoff(selected, Path(out), Options(to, max_images, images, overwrite, chosen), progress)


def guard_settings() -> tuple[tuple[str, Any, str], ...]:
    """The settings of the guard: name, default, and what each does."""
    from dataclasses import fields

    from yolo_nanfix.guard.settings import GuardSettings

    return tuple((f.name, f.default, str(f.metadata["help"])) for f in fields(GuardSettings))


def rules() -> tuple[Rule, ...]:
    """Every rule of lint, in order of their codes."""
    from yolo_nanfix.linting.rule import all_rules

    return tuple(all_rules())


def diagnose(path: str | Path, *, imports: Iterable[str] = ()) -> Verdict:
    """Replay an incident in this process, on the CPU, under the patches that its run had, and say what was wrong.

    Args:
        path: an incident file, or a run folder for its newest incident.
        imports: modules that hold model classes of your own.

    Raises:
        DataError: there is no incident, it cannot be read, or it cannot be replayed here.
    """
    from yolo_nanfix.diagnosis.examine import examine
    from yolo_nanfix.incident import load, newest

    incident = load(newest(path))
    names = incident.facts.get("patches")
    with patched(*(map(str, names) if isinstance(names, list) else ()), guard=False):
        return examine(incident, imports=imports)


def draw(run: str | Path, out: str | Path | None = None, progress: Progress | None = None) -> Drawn:
    """Write the page of a training run from what lies in its folder; see `drawing.draw`."""
    from yolo_nanfix import drawing

    return drawing.draw(run, out, progress=progress)


def compare(first: str | Path, second: str | Path, out: str | Path | None = None) -> Drawn:
    """Write the page of two training runs beside each other; see `drawing.compare`."""
    from yolo_nanfix import drawing

    return drawing.compare(first, second, out)


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


revival.carry("guard", _guard_in_force)
revival.carry("left_out", _left_out)
