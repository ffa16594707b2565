"""The way into lint: finds out what is to be linted."""

from __future__ import annotations

import gc
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from yolo_nanfix import files
from yolo_nanfix.dataset import formats, scanning
from yolo_nanfix.dataset.config import DataConfig
from yolo_nanfix.dataset.discover import dataset
from yolo_nanfix.dataset.grounds import ground
from yolo_nanfix.dataset.options import TASKS, LintOptions
from yolo_nanfix.dataset.paths import labels_beside
from yolo_nanfix.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from yolo_nanfix.dataset.table import Study
    from yolo_nanfix.findings import Report
    from yolo_nanfix.linting.pool import Progress

AROUND = frozenset(("FS003", "FS004", "FS057", "FS061"))
"""Findings that tell of folders which are not looked at to know whether anything has changed."""


def run(
    data: str | Path,
    *,
    options: LintOptions | None = None,
    progress: Progress | None = None,
    jobs: int | None = None,
    cache: bool = True,
    study: Study | None = None,
) -> Report:
    """Lint one dataset. Nothing in it is written, downloaded or executed.

    Args:
        data: data.yaml, a folder that holds one, or the name of a dataset that Ultralytics ships; for classification
            the folder that holds `train`; annotations of COCO, Pascal VOC or Ultralytics NDJSON, a file or a folder.
        options: how; by default a fast look, for the task that the set itself speaks for.
        progress: called with (done, total, what) while files are read.
        jobs: processes that read; None for one a core where that is worth it, 1 for none but this one.
        cache: whether files that have not changed since an earlier run are left unread; what is known of them is in
            the user's cache folder.
        study: called with what is known of the dataset once it is read, if it could be.

    Raises:
        UsageError: the task is unknown.
        DataError: data.yaml or the dataset that it names cannot be used.
    """
    options = options or LintOptions()
    if options.task not in (None, *TASKS):
        raise UsageError(f"task '{options.task}' is unknown; lint reads {', '.join(TASKS)} labels")
    with _without_garbage_collection():
        annotated = formats.read(data, options)
        if annotated is not None:
            from yolo_nanfix.linting.pipeline import check_annotations

            config, report = annotated.config, check_annotations(annotated, study)
        else:
            config = dataset(data, options)
            report = _run(config, options, progress, jobs, cache, study)
    return replace(report, folders=ground(config, options.root).folders)


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """A lint makes many thousand small objects and hardly a reference cycle, so that looking for cycles is in vain."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _run(
    config: DataConfig,
    options: LintOptions,
    progress: Progress | None,
    jobs: int | None,
    cache: bool,
    study: Study | None,
) -> Report:
    """The report on a dataset of YOLO labels: the cached one where nothing has changed, for which no rule is loaded."""
    from yolo_nanfix.linting import cache as caching

    ahead = scanning.start(_folders(config))
    place = caching.place(config, options) if cache else None  # by the task that is asked: perhaps none
    if place is not None:
        files.clear_leftovers(place.parent)
    known = place is not None and study is None and caching.has_latest(place)
    if not known:
        from yolo_nanfix.linting.registry import all_rules

        all_rules()  # takes as long to load as it takes to list the folders
    from yolo_nanfix.dataset.listing import Folders

    folders = Folders(ahead)
    folders.visit(config)
    _, tree = folders.digests
    latest = caching.load_latest(place) if place is not None else {}
    if known and latest.get("tree") == tree:
        report = caching.unpack(latest, str(config.yaml_file), str(config.root))
        if report is not None:
            return report
    from yolo_nanfix.dataset.task_guess import Looks, guess, settled
    from yolo_nanfix.linting.pipeline import check

    looks = Looks(latest.get("looks"))
    options, basis = settled(options, guess(config, folders, looks))
    columns = caching.place(config, options) if cache else None
    report = check(config, options, folders, columns, progress, jobs, study, basis)
    if place is not None and not report.by_code().keys() & AROUND:
        caching.save_latest(place, {"tree": tree, "looks": looks.few(), **caching.pack(report)})
    return report


def _folders(config: DataConfig) -> list[str]:
    """The folders that data.yaml names, and those of their labels."""
    tops = [str(path) for paths in config.splits.values() for path in paths if path.is_dir()]
    return [*tops, *map(labels_beside, tops)]
