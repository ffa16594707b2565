"""One run of lint as a user asks for it: settings files, selection, baseline, single files.

`api` calls it, and it calls `runner`, which lints a whole dataset.
"""

from __future__ import annotations

import shlex
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from yolo_nanfix import files
from yolo_nanfix.dataset import class_lists, discover
from yolo_nanfix.dataset.discover import belongs, dataset, home, inside
from yolo_nanfix.dataset.find_yaml import find_yaml, several_yamls
from yolo_nanfix.dataset.listing import Folders
from yolo_nanfix.dataset.options import LintOptions
from yolo_nanfix.dataset.paths import Stamp, stamp_of
from yolo_nanfix.dataset.table import Study
from yolo_nanfix.errors import DataError, UsageError
from yolo_nanfix.files import Within
from yolo_nanfix.findings import Finding, Report, Severity
from yolo_nanfix.linting import baseline
from yolo_nanfix.linting.pool import Progress
from yolo_nanfix.linting.runner import run
from yolo_nanfix.linting.selection import LintSettings, Selection, read_settings, without_root
from yolo_nanfix.overrides import Overrides, What, join_overrides
from yolo_nanfix.settings import load_lint, settings_files, trusts


def selection(
    data: str | Path, own: LintSettings | None = None, *, settings: bool = True, trust: bool = False
) -> tuple[Selection, Overrides]:
    """The settings for one dataset, and which settings of its files are not used.

    Args:
        data: the dataset.
        own: the settings of the call.
        settings: whether settings files are read, too.
        trust: take a settings file that came with the dataset for one of the user's own.

    Raises:
        UsageError: a setting is wrong.
    """
    layers, overrides = _from_files(data, trust) if settings else ((), Overrides())
    return Selection((*layers, own or LintSettings())), overrides


def asked(values: Mapping[str, Any], prefix: str = "") -> LintSettings:
    """The settings of a call, by the names of its arguments; None if not given.

    Raises:
        UsageError: one of them is wrong; `prefix` precedes its name in the message.
    """
    return read_settings({name.replace("_", "-"): value for name, value in values.items()}, prefix, Path.cwd())


def lint(
    data: str | Path | None,
    own: LintSettings,
    *,
    settings: bool = True,
    trust: bool = False,
    files: Sequence[Path] | None = None,
    write_baseline: bool = False,
    jobs: int | None = None,
    cache: bool = True,
    progress: Progress | None = None,
    study: Study | None = None,
) -> Report:
    """Lint a dataset, or those to which some files belong, as the call and the settings files say.

    Args:
        data: data.yaml, a folder that holds one, or a name; None to find it above each of the files.
        own, settings, trust: as in `selection`.
        files: only findings about these files; None for all.
        write_baseline: write the findings to the baseline, and leave none of them out.
        jobs, cache, progress, study: as in `runner.run`.

    Returns:
        The report; of several datasets one that holds the findings of all, of none an empty one.

    Raises:
        UsageError: a setting is wrong, a file is missing, or a baseline cannot be used.
        DataError: a data.yaml, or the dataset that it names, cannot be used.
    """
    if write_baseline and files is not None:
        raise UsageError("a baseline is written for a whole dataset, not for single files")
    if missing := next((file for file in files or () if not file.exists()), None):
        raise UsageError(f"the file {missing} does not exist")
    started, reports = time.time_ns(), []
    for one in datasets(data, files):
        chosen, overrides = selection(one, own, settings=settings, trust=trust)
        found = run(one, options=chosen.options, progress=progress, jobs=jobs, cache=cache, study=study)
        report = _selected(found, chosen, overrides, write_baseline=write_baseline)
        if files is not None:
            before, report = report, discover.about(report, files)
            report = replace(report, overrides=report.overrides + _removed(own, What.FILES, before, report))
        reports.append(report)
    return replace(_joined_report(reports), started_ns=started)


