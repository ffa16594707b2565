"""Make the pictures of README and docs from real runs: the demo's dataset, stock Ultralytics on it, yolo-nanfix on it.

    python scripts/screenshots.py [OUT] [--to docs/screenshots]

OUT (default .demo) is the folder of `make demo`; what is missing there is run first (a minute on two idle cores).
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import io
import os
import pty
import struct
import subprocess
import sys
import tempfile
import termios
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import chromium
import demo
from playwright.sync_api import Browser
from rich.console import Console
from rich.text import Text

LINES, WIDE = 24, 118
TALL = (1280, 1500)


@dataclass(frozen=True)
class Shot:
    """One picture: its name, the file it shows, the window, light or dark, and an element if not the whole window."""

    name: str
    file: Path
    size: tuple[int, int] = TALL
    scheme: str = "light"
    element: str | None = None


def logged(command: list[str], log: Path) -> str:
    """What a command writes to a terminal; kept in `log`, so that it runs once.

    Raises:
        SystemExit: it failed.
    """
    if not log.is_file():
        print("$", *command[1:], flush=True)
        ours, its = pty.openpty()
        fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 40, WIDE, 0, 0))
        running = subprocess.Popen(command, stdin=its, stdout=its, stderr=its, env={**os.environ, "COLUMNS": str(WIDE)})
        os.close(its)
        seen = bytearray()
        with contextlib.suppress(OSError):  # Linux says so when the last writer is gone
            while chunk := os.read(ours, 65536):
                seen += chunk
        os.close(ours)
        if running.wait() > 1:
            raise SystemExit(f"screenshots: {command[1:4]} ended with exit code {running.returncode}:\n{seen.decode()}")
        log.write_bytes(seen)
    return log.read_bytes().decode("utf-8", "replace")  # carriage returns kept


def last_lines(output: str, lines: int = LINES) -> str:
    """The last lines as a terminal shows them: of each line what was written over it last."""
    seen = [line.rstrip("\r").replace("\x1b[K", "").rpartition("\r")[2] for line in output.split("\n")]
    return "\n".join([line for line in seen if line.strip()][-lines:])


def terminal(output: str, title: str, file: Path) -> Path:
    """Write an SVG inside HTML that shows the output as a terminal would."""
    console = Console(record=True, width=WIDE, file=io.StringIO(), force_terminal=True)
    console.print(Text.from_ansi(last_lines(output)))
    svg = console.export_svg(title=title)
    local = svg.replace("@font-face", "@media not all").replace("https://", "about:")  # no fonts from elsewhere
    file.write_text(f"<!doctype html><title>{title}</title><body style='margin:0'>{local}</body>", encoding="utf-8")
    return file


def nanfix(*words: str) -> None:
    """Run one of our commands; exit codes 0 and 1 are both results."""
    code = subprocess.run([sys.executable, "-m", "yolo_nanfix", *words]).returncode
    if code > 1:
        raise SystemExit(f"screenshots: yolo-nanfix {words[0]} ended with exit code {code}")


def shots(out: Path, work: Path) -> Iterator[Shot]:
    """Run what has not been run, and say what is to be shown."""
    data, run, scripts = out / "dataset" / "data.yaml", out / "run-shown", demo.ROOT / "scripts"
    if not data.is_file():
        make = [sys.executable, str(scripts / "make_datasets.py"), "demo", str(out / "dataset")]
        subprocess.run(make, check=True)
    stock = logged([sys.executable, str(scripts / "demo.py"), "--stock", str(out)], out / "stock.log")
    arguments = {**demo.training_arguments(), "project": out, "name": run.name, "exist_ok": True}
    words = [f"{key}={value}" for key, value in arguments.items()]
    train = [sys.executable, "-m", "yolo_nanfix", "train", str(data), *words, "--on-fatal", "ignore"]
    ours = logged(train, out / "nanfix.log")
    nanfix("lint", str(data), "--output-format", "html", "--output-file", str(work / "lint.html"), "--quiet")
    nanfix("compare", str(out / "run-stock"), str(run), "-o", str(work / "compare.html"))
    nanfix("report", str(run))
    yield Shot("run", run / "yolo-nanfix.html")
    yield Shot("run-dark", run / "yolo-nanfix.html", scheme="dark")
    yield Shot("lint", work / "lint.html")
    yield Shot("lint-phone", work / "lint.html", (390, 844))
    yield Shot("compare", work / "compare.html")
    yield Shot("terminal-stock", terminal(stock, "stock Ultralytics", work / "stock.html"), element="svg")
    yield Shot("terminal-nanfix", terminal(ours, "yolo-nanfix train", work / "nanfix.html"), element="svg")


def take(running: Browser, shot: Shot, to: Path) -> None:
    """Take one picture.

    Raises:
        SystemExit: the page complained or loaded something.
    """
    with chromium.visit(running, shot.file, shot.size, color_scheme=shot.scheme) as visited:
        target = visited.page.locator(shot.element).first if shot.element else visited.page
        target.screenshot(path=to / f"{shot.name}.png")
        if not visited.clean():
            raise SystemExit(f"screenshots: {shot.file}: {visited.complaints} {visited.requests}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, nargs="?", default=demo.ROOT / ".demo", help="folder of `make demo`")
    parser.add_argument("--to", type=Path, default=demo.ROOT / "docs" / "screenshots", help="folder of the pictures")
    args = parser.parse_args()
    args.to.mkdir(parents=True, exist_ok=True)
    args.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, chromium.browser() as running:
        for shot in shots(args.out.resolve(), Path(folder)):
            take(running, shot, args.to)
            print(args.to / f"{shot.name}.png", flush=True)


if __name__ == "__main__":
    main()
