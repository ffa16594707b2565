"""The example notebook runs from its first cell to its last, and is kept without what it printed."""

from __future__ import annotations

import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from surroundings import LIMIT

FILE = Path(__file__).parents[1] / "docs" / "notebooks" / "nanfix.ipynb"


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """The notebook with its outputs, run by a kernel of its own with the settings of this process."""
    folder = tmp_path_factory.mktemp("notebook")
    notebook = nbformat.read(FILE, as_version=4)
    environment = {
        **os.environ,
        "PYTHONWARNINGS": "default",
        "TMPDIR": str(folder),
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }
    client = NotebookClient(notebook, timeout=LIMIT, resources={"metadata": {"path": str(folder)}})
    client.execute(env=environment)
    return notebook


def shown(cell):
    """What a cell shows as HTML."""
    return "".join(output.get("data", {}).get("text/html", "") for output in cell.outputs)


def starting(notebook, text):
    return next(cell for cell in notebook.cells if cell.cell_type == "code" and text in cell.source)


def test_it_is_kept_without_outputs():
    for cell in nbformat.read(FILE, as_version=4).cells:
        if cell.cell_type == "code":
            assert cell.outputs == [] and cell.execution_count is None


def test_the_report_shows_what_was_planted(executed):
    before = shown(starting(executed, "report = yolo_nanfix.lint(data)"))
    after = shown(starting(executed, "yolo_nanfix.fix(report)"))
    assert "BX004" in before and "BX007" in before
    assert "BX004" in after and "BX007" not in after


def test_the_run_shows_how_it_went(executed):
    told = shown(starting(executed, "yolo_nanfix.train("))
    assert "None of 6 micro-batches dropped" in told and "<script" not in told
    printed = "".join(output.get("text", "") for output in starting(executed, "yolo_nanfix.patch()").outputs)
    assert "mask-area-zero" in printed
