"""The tests are the same however they were started: hostile variables, an ignored interrupt, a narrow umask."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import surroundings

from yolo_nanfix import stopping

HOSTILE = {
    **{"TERM": "dumb", "NO_COLOR": "1", "FORCE_COLOR": "1", "COLUMNS": "37", "CI": "true", "GITHUB_ACTIONS": "true"},
    **{"LC_ALL": "C", "XDG_CACHE_HOME": "", "YOLO_NANFIX_RECT": "stock", "GIT_DIR": "/nowhere", "RANK": "1"},
}
LOOK = """
import json, os, signal, subprocess, sys
import surroundings
home = surroundings.settle()
child = "import os, signal; print(signal.getsignal(signal.SIGINT) is signal.default_int_handler, oct(os.umask(0)))"
told = subprocess.run([sys.executable, "-c", child], capture_output=True, text=True).stdout.split()
gone = [name for name in sys.argv[1:] if name in os.environ]
print(json.dumps([told, gone, os.environ["TERM"], str(home) == os.environ["HOME"], os.listdir(home)]))
"""


@pytest.mark.parametrize("home", [None, ""], ids=["no HOME", "empty HOME"])
def test_children_have_the_same_surroundings_everywhere(home: str | None, tmp_path: Path):
    given = {"PATH": os.environ["PATH"], "TMPDIR": str(tmp_path), **HOSTILE, **({} if home is None else {"HOME": home})}
    paths = [surroundings.ROOT / "tests", surroundings.ROOT / "scripts"]
    words = ["bash", "-c", "trap '' INT; umask 077; exec \"$@\"", "bash", sys.executable, "-c", LOOK]
    unwanted = ["NO_COLOR", "FORCE_COLOR", "CI", "GITHUB_ACTIONS", "YOLO_NANFIX_RECT", "GIT_DIR", "RANK"]
    env = {**given, "PYTHONPATH": os.pathsep.join(map(str, paths))}
    done = subprocess.run([*words, *unwanted], env=env, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [["True", "0o22"], [], "xterm-256color", True, []]


@pytest.fixture
def interrupt():
    """Gives the signal another treatment for the length of a test."""
    before = signal.getsignal(signal.SIGINT)
    yield lambda how: signal.signal(signal.SIGINT, how)
    signal.signal(signal.SIGINT, before)


def test_an_interrupt_while_a_checkpoint_is_written_comes_afterwards(interrupt):
    interrupt(signal.default_int_handler)
    done = []
    with pytest.raises(KeyboardInterrupt), stopping.later():
        signal.raise_signal(signal.SIGINT)
        done.append("written")
    assert done == ["written"] and signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_ignored_interrupt_stays_ignored(interrupt):
    interrupt(signal.SIG_IGN)
    with stopping.later():
        signal.raise_signal(signal.SIGINT)
        inside = signal.getsignal(signal.SIGINT)
    assert inside is signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_a_process_that_an_interrupt_kills_is_killed_after_the_write():
    code = """
import signal
from yolo_nanfix import stopping
signal.signal(signal.SIGINT, signal.SIG_DFL)
with stopping.later():
    signal.raise_signal(signal.SIGINT)
    print("written", flush=True)
print("went on")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (-signal.SIGINT, "written\n")
