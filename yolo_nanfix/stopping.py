"""Ends a process on SIGINT, SIGTERM or SIGHUP: Ctrl-C, `kill`, a scheduler, `docker stop`, a closed terminal.

The first signal is raised as `Stopped`, so that everything is cleaned up and written on the way out; a second one ends
the process at once. The command line handles signals (`handled`), and so does a training that it started (`begin`,
`end`). A library should not: `patch()` alone leaves them as they are.
"""

from __future__ import annotations

import atexit
import gc
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

NAMES = ("SIGINT", "SIGTERM", "SIGHUP")
SIGNALS = tuple(getattr(signal, name) for name in NAMES if hasattr(signal, name))
"""The signals that ask a process to end; SIGQUIT, which ends it at once with a core dump, is not handled."""
TOGETHER = 1.0
"""Signals within this many seconds count as one: a shell forwards SIGHUP, systemd sends SIGHUP after SIGTERM."""
_PR_SET_PDEATHSIG = 1


class Stopped(KeyboardInterrupt):
    """A signal asked this process to end."""

    def __init__(self, number: int) -> None:
        """Keep the signal, by its name (`SIGTERM`)."""
        self.signal = signal.Signals(number).name
        super().__init__(f"ended by {self.signal}")
        self.exit_code = 128 + number


def exit_code(name: str) -> int:
    """The exit code for a signal by name, as shells have it: 128 plus its number."""
    return 128 + signal.Signals[name].value


class _State:
    """Which signals this process handles, and which one came."""

    def __init__(self) -> None:
        self.owner = 0
        self.before: dict[int, Any] = {}
        self.came: int | None = None
        self.at = 0.0
        self.children: Callable[[int], bool] | None = None
        self.allowed = self.forks = False


_handling = _State()


@contextmanager
def handled() -> Iterator[None]:
    """Raise `Stopped` at the first signal, in the main thread; signals that are ignored or handled stay so."""
    mine = begin()
    try:
        yield
    finally:
        if mine:
            _restore()
            if _handling.came is not None:
                gc.freeze()  # the process ends now: no more garbage collections, which take seconds with torch
            _handling.came = None


def begin() -> bool:
    """Handle the signals from now on; returns False if they are handled already, or outside the main thread."""
    if _handling.before or threading.current_thread() is not threading.main_thread():
        return False
    _handling.owner, _handling.came = os.getpid(), None
    for number in SIGNALS:
        usual = signal.getsignal(number)
        if usual in (signal.SIG_DFL, signal.default_int_handler):
            _handling.before[number] = usual
            signal.signal(number, _handle)
    return True


def done(code: int) -> None:
    """The result was printed: a signal during the shutdown of Python, which takes seconds with torch, keeps `code`."""

    def leave(number: int, frame: Any) -> None:
        os._exit(code)

    def ignore() -> None:  # at shutdown Python resets its own handlers, but not ignored signals
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)

    usual = (signal.SIG_DFL, signal.default_int_handler)
    numbers = [number for number in SIGNALS if signal.getsignal(number) in usual]
    for number in numbers:
        signal.signal(number, leave)
    atexit.register(ignore)


def allow() -> None:
    """Let a training in this process handle signals: our command line started it."""
    _handling.allowed = True


def begin_if_allowed() -> bool:
    """As `begin`, but only after `allow`."""
    return _handling.allowed and begin()


def end() -> None:
    """Stop handling signals; if one came, it now has its default effect."""
    came, ours = _handling.came, bool(_handling.before)
    before = dict(_handling.before)
    _restore()
    _handling.came = None
    if ours and came is not None and before.get(came) is signal.SIG_DFL:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        _at_once(came)


def _restore() -> None:
    for number, usual in _handling.before.items():
        if signal.getsignal(number) is _handle:
            signal.signal(number, usual)
    _handling.before = {}


def received() -> Stopped | None:
    """The signal that came while they were handled, also if a library swallowed the exception; None if none did."""
    return None if _handling.came is None else Stopped(_handling.came)


def raise_if_stopped() -> None:
    """Raise `Stopped` again if a signal came, as its exception may have been swallowed, for example in a destructor.

    Raises:
        Stopped: a signal came.
    """
    if (stopped := received()) is not None:
        raise stopped


def wait(seconds: float) -> None:
    """Wait for a signal that child processes already died of: a scheduler sends it to one process after the other."""
    until = time.monotonic() + seconds
    with suppress(Stopped):
        while _handling.before and _handling.came is None and time.monotonic() < until:
            time.sleep(0.02)


