"""One run of lint as a user asks for it: settings files, selection, baseline, single files.

`api` calls it, and it calls `runner`, which lints a whole dataset.
"""

from __future__ import annotations

import shlex
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
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


@dataclass(frozen=True)
class Request:
    """The arguments of a call or a command line.

    Attributes:
        asked: its settings.
        settings: whether settings files are read, too.
        trust: take a settings file that came with the dataset for one of the user's own.
        files: only findings about these files; None for all.
        write_baseline: write the findings to the baseline, and leave none of them out.
        jobs: processes that read; None for one per core where that is faster.
        cache: do not read files again that have not changed since an earlier run.
        study: called with each dataset that was read.
    """

    asked: LintSettings = field(default_factory=LintSettings)
    settings: bool = True
    trust: bool = False
    files: tuple[Path, ...] | None = None
    write_baseline: bool = False
    jobs: int | None = None
    cache: bool = True
    study: Study | None = None

    def selection(self, data: str | Path) -> tuple[Selection, Overrides]:
        """The settings for one dataset, and which settings of its files are not used.

        Raises:
            UsageError: a setting is wrong.
        """
        layers, overrides = _from_files(data, self.trust) if self.settings else ((), Overrides())
        return Selection((*layers, self.asked)), overrides


def asked(values: Mapping[str, Any], prefix: str = "") -> LintSettings:
    """The settings of a call, by the names of its arguments; None if not given.

    Raises:
        UsageError: one of them is wrong; `prefix` precedes its name in the message.
    """
    return read_settings({name.replace("_", "-"): value for name, value in values.items()}, prefix, Path.cwd())


def lint(data: str | Path | None, request: Request, progress: Progress | None = None) -> Report:
    """Lint a dataset, or those to which the request's files belong, as the request and the settings files say.

    Args:
        data: data.yaml, a folder that holds one, or a name; None to find it above each of the request's files.
        request: the arguments.
        progress: called with (done, total, what) as files are read.

    Returns:
        The report; of several datasets one that holds the findings of all, of none an empty one.

    Raises:
        UsageError: a setting is wrong, a file is missing, or a baseline cannot be used.
        DataError: a data.yaml, or the dataset that it names, cannot be used.
    """
    if request.write_baseline and request.files is not None:
        raise UsageError("a baseline is written for a whole dataset, not for single files")
    if missing := next((file for file in request.files or () if not file.exists()), None):
        raise UsageError(f"the file {missing} does not exist")
    started = time.time_ns()
    return replace(
        _joined_report([_one(one, request, progress) for one in datasets(data, request)]), started_ns=started
    )


def datasets(data: str | Path | None, request: Request) -> tuple[str | Path, ...]:
    """The datasets that a call is about: the one that is named or lies in the named folder, or those above the files.

    Raises:
        UsageError: neither is given, or no dataset can be found by files of annotations.
    """
    if data is not None:
        given = inside(data)
        return several_yamls(Path(given)) or (given,)
    if request.files is None:
        raise UsageError("say which dataset: data.yaml, a folder that holds one, or a name such as coco8")
    from yolo_nanfix.dataset.formats.sniff import is_annotations

    found = discover.datasets_of(request.files)
    alone = None if found else next(filter(is_annotations, request.files), None)
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


def watched(data: str | Path | None, request: Request) -> Watched:
    """The current state of the datasets and their settings; fast enough to be called every second."""
    count = 0
    state: list[Any] = []
    for one in datasets(data, request):
        settings = _stamps(settings_files(home(one)))
        files, digest = _files_of(one, request.selection(one)[0].options)
        count, state = count + files + len(settings), [*state, settings, digest]
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


def _one(data: str | Path, request: Request, progress: Progress | None) -> Report:
    """Lint one dataset."""
    chosen, overrides = request.selection(data)
    options = chosen.options
    found = run(data, options=options, progress=progress, jobs=request.jobs, cache=request.cache, study=request.study)
    overrides += Overrides(changes=tuple(chosen.changes(found)))
    report = chosen.apply(replace(found, given_root=str(options.root or "")))
    if report.choice:
        from yolo_nanfix.linting.causes import choose

        report = replace(report, choice=choose([choice.image for choice in report.choice], report.findings))
    layer = chosen.says("baseline")
    file = layer.baseline if layer is not None else None
    if request.write_baseline:
        if layer is None or file is None:
            raise UsageError("--write-baseline needs --baseline FILE, or a baseline in the settings")
        _write_baseline(file, baseline.updated(report, file), layer)
        overrides += Overrides(changes=(layer.override(What.BASELINE, "baseline", value=str(file)),))
    elif layer is not None and file is not None:
        before, report = report, baseline.without_known(report, file)
        overrides += _removed(layer, What.BASELINE, before, report, str(file))
    if request.files is not None:
        before, report = report, discover.about(report, request.files)
        overrides += _removed(request.asked, What.FILES, before, report)
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
