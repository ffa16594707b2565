"""A copy of what the package is built from, and an environment in which pip installs it for real, without a network.

What the package depends on is found where the tests found it; the package itself is built and installed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from surroundings import LIMIT

ROOT = Path(__file__).parents[2]
SOURCE = (
    "yolo_nanfix", "patches", "recipes", "pyproject.toml", "README.md", "LICENSE", "action.yml",
    ".pre-commit-hooks.yaml",
)  # fmt: skip


def environment(home: Path) -> dict[str, str]:
    """Variables for pip, git and pre-commit: nothing from the network, nothing written outside of `home`."""
    site = sysconfig.get_path("purelib")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("GIT_", "PIP_", "YOLO_NANFIX", "COVERAGE"))}
    return {
        **kept,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(home),
        "XDG_CACHE_HOME": str(home / "cache"),
        "PRE_COMMIT_HOME": str(home / "pre-commit"),
        "VIRTUALENV_OVERRIDE_APP_DATA": str(home / "virtualenv"),
        "VIRTUALENV_NO_PERIODIC_UPDATE": "1",
        "PYTHONPATH": site,
        "PIP_NO_INDEX": "1",
        "PIP_NO_DEPS": "1",
        "PIP_NO_BUILD_ISOLATION": "0",  # sets what the option --no-build-isolation sets: build isolation to false
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        **{f"GIT_{who}_{what}": "test" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
    }


def copy(to: Path) -> Path:
    """The files of the working tree that a user of the repository gets."""
    to.mkdir(parents=True)
    for name in SOURCE:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, to / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, to / name)
    return to


def git(folder: Path, *words: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """One git command in a folder, its output as text; pre-commit hooks may make it fail."""
    return subprocess.run(["git", *words], cwd=folder, env=env, capture_output=True, text=True, timeout=LIMIT)


def commit(folder: Path, env: dict[str, str]) -> None:
    """A repository of everything in a folder."""
    for words in (("init", "-q", "-b", "main"), ("add", "."), ("commit", "-q", "-m", "all")):
        done = git(folder, *words, env=env)
        assert done.returncode == 0, done.stderr
