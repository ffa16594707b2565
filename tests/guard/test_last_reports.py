"""A signal at any moment of a run's end cuts the last report off at none, also not a second one of a launcher."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
from dataclasses import asdict
from datetime import timedelta

import pytest
import torch.distributed as dist

from yolo_nanfix import stopping
from yolo_nanfix.guard import adapter, endings, lookout
from yolo_nanfix.guard.board import Board
from yolo_nanfix.guard.listener import Listener
from yolo_nanfix.guard.lost_ranks import RankTimeouts, Sign
from yolo_nanfix.guard.recorder import Recorder

WATCHED = (*(module.__file__ for module in (endings, lookout, stopping, contextlib, threading)), __file__)
FIRST, EACH = 60, 40
"""A signal comes before each of the first lines, in which nothing is held back yet, and before some of the later."""


@contextlib.contextmanager
def signals():
    """SIGTERM as in a rank; the handler that was there before comes back."""
    before = {number: signal.getsignal(number) for number in endings.ENDING}
    for number in before:
        signal.signal(number, signal.SIG_DFL)
    listens = endings.Signals()
    try:
        yield listens
    finally:
        listens.close()
        endings._listening.remove(listens)
        for number, usual in before.items():
            signal.signal(number, usual)


class Lines:
    """Sends this process a signal before the n-th line that it runs in the watched modules."""

    def __init__(self, number):
        self.left = number

    def __call__(self, frame, event, _):
        if frame.f_code.co_filename not in WATCHED:
            return None
        if event == "line":
            self.left -= 1
            if not self.left:
                signal.raise_signal(signal.SIGTERM)
        return self

    @contextlib.contextmanager
    def counted(self):
        before = sys.gettrace()
        sys.settrace(self)
        try:
            yield
        finally:
            sys.settrace(before)


@pytest.fixture(scope="module")
def store():
    return dist.TCPStore("127.0.0.1", 0, None, True, timedelta(seconds=30), wait_for_workers=False)


def ends(watch, error, moment):
    """What was told of a training that ends with an error, as Ultralytics' loop does, and with a signal at a moment."""
    told = []
    lines = Lines(moment)

    def tell():
        told.append(str(watch.recorder.processes.cut_short))
        for _ in range(3):
            told.append("goes on")
        told.append("whole")

    def end():
        watch.teardown(sys.exc_info()[1], tell)

    def train():
        try:
            raise error
        finally:
            end()

    with pytest.raises((KeyboardInterrupt, type(error))), lines.counted():
        adapter._to_the_end(end, train)
    return told, lines.left > 0


def test_a_report_of_a_lost_rank_is_whole_whenever_the_launcher_s_signal_comes(store, monkeypatch):
    monkeypatch.setattr(lookout, "BEAT", 0.01)
    with subprocess.Popen([sys.executable, "-S", "-c", ""]) as gone:
        pass
    dead = Sign(beat=3, epoch=1, batch=2, step=2, progress=2, host=endings.HOST, pid=gone.pid)
    over, moment = False, 0
    while not over:
        moment += 1 if moment < FIRST else EACH
        boards = [Board(dist.PrefixStore(str(moment), store), rank, 2) for rank in (0, 1)]
        boards[1].put("sign", asdict(dead))
        watch = lookout.Lookout(Recorder(), Sign, RankTimeouts(300, 1800), lambda: "nothing is kept", Listener())
        watch.board = boards[0]
        with signals() as watch._signals:
            told, over = ends(watch, RuntimeError("[gloo/pair.cc:1] Connection closed by peer"), moment)
        assert told[0].startswith(f"rank 1 (process {gone.pid} ") and told[1:] == ["goes on"] * 3 + ["whole"], moment
    assert moment > 3 * FIRST


@pytest.mark.parametrize("signalled", [False, True])
def test_a_run_of_one_process_is_told_once_and_again_only_where_a_signal_kept_it_from_beginning(signalled):
    watch, began = lookout.Lookout(Recorder(), Sign, RankTimeouts(300, 1800), lambda: "", Listener()), []

    def tell():
        began.append(sys.exc_info()[1])
        if signalled and len(began) == 1:
            raise KeyboardInterrupt

    def train():
        try:
            raise ValueError("its own")
        finally:
            watch.teardown(sys.exc_info()[1], tell)

    with pytest.raises(KeyboardInterrupt if signalled else ValueError):
        adapter._to_the_end(lambda: watch.teardown(sys.exc_info()[1], tell), train)
    assert [type(error) for error in began] == [ValueError, *[KeyboardInterrupt] * signalled]
