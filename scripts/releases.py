"""Releases of ultralytics beside the installed one: list them, fetch their wheels once, run code under them.

The wheels come from the package index that pip uses (`PIP_INDEX_URL`, else PyPI), are checked against its sha256 and
kept in the user's cache folder. A release is run by putting its unpacked wheel first on `PYTHONPATH`.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
import urllib.request
import zipfile
from functools import lru_cache
from pathlib import Path
from urllib.parse import urljoin

import warm_python

ROOT = Path(__file__).resolve().parents[1]
INDEX = os.environ.get("PIP_INDEX_URL", "https://pypi.org/simple").rstrip("/")
FIRST_OF_RECT, FIRST = "8.0.35", "8.0.136"
"""The first release on which the rect patch works, and the first that is supported whole."""
WHEELS = "NANFIX_WHEELS"
"""The variable that names another folder for the wheels than one in the user's cache."""


class ReleaseError(RuntimeError):
    """A release is not on the index, its wheel is damaged, or code run under it failed."""


def key(release: str) -> tuple[int, ...]:
    """Sorts releases as numbers."""
    return tuple(int(x) for x in release.split("."))


@lru_cache(maxsize=1)
def listing() -> dict[str, str]:
    """Every release with a wheel on the index, oldest first, and the wheel's address with its sha256.

    Raises:
        ReleaseError: the index cannot be reached.
    """
    found = _links(r"ultralytics-(\d+\.\d+\.\d+)-py3-none-any\.whl")
    return {release: found[release] for release in sorted(found, key=key)}


@lru_cache(maxsize=2)
def _links(pattern: str) -> dict[str, str]:
    """What the first group of the pattern finds in each file's name on the index, and the file's address."""
    request = urllib.request.Request(f"{INDEX}/ultralytics/", headers={"Accept": "text/html"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            page, base = answer.read().decode(), answer.geturl()
    except OSError as error:
        raise ReleaseError(f"{INDEX}/ultralytics/ cannot be read: {error}") from error
    links = re.findall(r'href="([^"]+?(?:#[^"]*)?)"', page)
    names = [(re.fullmatch(pattern, link.partition("#")[0].rpartition("/")[2]), link) for link in links]
    return {match[1]: urljoin(base, link) for match, link in names if match}


def supported(first: str = FIRST) -> list[str]:
    """The releases on the index from `first` on, oldest first."""
    return [release for release in listing() if key(release) >= key(first)]


def cache() -> Path:
    """Where wheels are kept."""
    if kept := os.environ.get(WHEELS):
        return Path(kept)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "yolo-nanfix"


def wheel(release: str) -> Path:
    """The wheel of a release, fetched unless it is in the cache.

    Raises:
        ReleaseError: there is no such release, or what came does not have the index's sha256.
    """
    path = cache() / f"ultralytics-{release}-py3-none-any.whl"
    if not path.is_file():
        if release not in listing():
            raise ReleaseError(f"ultralytics {release} has no wheel on {INDEX}")
        _fetch(listing()[release], path)
    return path


def source(release: str) -> Path:
    """The source distribution of a release, fetched unless it is in the cache.

    Raises:
        ReleaseError: there is none, or what came does not have the index's sha256.
    """
    path = cache() / f"ultralytics-{release}.tar.gz"
    if not path.is_file():
        found = _links(r"ultralytics-(\d+\.\d+\.\d+)\.tar\.gz")
        if release not in found:
            raise ReleaseError(f"ultralytics {release} has no source distribution on {INDEX}")
        _fetch(found[release], path)
    return path


def _fetch(link: str, path: Path) -> None:
    """Put what is at a link into a file, whole or not at all."""
    address, _, mark = link.partition("#sha256=")
    with urllib.request.urlopen(address, timeout=120) as answer:
        content = answer.read()
    if mark and hashlib.sha256(content).hexdigest() != mark:
        raise ReleaseError(f"{address}: the sha256 is not the one that the index gives")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        file.write(content)
    Path(file.name).replace(path)


def unpacked(release: str) -> Path:
    """A folder that holds the package and the metadata of a release."""
    folder = cache() / release
    if not folder.is_dir():
        source = wheel(release)
        with tempfile.TemporaryDirectory(dir=source.parent) as temporary:
            zipfile.ZipFile(source).extractall(Path(temporary) / "wheel")
            try:
                (Path(temporary) / "wheel").rename(folder)
            except OSError:  # another process was faster
                if not folder.is_dir():
                    raise
    return folder


def environment(release: str) -> dict[str, str]:
    """The environment in which Python imports that release, this checkout and its test helpers."""
    paths = [unpacked(release), ROOT, ROOT / "tests", ROOT / "scripts"]
    quiet = {"YOLO_OFFLINE": "1", "YOLO_AUTOINSTALL": "false", "OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"}
    quiet["MLFLOW_ALLOW_FILE_STORE"] = "true"  # else releases that start MLflow by themselves do not train
    return {**os.environ, **quiet, "PYTHONPATH": os.pathsep.join(map(str, paths)), "PYTHONWARNINGS": "ignore"}


def run(release: str, code: str, *arguments: str, timeout: float = 300) -> str:
    """Run Python code in a process of its own under a release and return its standard output.

    Raises:
        ReleaseError: the code ended with an error; the message carries the end of its standard error.
    """
    with tempfile.TemporaryDirectory(prefix="yolo-nanfix-") as folder:
        settings = {**environment(release), "YOLO_CONFIG_DIR": folder, "MPLCONFIGDIR": folder}
        done = warm_python.run(code, arguments, settings, folder, timeout)
    if done.returncode:
        raise ReleaseError(f"ultralytics {release}, exit code {done.returncode}: {done.stderr[-4000:]}")
    return done.stdout
