"""Lints one dataset: finds it, reads what is cached of it, and runs the pipeline."""

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
"""Findings about folders in which changes are not noticed, so that reports with them are not cached."""


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
        options: by default headers and labels are read, for the task that the labels are for.
        progress: called with (done, total, what) while files are read.
        jobs: processes that read; None for one per core where that is faster, 1 for this one alone.
        cache: do not read files again that have not changed since an earlier run, from the user's cache folder.
        study: called with the dataset once it is read, if it could be.

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
    """Switch it off for a `with` block: a lint makes many small objects and hardly a reference cycle."""
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
    """The report on a dataset of YOLO labels: the cached one if nothing has changed; then no rule is loaded."""
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
    from yolo_nanfix.dataset.task_guess import guess, settled
    from yolo_nanfix.linting.pipeline import check

    guessed, labels = guess(config, folders, latest.get("labels"))
    options, basis = settled(options, guessed)
    columns = caching.place(config, options) if cache else None
    report = check(config, options, folders, columns, progress, jobs, study, basis)
    if place is not None and not report.by_code().keys() & AROUND:
        caching.save_latest(place, {"tree": tree, "labels": labels, **caching.pack(report)})
    return report


def _folders(config: DataConfig) -> list[str]:
    """The folders that data.yaml names, and those of their labels."""
    tops = [str(path) for paths in config.splits.values() for path in paths if path.is_dir()]
    return [*tops, *map(labels_beside, tops)]
