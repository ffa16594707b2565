"""Size and time to interactive of HTML pages, beside an empty page of ours opened in the same run.

    python scripts/bench_pages.py FILE.html ... [--rounds 7] [--findings 10000]

Without files: the lint page of a generated dataset with so many findings. Interactive means: loaded, and the list has
answered to the first letters typed into the search, counted from the start of the navigation, on the CPU, uncached.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import benchlib
import chromium
import many_findings
from playwright.sync_api import Browser

from yolo_nanfix.report.html.page import render_page

TYPED = "0001"


def opened(running: Browser, file: Path) -> tuple[float, float]:
    """Seconds until the page is loaded, and until its search has answered; the same where it has none."""
    began = time.perf_counter()
    with chromium.visit(running, file) as visited:
        loaded = time.perf_counter() - began
        search = visited.page.locator("#search")
        if search.count():
            before = visited.page.locator("#count").inner_text()
            search.fill(TYPED)
            visited.page.wait_for_function("was => document.getElementById('count').innerText !== was", arg=before)
        answered = time.perf_counter() - began
        if not visited.clean():
            raise SystemExit(f"{file}: {visited.complaints} {visited.requests}")
    return loaded, answered


def drawn(folder: Path, findings: int) -> Path:
    """The lint page of a generated dataset."""
    page = folder / "many.html"
    data = many_findings.draw(folder / "many", findings)
    began = time.perf_counter()
    words = ["lint", str(data), "--output-format", "html", "--output-file", str(page), "--quiet", "--exit-zero"]
    subprocess.run([sys.executable, "-m", "yolo_nanfix", *words], check=True)
    print(f"lint and page of {findings} findings and more: {time.perf_counter() - began:.1f} s")
    return page


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="*", help="pages to open")
    parser.add_argument("--rounds", type=int, default=7, help="how often each is opened (default: 7)")
    parser.add_argument("--findings", type=int, default=10_000, help="of the generated dataset (default: 10000)")
    args = parser.parse_args()
    print(benchlib.header())
    with tempfile.TemporaryDirectory() as folder, chromium.browser() as running:
        empty = Path(folder) / "empty.html"
        empty.write_text(render_page("base.html.j2"), encoding="utf-8")
        files = args.files or [drawn(Path(folder), args.findings)]
        times: dict[Path, list[tuple[float, float]]] = {file: [] for file in (empty, *files)}
        for _ in range(args.rounds):
            for file in times:
                times[file].append(opened(running, file))
        floor = statistics.median(answered for _, answered in times[empty])
        for file, seen in times.items():
            loaded, answered = (statistics.median(column) for column in zip(*seen, strict=True))
            print(
                f"{file}: {file.stat().st_size / 1e6:.2f} MB, loaded {loaded:.2f} s, interactive {answered:.2f} s "
                f"(worst {max(a for _, a in seen):.2f} s), {answered / floor:.1f} times the empty page"
            )


if __name__ == "__main__":
    main()
