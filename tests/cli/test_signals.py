"""lint and handoff that are ended by a signal in the middle: the code, no process left, nothing half-written."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import processes
import pytest
import signal_runs
from surroundings import LIMIT

SENT = (signal.SIGTERM, signal.SIGHUP, signal.SIGKILL)


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, signal_runs.Place]]:
    """A set of 160 images that lint decodes in two processes, and that handoff gives away."""
    place = signal_runs.make(tmp_path_factory.mktemp("signals") / "a b", "lint", images=160)
    yield {what: signal_runs.Place(place.base, what, place.data, place.before) for what in ("lint", "handoff")}


def wait_for(process: subprocess.Popen[bytes], ready: Callable[[], bool]) -> None:
    end = time.monotonic() + LIMIT
    while not ready():
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.005)


def half(place: signal_runs.Place) -> bool:
    return bool(list((place.base / "out").glob(".given.*")))


@pytest.mark.parametrize("sent", SENT, ids=lambda sent: sent.name)
@pytest.mark.parametrize("what", ["lint", "handoff"])
def test_ended_in_the_middle(what: str, sent: signal.Signals, places: dict[str, signal_runs.Place]):
    place = places[what]
    process = place.start([*place.words(0), *(["--no-cache"] if what == "lint" else [])])
    workers = 3 if what == "lint" else 1
    wait_for(process, lambda: len(processes.alive(process.pid)) >= workers and (what == "lint" or half(place)))
    process.send_signal(sent)
    assert process.wait(timeout=LIMIT) == signal_runs.wanted(sent), (place.base / "log").read_text()
    assert processes.gone(process.pid, 10), "processes are left; on an idle machine they end within milliseconds"
    assert signal_runs.look(place, sent, "ended by it") == []
    if sent is not signal.SIGKILL:
        assert f"yolo-nanfix: ended by {sent.name}" in (place.base / "log").read_text().splitlines()
    elif what == "handoff":
        assert half(place)
        assert signal_runs.again(place, 0) == []
        assert json.loads((place.base / "out" / "given" / "handoff.json").read_text())["format"] == "coco"


def test_two_renames_apart_an_earlier_handoff_comes_back(places: dict[str, signal_runs.Place]):
    """Killed between them, nothing stands at its place."""
    place = places["handoff"]
    out = place.base / "out" / "earlier"
    words = ["handoff", str(place.data), str(out), "--to", "csv", "--max", "1"]
    assert place.start(words).wait() == 0
    from yolo_nanfix import files

    out.rename(out.with_name(f".earlier.nanfix-{files.machine()}-1-0.old"))
    assert place.start(words).wait() == 2
    assert "exists already" in (place.base / "log").read_text()
    assert (out / "handoff.json").exists() and not list(Path(out.parent).glob(".earlier*"))
