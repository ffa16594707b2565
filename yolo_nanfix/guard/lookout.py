"""Watches the ranks of a distributed run, from a thread in each: no step waits for it.

Every second it stores a sign of life on the board, with what this rank noted meanwhile, and reads the others'. When a
rank is lost (`lost_ranks`), or a signal asks this process to end while its main thread waits for another rank in a
collective, where no exception reaches it, the thread itself writes the report and ends the process.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import Any

from yolo_nanfix import stopping, upstream
from yolo_nanfix.errors import GuardStop, RankLost
from yolo_nanfix.guard import board, distributed, endings
from yolo_nanfix.guard.board import Board, Notes
from yolo_nanfix.guard.guard_settings import GuardSettings
from yolo_nanfix.guard.listener import Listener
from yolo_nanfix.guard.lost_ranks import End, How, LostRank, Process, RankTimeouts, Seen, Sign, lost
from yolo_nanfix.guard.recorder import Recorder

BEAT = 1.0
"""Seconds between two signs of life; more where all ranks together would read over `CROWD` signs a second."""
CROWD = 256
STILL = 5.0
"""After so many seconds without progress a sign says at which line the code is."""
GRACE = 5.0
"""Seconds that the main thread has to end by itself, before this thread ends the process."""
SLOW = 15.0
"""The same, where it does not wait for other ranks: it may be writing a checkpoint."""
DUMB = (How.GONE, How.SUSPENDED, How.SILENT)
"""Ways of being lost after which a rank writes no report."""
LAST = 20.0
"""Seconds to wait for another rank's report; the launcher waits 30 before it kills."""
TEARDOWN = 60.0
"""Seconds that the main thread has for its teardown, its report included."""

Place = Callable[[], Sign]
"""Gives the present epoch, batch, step and progress of this rank."""


