"""How a process of ours ends when a signal asks it to: Ctrl-C, `kill`, a scheduler, `docker stop`, a closed terminal.

SIGINT, SIGTERM and SIGHUP take one path: the first is raised as `Stopped`, so that everything is cleaned up and written
down on the way out; a second one ends the process at once. The command line handles them (`handled`), and so does a
training that it started (`begin`, `end`). A library takes no signals: `patch()` alone leaves them as they are.
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
"""Those that ask a process to end; SIGQUIT ends it at once and leaves a core, as its sender wants."""
TOGETHER = 1.0
"""Signals within so many seconds are one wish: a shell passes SIGHUP on, systemd sends SIGHUP after SIGTERM."""

_PARENT_DEATH = 1
"""PR_SET_PDEATHSIG."""


class Stopped(KeyboardInterrupt):
    """A signal asked this process to end."""

    def __init__(self, number: int) -> None:
        """Keep the signal, by its name (`SIGTERM`)."""
        self.signal = signal.Signals(number).name
        super().__init__(f"ended by {self.signal}")
        self.exit_code = 128 + number


def exit_code(name: str) -> int:
    """128 and the number of a signal, as shells count."""
    return 128 + signal.Signals[name].value


class _State:
    """What is handled in this process, and what came."""

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
                gc.freeze()  # the process ends now: nothing is searched for garbage again, which takes torch seconds
            _handling.came = None


def begin() -> bool:
    """Handle the signals from now on; say whether that was done, which it is once and in the main thread alone."""
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
    """The result is out: a signal while Python tidies up, which takes torch seconds, changes the exit code no more."""

    def leave(number: int, frame: Any) -> None:
        os._exit(code)

    def ignore() -> None:  # Python takes its handlers away before it clears its memory, and leaves what is ignored
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)

    usual = (signal.SIG_DFL, signal.default_int_handler)
    numbers = [number for number in SIGNALS if signal.getsignal(number) in usual]
    for number in numbers:
        signal.signal(number, leave)
    atexit.register(ignore)


def allow() -> None:
    """This process was started by our command line: a training in it may handle signals."""
    _handling.allowed = True


def begin_if_allowed() -> bool:
    """As `begin`, in a process that was started by our command line."""
    return _handling.allowed and begin()


def end() -> None:
    """Handle them no longer; if one came, it has now the effect that it had without us."""
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
    """The signal that came while they were handled, also where some library swallowed what was raised for it."""
    return None if _handling.came is None else Stopped(_handling.came)


def raise_if_stopped() -> None:
    """A safe point of long work: raise again what was swallowed, as exceptions in destructors are.

    Raises:
        Stopped: a signal came.
    """
    if _handling.came is not None:
        raise Stopped(_handling.came)


def wait(seconds: float) -> None:
    """Give a signal time to come that child processes died of already: a scheduler sends it to each in turn."""
    until = time.monotonic() + seconds
    with suppress(Stopped):
        while _handling.before and _handling.came is None and time.monotonic() < until:
            time.sleep(0.02)


def end_with(parent: int) -> None:
    """Let the system kill this process once the one that started it has ended, however that ended; Linux can.

    Args:
        parent: its process number, by which it is known whether it has ended already.
    """
    with suppress(ImportError, OSError, AttributeError):
        import ctypes

        ctypes.CDLL(None).prctl(_PARENT_DEATH, signal.SIGKILL, 0, 0, 0)
    if hasattr(os, "getppid") and os.getppid() != parent:
        os._exit(1)


def forks_end_with_us() -> None:
    """Let the processes that are forked in this one's main thread, as loader workers are, end with it."""
    if _handling.forks or not hasattr(os, "register_at_fork") or not sys.platform.startswith("linux"):
        return
    import ctypes  # before the fork

    prctl = ctypes.CDLL(None).prctl
    parent = [0]

    def before() -> None:  # the system looks at the thread that forks: another one than the main thread may end early
        main = threading.current_thread() is threading.main_thread()
        parent[0] = os.getpid() if main and _handling.before else 0

    def in_child() -> None:
        if parent[0]:
            prctl(_PARENT_DEATH, signal.SIGKILL, 0, 0, 0)
            if os.getppid() != parent[0]:
                os._exit(1)

    os.register_at_fork(before=before, after_in_child=in_child)
    _handling.forks = True


def _handle(number: int, frame: Any) -> None:
    if os.getpid() != _handling.owner:  # a forked child that handles none of its own yet
        _default(number)
        return
    now = time.monotonic()
    if _handling.came is not None:
        if now - _handling.at >= TOGETHER:
            _at_once(number)
        return
    _handling.came, _handling.at = number, now
    _let_go_of_dead_streams()
    if _handling.children is None or not _handling.children(number):
        raise Stopped(number)


def _default(number: int) -> None:
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)


def _at_once(number: int) -> NoReturn:
    _default(number)
    os._exit(128 + number)  # the first process of a container is not killed by it


def _let_go_of_dead_streams() -> None:
    """Let what is written to a terminal that has gone, or to a pipe that nobody reads, go nowhere, not raise."""
    with suppress(ImportError, AttributeError, OSError, ValueError):
        import select

        poll = select.poll()
        for number in (1, 2):
            poll.register(number, 0)
        for number, event in poll.poll(0):
            if event & (select.POLLHUP | select.POLLERR):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, number)
                os.close(nowhere)


@contextmanager
def later(patience: float | None = None) -> Iterator[None]:
    """Hold signals back while something is written that must be whole, then let them through to whoever handled them.

    Nothing is held back where a signal is ignored, as under nohup, or handled outside of Python. A signal that comes
    long after one that is waiting, or that was raised, is let through at once: what is written may hang.

    Args:
        patience: how many seconds are long; by default `TOGETHER`. Where others than people send signals, as a
            launcher does that passes on what it gets, a second one is no haste.
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
        over.append(True)  # if one raises before all are as they were, the others let it through
        for number, usual in before.items():
            if signal.getsignal(number) is hold:
                signal.signal(number, usual)
        for number, _ in waiting[:1]:
            signal.raise_signal(number)


def break_off_waiting() -> None:
    """Let a signal that is handled break off a wait for another process, also after an import that took it over.

    Polars handles SIGINT, too, and has the system go on waiting: Python's own handler would run only after the wait.
    """
    for number in _handling.before if hasattr(signal, "siginterrupt") else ():
        signal.siginterrupt(number, True)


@contextmanager
def passed_on(to: Callable[[int], bool]) -> Iterator[None]:
    """In the block, where another process does the work, a signal is passed on to it in place of being raised.

    Args:
        to: passes it on, called in the handler with the number of the signal; False if there is nobody to take it.
    """
    _handling.children = to
    break_off_waiting()
    try:
        yield
    finally:
        _handling.children = None
