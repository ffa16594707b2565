"""The public functions: lint, fix, undo, handoff, diagnose, those of `switching` and `pages`; `runs` has `train`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yolo_nanfix.errors import UsageError, close
from yolo_nanfix.findings import Report
from yolo_nanfix.handoff import FORMATS
from yolo_nanfix.pages import Drawn as Drawn
from yolo_nanfix.pages import compare as compare
from yolo_nanfix.pages import draw as draw
from yolo_nanfix.pages import lint_page as lint_page
from yolo_nanfix.switching import Status as Status
from yolo_nanfix.switching import patch as patch
from yolo_nanfix.switching import patched as patched
from yolo_nanfix.switching import prepare as prepare
from yolo_nanfix.switching import prepared as prepared
from yolo_nanfix.switching import restore as restore
from yolo_nanfix.switching import restore_before as restore_before
from yolo_nanfix.switching import status as status
from yolo_nanfix.switching import unguarded as unguarded
from yolo_nanfix.switching import unpatch as unpatch

if TYPE_CHECKING:
    from yolo_nanfix.cards import Card as Card
    from yolo_nanfix.dataset.table import Table as Table
    from yolo_nanfix.handoff.export import HandedOver as HandedOver
    from yolo_nanfix.linting.autofix.apply import Fixed as Fixed
    from yolo_nanfix.linting.autofix.autofix import Fixes as Fixes
    from yolo_nanfix.linting.autofix.operations import Autofix as Autofix
    from yolo_nanfix.linting.autofix.reasons import Kept as Kept
    from yolo_nanfix.linting.autofix.undo import Undone as Undone
    from yolo_nanfix.linting.registry import Rule
    from yolo_nanfix.linting.request import Watched
    from yolo_nanfix.plans import Plan as Plan
    from yolo_nanfix.verdicts import Verdict

Progress = Callable[[int, int, str], None]
HANDOFF_FORMATS = FORMATS
"""The formats of `handoff`."""


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
    write_baseline: bool = False,
    files: Iterable[str | Path] | None = None,
    settings: bool = True,
    trust_dataset_settings: bool = False,
    jobs: int | None = None,
    cache: bool = True,
    progress: Progress | None = None,
    study: Callable[[Table], None] | None = None,
    prefix: str = "",
) -> Report:
    """Find what breaks, poisons or silently weakens training in a dataset. Nothing in the dataset is written.

    What is not given here comes from the key `lint` of `nanfix.yaml`, or from `[tool.yolo-nanfix.lint]` in
    `pyproject.toml`, searched from the folder of data.yaml upward, then from the current one.

    Args:
        data: data.yaml, a folder with a dataset, or a name that Ultralytics knows. None with `files`: the data.yaml
            above each file.
        task: detect, segment, pose, obb or classify; by default read from the dataset (`Report.basis` says why).
        deep: also decode every image.
        root: the folder of the images, in place of the one that data.yaml or annotations name.
        imgsz: the image size of the planned training, in pixels; by default 640.
        select: run only these rules: codes, prefixes of codes, names or ALL; `extend_select` adds, `ignore` removes.
        severity: another severity, by the same words.
        per_path_ignores: by glob, the rules to leave out for files that match.
        baseline: a file of findings to leave out.
        write_baseline: write all findings to `baseline`, so that later runs report only new ones.
        files: report only findings about these files.
        settings: False ignores settings files.
        trust_dataset_settings: let a settings file that came with the dataset hide fatal findings.
        jobs: processes that read files; by default one per core if that is faster, 1 for this process alone.
        cache: do not read files that have not changed since an earlier run (YOLO_NANFIX_CACHE names the folder).
        progress: called with (done, total, what) as files are read.
        study: called with the contents of each dataset, for `lint_page`.
        prefix: prefix of argument names in messages; `--` for a command line.

    Raises:
        UsageError: an argument or setting is wrong, or a file cannot be used.
        DataError: data.yaml or the dataset it names cannot be used.
    """
    from yolo_nanfix.linting import request

    given = {
        "select": _as_list(select),
        "extend_select": _as_list(extend_select),
        "ignore": _as_list(ignore),
        "severity": dict(severity or {}),
        "per_path_ignores": {glob: _as_list(words) for glob, words in (per_path_ignores or {}).items()},
        **{"baseline": baseline, "task": task, "deep": deep, "imgsz": imgsz, "root": root},
    }
    return request.lint(
        data,
        request.asked(given, prefix),
        settings=settings,
        trust=trust_dataset_settings,
        files=None if files is None else tuple(map(Path, files)),
        write_baseline=write_baseline,
        jobs=jobs,
        cache=cache,
        progress=progress,
        study=study,
    )


def _as_list(words: Iterable[str] | None) -> Any:
    """Words as a list; a string stays as it is, and is refused later."""
    return words if words is None or isinstance(words, str) else list(words)


def watched(
    data: str | Path | None,
    *,
    files: Iterable[str | Path] | None = None,
    root: str | Path | None = None,
    settings: bool = True,
    trust_dataset_settings: bool = False,
) -> Watched:
    """The number of files that `lint` reads, and a value that changes with any of them; arguments as of `lint`."""
    from yolo_nanfix.linting import request

    given = None if files is None else tuple(map(Path, files))
    own = request.asked({"root": root})
    return request.watched(data, own, settings=settings, trust=trust_dataset_settings, files=given)


def fix(report: Report, *, unsafe: bool = False, diff: bool = False, outside: bool = False) -> Fixed:
    """Apply the autofixes for the findings of a report; `undo` reverts them.

    Before the first change the original bytes of all files to be changed are written to a journal in the user's data
    folder. Each file is changed completely or not at all. Files that changed since the lint are left alone, and so are
    those outside of the dataset: behind links that lead out of it, or listed elsewhere.

    Args:
        report: the result of `lint`, or a selection of its findings.
        unsafe: also apply what may lose data: drop rows, clip far, rename images, move unusable files to quarantine.
        diff: write nothing, and return the changes as text.
        outside: also change files outside of the dataset, and use a quarantine that is a link.

    Returns:
        What was fixed, and what was not and why. Lint again to see what remains.

    Raises:
        UsageError: another fix is running, or the journal cannot be written; nothing was changed.
        DataError: the dataset cannot be used any more.
    """
    from yolo_nanfix.linting.autofix import autofix

    return autofix.fix(report, unsafe=unsafe, diff=diff, outside=outside)


def fixable(report: Report, *, cache: bool = True) -> Fixes:
    """Which findings of a report `fix` would fix, by a trial unless there are very many; nothing is written.

    Args:
        report: the result of `lint`.
        cache: do not read files that have not changed since an earlier run.

    Raises:
        UsageError: nothing can be fixed in this kind of dataset.
        DataError: the dataset cannot be used any more.
    """
    from yolo_nanfix.linting.autofix import autofix

    return autofix.fixable(report, cache)


def fix_of(code: str) -> Autofix | None:
    """The autofix of a rule: what it does, and whether it is safe; None if there is none."""
    from yolo_nanfix.linting.registry import autofixes

    return autofixes().get(code)


def undo(data: str | Path, *, outside: bool = False, root: str | Path | None = None) -> Undone:
    """Revert the newest `fix` of a dataset: bytes, permission bits, modification times. Again: the one before it.

    Files that cannot be restored are named, and their bytes stay in the journal.

    Args:
        data: data.yaml or the folder that holds it, as for `lint`; it may have been moved since the fix.
        outside: also restore files outside of the dataset.
        root: the `root` that was given to `lint`, if any.

    Raises:
        UsageError: there is no fix to undo, its journal is damaged, or another one is running.
    """
    from yolo_nanfix.linting.autofix import autofix

    return autofix.undo(data, outside=outside, root=root)


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
    follow_links: bool = False,
    progress: Progress | None = None,
) -> HandedOver:
    """Export the images with findings to a labelling tool: labels and defects ready to import, and drawings of both.

    Names of images are their whole paths below the dataset's folder, so that labels that come back find their images.

    Args:
        report: the result of `lint`; `report.select(...)` leaves findings out.
        out: the folder to write; it is written completely or not at all.
        to: cvat, label-studio, coco or csv.
        max_images: largest number of images, those with the worst findings first; by default all.
        images: copy or link the images into the folder; None to leave them where they are.
        unlabelled: export the images that are worth labelling instead: those without a label file that are undamaged
            and no copies of others. `report` must have all findings; near duplicates are found with `deep=True` only.
        overwrite: replace an earlier handoff.
        severity: only findings of at least this severity; `info` includes those that need no work.
        follow_links: also open images and labels that links or lists name outside of the dataset's folders.
        progress: called with (done, total, what) as images are drawn.

    Raises:
        UsageError: an argument is wrong, or `out` exists or cannot be written.
        DataError: the dataset cannot be used any more.
    """
    from yolo_nanfix import labelling
    from yolo_nanfix.handoff.export import Options

    if to not in FORMATS or images not in (None, "copy", "link"):
        raise UsageError(f"handoff goes to {', '.join(FORMATS)}, with images copy, link or None; not to {to}, {images}")
    chosen = labelling.unlabelled(report, progress) if unlabelled else None
    selected = labelling.at_least(report, severity)
    options = Options(to, max_images, images, overwrite, chosen, follow_links)
    return labelling.handoff(selected, Path(out), options, progress)


def guard_settings() -> tuple[tuple[str, Any, str], ...]:
    """The settings of the guard: name, default, and help text of each."""
    from dataclasses import fields

    from yolo_nanfix.guard.guard_settings import GuardSettings

    return tuple((f.name, f.default, str(f.metadata["help"])) for f in fields(GuardSettings))


def rules() -> tuple[Rule, ...]:
    """Every rule of lint, in order of their codes."""
    from yolo_nanfix.linting.registry import all_rules

    return tuple(all_rules())


def rule(name: str) -> Rule:
    """The rule of a code or name, in upper or lower case.

    Raises:
        UsageError: there is none; the message names the nearest.
    """
    by_name = {key: one for one in rules() for key in (one.code.lower(), one.name)}
    if found := by_name.get(name.lower()):
        return found
    near = close(name, by_name)
    hint = f"did you mean '{by_name[near].code}'?" if near else "'yolo-nanfix rule --all' lists them"
    raise UsageError(f"no lint rule named '{name}'; {hint}")


def cards() -> Mapping[str, Card]:
    """The card of every patch, by its name."""
    from yolo_nanfix.cards import load_all

    return load_all()


def plan(
    data: str | Path,
    *,
    output: str | Path | None = None,
    page: str | Path | None = None,
    overwrite: bool = False,
    cache: bool = True,
    trust_dataset_settings: bool = False,
    progress: Progress | None = None,
    **arguments: Any,
) -> Plan:
    """Advices for training on a dataset with this machine, from its figures; each with its reason and source.

    Args:
        data: data.yaml, or the folder of a classification dataset.
        output: a file to write for Ultralytics' `cfg=` and for `yolo-nanfix train --recipe`.
        page: a file for the page of the plan.
        overwrite: replace these files if they exist.
        cache: do not read files that have not changed since an earlier run.
        trust_dataset_settings: treat settings files that came with the dataset as your own.
        progress: called with (done, total, what) as files are read.
        arguments: Ultralytics' training arguments that are decided: there is no advice on them, and the others are
            made with them.

    Raises:
        UsageError: an argument or the dataset cannot be used, or a file exists or cannot be written.
    """
    from yolo_nanfix.findings import Severity

    with prepared(data=data, trust_dataset_settings=trust_dataset_settings):
        from yolo_nanfix.finetune import planner

        planner.check(arguments)
        planner.check_files(output, page, overwrite=overwrite)
        studied: list[Table] = []
        task = arguments.get("task")
        report = lint(data, task=task, settings=False, cache=cache, progress=progress, study=studied.append)
        fatal = sum(finding.severity is Severity.FATAL for finding in report.findings)
        made = planner.plan(planner.only(data, studied), arguments, fatal)
    if page is not None:
        from yolo_nanfix.report.html import plan_page

        planner.write(plan_page.page(made, planner.text(made)), page)
    if output is not None:
        planner.write(planner.text(made), output)
    return made


def check_plan_files(output: str | Path | None, page: str | Path | None, *, overwrite: bool) -> None:
    """Check the files that a plan is to be written to, before the dataset is read.

    Raises:
        UsageError: one exists and is not to be overwritten, is a folder, or has another suffix than it needs.
    """
    from yolo_nanfix.finetune import planner

    planner.check_files(output, page, overwrite=overwrite)


def diagnose(path: str | Path, *, imports: Iterable[str] = ()) -> Verdict:
    """Replay an incident in this process, on the CPU, with the patches of its run, and find the cause.

    Args:
        path: an incident file, or a run folder for its newest incident. It may be untrusted: no code in it is run.
        imports: modules with model classes of your own; their code is run.

    Raises:
        DataError: there is no incident, it cannot be read, or it cannot be replayed here.
    """
    from yolo_nanfix.diagnosis.examine import examine
    from yolo_nanfix.diagnosis.incident_checks import received, replayed_patches

    with received(path) as incident:
        names = replayed_patches(incident)
        with nullcontext() if names == () else unguarded(*names or ()):
            return examine(incident, imports=imports)
