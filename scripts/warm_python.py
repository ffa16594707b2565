"""Runs Python code in processes forked from one that has what a training needs imported: some seconds less for each.

To the code it is `python -c CODE ARGUMENTS`, in a folder and an environment of its own. Where the system cannot fork,
it is that indeed.
"""

from __future__ import annotations

import atexit
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

SERVER = """
import importlib, json, os, sys
import cv2, matplotlib.font_manager, numpy, PIL.Image, requests, torch, torch._dynamo, yaml

own = list(sys.path)
for line in sys.stdin:
    job = json.loads(line)
    if not (child := os.fork()):
        break
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
else:
    sys.exit()
os.environ.clear()
os.environ.update(job["environment"])
os.chdir(job["folder"])
for number, place in enumerate((os.devnull, job["out"], job["err"])):
    os.dup2(os.open(place, os.O_RDWR), number)
sys.path[:] = ["", *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)), *own[1:]]
sys.argv[1:] = job["arguments"]
importlib.invalidate_caches()
exec(compile(job["code"], "<string>", "exec"))
"""


@lru_cache(maxsize=1)
def _server() -> subprocess.Popen[str]:
    """The process to fork from; it ends with this one."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore", "PYTHONPATH": ""}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    server = subprocess.Popen([sys.executable, "-c", SERVER], env=environment, start_new_session=True, **pipes)

    def end() -> None:
        for stream in (server.stdin, server.stdout):
            if stream is not None:
                stream.close()
        server.wait()

    atexit.register(end)
    return server


def run(
    code: str, arguments: tuple[str, ...], environment: Mapping[str, str], folder: str, timeout: float
) -> subprocess.CompletedProcess[str]:
    """Run code in a process of its own; what it prints comes back as text.

    Raises:
        subprocess.TimeoutExpired: it took more than `timeout` seconds; it was killed.
    """
    command = [sys.executable, "-c", code, *arguments]
    if not hasattr(os, "fork"):
        kept = {"capture_output": True, "text": True}
        return subprocess.run(command, env=dict(environment), cwd=folder, timeout=timeout, **kept)  # type: ignore[call-overload, no-any-return]
    server = _server()
    assert server.stdin is not None and server.stdout is not None
    with tempfile.TemporaryDirectory(prefix="yolo-nanfix-") as beside:
        out, err = Path(beside, "out"), Path(beside, "err")
        for file in (out, err):
            file.touch()
        job = {"code": code, "arguments": arguments, "environment": dict(environment), "folder": folder}
        server.stdin.write(json.dumps({**job, "out": str(out), "err": str(err)}) + "\n")
        server.stdin.flush()
        if not select.select([server.stdout], [], [], timeout)[0]:
            os.killpg(server.pid, signal.SIGKILL)
            _server.cache_clear()
            raise subprocess.TimeoutExpired(command, timeout)
        code_of_exit = int(server.stdout.readline())
        told = [file.read_text(encoding="utf-8", errors="replace") for file in (out, err)]
    return subprocess.CompletedProcess(command, code_of_exit, *told)