class Lookout:
    """The lookout of one rank; in a process that trains alone it does nothing."""

    def __init__(
        self, recorder: Recorder, place: Place, limits: RankTimeouts, kept: Callable[[], str], listener: Listener
    ) -> None:
        """Nothing is watched before `start`; `kept` says which checkpoint exists."""
        self.recorder, self.place, self.limits, self.kept, self.listener = recorder, place, limits, kept, listener
        self.board: Board | None = None
        self.notes = Notes(recorder, listener)
        self.seen: dict[int, Seen] = {}
        self.sign = Sign()
        self._signals: endings.Signals | None = None
        self._lock = threading.Lock()
        self._began, self._beat = time.monotonic(), BEAT
        self._changed: dict[int, tuple[float, float]] = {}
        self._parents: tuple[int, int] = (0, 0)
        self._over = threading.Event()
        self._ending = threading.Event()
        self._closed = self._ends = self._stopped = False
        self._thread: threading.Thread | None = None

    def __reduce__(self) -> tuple[type, tuple[()]]:
        """Pickle nothing of it: a launcher's callbacks are pickled for its workers."""
        return object, ()

    def start(self) -> None:
        """Begin to watch, if this process is one of several that found each other by a store."""
        self.board = board.connect()
        if self.board is None and distributed.running():
            upstream.log("yolo-nanfix: the processes of this run cannot watch over each other: no store at MASTER_ADDR")
        if self.board is None:
            return
        self.recorder.processes.count = self.board.world
        self._beat = max(BEAT, self.board.world**2 / CROWD)
        self.limits = self.limits.with_beat(self._beat)
        self.notes.wanted = self.board.rank == 0
        self._signals = endings.Signals()
        self._parents = endings.parents()
        self._began = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="yolo-nanfix lookout", daemon=True)
        self._thread.start()
        atexit.register(self._stop)

    def collect(self) -> None:
        """Add the other ranks' notes that have arrived to the recorder of rank 0."""
        if self.board is not None and self.board.rank == 0:
            self.notes.take_in()

    def teardown(self, error: BaseException | None, tell: Callable[[], None]) -> None:
        """The main thread tears down: find out why, let rank 0 report by `tell`, and stop watching; once.

        `error` ended the training, unless it came to its end. A signal may become an exception as this begins; then
        nothing is done yet, and it is to be called again.
        """
        if self._closed:
            return
        if self.board is None:
            tell()
            self._closed = True
            return
        with stopping.later(TEARDOWN):  # a launcher passes on each signal that it gets
            self._ending.set()
            if self._signals is not None:
                self._signals.quiet = True
            with self._lock:  # else the thread writes the report already
                self._close(self.board, error, tell)
        self._stop()
        atexit.unregister(self._stop)  # which would keep the trainer in memory
        if self._signals is not None and error is None:
            self._signals.close()

    def _close(self, known: Board, error: BaseException | None, tell: Callable[[], None]) -> None:
        try:
            self._stopped = isinstance(error, GuardStop)
            self._publish(_end_of(error, self._asked), error)
            if error is not None:
                self._explain(error)
            self._last_notes(error)
            self._tell(known, tell)
        finally:
            self._closed = True
            self._over.set()

    def _stop(self) -> None:
        """Wait for the thread: if the interpreter stopped it inside of torch's store, the process would abort."""
        self._over.set()
        if self._signals is not None:
            self._signals.wake()
        if self._thread is not None and not self._ends:
            self._thread.join(LAST)

    @property
    def _asked(self) -> int:
        return self._signals.asked if self._signals is not None else 0

    def _explain(self, error: BaseException) -> None:
        """Find out, within `GRACE`, whether another rank is the reason for an error of this one."""
        until = time.monotonic() + GRACE
        foreign = endings.of_a_collective(error)
        self._look()
        while not (found := self._lost()) and time.monotonic() < until and (foreign or self._asked):
            if self.seen and all(seen.sign.end is not None for seen in self.seen.values()):
                break
            time.sleep(BEAT / 5)
            self._look()
        if found and (foreign or isinstance(error, KeyboardInterrupt)):
            self._cut_short(found)
        elif foreign and any(seen.sign.end is End.ASKED for seen in self.seen.values()):
            self.recorder.processes.cut_short = KeyboardInterrupt(f"a signal asked the run to end; {self.kept()}")
        elif foreign is False and not isinstance(error, (KeyboardInterrupt, GuardStop)) and self.board is not None:
            self.recorder.processes.lost = (LostRank.of(self.board.rank, How.RAISED, Seen(self.sign)),)

    def _cut_short(self, found: tuple[LostRank, ...]) -> None:
        self.recorder.processes.lost = found
        self.recorder.processes.cut_short = RankLost(f"{'; '.join(map(str, found))}; {self.kept()}")

    def _last_notes(self, error: BaseException | None) -> None:
        """Rank 0 waits a moment for the others' last notes."""
        assert self.board is not None
        until = time.monotonic() + (3 * BEAT if error is None else BEAT)
        while self.board.rank == 0 and time.monotonic() < until:
            self._look()
            if all(seen.sign.end is not None for seen in self.seen.values()):
                break
            time.sleep(BEAT / 20)
        self.collect()

    def _tell(self, known: Board, tell: Callable[[], None]) -> None:
        if known.rank == 0:
            tell()
        elif self.recorder.processes.cut_short is not None and self._stands_in(known):
            self.notes.wanted = True
            self._look()
            self.notes.take_in()
            self.recorder.processes.stand_in()
        else:
            self._let_tell(known)
            return
        if (cut := self.recorder.processes.cut_short) is not None:  # the log of other ranks than the first is silent
            print(f"yolo-nanfix: the run ends: {cut}", file=sys.stderr, flush=True)
        _quietly(lambda: known.put("told", True))

    def _let_tell(self, known: Board) -> None:
        """After a stop of all ranks wait for rank 0's report: once one rank is gone, the others are asked to end."""
        until = time.monotonic() + LAST
        while self._stopped and time.monotonic() < until and not _quietly(lambda: known.read(0, "told")):
            time.sleep(BEAT / 5)
            self._look()
            if self.seen[0].process is Process.GONE:
                break

    def _stands_in(self, known: Board) -> bool:
        """Whether no rank before this one can write the report; waits for them to write it."""
        until = time.monotonic() + LAST
        while time.monotonic() < until:
            self._look()
            if _quietly(lambda: any(known.read(rank, "told") for rank in known.others)):
                return False
            lost_ones = {one.rank for one in self._lost() if one.how in DUMB}
            gone = {rank for rank, seen in self.seen.items() if seen.process is Process.GONE}
            if all(rank in lost_ones | gone for rank in range(known.rank)):
                return True
            time.sleep(BEAT / 2)
        return True

    def _run(self) -> None:
        """The thread."""
        assert self.board is not None and self._signals is not None
        while not self._over.is_set():
            self._publish(None)
            self._look()
            found = () if self._ending.is_set() else self._lost()
            orphaned = endings.parents() != self._parents
            if (found or orphaned or self._asked) and not self._over.is_set():
                self._ends = True
                self._end(found, orphaned=orphaned)
                return
            self._signals.wait(self._beat)

    def _end(self, found: tuple[LostRank, ...], *, orphaned: bool) -> None:
        """End the process, unless its main thread does so by itself in time."""
        until = time.monotonic() + SLOW
        while not self._ending.wait(GRACE) and time.monotonic() < until and not endings.place_of_main()[1]:
            pass
        if self._ending.is_set():
            self._over.wait(TEARDOWN)
            if self.recorder.finished and self._closed:
                return
            time.sleep(GRACE)
            endings.leave()
        with self._lock:
            if self._closed:
                return
            self._look()
            found = self._lost() or found
            if found:
                self._cut_short(found)
            elif self._asked:
                self.recorder.processes.cut_short = stopping.Stopped(self._asked)
            else:
                reason = "the process that started it is gone" if orphaned else "a signal asked it to end"
                self.recorder.processes.cut_short = KeyboardInterrupt(
                    f"the run was interrupted: {reason}; {self.kept()}"
                )
            mine = self.board is not None and any(one.rank == self.board.rank for one in found)
            self._publish(None if mine else End.CUT_OFF if found else End.ASKED)
            _quietly(self._told)
            endings.leave()

    def _told(self) -> None:
        assert self.board is not None
        self.notes.take_in()
        self._tell(self.board, self.listener.ends)

    def _publish(self, end: End | None, error: BaseException | None = None) -> None:
        """Store a sign of life and, if there are new ones, the notes."""
        known = self.board
        assert known is not None
        now = replace(self.place(), beat=self.sign.beat + 1, host=endings.HOST, pid=os.getpid())
        if now.progress == self.sign.progress and time.monotonic() - self._changed.get(known.rank, (0, 0))[1] > STILL:
            at, waits = endings.place_of_main()
            now = replace(now, at=at, waits=waits)
        if end is not None or self.sign.end is not None:
            now = now.ending(end or self.sign.end or End.ASKED, _told(error) if error is not None else self.sign.error)
        self.sign = now
        self._saw(known.rank, now, Process.RUNNING)
        _quietly(lambda: self._leave(known, now))

    def _leave(self, known: Board, sign: Sign) -> None:
        if (told := self.notes.to_tell()) is not None:
            known.put("notes", told)
        known.put("sign", asdict(replace(sign, notes=self.notes.told)))

    def _look(self) -> None:
        """Read the others' signs; ask the operating system first, so that a last sign is not missed."""
        for rank in self.board.others if self.board is not None else ():
            last = self.seen[rank].sign if rank in self.seen else Sign()
            state = endings.process_of(last.pid, last.host)
            self._saw(rank, _quietly(lambda rank=rank: self._read(rank)) or last, state)  # type: ignore[misc]

    def _read(self, rank: int) -> Sign | None:
        assert self.board is not None
        held = self.board.read(rank, "sign")
        sign = Sign.from_dict(held) if isinstance(held, Mapping) else None
        if sign is not None and self.notes.news(rank, sign.notes):
            self.notes.hear(rank, sign.notes, self.board.read(rank, "notes"))
        return sign

    def _saw(self, rank: int, sign: Sign, state: Process) -> None:
        now = time.monotonic()
        beat, moved = self._changed.get(rank, (self._began, self._began))
        last = self.seen[rank].sign if rank in self.seen else None
        beat = now if last is None or sign.beat != last.beat else beat
        moved = now if last is None or sign.progress != last.progress else moved
        self._changed[rank] = beat, moved
        self.seen[rank] = Seen(sign, now - beat, now - moved, state)

    def _lost(self) -> tuple[LostRank, ...]:
        """The ranks that are lost, this one included where it hangs."""
        rank = self.board.rank if self.board is not None else -1
        return tuple(one for one in lost(self.seen, self.limits) if one.rank != rank or not self._ending.is_set())


