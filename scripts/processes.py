"""Runs functions in processes of their own, a few at a time, each forked from one that has imported torch already."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

Key = TypeVar("Key", bound=Hashable)
PRELOADED = ("torch", "ultralytics")


def each(tasks: Sequence[tuple[Key, Callable[..., None], tuple[Any, ...]]], jobs: int, limit: float) -> Iterator[Key]:
    """Run each task (its key, a function of a module, arguments that can be pickled); yield keys as they end.

    Args:
        tasks: what to run, begun in this order. What they find out they write to files.
        jobs: processes at a time.
        limit: seconds after which one is killed.
    """
    context = get_context("forkserver")
    context.set_forkserver_preload(list(PRELOADED))
    waiting, running = list(tasks), {}
    while waiting or running:
        while waiting and len(running) < jobs:
            key, function, arguments = waiting.pop(0)
            process = context.Process(target=function, args=arguments)
            process.start()
            running[key] = (process, time.monotonic())
        time.sleep(0.1)
        for key, (process, began) in list(running.items()):
            if process.is_alive() and time.monotonic() - began > limit:
                process.kill()
            if not process.is_alive():
                process.join()
                del running[key]
                yield key


def alive(session: int) -> list[int]:
    """The processes of a session that have not ended (Linux). One that is started as its leader gives it its number."""
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # ended meanwhile
            continue
        if int(fields[3]) == session and fields[0] not in "ZX":
            found.append(int(folder.name))
    return found


def gone(session: int, seconds: float) -> bool:
    """Whether every process of a session has ended within so many seconds."""
    until = time.monotonic() + seconds
    while left := alive(session):
        if time.monotonic() > until:
            return not left
        time.sleep(0.02)
    return True
