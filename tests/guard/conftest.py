"""What holds for every test of the guard."""

from __future__ import annotations

import pytest

from yolo_nanfix.guard import incident_writer


@pytest.fixture(scope="session", autouse=True)
def patient():
    """A diagnosis in the run may take long: on a loaded machine ten step times may end before the first replay."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(incident_writer, "STEP_TIMES", 1000)
        yield