def _end_of(error: BaseException | None, asked: int) -> End:
    """How a rank ends, by the error that ended it, or None."""
    if error is None:
        return End.FINISHED
    if asked or isinstance(error, KeyboardInterrupt):
        return End.ASKED
    return End.CUT_OFF if endings.of_a_collective(error) else End.RAISED


def _told(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, GuardStop) else f"{type(error).__name__}: {text}"


def _quietly(action: Callable[[], Any]) -> Any:
    """Do something with the store, which may be gone with its launcher, or with files; None where it fails."""
    try:
        return action()
    except Exception:
        return None


def lookout_of(trainer: Any, recorder: Recorder, settings: GuardSettings, listener: Listener) -> Lookout:
    """The lookout of one trainer; it watches once it is started."""

    def place() -> Sign:
        epoch, batch = recorder.processes.place
        progress = recorder.micro_batches + recorder.processes.val_batches
        return Sign(epoch=epoch, batch=batch, step=recorder.step, progress=progress)

    limits = RankTimeouts(settings.rank_timeout, settings.step_timeout)
    return Lookout(recorder, place, limits, lambda: _checkpoint_in_place(trainer), listener)


def _checkpoint_in_place(trainer: Any) -> str:
    """Which checkpoint exists, and how to resume from it."""
    last = getattr(trainer, "last", None)
    if last is None or not last.exists():
        return "no epoch was saved yet"
    return f"the last whole epoch is in {last}; go on from it with model={last} resume=True"
