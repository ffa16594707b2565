"""Ultralytics' own tests, from its source distribution: do those that pass in stock pass under `patch()`?

    python scripts/upstream_tests.py                             of the newest release, without a network
    python scripts/upstream_tests.py 8.4.190 -k "train or nan"   of another one, and only some

The tests run three times, each in a process of its own: in stock (with a torchvision that imports), under `patch()` and
under `patch(guard=False)`. Weights and data that they would download are random stand-ins, so some fail in stock for
want of a network; only what passes there counts. Exit code 1 if one of these fails under ours.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tarfile
import tempfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import releases

FILES = ("test_engine.py", "test_python.py", "test_cli.py", "test_integrations.py", "test_ndjson_converter.py")
"""The others export to other programs, show videos or need a GPU."""
UNDER = ("stock", "patch()", "patch(guard=False)")
LIMIT = 3600
PREPARE = "import pathlib, sys, upstream_plugin; upstream_plugin.pytest_configure(); {}"


def unpacked(release: str, folder: Path) -> Path:
    """The tests of a release in a folder.

    Raises:
        ReleaseError: there is none on the index, or it holds no tests.
    """
    with tarfile.open(releases.source(release)) as archive:
        members = [m for m in archive.getmembers() if m.isfile() and Path(m.name).parts[1:2] == ("tests",)]
        if not members:
            raise releases.ReleaseError(f"the source distribution of ultralytics {release} holds no tests")
        for member in members:
            content = archive.extractfile(member)
            assert content is not None
            (folder / "tests").mkdir(exist_ok=True)
            (folder / "tests" / Path(member.name).name).write_bytes(content.read())
    return folder


def run(release: str, under: str, folder: Path, words: list[str]) -> dict[str, str]:
    """How each test ended: passed, skipped, or the first line of its failure.

    Raises:
        ReleaseError: the tests could not be run.
    """
    env = releases.environment(release) | {"NANFIX_UNDER": under, "YOLO_CONFIG_DIR": str(folder / "config")}
    result = folder / "results.xml"
    code = PREPARE.format("upstream_plugin.stand_ins(pathlib.Path.cwd())")
    prepared = subprocess.run([sys.executable, "-c", code], cwd=folder, env=env, capture_output=True, text=True)
    if prepared.returncode:
        raise releases.ReleaseError(f"stand-ins for {release}: {prepared.stderr[-2000:]}")
    files = [f"tests/{name}" for name in FILES if (folder / "tests" / name).is_file()]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "upstream_plugin", "-p", "no:cacheprovider", *files, *words]
    command += [f"--junitxml={result}", "--rootdir", str(folder), "-o", "addopts="]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=LIMIT)
    if not result.is_file():
        raise releases.ReleaseError(f"{under}: no result of pytest: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return dict(map(ended, ElementTree.parse(result).iter("testcase")))


def ended(case: ElementTree.Element) -> tuple[str, str]:
    """The name of a test and how it ended."""
    name = f"{case.get('classname', '').rpartition('.')[2]}::{case.get('name')}"
    for child in case:
        if child.tag in ("failure", "error"):
            return name, (child.get("message") or child.tag).splitlines()[0][:300]
        if child.tag == "skipped":
            return name, "skipped"
    return name, "passed"


def differences(results: dict[str, dict[str, str]]) -> list[str]:
    """One line for each test that passes in stock and not in ours."""
    stock = results["stock"]
    return [
        f"{under}: {name}: {ends.get(name, 'not run')}"
        for under, ends in results.items()
        for name in stock
        if stock[name] == "passed" and ends.get(name) != "passed"
    ]


def compare(release: str, words: list[str]) -> list[str]:
    """Run everything, say how many passed, and give the differences."""
    results = {}
    for under in UNDER:
        with tempfile.TemporaryDirectory(prefix="yolo-nanfix-") as folder:
            results[under] = run(release, under, unpacked(release, Path(folder)), words)
        passed = sum(
            results["stock"][n] == "passed" == end for n, end in results[under].items() if n in results["stock"]
        )
        whole = sum(end == "passed" for end in results["stock"].values())
        print(f"ultralytics {release}, its own tests, {under}: {passed} of {whole} that pass in stock", flush=True)
    return differences(results)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("release", nargs="?", help="default: the newest")
    args, words = parser.parse_known_args()
    different = compare(args.release or releases.supported()[-1], words)
    print("\n".join(different) or "none differs")
    return 1 if different else 0


if __name__ == "__main__":
    raise SystemExit(main())
