"""What holds for every test: its surroundings, which `surroundings.py` settles, and fixtures of many rooms."""

from __future__ import annotations

import gc
import logging
import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))
sys.path.insert(0, str(Path(__file__).parent))

import surroundings

surroundings.settle()

import pytest  # noqa: E402
from hypothesis import HealthCheck, settings  # noqa: E402

SHARED = Path(__file__).resolve().parents[2] / "shared"


# no limit that a busy machine breaks, and the same examples everywhere: Hypothesis draws others where CI is set
settings.register_profile("same", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
settings.register_profile("drawn", settings.get_profile("same"), derandomize=False)


def pytest_configure(config):
    settings.load_profile("drawn" if config.getoption("--all") else "same")


def pytest_addoption(parser):
    parser.addoption("--all", action="store_true", help="also the tests marked slow or matrix")
    parser.addoption("--shuffle", metavar="SEED", help="files, and the tests in each, in an order drawn with this seed")


def pytest_collection_modifyitems(config, items):
    if (seed := config.getoption("--shuffle")) is not None:
        drawn = random.Random(seed)
        files = {path: drawn.random() for path in dict.fromkeys(item.path for item in items)}
        items.sort(key=lambda item: (files[item.path], drawn.random()))
    for item in items:
        if "running" in getattr(item, "fixturenames", ()):
            item.add_marker("browser")
    if config.getoption("--all") or config.option.markexpr or any("::" in str(word) for word in config.args):
        return
    repeats = [item for item in items if item.get_closest_marker("slow") or item.get_closest_marker("matrix")]
    config.hook.pytest_deselected(items=repeats)
    items[:] = [item for item in items if item not in set(repeats)]


def pytest_collection_finish(session):
    """Ultralytics collects garbage in each training: it need not go through all that was imported, each time anew."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def shared() -> Path:
    """The sample data beside the checkout; the test is skipped where there is none."""
    if not SHARED.is_dir():
        pytest.skip("no shared sample data beside this checkout")
    return SHARED


@pytest.fixture(scope="module")
def running():
    """Headless Chromium; the tests are skipped where none is installed and the variable CHROMIUM names none."""
    import chromium

    if chromium.executable() is None:
        pytest.skip("no Chromium here (Debian: apt-get install chromium)")
    with chromium.browser() as browser:
        yield browser


@pytest.fixture(autouse=True)
def log_stream():
    """Ultralytics logs to the stdout that it was imported under: that of a test that captures it is closed by now."""
    for handler in logging.getLogger("ultralytics").handlers:
        if isinstance(handler, logging.StreamHandler) and handler.stream.closed:
            handler.stream = sys.stdout  # `setStream` would flush the closed one


@pytest.fixture
def unpatched():
    """Nothing is patched or counted before the test, and nothing is patched after it."""
    import yolo_nanfix
    from yolo_nanfix.patching import tally

    yolo_nanfix.unpatch()
    tally.clear()
    yield
    yolo_nanfix.unpatch()
