"""Whatever the files hold, a run ends with a report or a DataError, and nothing is written."""

from __future__ import annotations

import json
import os
import zlib
from pathlib import Path

import pytest
from linting.hostile_cases import FAMILIES
from linting.tiny_set import TinySet

from yolo_nanfix.dataset.options import LintOptions
from yolo_nanfix.errors import DataError
from yolo_nanfix.findings import Report
from yolo_nanfix.linting.runner import run

CASES = [case for family in FAMILIES.values() for case in family()]


def snapshot(root: Path) -> dict[str, tuple[object, ...]]:
    """Everything below a folder: kind, size, time of change, target of a link, and what is in a file."""
    found: dict[str, tuple[object, ...]] = {}
    for place, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = Path(place, name)
            status = path.lstat()
            content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
            target = str(path.readlink()) if path.is_symlink() else ""
            found[str(path)] = (status.st_mode, status.st_size, status.st_mtime_ns, target, zlib.crc32(content))
    return found


def test_there_are_enough_cases():
    assert len(CASES) >= 400 and len({name for name, _ in CASES}) == len(CASES)
    assert all(sum(1 for _ in family()) >= 10 for family in FAMILIES.values())


@pytest.mark.parametrize("family", FAMILIES)
def test_a_report_or_a_data_error_and_nothing_written(family: str, tmp_path: Path):
    ended = {"report": 0, "error": 0}
    for number, (name, change) in enumerate(FAMILIES[family]()):
        tiny = TinySet(tmp_path / str(number))
        change(tiny)
        before = snapshot(tmp_path / str(number))
        data = next(tiny.root.glob("*.ndjson"), tiny.root)
        try:
            report = run(data, options=LintOptions(name.partition(":")[0]), jobs=1, cache=False)
            assert isinstance(report, Report) and json.dumps(report.as_dict())
            ended["report"] += 1
        except DataError as error:
            assert str(error)
            ended["error"] += 1
        except Exception as error:
            raise AssertionError(f"{name} ended in {type(error).__name__}") from error
        assert snapshot(tmp_path / str(number)) == before, f"{name} changed a file"
    assert ended["report"] >= 5


@pytest.mark.parametrize("name", ["label3", "image.png", "npy2"])
def test_with_all_images_decoded(name: str, tmp_path: Path):
    change = dict(CASES)[f"detect:{name}"]
    tiny = TinySet(tmp_path)
    change(tiny)
    before = snapshot(tmp_path)
    run(tiny.root, options=LintOptions(deep=True), jobs=1, cache=False)
    assert snapshot(tmp_path) == before
