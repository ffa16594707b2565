"""What the operating system says of the processes of a run: whether they live, who started them, where one stands."""

from __future__ import annotations

import os
import socket
import sys
import threading
from pathlib import Path

from yolo_nanfix.guard.lost_ranks import Process

HOST = socket.gethostname()
WAITING = (f"{os.sep}torch{os.sep}distributed{os.sep}", f"{os.sep}torch{os.sep}autograd{os.sep}")
"""In code of these folders a training process waits for the others: in a collective, or in a backward pass with one."""


def process(pid: int, host: str) -> Process:
    """The state of a process; unknown where it runs on another machine."""
    if not pid or host != HOST:
        return Process.UNKNOWN
    letter, _ = _status(pid)
    if letter:
        return {"T": Process.SUSPENDED, "t": Process.SUSPENDED, "Z": Process.GONE, "X": Process.GONE}.get(
            letter, Process.RUNNING
        )
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return Process.GONE
    except OSError:
        return Process.UNKNOWN
    return Process.RUNNING


def parent(pid: int) -> int:
    """The process that started another one, or took it over; 0 where that is not known."""
    return _status(pid)[1]


def _status(pid: int) -> tuple[str, int]:
    """The letter of a process's state and its parent, from `/proc`; empty and 0 where there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        letter, above = text.rpartition(")")[2].split()[:2]
        return letter, int(above)
    except (OSError, ValueError):
        return "", 0


def place() -> tuple[str, bool]:
    """Where the main thread stands, as `file:line in function`, and whether it waits there for other ranks."""
    main = threading.main_thread().ident
    frame = sys._current_frames().get(main) if main is not None else None
    if frame is None:
        return "", False
    code = frame.f_code
    file = "/".join(Path(code.co_filename).parts[-3:])
    return f"{file}:{frame.f_lineno} in {code.co_name}", any(part in code.co_filename for part in WAITING)
