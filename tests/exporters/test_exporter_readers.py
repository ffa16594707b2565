"""Files as tools leave them behind: what lint says, and what Ultralytics' reading makes of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from exporters import stock
from exporters.readers import READINGS, healthy

from yolo_nanfix.dataset.options import LintOptions
from yolo_nanfix.linting.runner import run

pytestmark = pytest.mark.filterwarnings("ignore")  # of Ultralytics


@pytest.fixture(autouse=True)
def _quiet(monkeypatch):
    monkeypatch.setattr("ultralytics.data.utils.check_font", lambda *_a, **_k: None)


@pytest.mark.parametrize("task", ["detect", "segment", "pose", "obb"])
def test_a_healthy_set_has_no_finding(task: str, tmp_path: Path):
    data = healthy(tmp_path, task)
    assert run(data, options=LintOptions(task)).findings == ()
    assert stock.kept(data, task) == "train 4 of 4, val 2 of 2"


@pytest.mark.parametrize("name", READINGS)
def test_lint_and_ultralytics_read_alike(name: str, tmp_path: Path):
    reading = READINGS[name]
    data = healthy(tmp_path, reading.task)
    made = reading.change(tmp_path)
    linted = made if isinstance(made, Path) and made.suffix == ".ndjson" else data
    findings = run(linted, options=LintOptions(reading.task)).findings
    assert tuple(sorted({f.code for f in findings})) == reading.codes, [(f.code, f.message) for f in findings]
    if linted == data:
        assert stock.kept(data, reading.task) == reading.kept
