"""Settings that hold for every test: Ultralytics keeps its files in a folder of the test run, and stays offline."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

_home = tempfile.mkdtemp(prefix="yolo-nanfix-tests-")
os.environ["YOLO_CONFIG_DIR"] = _home
os.environ["YOLO_OFFLINE"] = "1"
os.environ["YOLO_AUTOINSTALL"] = "false"
os.environ["MPLCONFIGDIR"] = _home

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))
sys.path.insert(0, str(Path(__file__).parent))

import pytest  # noqa: E402

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture
def shared() -> Path:
    """The sample data beside the checkout; the test is skipped where there is none."""
    if not SHARED.is_dir():
        pytest.skip("no shared sample data beside this checkout")
    return SHARED


@pytest.fixture
def unpatched():
    """Nothing is patched or counted before the test, and nothing is patched after it."""
    import yolo_nanfix
    from yolo_nanfix.patching import tally

    yolo_nanfix.unpatch()
    tally.clear()
    yield
    yolo_nanfix.unpatch()
