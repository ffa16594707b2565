"""The hook as pre-commit itself installs and runs it, on a repository with a dataset.

Its environment is built for real, from a clone of this source; what the package depends on comes from the tests' own.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import checkout
import pytest
from linting.tiny_set import ROWS, TinySet
from surroundings import LIMIT

LONGEST_COMMAND = 1 << 17
"""So many characters of file names at most go to one process of a hook."""
Commit = Callable[[Path], "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return checkout.environment(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory, env: dict[str, str]) -> Path:
    """What a user's configuration names as `repo:`, at the tag v1."""
    folder = checkout.copy(tmp_path_factory.mktemp("clone") / "source")
    checkout.commit(folder, env)
    assert checkout.git(folder, "tag", "v1", env=env).returncode == 0
    return folder


@pytest.fixture
def project(tmp_path: Path, env: dict[str, str], source: Path) -> TinySet:
    """A repository with a clean dataset, committed, and the hook installed."""
    tiny = TinySet(tmp_path / "set")
    (tiny.root / ".pre-commit-config.yaml").write_text(
        f"repos:\n- repo: {source}\n  rev: v1\n  hooks:\n  - id: yolo-nanfix-lint\n"
    )
    checkout.commit(tiny.root, env)
    words = [sys.executable, "-m", "pre_commit", "install", "--install-hooks"]
    done = subprocess.run(words, cwd=tiny.root, env=env, capture_output=True, text=True, timeout=LIMIT)
    assert done.returncode == 0, done.stdout + done.stderr
    return tiny


@pytest.fixture
def commit(env: dict[str, str]) -> Commit:
    def commit(folder: Path) -> subprocess.CompletedProcess[str]:
        return checkout.git(folder, "commit", "-q", "-m", "more", env=env)

    return commit


def staged(folder: Path, env: dict[str, str]) -> str:
    return checkout.git(folder, "diff", "--staged", "--name-only", env=env).stdout


def test_a_bad_label_fails_the_commit_and_a_fixed_one_passes(project: TinySet, env, commit: Commit):
    label = project.root / "labels/train/a.txt"
    project.rows("0 0.5 0.5 0 0.2\n")
    checkout.git(project.root, "add", ".", env=env)
    done = commit(project.root)
    assert done.returncode == 1 and "labels/train/a.txt:1: BX004 [error]" in done.stderr
    assert staged(project.root, env) == "labels/train/a.txt\n"  # nothing was committed
    label.write_text(ROWS + "0 0.25 0.25 0.1 0.1\n")
    checkout.git(project.root, "add", ".", env=env)
    done = commit(project.root)
    assert done.returncode == 0 and "yolo-nanfix lint" in done.stderr and "Passed" in done.stderr
    assert staged(project.root, env) == ""


def test_only_what_is_committed_counts(project: TinySet, env, commit: Commit):
    """A bad label that is not staged, and one that is there already, stop no commit of another file."""
    project.rows("0 0.5 0.5 0 0.2\n")
    checkout.git(project.root, "commit", "-qan", "-m", "bad, past the hook", env=env)
    (project.root / "labels/val/b.txt").write_text(ROWS + "0 0.25 0.25 0.1 0.1\n")
    (project.root / "notes.txt").write_text("no label\n")
    checkout.git(project.root, "add", "labels/val/b.txt", "notes.txt", env=env)
    (project.root / "labels/train/a.txt").write_text("nonsense\n")
    done = commit(project.root)
    assert done.returncode == 0, done.stderr
    assert (project.root / "labels/train/a.txt").read_text() == "nonsense\n"


def test_a_list_too_long_for_one_process_is_linted_whole(project: TinySet, env, commit: Commit):
    """The first and the last file of the list are bad; between them there is more than one command line can hold."""
    for name in ("aaa", "zzz"):
        TinySet(project.root / name).rows("0 0.5 0.5 0 0.2\n")
    notes = project.root / "notes"
    notes.mkdir()
    for number in range(700):
        (notes / f"{'long' * 50}{number}.txt").write_text("no label\n")
    checkout.git(project.root, "add", ".", env=env)
    assert len(staged(project.root, env)) > LONGEST_COMMAND
    done = commit(project.root)
    assert done.returncode == 1
    for name in ("aaa", "zzz"):
        assert done.stderr.count(f"{name}/labels/train/a.txt:1: BX004") == 1, done.stderr


def test_the_hook_of_the_installed_command_needs_no_environment(project: TinySet, env, commit: Commit):
    config = project.root / ".pre-commit-config.yaml"
    config.write_text(config.read_text().replace("yolo-nanfix-lint", "yolo-nanfix-lint-system"))
    environments = set(Path(env["PRE_COMMIT_HOME"]).glob("*/py_env*"))
    for rows, code in (("0 0.5 0.5 0 0.2\n", 1), (ROWS + "0 0.25 0.25 0.1 0.1\n", 0)):
        project.rows(rows)
        checkout.git(project.root, "add", ".", env=env)
        done = commit(project.root)
        assert done.returncode == code and ("BX004" in done.stderr) == bool(code), done.stderr
    assert set(Path(env["PRE_COMMIT_HOME"]).glob("*/py_env*")) == environments


def test_the_manifest_is_valid():
    words = [sys.executable, "-m", "pre_commit", "validate-manifest", str(checkout.ROOT / ".pre-commit-hooks.yaml")]
    assert subprocess.run(words, capture_output=True, timeout=LIMIT).returncode == 0
