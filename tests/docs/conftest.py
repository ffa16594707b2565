"""The site, built once for all processes of a test run, with warnings as errors."""

from __future__ import annotations

import fcntl
import subprocess
import sys
from pathlib import Path

import pytest
from site_pages import DOCS


@pytest.fixture(scope="session")
def site(tmp_path_factory, request) -> Path:
    """The folder of the built pages."""
    base = tmp_path_factory.getbasetemp()
    out = (base.parent if hasattr(request.config, "workerinput") else base) / "documentation"
    out.mkdir(exist_ok=True)
    with (out / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (out / "said").exists():
            (out / "said").write_text(build(out))
    assert (out / "said").read_text() == ""
    return out / "html"


def build(out: Path) -> str:
    """Build it anew below a folder; what was wrong, nothing if all is well."""
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-n", "-q", "-E", "-d", str(out / "tree")]
    done = subprocess.run([*command, str(DOCS), str(out / "html")], capture_output=True, text=True)
    return done.stdout + done.stderr + (f"exit code {done.returncode}" if done.returncode else "")