def end_with(parent: int) -> None:
    """Let the system kill this process when its parent ends (on Linux); exit at once if it has ended already."""
    with suppress(ImportError, OSError, AttributeError):
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if hasattr(os, "getppid") and os.getppid() != parent:
        os._exit(1)


def forks_end_with_us() -> None:
    """Let processes that are forked in the main thread, such as dataloader workers, end with this one (on Linux)."""
    if _handling.forks or not hasattr(os, "register_at_fork") or not sys.platform.startswith("linux"):
        return
    import ctypes  # before the fork

    prctl = ctypes.CDLL(None).prctl
    parent = [0]

    def before() -> None:  # the parent is the thread that forks: threads besides the main thread may end early
        main = threading.current_thread() is threading.main_thread()
        parent[0] = os.getpid() if main and _handling.before else 0

    def in_child() -> None:
        if parent[0]:
            prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if os.getppid() != parent[0]:
                os._exit(1)

    os.register_at_fork(before=before, after_in_child=in_child)
    _handling.forks = True


def _handle(number: int, frame: Any) -> None:
    if os.getpid() != _handling.owner:  # a forked child with the handlers of its parent
        _default(number)
        return
    now = time.monotonic()
    if _handling.came is not None:
        if now - _handling.at >= TOGETHER:
            _at_once(number)
        return
    _handling.came, _handling.at = number, now
    _discard_dead_streams()
    if _handling.children is None or not _handling.children(number):
        raise Stopped(number)


def _default(number: int) -> None:
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)


def _at_once(number: int) -> NoReturn:
    _default(number)
    os._exit(128 + number)  # process 1 of a container is not killed by it


def to_devnull(number: int) -> None:
    """Let a file descriptor lead to os.devnull."""
    opened = os.open(os.devnull, os.O_RDWR)
    if opened != number:
        os.dup2(opened, number)
        os.close(opened)


def _discard_dead_streams() -> None:
    """Discard what is written to a closed terminal, or to a pipe that nobody reads, in place of raising."""
    with suppress(ImportError, AttributeError, OSError, ValueError):
        import select

        poll = select.poll()
        for number in (1, 2):
            poll.register(number, 0)
        for number, event in poll.poll(0):
            if event & (select.POLLHUP | select.POLLERR):
                to_devnull(number)


@contextmanager
def later(patience: float | None = None) -> Iterator[None]:
    """Delay signals while something is written that must be complete, then pass them to their handlers.

    Signals that are ignored, as under nohup, or handled outside of Python are not delayed. A signal that comes
    `patience` after a delayed or raised one passes at once, as the writing may hang.

    Args:
        patience: seconds; by default `TOGETHER`. Longer where programs send signals, such as a launcher that forwards
            each one: there a second signal is no sign of impatience.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    limit = TOGETHER if patience is None else patience
    before: dict[int, Any] = {}
    waiting: list[tuple[int, float]] = []
    over: list[bool] = []

    def hold(number: int, frame: Any) -> None:
        raised = _handling.came is not None and before[number] is _handle
        first = _handling.at if raised else waiting[0][1] if waiting else math.inf
        if over or time.monotonic() - first >= limit:
            signal.signal(number, before[number])
            signal.raise_signal(number)
        elif not raised:
            waiting.append((number, time.monotonic()))

    try:
        for number in SIGNALS:
            usual = signal.getsignal(number)
            if usual not in (signal.SIG_IGN, None):
                before[number] = usual
                signal.signal(number, hold)
        yield
    finally:
        over.append(True)  # if one raises before all handlers are restored, the others pass it on
        for number, usual in before.items():
            if signal.getsignal(number) is hold:
                signal.signal(number, usual)
        for number, _ in waiting[:1]:
            signal.raise_signal(number)


def break_off_waiting() -> None:
    """Let handled signals interrupt a wait for another process, also after polars was imported.

    Polars installs a handler of SIGINT that restarts system calls: Python's handler would run only after the wait.
    """
    for number in _handling.before if hasattr(signal, "siginterrupt") else ():
        signal.siginterrupt(number, True)


@contextmanager
def passed_on(to: Callable[[int], bool]) -> Iterator[None]:
    """In a `with` block, `to` forwards a signal, by its number, to another process; it is raised if that is False."""
    _handling.children = to
    break_off_waiting()
    try:
        yield
    finally:
        _handling.children = None