def datasets(data: str | Path | None, files: Sequence[Path] | None = None) -> tuple[str | Path, ...]:
    """The datasets that a call is about: the one that is named or lies in the named folder, or those above the files.

    Raises:
        UsageError: neither is given, or no dataset can be found by files of annotations.
    """
    if data is not None:
        given = inside(data)
        return several_yamls(Path(given)) or (given,)
    if files is None:
        raise UsageError("say which dataset: data.yaml, a folder that holds one, or a name such as coco8")
    from yolo_nanfix.dataset.formats.sniff import is_annotations

    found = discover.datasets_of(files)
    alone = None if found else next(filter(is_annotations, files), None)
    if alone is not None:
        named = f"yolo-nanfix lint {shlex.quote(str(alone))} --files ..."
        raise UsageError(f"there is no data.yaml above {alone}; name its dataset: {named}")
    return found


def for_training(report: Report, data: str | Path, *, trust: bool = False) -> Report:
    """The part of a report with all findings that matters before a training.

    The selection of the settings files holds, so that the summary of a run shows what `yolo-nanfix lint` shows, but for
    what makes a run fail: a fatal finding is left out only if an `ignore` or a `per-path-ignores` names its rule by
    its code or name, in a file that is the user's own. Prefixes, `select`, `severity` and a baseline never let a
    poisonous image into a run, nor does a file that came with the dataset, unless it is trusted.

    Raises:
        UsageError: a setting is wrong.
    """
    layers, overrides = _from_files(data, trust)
    if not layers:
        return report
    chosen = Selection(layers)
    own = Selection(tuple(layer for layer in layers if layer.file is not None and layer.file.trusted))

    def counts(finding: Finding) -> bool:
        fatal = finding.severity is Severity.FATAL
        return not own.ignored_on_purpose(finding) if fatal else chosen.keeps(finding)

    kept = tuple(filter(counts, report.findings))
    options = (What.OPTION, What.SEVERITY)  # which a training takes from its model, or not at all
    changes = [change for change in chosen.changes(report, counts) if change.what not in options]
    if own != chosen:
        fatal = (f for f in kept if f.severity is Severity.FATAL and chosen.ignored_on_purpose(f))
        changes += chosen.trained(fatal, taken=False)
    changes += own.trained(f for f in report.findings if not counts(f))
    return replace(report, findings=kept, overrides=overrides + Overrides(changes=tuple(changes)))


Watched = tuple[int, tuple[Any, ...]]
"""How many files the result of a lint depends on, and a value that changes with any of them."""


def watched(
    data: str | Path | None, own: LintSettings, *, settings: bool, trust: bool, files: Sequence[Path] | None
) -> Watched:
    """The current state of the datasets and their settings; fast enough to be called every second."""
    count = 0
    state: list[Any] = []
    for one in datasets(data, files):
        stamps = _stamps(settings_files(home(one)))
        more, digest = _files_of(one, selection(one, own, settings=settings, trust=trust)[0].options)
        count, state = count + more + len(stamps), [*state, stamps, digest]
    return count, tuple(state)


def _files_of(data: str | Path, options: LintOptions) -> tuple[int, Any]:
    """How many files a dataset has, and a value that changes with any of them.

    Of a data.yaml that cannot be used only itself is watched, of a folder without one all that is in it.
    """
    try:
        config, folders = dataset(data, LintOptions(root=options.root)), Folders()
        folders.visit(config)
        own = _stamps([config.yaml_file]), class_lists.stamps(config)
        return folders.count - 1 + sum(map(len, own)), (folders.digests, own)
    except (DataError, OSError, ValueError):
        top = Path(data)
        if not top.is_dir():
            with suppress(DataError):
                top = find_yaml(data)
        found = _stamps(top.rglob("*") if top.is_dir() else [top])
        return len(found), found


def _stamps(paths: Iterable[Path]) -> dict[Path, Stamp]:
    """The stamps of the files that exist."""
    found = {}
    for path in paths:
        with suppress(OSError, ValueError):
            found[path] = stamp_of(path.stat())
    return found


