"""Reads the parts of a dataset: here if they are few, else in several processes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from queue import SimpleQueue

import numpy as np

from yolo_nanfix import stopping
from yolo_nanfix.dataset.index import Survey
from yolo_nanfix.dataset.paths import NOTHING
from yolo_nanfix.linting.parts import Context, Facts, Found, Part, read_part
from yolo_nanfix.linting.reader_process import Worker, WorkerDied

Progress = Callable[[int, int, str], None]
PART, DEEP_PART = 2000, 512
"""Images in a part at most."""
PART_BYTES = 1 << 24
"""Bytes of the label files of a part at most: memory is bounded by the rows of a part."""
DEEP_BYTES = 1 << 26
"""Bytes of the images of a part at most where they are decoded: progress is told part by part."""
SHARES = 4
"""Parts for each process at least, as long as they have so many images as to be worth it."""
LEAST_PART, LEAST_DEEP_PART = 250, 64
WORTH_IT, DEEP_WORTH_IT = 6000, 128
"""From so many images on other processes are worth the time that they take to start."""
CRASHED = "IM001"
"""The rule under which a file is reported whose decoder crashed the process."""


def read_all(
    survey: Survey, numbers: Sequence[int], context: Context, jobs: int | None, progress: Progress | None
) -> Iterator[tuple[Part, Facts]]:
    """The facts of some images of a survey, part by part, in any order.

    Args:
        survey: the dataset.
        numbers: the images to read.
        context: how.
        jobs: processes; None for one a core where that is worth it, 1 for none but this one.
        progress: called with (done, total, what).

    Raises:
        RuntimeError: a fault of our own while a part was read.
    """
    deep = context.options.deep
    few = len(numbers) < (DEEP_WORTH_IT if deep else WORTH_IT)
    jobs = jobs or (1 if few else cores())
    least, most = (LEAST_DEEP_PART, DEEP_PART) if deep else (LEAST_PART, PART)
    share = most if jobs == 1 else min(most, max(least, len(numbers) // (SHARES * jobs)))
    parts = [_part(survey, some) for some in _cut(survey, numbers, share, deep=deep)]
    jobs = min(len(parts), jobs)
    asked = _apart(parts, context, jobs) if jobs > 1 else ((part, read_part(part, context)) for part in parts)
    done = 0
    if progress is not None:
        progress(0, len(numbers), "images")
    for part, facts in asked:
        stopping.check()
        done += len(part.files)
        if progress is not None:
            progress(done, len(numbers), "images")
        yield part, facts


def _cut(survey: Survey, numbers: Sequence[int], most: int, *, deep: bool) -> Iterator[Sequence[int]]:
    """Some images dealt out: at most so many at once, and within `PART_BYTES` and, if deep, `DEEP_BYTES`."""
    chosen = np.array(numbers, np.int64)
    weights = survey.sizes(chosen) / PART_BYTES
    if deep:
        weights = np.maximum(weights, survey.stamps(chosen)[:, 0] / DEEP_BYTES)
    start, weight = 0, 0.0
    for i, share in enumerate(weights.tolist()):
        if i > start and (i - start >= most or weight + share > 1):
            yield numbers[start:i]
            start, weight = i, 0.0
        weight += share
    if start < len(numbers):
        yield numbers[start:]


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _part(survey: Survey, numbers: Sequence[int]) -> Part:
    chosen = np.array(numbers, np.int64)
    return Part(
        numbers=tuple(numbers),
        files=_some(survey.files, numbers),
        labels=_some(survey.labels, numbers),
        splits=tuple(survey.split_names[i] for i in survey.split[chosen].tolist()),
        labelled=tuple(survey.labelled[chosen].tolist()),
        owns=tuple(survey.owns[chosen].tolist()),
        npys=tuple(survey.npys(chosen)),
        stamps=survey.stamps(chosen),
        sizes=tuple(survey.sizes(chosen).tolist()),
    )


def _some(items: tuple[str, ...], numbers: Sequence[int]) -> tuple[str, ...]:
    """The items of some ascending numbers."""
    first, last = numbers[0], numbers[-1]
    return items[first : last + 1] if last - first + 1 == len(numbers) else tuple(items[i] for i in numbers)


def _apart(parts: list[Part], context: Context, jobs: int) -> Iterator[tuple[Part, Facts]]:
    """Each of `jobs` threads speaks with a process of its own."""
    workers = [Worker(context) for _ in range(jobs)]
    idle: SimpleQueue[Worker] = SimpleQueue()
    for worker in workers:
        idle.put(worker)

    def ask(part: Part) -> list[tuple[Part, Facts]]:
        worker = idle.get()
        try:
            return _ask(worker, part, context)
        finally:
            idle.put(worker)

    waiting = iter(parts)
    try:
        with ThreadPoolExecutor(jobs) as threads:
            running: set[Future[list[tuple[Part, Facts]]]] = set()
            try:
                while True:
                    while len(running) < 2 * jobs and (part := next(waiting, None)) is not None:
                        running.add(threads.submit(ask, part))
                    if not running:
                        return
                    ready, running = wait(running, return_when=FIRST_COMPLETED)
                    for future in ready:
                        yield from future.result()
            finally:
                for future in running:
                    future.cancel()
                for worker in workers:
                    worker.close()
    finally:
        for worker in workers:
            worker.close()


def _ask(worker: Worker, part: Part, context: Context) -> list[tuple[Part, Facts]]:
    """The facts of a part; if the process dies of it, those of its halves, down to the file that kills it."""
    try:
        return [(part, worker.ask(part))]
    except WorkerDied as death:
        if len(part.files) > 1:
            return [pair for half in part.split_up() for pair in _ask(worker, half, context)]
        return [(part, _crashed(part, context, str(death)))]


def _crashed(part: Part, context: Context, why: str) -> Facts:
    """The facts of a file that cannot be read without dying: as of one that is not there, and a hit that says so."""
    nothing = part._replace(files=(os.devnull,), labelled=(False,), npys=(None,), stamps=np.array([NOTHING]))
    facts = read_part(nothing, context)
    return Facts([Found(0, CRASHED, part.files[0], None, None, why, {}, ())], facts.columns)
