"""Opens HTML files in headless Chromium, and tells what a page complained of or tried to load.

Debian's package `chromium` is enough (`apt-get install chromium`); Playwright only drives it. The environment variable
CHROMIUM names another executable.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
DESKTOP, PHONE = (1280, 800), (360, 740)


def executable() -> str | None:
    """The path of Chromium, or None if there is none.

    Raises:
        FileNotFoundError: the variable CHROMIUM names one that is not there.
    """
    wanted = os.environ.get("CHROMIUM")
    names = (wanted,) if wanted else ("chromium", "chromium-browser", "google-chrome")
    path = next((path for name in names if (path := shutil.which(name))), None)
    if wanted and path is None:
        raise FileNotFoundError(f"CHROMIUM={wanted} is no executable")
    return path


@contextmanager
def browser() -> Iterator[Browser]:
    """Headless Chromium.

    Raises:
        FileNotFoundError: none is installed.
    """
    path = executable()
    if path is None:
        raise FileNotFoundError("no Chromium here; install Debian's package chromium, or set CHROMIUM")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        try:
            yield running
        finally:
            running.close()


@dataclass
class Visit:
    """An open page.

    Attributes:
        page: what Playwright drives.
        complaints: console errors and warnings, uncaught exceptions, dialogs; refusals of the page's policy are among
            them.
        requests: what the page tried to load besides itself and the data in it.
    """

    page: Page
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def clean(self) -> bool:
        """Whether it neither complained nor loaded anything."""
        return not self.complaints and not self.requests


@contextmanager
def visit(running: Browser, file: Path, size: tuple[int, int] = DESKTOP, **options: Any) -> Iterator[Visit]:
    """Open a file in a fresh context, and wait until it is loaded.

    Args:
        running: the browser.
        file: an HTML file.
        size: width and height of the window in CSS pixels.
        options: of Playwright's `new_context`, such as color_scheme="dark" or java_script_enabled=False.
    """
    context = running.new_context(viewport={"width": size[0], "height": size[1]}, **options)
    context.set_default_timeout(20_000)
    page = context.new_page()
    visited = Visit(page)
    address = file.resolve().as_uri()
    page.on("console", lambda said: visited.complaints.append(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: visited.complaints.append(str(error)))
    page.on("dialog", lambda dialog: (visited.complaints.append(f"dialog: {dialog.message}"), dialog.dismiss()))
    page.on("request", lambda asked: _note(visited, asked.url, address))
    try:
        page.goto(address, wait_until="load")
        yield visited
    finally:
        context.close()


def _note(visited: Visit, url: str, address: str) -> None:
    if url.partition("#")[0] != address and not url.startswith("data:"):
        visited.requests.append(url)