def _from_files(data: str | Path, trust: bool) -> tuple[tuple[LintSettings, ...], Overrides]:
    """The settings files of a dataset, the last one winning, and which of their settings are not used.

    One that came with the dataset and is not trusted ranks behind the user's own: it narrows what that leaves, and
    switches nothing off that it asks for, such as `deep` or a severity.
    """
    layers, overrides = [], Overrides()
    for values, source, file in load_lint(home(data), belongs(data), trust=trust or trusts()):
        layer = read_settings(values, source, Path(file.file).parent, file)
        layer, not_taken = (layer, Overrides()) if file.trusted else without_root(layer)
        layers.append(layer)
        overrides += Overrides((file,)) + not_taken
    return tuple(layers), overrides


def _selected(found: Report, chosen: Selection, overrides: Overrides, *, write_baseline: bool) -> Report:
    """The part of a report that is selected and not in the baseline, which is written if that is wanted."""
    overrides += Overrides(changes=tuple(chosen.changes(found)))
    report = chosen.apply(replace(found, given_root=str(chosen.options.root or "")))
    if report.choice:
        from yolo_nanfix.linting.causes import choose

        report = replace(report, choice=choose([choice.image for choice in report.choice], report.findings))
    layer = chosen.says("baseline")
    file = layer.baseline if layer is not None else None
    if write_baseline:
        if layer is None or file is None:
            raise UsageError("--write-baseline needs --baseline FILE, or a baseline in the settings")
        _write_baseline(file, baseline.updated(report, file), layer)
        overrides += Overrides(changes=(layer.override(What.BASELINE, "baseline", value=str(file)),))
    elif layer is not None and file is not None:
        before, report = report, baseline.without_known(report, file)
        overrides += _removed(layer, What.BASELINE, before, report, str(file))
    return replace(report, overrides=overrides)


def _removed(layer: LintSettings, what: What, before: Report, after: Report, value: str = "") -> Overrides:
    """The findings that the baseline, or the choice of files, takes out of a report."""
    remaining = set(map(id, after.findings))
    gone = (finding for finding in before.findings if id(finding) not in remaining)
    return Overrides(changes=(layer.override(what, what.value, gone, value=value),))


def _write_baseline(file: Path, content: str, layer: LintSettings) -> None:
    """Write the baseline; a settings file that came with the dataset may name no place outside of its folder.

    Raises:
        UsageError: it does, or the file cannot be written.
    """
    if layer.file is not None and not layer.file.trusted and not Within([layer.folder]).holds(file):
        raise UsageError(
            f"{layer.file.file} came with the dataset, and its baseline {file} would be written outside of its folder; "
            "name a file with --baseline, or trust the settings with --trust-dataset-settings"
        )
    try:
        files.write_text(file, content)
    except OSError as error:
        raise UsageError(f"the baseline {file} cannot be written: {error.strerror or error}") from error


def _joined_report(reports: list[Report]) -> Report:
    """One report of several datasets: findings one after the other, counts added up."""
    if len(reports) == 1:
        return reports[0]
    counts: dict[str, Counter[str]] = {}
    for report in reports:
        for split, numbers in report.counts.items():
            counts.setdefault(split, Counter()).update(numbers)
    return Report(
        data=", ".join(report.data for report in reports),
        task=", ".join(dict.fromkeys(report.task for report in reports)),
        findings=tuple(finding for report in reports for finding in report.findings),
        skipped=tuple(dict.fromkeys(pair for report in reports for pair in report.skipped)),
        counts=counts,
        known=sum(report.known for report in reports),
        folders=tuple(dict.fromkeys(folder for report in reports for folder in report.folders)),
        overrides=join_overrides(report.overrides for report in reports),
        root=reports[0].root if len({report.root for report in reports}) == 1 else "",
        basis=reports[0].basis if reports and len({(r.task, str(r.basis)) for r in reports}) == 1 else None,
    )
