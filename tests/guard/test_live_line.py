"""How the guard speaks while a run goes: beside Ultralytics' progress bar, and only when something happened."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys

import lab
import pytest
from make_datasets import make_dataset
from marks import matrix

import yolo_nanfix

BAR = """
from ultralytics.utils import LOGGER, TQDM
from yolo_nanfix import upstream
print("BEGIN")
for i in TQDM(range(4), desc="epoch 1", mininterval=0):
    if i == 2:
        upstream.log("yolo-nanfix guard: epoch 1, batch 3: bad")
upstream.log("yolo-nanfix guard: 1 of 4 dropped", good_news=True)
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("data") / "set", n_train=16, n_val=4, size=(64, 64), seed=1)


def terminal(script):
    """What a program writes into a terminal."""
    screen, its_end = pty.openpty()
    with subprocess.Popen([sys.executable, "-c", script], stdin=its_end, stdout=its_end, stderr=its_end) as program:
        os.close(its_end)
        written = b""
        while part := more(screen):
            written += part
    os.close(screen)
    assert program.returncode == 0, written.decode()
    return written.decode()


def more(screen):
    try:
        return os.read(screen, 65536)
    except OSError:  # nobody holds the other end any more
        return b""


def seen(written):
    """The lines that stand on the screen in the end: `CR ESC[K` begins a line anew."""
    lines = written.replace("\r\n", "\n").split("\n")
    return [re.sub(r"\x1b\[[0-9;]*m", "", line.rpartition("\r\x1b[K")[2]) for line in lines]


def test_in_a_terminal_a_message_takes_the_place_of_the_bar_which_goes_on_below():
    lines = [line for line in seen(terminal(BAR).partition("BEGIN")[2]) if line]
    assert lines[0].endswith("yolo-nanfix guard: epoch 1, batch 3: bad") and "epoch 1: " not in lines[0]
    assert lines[1].startswith("epoch 1: 100%") and "4/4" in lines[1]
    assert lines[2:] == ["yolo-nanfix guard: 1 of 4 dropped"]


def test_piped_nothing_is_erased(capsys):
    from yolo_nanfix import upstream

    upstream.log("yolo-nanfix guard: 1 of 4 dropped", good_news=True)
    assert "\x1b" not in capsys.readouterr().out


def standing(data, run, where, **settings):
    """The lines that a training says about how the guard stands."""
    with yolo_nanfix.patched(diagnose=False), lab.said() as messages:
        result = lab.train(data, run, trainer=lab.poisoned("detect", where), epochs=3, **settings)
    assert result.error is None
    return [m for m in messages if m.startswith("yolo-nanfix guard: ") and "micro-batches dropped, " in m]


def test_after_each_epoch_in_which_something_happened_one_line_says_how_it_stands(data, tmp_path, unpatched):
    checks = "loss, batchnorm, pixels, outputs"
    assert standing(data, tmp_path / "run", {(0, 1), (2, 3)}, verbose=True) == [
        f"yolo-nanfix guard: 1 of 4 micro-batches dropped, last: epoch 1 batch 2 {checks}",
        f"yolo-nanfix guard: 2 of 12 micro-batches dropped, last: epoch 3 batch 4 {checks}",
    ]


@pytest.mark.parametrize(
    ("where", "verbose"), [(set(), True), *matrix(({(0, 1)}, False))], ids=("healthy", "not verbose")
)
def test_else_it_is_silent(where, verbose, data, tmp_path, unpatched):
    assert standing(data, tmp_path / "run", where, verbose=verbose) == []
