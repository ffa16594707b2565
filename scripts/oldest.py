"""Does it hold with the oldest versions that pyproject.toml declares? Makes an environment of them and tests in it.

    python3.10 scripts/oldest.py                  in build/oldest, about 6 GB; PATH of another folder as argument
    python3.10 scripts/oldest.py --keep build/x   an environment that is there already

Trainings of `scripts/matrix.py` in the first release that is supported whole and in the one of the constraints, then
the tests below. What needs more than the oldest torch can do is left out: a GradScaler on the CPU, and float16
under CPU autocast, by which tests stand in for a GPU, came with torch 2.3.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path

import releases

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib

ROOT = releases.ROOT
TOOLS = ("pytest", "hypothesis", "matplotlib", "scipy", "requests", "psutil", "py-cpuinfo", "pandas", "seaborn", "tqdm")
"""What tests need, and what releases of ultralytics need that are installed without their requirements."""
TESTS = (
    *("tests/numerics", "tests/linting/test_dataset.py", "tests/linting/test_deep.py"),
    *("tests/linting/test_decoders.py", "tests/linting/test_turning.py"),
    *("tests/diagnosis/test_trace.py", "tests/guard/test_dropping.py", "tests/guard/test_snapshots.py"),
    *("tests/e2e/test_train_command.py", "tests/e2e/test_train_classes.py", "tests/test_settings.py"),
)
WITHOUT = "not overflow and (not scaler or no-scaler) and not many_bands and not AdamW-True"
"""Without those that need a stand-in for a GPU, or an OpenCV that writes several pages."""


def oldest() -> list[str]:
    """Each requirement of pyproject.toml at the version from which on it is declared; ultralytics aside."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    return [re.sub(">=", "==", one, count=1) for one in declared if not one.startswith("ultralytics")]


def newest_ultralytics() -> str:
    """The requirement of ultralytics in the constraints of `make test`."""
    lines = (ROOT / "scripts" / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return next(line for line in lines if line.startswith("ultralytics=="))


def make(folder: Path) -> None:
    """An environment with the oldest versions."""
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "-q"]
    subprocess.run([*pip, *oldest(), *TOOLS, "torchvision"], check=True)
    subprocess.run([*pip, "--no-deps", newest_ultralytics()], check=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "build" / "oldest")
    parser.add_argument("--keep", action="store_true", help="the environment is there already")
    args = parser.parse_args()
    if not args.keep:
        make(args.folder)
    python = str(args.folder.absolute() / "bin" / "python")
    newest = newest_ultralytics().partition("==")[2]
    commands = (
        [python, "scripts/matrix.py", releases.FIRST, newest],
        [python, "-m", "pytest", "-q", "-o", "filterwarnings=default", *TESTS, "-k", WITHOUT],
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    codes = [subprocess.run(command, cwd=ROOT, env=env).returncode for command in commands]
    return 1 if any(codes) else 0


if __name__ == "__main__":
    raise SystemExit(main())
