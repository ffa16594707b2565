"""Models set up by Ultralytics' trainers, one of each in a session."""

from __future__ import annotations

import warnings

import injections
import pytest

import yolo_nanfix


@pytest.fixture(scope="session")
def _benches(tmp_path_factory):
    return {}, tmp_path_factory.mktemp("benches")


@pytest.fixture
def bench(_benches, unpatched):
    """`bench(name)`: the model `name` with its batches, stock but for what it needs to train here."""
    built, folder = _benches
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yolo_nanfix.patch("torchvision-operators-missing", guard=False)

        def get(name: str) -> injections.Bench:
            if name not in built:
                built[name] = injections.Bench(folder, name)
            return built[name]

        yield get
