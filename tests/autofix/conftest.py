"""Every test of fixing has a user data folder of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from linting.tiny_set import TinySet


@pytest.fixture(autouse=True)
def journals(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which journals are kept during the test."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("XDG_DATA_HOME", str(home))
    return home / "yolo-nanfix" / "fixes"


@pytest.fixture
def tiny(tmp_path: Path) -> TinySet:
    """A tiny healthy dataset in a folder `set`, so that a quarantine has room beside it."""
    return TinySet(tmp_path / "set")
