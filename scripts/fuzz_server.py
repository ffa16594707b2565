"""The process that runs cases: everything heavy is imported once, then each case is a fork of its own.

It reads a line of JSON for each case (`kind`, `number`, `seed`) and answers with one; a case that hangs, crashes or
takes too much memory is told by how its process ended.
"""

from __future__ import annotations

import contextlib
import faulthandler
import importlib
import json
import os
import resource
import select
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fuzz_core
from fuzz_core import Box

SECONDS = 20
"""A command that works longer hangs, and so does one that sleeps longer; waiting for a busy machine is neither."""
LARGEST = 64 << 20
"""Bytes of the largest file that a command may write."""
WARM = (
    *("rich.progress", "rich._emoji_codes", "numpy.ma", "xml.parsers.expat", "encodings.utf_8_sig", "gzip"),
    *(
        f"yolo_nanfix.{name}"
        for name in ("api", "linting.request", "pages", "linting.autofix.autofix", "guard.guard_settings")
    ),
    *(f"yolo_nanfix.cli.{name}" for name in ("main", "output", "commands.lint", "commands.handoff")),
    *(f"yolo_nanfix.cli.commands.{name}" for name in ("report", "compare", "rule", "train")),
    *(f"yolo_nanfix.linting.{name}" for name in ("pipeline", "parts", "rules.confirming")),
    *(f"yolo_nanfix.dataset.formats.{name}" for name in ("coco", "voc", "ndjson", "build")),
    *(
        f"yolo_nanfix.{name}"
        for name in ("report.text", "report.text_forms", "report.html.run_page", "report.html.comparison_page")
    ),
    *("yolo_nanfix.handoff.export", "yolo_nanfix.report.html.dataset_pictures"),
)
"""What commands import when they need it."""
STACK = "stack.txt"
WALL = 300
"""So long a command is waited for in any case."""
MEMORY = 3 << 30
"""Bytes of address space that a command may ask for."""
PEAK = 3 << 29
"""Bytes of memory that it may use, beside what was loaded before."""


def module_of(kind: str) -> Any:
    """The module that makes the cases of a kind."""
    return importlib.import_module("fuzz_heavy" if kind == "incidents" else f"fuzz_{kind}")


