"""Reads the parts of a dataset: in this process if they are few, else in several.

The processes run a command of their own, so a script that calls `lint` needs no `if __name__ == "__main__"`, and a
decoder that crashes on a hostile file loses nothing but its part. Messages are frames over standard input and output.
"""

from __future__ import annotations

import gc
import os
import pickle
import struct
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from queue import SimpleQueue
from typing import IO, Any

import numpy as np

from yolo_nanfix import stopping
from yolo_nanfix.dataset.images import Part
from yolo_nanfix.dataset.index import Survey
from yolo_nanfix.dataset.paths import NO_FILE
from yolo_nanfix.linting.parts import Context, Facts, read_part
from yolo_nanfix.linting.registry import Hit

Progress = Callable[[int, int, str], None]
PART, DEEP_PART = 2000, 512
"""Images in a part at most."""
PART_BYTES = 1 << 24
"""Bytes of the label files of a part at most: memory is bounded by the rows of a part."""
DEEP_BYTES = 1 << 26
"""Bytes of the images of a part at most if they are decoded: progress is reported per part."""
SHARES = 4
"""Parts for each process at least, if they then have at least the following numbers of images."""
LEAST_PART, LEAST_DEEP_PART = 250, 64
WORTH_IT, DEEP_WORTH_IT = 6000, 128
"""From so many images on other processes save more time than they take to start."""
CRASHED = "IM001"
"""The rule that reports a file whose decoder crashed the process."""


def read_all(
    survey: Survey, numbers: Sequence[int], context: Context, jobs: int | None, progress: Progress | None
) -> Iterator[tuple[Part, Facts]]:
    """The facts of some images of a survey, part by part, in any order.

    Args:
        survey: the dataset.
        numbers: the images to read.
        context: its data.yaml and the options.
        jobs: processes; None for one per core where that is faster, 1 for this one alone.
        progress: called with (done, total, what).

    Raises:
        RuntimeError: a bug in this package while a part was read.
    """
    deep = context[1].deep
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
        stopping.raise_if_stopped()
        done += len(part.files)
        if progress is not None:
            progress(done, len(numbers), "images")
        yield part, facts


def _cut(survey: Survey, numbers: Sequence[int], most: int, *, deep: bool) -> Iterator[Sequence[int]]:
    """The images in groups of at most so many, and within `PART_BYTES` and, if deep, `DEEP_BYTES`."""
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
    """Read parts in `jobs` processes, each used by one thread."""
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
    except BrokenExecutor as death:
        if len(part.files) > 1:
            return [pair for half in part.split_up() for pair in _ask(worker, half, context)]
        return [(part, _crashed(part, context, str(death)))]


def _crashed(part: Part, context: Context, why: str) -> Facts:
    """The facts of a file that crashes its reader: those of a missing one, and a hit that says so."""
    nothing = part._replace(files=(os.devnull,), labelled=(False,), npys=(None,), stamps=np.array([NO_FILE]))
    _, columns = read_part(nothing, context)
    return [(0, CRASHED, Hit(part.files[0], why))], columns


_START = (
    "import signal, sys; parent = int(sys.argv[1]); sys.path[:] = sys.argv[2:]; from yolo_nanfix import stopping; "
    "[signal.signal(number, signal.SIG_IGN) for number in stopping.SIGNALS]; stopping.end_with(parent); "
    "from yolo_nanfix.linting.pool import serve; serve()"
)
"""What such a process runs; it ignores signals, and ends with its parent."""
_LENGTH = struct.Struct("<Q")


class Worker:
    """One such process, started by the first `ask`."""

    def __init__(self, context: Any) -> None:
        """`context` is sent to it before the first part."""
        self._context = context
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False

    def ask(self, part: Any) -> Any:
        """What `read_part` gives for a part.

        Raises:
            CancelledError: the worker was closed.
            BrokenExecutor: the process ended, with what signal or code.
            RuntimeError: `read_part` raised; the text is its traceback.
        """
        if self._closed:
            raise CancelledError
        process = self._process or self._start()
        try:
            _send(process.stdin, part)
            kind, answer = _receive(process.stdout)
        except (OSError, EOFError) as error:
            self._end()
            if self._closed:
                raise CancelledError from error
            raise BrokenExecutor(f"the process that read it ended with {process.returncode}") from error
        if kind == "error":
            raise RuntimeError(answer)
        return answer

    def close(self) -> None:
        """End the process; it is not started again."""
        self._closed = True
        self._end()

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()

    def _start(self) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "POLARS_MAX_THREADS": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        process = subprocess.Popen(
            [sys.executable, "-c", _START, str(os.getpid()), *sys.path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # decoders print what the findings say
            env=environment,
        )
        self._process = process
        _send(process.stdin, self._context)
        return process


def serve() -> None:
    """Answer until the input ends, or the parent process has ended."""
    import cv2

    given, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not mix with the answers
    asked: SimpleQueue[Any] = SimpleQueue()
    threading.Thread(target=_listen, args=(given, asked), daemon=True).start()
    cv2.setNumThreads(0)
    gc.disable()  # as in the process that asks
    answer: Any
    context = asked.get()
    while True:
        part = asked.get()
        try:
            kind, answer = "facts", read_part(part, context)
        except Exception:
            kind, answer = "error", traceback.format_exc()
        try:
            _send(answers, (kind, answer))
        except BrokenPipeError:
            return


def _listen(given: IO[bytes], asked: SimpleQueue[Any]) -> None:
    """Receive parts; once the other end is closed, this process ends, whatever it is decoding."""
    with suppress(Exception):
        while True:
            asked.put(_receive(given))
    os._exit(0)


def _send(stream: IO[bytes] | None, value: Any) -> None:
    assert stream is not None
    data = pickle.dumps(value, protocol=5)
    stream.write(_LENGTH.pack(len(data)))
    stream.write(data)
    stream.flush()


def _receive(stream: IO[bytes] | None) -> Any:
    assert stream is not None
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        raise EOFError
    (length,) = _LENGTH.unpack(head)
    data = stream.read(length)
    if len(data) < length:
        raise EOFError
    return pickle.loads(data)  # noqa: S301 - between a process and the one that it started
