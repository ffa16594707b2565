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

from yolo_nanfix.dataset import membership
from yolo_nanfix.dataset.discover import Belongs, home, inside
from yolo_nanfix.dataset.find_yaml import several_yamls
from yolo_nanfix.dataset.options import LintOptions
from yolo_nanfix.dataset.table import Study
from yolo_nanfix.errors import UsageError
from yolo_nanfix.files import Within, write_text
from yolo_nanfix.findings import Finding, Report, Severity
from yolo_nanfix.linting import baseline, narrowing, watch
from yolo_nanfix.linting.pool import Progress
from yolo_nanfix.linting.runner import run
from yolo_nanfix.linting.selection import Selection, Wishes, read_wishes
from yolo_nanfix.overrides import Override, Overrides, SettingsFile, What, joined
from yolo_nanfix.settings import LintTable, load_lint, load_lint_of_user, settings_files, trusts


@dataclass(frozen=True)
class Request:
    """What a call or a command line wants.

    Attributes:
        wishes: settings by the names of a settings file; None for what was not said.
        source: what stands before the name of a wish in a message about it (`--`).
        settings: whether settings files count, too.
        trust: take a settings file that came with the dataset as one of the user's own.
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
    trust: bool = False

    def selection(self, data: str | Path) -> Selection:
        """The wishes that hold for one dataset: those of its settings file, then the request's own.

        Raises:
            UsageError: a setting or a wish is wrong.
        """
        return self.settled(data)[0]

    def settled(self, data: str | Path) -> tuple[Selection, Overrides]:
        """The selection, with the settings file in it and what of that was not taken.

        Raises:
            UsageError: a setting or a wish is wrong.
        """
        own = read_wishes(self.wishes, self.source, Path.cwd())
        layers, overrides = _from_files(data, self.trust or trusts()) if self.settings else ((), Overrides())
        return Selection((*layers, own)), overrides


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
    from yolo_nanfix.dataset.formats.sniff import is_annotations

    found = membership.datasets_of(request.files)
    alone = None if found else next(filter(is_annotations, request.files), None)
    if alone is not None:
        named = f"yolo-nanfix lint {shlex.quote(str(alone))} --files ..."
        raise UsageError(f"no data.yaml stands above {alone}; name its dataset: {named}")
    return found


def for_training(report: Report, data: str | Path, *, trust: bool = False) -> Report:
    """What of a report with all findings counts before a training.

    The selection of the settings files holds, so that the summary of a run shows what `yolo-nanfix lint` shows, but for
    what makes a run fail: a fatal finding is left out only if an `ignore` or a `per-path-ignores` names its rule by
    its code or name, in a file that is the user's own. Prefixes, `select`, `severity` and a baseline never let a
    poisonous image into a run, nor does a file that came with the dataset, unless it is trusted.

    Raises:
        UsageError: a setting is wrong.
    """
    layers, overrides = _from_files(data, trust or trusts())
    if not layers:
        return report
    chosen = Selection(layers)
    own = Selection(tuple(layer for layer in layers if layer.file not in overrides.distrusted))

    def counts(finding: Finding) -> bool:
        fatal = finding.severity is Severity.FATAL
        return not own.ignored_on_purpose(finding) if fatal else chosen.keeps(finding)

    kept = tuple(filter(counts, report.findings))
    trained = narrowing.trained(own, (f for f in report.findings if not counts(f)))
    options = (What.OPTION, What.SEVERITY)  # which a training takes from its model, or not at all
    narrowed = narrowing.narrowed(chosen, report, counts).changes
    refused: tuple[Override, ...] = ()
    if own != chosen:
        fatal = (f for f in kept if f.severity is Severity.FATAL and chosen.ignored_on_purpose(f))
        refused = tuple(narrowing.trained(chosen, fatal, taken=False))
    changes = (*(change for change in narrowed if change.what not in options), *refused, *trained)
    return replace(report, findings=kept, overrides=overrides + Overrides(changes=changes))


def stamps(data: str | Path | None, request: Request) -> dict[str, tuple[int, ...]]:
    """Time and size of every file on which the outcome of `lint` depends: the datasets' and their settings'."""
    found: dict[str, tuple[int, ...]] = {}
    for one in datasets(data, request):
        found |= watch.stamps(one, settings_files(home(one)), request.selection(one).first("root"))
    return found


def _from_files(data: str | Path, trust: bool) -> tuple[tuple[Wishes, ...], Overrides]:
    """The wishes of settings files that hold for a dataset, the last one winning, with what of them is not taken.

    The nearest file holds. One that came with the dataset and is not trusted stands behind the user's own: it narrows
    what these leave, and switches nothing off that they ask for, as `deep` or a severity.
    """
    belongs = Belongs(data)
    nearest = load_lint(home(data), belongs)
    if nearest is None:
        return (), Overrides()
    tables = [nearest]
    if nearest.of_dataset and not trust and (own := load_lint_of_user(home(data), belongs)) is not None:
        tables.append(own)
    layers, not_taken = zip(*(_layer(table, trust) for table in tables), strict=True)
    files = tuple(_file(table, trust) for table in tables)
    return layers, Overrides(files, tuple(change for changes in not_taken for change in changes))


def _layer(table: LintTable, trust: bool) -> tuple[Wishes, tuple[Override, ...]]:
    """The wishes of a settings file, and what of them is not taken."""
    wishes = read_wishes(table.values, table.source, table.folder, str(table.file))
    return narrowing.without_root(wishes) if table.of_dataset and not trust else (wishes, ())


def _file(table: LintTable, trust: bool) -> SettingsFile:
    return SettingsFile(str(table.file), "lint", table.of_dataset, trust or not table.of_dataset)


def _one(data: str | Path, request: Request, progress: Progress | None) -> Report:
    """Lint one dataset."""
    chosen, overrides = request.settled(data)
    options = LintOptions(
        task=chosen.first("task"),
        deep=bool(chosen.first("deep")),
        imgsz=chosen.first("imgsz") or LintOptions.imgsz,
        root=chosen.first("root"),
    )
    found = run(data, options=options, progress=progress, jobs=request.jobs, cache=request.cache, study=request.study)
    overrides += narrowing.narrowed(chosen, found)
    report = chosen.apply(replace(found, given_root=str(options.root or "")))
    if report.choice:
        from yolo_nanfix.linting.choosing import choose

        report = replace(report, choice=choose([choice.image for choice in report.choice], report.findings))
    file: Path | None = chosen.first("baseline")
    if request.write_baseline:
        if file is None:
            raise UsageError("--write-baseline needs --baseline FILE, or a baseline in the settings")
        _check_place(file, chosen.says("baseline"), overrides)
        _write(file, baseline.text(report, file))
    elif file is not None:
        before, report = report, baseline.without_known(report, file)
        overrides += _left_out(What.BASELINE, chosen, before, report, str(file))
    if request.files is not None:
        before, report = report, membership.about(report, request.files)
        overrides += _left_out(What.FILES, chosen, before, report)
    return replace(report, overrides=overrides)


def _left_out(what: What, chosen: Selection, before: Report, after: Report, value: str = "") -> Overrides:
    """What the baseline, or the choice of files, takes out of a report."""
    layer = chosen.says(what.value) if what is What.BASELINE else None
    layer = layer or chosen.layers[-1]
    return Overrides(changes=(narrowing.left_out(what, layer, what.value, before, after, value),))


def _check_place(file: Path, layer: Wishes | None, overrides: Overrides) -> None:
    """A settings file that came with the dataset says of no place elsewhere that something is written there.

    Raises:
        UsageError: it does.
    """
    if layer is None or all(one.trusted or one.file != layer.file for one in overrides.files):
        return
    if not Within([layer.folder]).holds(file):
        raise UsageError(
            f"{layer.file} came with the dataset, and its baseline {file} would be written outside of its folder; "
            "name a file with --baseline, or trust the settings with --trust-dataset-settings"
        )


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
        overrides=joined(report.overrides for report in reports),
        root=reports[0].root if len({report.root for report in reports}) == 1 else "",
        basis=reports[0].basis if reports and len({(r.task, str(r.basis)) for r in reports}) == 1 else None,
    )
