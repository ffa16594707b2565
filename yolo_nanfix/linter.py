"""One run of lint as a user wants it: settings files, selection, baseline, single files.

It joins linting and settings, and stands between them and `api`.
"""

from __future__ import annotations

import shlex
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from yolo_nanfix.errors import DataError, UsageError
from yolo_nanfix.findings import Finding, Report, Severity
from yolo_nanfix.linting import baseline, membership, watching
from yolo_nanfix.linting.inside import inside
from yolo_nanfix.linting.locate import find_yaml, several_yamls
from yolo_nanfix.linting.options import LintOptions
from yolo_nanfix.linting.pool import Progress
from yolo_nanfix.linting.runner import run
from yolo_nanfix.linting.selection import Selection, Wishes, read_wishes
from yolo_nanfix.linting.studied import Study
from yolo_nanfix.report.jsonout import write_text
from yolo_nanfix.settings import load_lint, settings_files


@dataclass(frozen=True)
class Request:
    """What a call or a command line wants.

    Attributes:
        wishes: settings by the names of a settings file; None for what was not said.
        source: what stands before the name of a wish in a message about it (`--`).
        settings: whether settings files count, too.
        files: only findings about these files; None for all.
        jobs: processes that read; None for as many as are worth it.
        cache: leave files unread that have not changed since an earlier run.
        write_baseline: write the findings to the baseline, and leave none of them out.
        study: called with what is known of each dataset besides its findings.
    """

    wishes: Mapping[str, Any]
    source: str = ""
    settings: bool = True
    files: tuple[Path, ...] | None = None
    write_baseline: bool = False
    jobs: int | None = None
    cache: bool = True
    study: Study | None = None

    def selection(self, data: str | Path) -> Selection:
        """The wishes that hold for one dataset: those of its settings file, then the request's own.

        Raises:
            UsageError: a setting or a wish is wrong.
        """
        own = read_wishes(self.wishes, self.source, Path.cwd())
        return Selection((*_of_file(data), own)) if self.settings else Selection((own,))


def lint(data: str | Path | None, request: Request, progress: Progress | None = None) -> Report:
    """Lint a dataset, or those to which the request's files belong, as the request and the settings files say.

    Args:
        data: data.yaml, a folder that holds one, or a name; None to find it above each of the request's files.
        request: what is wanted.
        progress: called with (done, total, what) as files are read.

    Returns:
        The report; of several datasets one that holds the findings of all, of none an empty one.

    Raises:
        UsageError: a setting or wish is wrong, a file is missing, or a baseline cannot be used.
        DataError: a data.yaml, or the dataset that it names, cannot be used.
    """
    read_wishes(request.wishes, request.source, Path.cwd())
    if request.write_baseline and request.files is not None:
        raise UsageError("a baseline is written for a whole dataset, not for single files")
    if missing := next((file for file in request.files or () if not file.exists()), None):
        raise UsageError(f"the file {missing} does not exist")
    started = time.time_ns()
    return replace(_joined([_one(one, request, progress) for one in datasets(data, request)]), started_ns=started)


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
    from yolo_nanfix.linting.formats.sniff import is_annotations

    found = membership.datasets_of(request.files)
    alone = None if found else next(filter(is_annotations, request.files), None)
    if alone is not None:
        named = f"yolo-nanfix lint {shlex.quote(str(alone))} --files ..."
        raise UsageError(f"no data.yaml stands above {alone}; name its dataset: {named}")
    return found


def for_training(report: Report, data: str | Path) -> Report:
    """What of a report with all findings counts before a training.

    The selection of the settings files holds, so that the summary of a run shows what `yolo-nanfix lint` shows, but for
    what makes a run fail: a fatal finding is left out only if an `ignore` or a `per-path-ignores` names its rule by
    its code or name. Prefixes, `select`, `severity` and a baseline never let a poisonous image into a run.

    Raises:
        UsageError: a setting is wrong.
    """
    chosen = Selection(_of_file(data))

    def counts(finding: Finding) -> bool:
        fatal = finding.severity is Severity.FATAL
        return not chosen.ignored_on_purpose(finding) if fatal else chosen.keeps(finding)

    return replace(report, findings=tuple(filter(counts, report.findings)))


def stamps(data: str | Path | None, request: Request) -> dict[str, tuple[int, ...]]:
    """Time and size of every file on which the outcome of `lint` depends: the datasets' and their settings'."""
    found: dict[str, tuple[int, ...]] = {}
    for one in datasets(data, request):
        found |= watching.stamps(one, settings_files(home(one)), request.selection(one).first("root"))
    return found


def home(data: str | Path) -> Path:
    """The folder from which settings are looked for: that of data.yaml, or of what stands in its place."""
    path = Path(data)
    try:
        if path.exists():
            return path if path.is_dir() else path.absolute().parent
        return find_yaml(data).parent
    except (DataError, ValueError, OSError):
        return Path.cwd()


def _of_file(data: str | Path) -> tuple[Wishes, ...]:
    """The wishes of the settings file that holds for a dataset; none without one."""
    table = load_lint(home(data))
    return () if table is None else (read_wishes(table.values, table.source, table.folder),)


def _one(data: str | Path, request: Request, progress: Progress | None) -> Report:
    """Lint one dataset."""
    chosen = request.selection(data)
    options = LintOptions(
        task=chosen.first("task"),
        deep=bool(chosen.first("deep")),
        imgsz=chosen.first("imgsz") or LintOptions.imgsz,
        root=chosen.first("root"),
    )
    found = run(data, options=options, progress=progress, jobs=request.jobs, cache=request.cache, study=request.study)
    report = chosen.apply(replace(found, given_root=str(options.root or "")))
    if report.choice:
        from yolo_nanfix.linting.choosing import choose

        report = replace(report, choice=choose([choice.image for choice in report.choice], report.findings))
    file: Path | None = chosen.first("baseline")
    if request.write_baseline:
        if file is None:
            raise UsageError("--write-baseline needs --baseline FILE, or a baseline in the settings")
        _write(file, baseline.text(report, file))
    elif file is not None:
        report = baseline.without_known(report, file)
    return report if request.files is None else membership.about(report, request.files)


def _write(file: Path, content: str) -> None:
    try:
        write_text(file, content)
    except OSError as error:
        raise UsageError(f"the baseline {file} cannot be written: {error.strerror or error}") from error


def _joined(reports: list[Report]) -> Report:
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
        root=reports[0].root if len({report.root for report in reports}) == 1 else "",
        basis=reports[0].basis if reports and len({(r.task, str(r.basis)) for r in reports}) == 1 else None,
    )
