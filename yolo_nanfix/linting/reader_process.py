"""A process that reads parts of a dataset. It speaks in frames over its standard input and output.

Processes of our own are started by name, so a script that calls `lint` needs no `if __name__ == "__main__"`, and a
decoder that crashes on a hostile file takes nothing with it but its part.
"""

from __future__ import annotations

import os
import pickle
import signal
import struct
import subprocess
import sys
import threading
import traceback
from contextlib import suppress
from queue import SimpleQueue
from typing import IO, Any

from yolo_nanfix import stopping

_START = (
    "import sys; parent = int(sys.argv[1]); sys.path[:] = sys.argv[2:]; "
    "from yolo_nanfix.linting.reader_process import serve; serve(parent)"
)
_LENGTH = struct.Struct("<Q")


class WorkerDied(Exception):  # noqa: N818 - an event that is dealt with
    """The process ended without an answer."""


class Closed(Exception):  # noqa: N818 - not a fault
    """The worker was closed while, or before, it was asked."""


class Worker:
    """One such process, started when it is first asked."""

    def __init__(self, context: Any) -> None:
        """`context` is sent to it before the first part."""
        self._context = context
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False

    def ask(self, part: Any) -> Any:
        """What `read_part` gives for a part.

        Raises:
            Closed: nobody waits for the answer any more.
            WorkerDied: the process ended, with what signal or code.
            RuntimeError: `read_part` raised; the text is its traceback.
        """
        if self._closed:
            raise Closed
        process = self._process or self._start()
        try:
            _send(process.stdin, part)
            kind, answer = _receive(process.stdout)
        except (OSError, EOFError) as error:
            self._end()
            if self._closed:
                raise Closed from error
            raise WorkerDied(f"the process that read it ended with {process.returncode}") from error
        if kind == "error":
            raise RuntimeError(answer)
        return answer

    def close(self) -> None:
        """End the process, for good."""
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


def serve(parent: int) -> None:
    """Answer until the input ends, or the process that asks has died; signals are that one's business."""
    for number in stopping.SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    given, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not get among the answers
    stopping.end_with(parent)
    asked: SimpleQueue[Any] = SimpleQueue()
    threading.Thread(target=_listen, args=(given, asked), daemon=True).start()
    import cv2

    from yolo_nanfix.linting.parts import read_part

    cv2.setNumThreads(0)
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
    """Take what is asked; once the other end is gone, this process ends, whatever it is decoding."""
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
