"""Signals that ask a process to end: one way out for all, a second one at once, and a library that takes none."""

from __future__ import annotations

import signal
import subprocess
import sys

import processes
import pytest

START = """
import os, signal, sys, time
from yolo_nanfix import stopping
"""
CODES = {
    "the first is raised": (
        """
try:
    with stopping.handled():
        signal.raise_signal(NUMBER)
        time.sleep(60)
except KeyboardInterrupt as error:
    print(error)
    sys.exit(error.exit_code)
""",
        lambda n: (128 + n, f"ended by {signal.Signals(n).name}\n"),
    ),
    "a second one ends it at once": (
        """
stopping.TOGETHER = 0.2
with stopping.handled():
    try:
        signal.raise_signal(NUMBER)
    finally:
        signal.raise_signal(NUMBER)  # the same wish: a shell passes it on
        print("cleaning", flush=True)
        time.sleep(0.3)
        signal.raise_signal(NUMBER)
        print("cleaned")
""",
        lambda n: (-n, "cleaning\n"),
    ),
    "what is swallowed is raised again": (
        """
class Loader:
    def __del__(self):
        signal.raise_signal(NUMBER)
sys.unraisablehook = lambda _: None
with stopping.handled():
    stopping.raise_if_stopped()
    del (loader := Loader()), loader
    print("swallowed", stopping.received())
    try:
        stopping.raise_if_stopped()
    except stopping.Stopped as error:
        sys.exit(error.exit_code)
""".replace("del (loader := Loader()), loader", "loader = Loader()\n    del loader"),
        lambda n: (128 + n, f"swallowed ended by {signal.Signals(n).name}\n"),
    ),
    "what was ignored stays so": (
        """
signal.signal(NUMBER, signal.SIG_IGN)
with stopping.handled():
    signal.raise_signal(NUMBER)
    with stopping.later():
        signal.raise_signal(NUMBER)
print(stopping.received(), signal.getsignal(NUMBER) is signal.SIG_IGN)
""",
        lambda n: (0, "None True\n"),
    ),
    "another handler stays": (
        """
signal.signal(NUMBER, lambda *_: print("theirs"))
with stopping.handled():
    signal.raise_signal(NUMBER)
    with stopping.later():
        signal.raise_signal(NUMBER)
        print("written")
""",
        lambda n: (0, "theirs\nwritten\ntheirs\n"),
    ),
    "a write is whole first": (
        """
with stopping.handled(), stopping.later():
    signal.raise_signal(NUMBER)
    signal.raise_signal(NUMBER)
    print("written", flush=True)
""",
        lambda n: (1, "written\n"),
    ),
    "a write has time where launchers pass signals on": (
        """
stopping.TOGETHER = 0.0
with stopping.handled(), stopping.later(60):
    signal.raise_signal(NUMBER)
    signal.raise_signal(NUMBER)
    print("written", flush=True)
""",
        lambda n: (1, "written\n"),
    ),
    "a write has time also after the signal": (
        """
stopping.TOGETHER = 0.0
with stopping.handled():
    try:
        signal.raise_signal(NUMBER)
    except stopping.Stopped:
        with stopping.later(60):
            signal.raise_signal(NUMBER)
            print("written", flush=True)
        signal.raise_signal(NUMBER)
""",
        lambda n: (-n, "written\n"),
    ),
    "a library that lets waiting go on keeps none from being passed on": (
        """
import subprocess
with stopping.handled():
    signal.siginterrupt(NUMBER, False)  # as polars does with SIGINT
    with stopping.passed_on(lambda number: child.kill() or True):
        child = subprocess.Popen(["sh", "-c", f"sleep 0.3; kill -{int(NUMBER)} $PPID; exec sleep 20"])
        print(child.wait())
""",
        lambda n: (0, "-9\n"),
    ),
    "nor does one that is imported meanwhile": (
        """
import subprocess
with stopping.handled(), stopping.passed_on(lambda number: child.kill() or True):
    signal.siginterrupt(NUMBER, False)
    child = subprocess.Popen(["sh", "-c", f"sleep 0.3; kill -{int(NUMBER)} $PPID; exec sleep 20"])
    stopping.break_off_waiting()
    print(child.wait())
""",
        lambda n: (0, "-9\n"),
    ),
    "a write that hangs is given up": (
        """
stopping.TOGETHER = 0.2
with stopping.later():
    signal.signal(signal.SIGINT, signal.SIG_DFL) if NUMBER != signal.SIGINT else None
    signal.raise_signal(NUMBER)
    time.sleep(0.3)
    print("hangs", flush=True)
    signal.raise_signal(NUMBER)
    print("went on")
""",
        lambda n: (-n, "hangs\n"),
    ),
    "a training of ours ends as it would": (
        """
assert not stopping.begin_if_allowed()
stopping.allow()
assert stopping.begin_if_allowed()
try:
    signal.raise_signal(NUMBER)
except stopping.Stopped:
    print("told")
    stopping.end()
print("went on")
""",
        lambda n: (-n, "told\n") if n != signal.SIGINT else (0, "told\nwent on\n"),
    ),
    "a forked child dies alone": (
        """
with stopping.handled():
    child = os.fork()
    if not child:
        signal.raise_signal(NUMBER)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -NUMBER)
""",
        lambda n: (0, "True\n"),
    ),
    "what is done keeps its code": (
        """
stopping.done(7)
signal.raise_signal(NUMBER)
""",
        lambda n: (7, ""),
    ),
    "a thread takes none": (
        """
import threading
before = signal.getsignal(NUMBER)
thread = threading.Thread(target=lambda: print(stopping.begin()))
thread.start(); thread.join()
print(signal.getsignal(NUMBER) is before)
""",
        lambda n: (0, "False\nTrue\n"),
    ),
}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT], ids=lambda n: n.name)
@pytest.mark.parametrize("what", CODES)
def test_a_signal(what: str, number: int):
    code, ends = CODES[what]
    words = [sys.executable, "-c", START + code.replace("NUMBER", f"signal.{signal.Signals(number).name}")]
    done = subprocess.run(words, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == ends(number), done.stderr


def test_the_children_that_a_process_forks_end_with_it():
    """Killed by SIGKILL, it can end nobody itself."""
    code = """
import multiprocessing, os, time
from yolo_nanfix import stopping
with stopping.handled():
    stopping.forks_end_with_us()
    child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,))
    child.start()
    print(child.pid, flush=True)
    time.sleep(600)
"""
    words = [sys.executable, "-c", code]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stdout is not None and process.stdout.readline()
        assert len(processes.alive(process.pid)) == 2
        process.kill()
    assert processes.gone(process.pid, 2)
