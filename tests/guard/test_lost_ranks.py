"""Which rank is lost, and how: from signs of life alone, and from real processes and a real store."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from datetime import timedelta

import pytest
import torch.distributed as dist

from yolo_nanfix.guard import endings
from yolo_nanfix.guard.board import Board
from yolo_nanfix.guard.lost_ranks import End, How, LostRank, Process, RankTimeouts, Seen, Sign, lost

LIMITS = RankTimeouts(silent=300, still=1800)
TRAINS = Sign(beat=9, epoch=2, batch=3, step=11, progress=11, host="here", pid=7)
FINE = Seen(TRAINS)


def seen(silent=0.0, still=0.0, process=Process.RUNNING, **changes):
    return Seen(Sign(**{**vars(TRAINS), **changes}), silent, still, process)


@pytest.mark.parametrize(
    ("other", "how"),
    [
        (seen(), None),
        (seen(silent=299, still=299), None),
        (seen(still=9999), None),  # busy, and so is nobody else: the first one came further a moment ago
        (seen(silent=301), How.SILENT),
        (seen(silent=301, process=Process.SUSPENDED), How.SUSPENDED),
        (seen(silent=20, process=Process.SUSPENDED), None),
        (seen(silent=1, process=Process.GONE), How.GONE),
        (seen(end=End.RAISED, error="ValueError: no", process=Process.GONE), How.RAISED),
        (seen(end=End.FINISHED, silent=9999, process=Process.GONE), None),
        (seen(end=End.CUT_OFF, process=Process.GONE), None),  # for another's sake
        (seen(end=End.ASKED, process=Process.GONE), None),
        (seen(beat=0, pid=0, silent=301, process=Process.UNKNOWN), None),  # it still starts
        (seen(beat=0, pid=0, silent=1801, process=Process.UNKNOWN), How.SILENT),
    ],
    ids=str,
)
def test_one_rank_is_lost_by_what_is_known_of_it(other, how):
    found = lost({0: FINE, 1: other}, LIMITS)
    assert [(one.rank, one.how) for one in found] == ([] if how is None else [(1, how)])


LONG = 1801.0


@pytest.mark.parametrize(
    ("ranks", "found"),
    [
        ([seen(still=LONG), seen(still=LONG, step=10)], [(1, How.HUNG)]),  # behind: in its loader, say
        ([seen(still=LONG, step=10), seen(still=LONG), seen(still=LONG)], [(0, How.HUNG)]),
        ([seen(still=LONG), seen(still=5.0, step=10)], []),
        ([seen(still=LONG, at="validator.py"), seen(still=LONG, waits=True)], [(0, How.HUNG)]),  # in validation
        ([seen(still=LONG, waits=True), seen(still=LONG, waits=True)], [(0, How.HUNG), (1, How.HUNG)]),
        ([seen(still=LONG, waits=True), seen(still=LONG, end=End.FINISHED)], [(1, How.ENDED)]),
        ([seen(still=LONG), seen(still=LONG, epoch=0, step=0)], []),  # one reads its dataset for the first time
        ([seen(still=LONG), seen(still=LONG, step=10, silent=400)], [(1, How.SILENT)]),  # one reason is enough
    ],
    ids=str,
)
def test_where_nobody_comes_further_the_one_behind_hangs(ranks, found):
    assert [(one.rank, one.how) for one in lost(dict(enumerate(ranks)), LIMITS)] == found
    assert lost(dict(enumerate(ranks)), RankTimeouts(0, 0)) == ()


def test_among_very_many_ranks_a_sign_may_be_as_rare_as_they_give_one():
    assert RankTimeouts(300, 1800).with_beat(1) == LIMITS and RankTimeouts(0, 1800).with_beat(99) == RankTimeouts(
        0, 1800
    )
    assert RankTimeouts(20, 1800).with_beat(16) == RankTimeouts(64, 1800)


@pytest.mark.parametrize("launched", [False, True])
def test_a_rank_that_was_started_by_hand_outlives_its_shell(launched, monkeypatch):
    monkeypatch.delenv(endings.AGENT, raising=False)
    if launched:
        monkeypatch.setenv(endings.AGENT, "none")
    assert endings.parents() == ((endings.os.getppid(), 0) if launched else (0, 0))


def test_what_is_said_of_a_lost_rank_names_it_its_process_and_place():
    said = {how: str(LostRank.of(1, how, seen(at="loader.py:5 in get", error="ValueError: no"), 301)) for how in How}
    assert all(text.startswith("rank 1 (process 7 on here) ") and "epoch 2, batch 3" in text for text in said.values())
    assert "ValueError: no" in said[How.RAISED] and "loader.py:5 in get" in said[How.HUNG]
    assert "301 s" in said[How.SUSPENDED] and "SIGSTOP" in said[How.SUSPENDED]


def test_a_process_is_known_as_running_stopped_and_gone():
    with subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"]) as child:
        host = endings.HOST
        assert endings.process_of(child.pid, host) is Process.RUNNING
        assert endings.process_of(child.pid, "another machine") is Process.UNKNOWN
        child.send_signal(signal.SIGSTOP)
        until = time.monotonic() + 20
        while endings.process_of(child.pid, host) is not Process.SUSPENDED and time.monotonic() < until:
            time.sleep(0.02)
        assert endings.process_of(child.pid, host) is Process.SUSPENDED
        child.kill()
        while endings.process_of(child.pid, host) is not Process.GONE and time.monotonic() < until:
            time.sleep(0.02)
        assert endings.process_of(child.pid, host) is Process.GONE  # though nobody has asked for its exit code yet
    assert endings.process_of(child.pid, host) is Process.GONE


@pytest.fixture(scope="module")
def boards():
    store = dist.TCPStore("127.0.0.1", 0, None, True, timedelta(seconds=30), wait_for_workers=False)
    return [Board(dist.PrefixStore("0", store), rank, 2) for rank in (0, 1)]


def test_ranks_leave_facts_for_each_other_and_wait_for_none(boards):
    first, second = boards
    assert first.read(1, "sign") is None and first.others == (1,)
    sign = Sign(**{**vars(TRAINS), "at": "a.py:1 in f"}).ending(End.RAISED, "no" * 9999)
    second.put("sign", asdict(sign))
    assert Sign.from_dict(first.read(1, "sign")) == sign and len(sign.error) == 1000
    second.put("sign", "x" * 2**21)  # too large: what was there stays
    assert Sign.from_dict(first.read(1, "sign")) == sign


@pytest.mark.parametrize("damaged", [{}, {"beat": 1}, {**asdict(TRAINS), "end": "no"}, {**asdict(TRAINS), "more": 1}])
def test_a_sign_that_something_else_wrote_is_refused(damaged):
    with pytest.raises((ValueError, TypeError, KeyError)):
        Sign.from_dict(json.loads(json.dumps(damaged)))


@pytest.mark.parametrize(
    ("error", "foreign"),
    [
        (RuntimeError("[../gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:1"), True),
        (dist.DistBackendError("NCCL error"), True),
        (RuntimeError("element 0 of tensors does not require grad and does not have a grad_fn"), False),
        (ValueError("store"), False),
        (KeyboardInterrupt(), False),
    ],
)
def test_an_error_of_a_collective_is_another_rank_s(error, foreign):
    assert endings.of_a_collective(error) is foreign


ASKED = """
import os, signal
from yolo_nanfix.guard.endings import Signals
signal.signal(signal.SIGHUP, signal.SIG_IGN)
signals = Signals()
child = os.fork()
if not child:
    os.kill(os.getpid(), signal.SIGTERM)
    os._exit(0)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), end=" ")
signals.wait(0.1)
print(signals.asked, end=" ")
os.kill(os.getpid(), signal.SIGHUP)
try:
    os.kill(os.getpid(), signal.SIGTERM)
except KeyboardInterrupt as error:
    print(error, end=" ")
os.kill(os.getpid(), signal.SIGINT)
signals.asked = 0
signals.wait(5)
print(signals.asked, end=" ")
signals.close()
print(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL, signal.set_wakeup_fd(-1))
"""


def test_the_first_signal_becomes_an_exception_and_those_of_forked_processes_are_theirs():
    done = subprocess.run([sys.executable, "-c", ASKED], capture_output=True, text=True)
    assert done.stdout == "-15 0 asked to end by SIGTERM 2 True -1\n", done.stderr
