"""Processes of a distributed run: their state, where one is, the signals that ask it to end, and its exit."""

from __future__ import annotations

import multiprocessing
import os
import select
import signal
import socket
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from yolo_nanfix.guard.lost_ranks import Process

ENDING = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP", "SIGINT") if hasattr(signal, name))
COLLECTIVE = ("gloo", "nccl", "closed by peer", "connection reset", "processgroup", "store")
"""Words in torch's errors of collectives in which another rank no longer took part."""
LAUNCHED = "NANFIX_LAUNCHED"
"""Set in ranks whose launcher was started by the training script, and cannot go on without it."""
AGENT = "TORCHELASTIC_RUN_ID"
"""Set by torchrun, which lives as long as its ranks."""
CODE = 1
"""Exit code of `leave`."""


class Signals:
    """Signals that ask this process to end: the first becomes a KeyboardInterrupt, later ones change nothing.

    A thread sees them even while the main thread waits in a collective, where no Python code of it runs.
    """

    def __init__(self) -> None:
        """Handle them. Signals that are ignored, as SIGHUP under nohup, or have another handler stay as they are.

        While `quiet` is set, none becomes an exception.
        """
        self.asked = 0
        self.quiet = False
        self._out, self._in = os.pipe()
        os.set_blocking(self._in, False)
        os.set_blocking(self._out, False)
        self._before: dict[int, Any] = {}
        self._wakes = threading.current_thread() is threading.main_thread()
        if not self._wakes:
            return
        for number in ENDING:
            if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
                self._before[number] = signal.signal(number, self._ask)
        self._woken = signal.set_wakeup_fd(self._in, warn_on_full_buffer=False)
        if self._woken != -1:  # somebody else listens
            signal.set_wakeup_fd(self._woken)
            self._wakes = False
        if not _listening and hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=_forget)
        _listening.append(self)

    def _ask(self, number: int, frame: object) -> None:
        first, self.asked, self.quiet = not self.quiet, number, True
        if first:
            raise KeyboardInterrupt(f"asked to end by {signal.Signals(number).name}")

    def wait(self, seconds: float) -> None:
        """Wait for a signal, at most so long."""
        ready, _, _ = select.select([self._out], [], [], seconds)
        if ready:
            with suppress(OSError):
                for number in os.read(self._out, 64):
                    self.asked = number if number in ENDING else self.asked

    def wake(self) -> None:
        """End a `wait`."""
        with suppress(OSError):
            os.write(self._in, b"\0")

    def close(self) -> None:
        """Restore the handlers."""
        if threading.current_thread() is not threading.main_thread():
            return
        if self._wakes:
            signal.set_wakeup_fd(self._woken)
        for number, before in self._before.items():
            if signal.getsignal(number) == self._ask:
                signal.signal(number, before)


_listening: list[Signals] = []


def _forget() -> None:
    """Restore the handlers in a forked process, as loader workers are."""
    for signals in _listening:
        with suppress(ValueError):
            signals.close()
        signals.quiet = True


def parents() -> tuple[int, int]:
    """The process ids of the launcher and, where Ultralytics started that itself, of the launcher's parent; else 0.

    A rank that was started by hand, from a shell that may end before it, has none.
    """
    if AGENT not in os.environ:
        return 0, 0
    launcher = os.getppid()
    with suppress(psutil.Error):
        return launcher, psutil.Process(launcher).ppid() if LAUNCHED in os.environ else 0
    return launcher, 0


def of_a_collective(error: BaseException) -> bool:
    """Whether an error says that a collective failed, as it does when another rank ended in it."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    text = str(error).lower()
    return "DistError" in kinds or ("RuntimeError" in kinds and any(word in text for word in COLLECTIVE))


def leave() -> None:
    """End this process now, and the loader workers that it started."""
    for child in multiprocessing.active_children():
        with suppress(Exception):
            child.terminate()
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
    os._exit(CODE)


HOST = socket.gethostname()
WAITING = (f"{os.sep}torch{os.sep}distributed{os.sep}", f"{os.sep}torch{os.sep}autograd{os.sep}")
"""Folders of code in which a training process waits for others: in a collective, or in a backward pass with one."""


STATES = {
    **dict.fromkeys((psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP), Process.SUSPENDED),
    **dict.fromkeys((psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD), Process.GONE),
}


def process_of(pid: int, host: str) -> Process:
    """The state of a process; unknown where it runs on another machine."""
    if not pid or host != HOST:
        return Process.UNKNOWN
    try:
        return STATES.get(psutil.Process(pid).status(), Process.RUNNING)
    except psutil.NoSuchProcess:
        return Process.GONE
    except psutil.Error:
        return Process.UNKNOWN


def place_of_main() -> tuple[str, bool]:
    """Where the main thread is, as `file:line in function`, and whether it waits there for other ranks."""
    main = threading.main_thread().ident
    frame = sys._current_frames().get(main) if main is not None else None
    if frame is None:
        return "", False
    code = frame.f_code
    file = "/".join(Path(code.co_filename).parts[-3:])
    return f"{file}:{frame.f_lineno} in {code.co_name}", any(part in code.co_filename for part in WAITING)