def run(kind: str, number: int, seed: int, box: Box) -> dict[str, Any]:
    """Run one case in a fork; what was wrong with it, how long it took (seconds), and how it ended."""
    box.make()
    ready, begun = os.pipe()
    answer, told = os.pipe()
    child = os.fork()
    if not child:
        os.close(ready)
        os.close(answer)
        _child(kind, number, seed, box, begun, told)
    os.close(begun)
    os.close(told)
    started = time.monotonic()
    try:
        said, hung = _wait(child, ready, answer)
        hung += _stack(child, box) if hung else ""
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)  # also what it started and left
        _, status, used = os.wait4(child, 0)
        for handle in (ready, answer):
            os.close(handle)
    result: dict[str, Any] = json.loads(said) if said and not hung else {"wrong": [], "words": []}
    if hung:
        result["wrong"].append(f"hang: {hung}")
    elif not said:
        result["wrong"].append(f"abort: signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else "abort: died")
    peak = used.ru_maxrss * 1024 - _loaded()
    if peak > PEAK:
        result["wrong"].append(f"memory: {peak >> 20} MiB")
    return {**result, "kind": kind, "number": number, "seconds": time.monotonic() - started, "peak": max(0, peak)}


def _loaded() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _wait(child: int, ready: int, answer: int) -> tuple[bytes, str]:
    """What the child says at its end, and how one of its commands hung, if it did."""
    said = b""
    began = moved = time.monotonic()
    first = last = 0.0
    while True:
        there, _, _ = select.select([ready, answer], [], [], 1)
        now = time.monotonic()
        if ready in there and os.read(ready, 64):
            began = moved = now  # another command
            first = last = _worked(child)
        if answer in there:
            block = os.read(answer, 1 << 16)
            if not block:
                return said, ""
            said += block
        if not there:
            worked = _worked(child)
            if worked - last > 0.05 or not _asleep(child):
                moved, last = now, worked
            if worked - first > SECONDS or now - moved > SECONDS or now - began > WALL:
                return said, f"{now - began:.0f} s, of which {worked - first:.0f} s were spent working"


def _stack(child: int, box: Box) -> str:
    """Where a process stands."""
    os.kill(child, signal.SIGUSR1)
    time.sleep(0.5)
    lines = [line.strip() for line in (box.root.parent / STACK).read_text().splitlines() if line.startswith("  File")]
    return "; " + "; ".join(lines[:4])


def _group(leader: int) -> Iterator[list[str]]:
    """What the system says of each process of a group, from its state on."""
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                words = Path(entry.path, "stat").read_text().rpartition(")")[2].split()
                if words[2] == str(leader):
                    yield words


def _worked(leader: int) -> float:
    """Seconds of CPU time of a group of processes, with those of it that have ended."""
    return sum(sum(map(int, words[11:15])) for words in _group(leader)) / os.sysconf("SC_CLK_TCK")


def _asleep(leader: int) -> bool:
    """Whether all processes of a group wait for something that is no disk."""
    return all(words[0] in "SZT" for words in _group(leader))


def _child(kind: str, number: int, seed: int, box: Box, begun: int, told: int) -> None:
    """Make the case, run its commands, tell what was wrong, and end."""
    os.setsid()
    faulthandler.register(signal.SIGUSR1, (box.root.parent / STACK).open("w"))
    code = 1
    try:
        os.environ |= box.environ()
        tempfile.tempdir = None
        os.chdir(box.case)
        case = module_of(kind).make(box, fuzz_core.dice(seed, kind, number))
        os.environ |= case.environ
        size = _address_space() + MEMORY
        before = fuzz_core.snapshot(box.root)
        wrong: list[str] = []
        outputs: list[tuple[int, bytes]] = []
        for i, words in enumerate(case.commands):
            if i in case.before:
                case.before[i]()
            os.write(begun, b".")
            resource.setrlimit(resource.RLIMIT_AS, (size, resource.RLIM_INFINITY))
            resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST, resource.RLIM_INFINITY))
            ended, out, err = _command(words, box.root)
            for limit in (resource.RLIMIT_AS, resource.RLIMIT_FSIZE):
                resource.setrlimit(limit, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            outputs.append((ended, out))
            wrong += [f"command {i}: {what}" for what in fuzz_core.judge_output(words, ended, out, err)]
        os.chdir(box.root)
        wrong += fuzz_core.judge_files(case, before, fuzz_core.snapshot(box.root))
        if len({outputs[i] for i in case.same}) > 1:
            wrong.append("another result")
        codes = [ended for ended, _ in outputs]
        with os.fdopen(told, "wb") as stream:
            shown = [[word[:200] for word in words] for words in case.commands]
            stream.write(json.dumps({"wrong": wrong, "words": shown, "codes": codes}).encode())
        code = 0
    except BaseException:
        import traceback

        with os.fdopen(told, "wb") as stream:
            stream.write(json.dumps({"wrong": [f"the fuzzer: {traceback.format_exc()[-1500:]}"], "words": []}).encode())
    finally:
        os._exit(code)


def _address_space() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def _command(words: Any, folder: Path) -> tuple[int, bytes, bytes]:
    """Run one command with its streams in files; its exit code and what it printed."""
    from yolo_nanfix.cli.main import main

    files = [folder.parent / f"{folder.name}.{name}" for name in ("out", "err")]
    kept = [os.dup(1), os.dup(2)]
    streams = sys.stdout, sys.stderr
    try:
        for number, file in zip((1, 2), files, strict=True):
            handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            os.dup2(handle, number)
            os.close(handle)
        sys.stdout, sys.stderr = (open(n, "w", encoding="utf-8", closefd=False) for n in (1, 2))  # noqa: SIM115
        try:
            code = main(list(words))
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        except BaseException:
            import traceback

            traceback.print_exc()
            code = 99
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
    finally:
        sys.stdout, sys.stderr = streams
        for number, handle in zip((1, 2), kept, strict=True):
            os.dup2(handle, number)
            os.close(handle)
    return (code, *(file.read_bytes() for file in files))


def warm(folder: Path, *, heavy: bool) -> None:
    """Import what cases need, so that a fork has it at once; Ultralytics, which changes PIL and OpenCV, if `heavy`."""
    box = Box(folder)
    box.make()
    os.environ |= {**box.environ(), "YOLO_CONFIG_DIR": str(box.home), "YOLO_OFFLINE": "1", "NO_COLOR": "1"}
    os.environ |= {"YOLO_AUTOINSTALL": "false", "OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1", "COLUMNS": "100"}
    import cv2
    import safetensors.numpy

    from yolo_nanfix.linting.registry import all_rules

    cv2.setNumThreads(0)
    assert all_rules() and safetensors
    if heavy:
        import torch
        import ultralytics.nn.tasks

        torch.set_num_threads(1)
        assert ultralytics
        module_of("incidents").warm()
    for name in WARM:
        importlib.import_module(name)


def serve(folder: Path, *, heavy: bool) -> None:
    """Answer until the input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    warm(folder / "warm", heavy=heavy)
    print(json.dumps("ready"), file=answers, flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        result = run(asked["kind"], asked["number"], asked["seed"], Box(folder / "box"))
        print(json.dumps(result), file=answers, flush=True)


if __name__ == "__main__":
    serve(Path(sys.argv[1]), heavy="heavy" in sys.argv)
