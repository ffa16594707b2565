"""SIGKILL during training with a NaN image, and resume: every checkpoint stays readable, finite and trained."""

from __future__ import annotations

import io

import kill_test
import pytest
import torch


@pytest.mark.slow
def test_no_kill_leaves_a_bad_checkpoint(tmp_path):
    tally = kill_test.campaign("guarded", kills=2, jobs=1, epochs=2, seed=3)
    assert tally.defects == [] and tally.failed == []
    assert tally.kills == 2 and tally.finished >= 1 and tally.looked_at >= 3


def saved(**changes) -> bytes:
    model = torch.nn.Linear(4, 4)
    state = {"ema": model, "optimizer": {"state": {0: {"exp_avg": torch.ones(3)}}}}
    file = io.BytesIO()
    for name, value in changes.items():
        (model.weight.data if name == "weight" else state["optimizer"]["state"][0]["exp_avg"])[:] = value
    if "weight" in changes:
        model.bias.data[:] = 0
    torch.save(state, file)
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (saved(), None),
        (saved()[:-200], "unreadable"),
        (saved(weight=float("nan")), "not finite"),
        (saved(optimizer=float("inf")), "not finite"),
        (saved(weight=0.0), "zeroed"),
    ],
    ids=["good", "torn", "nan weight", "inf in the optimizer", "zeros"],
)
def test_the_check_sees_what_it_must(content, says, tmp_path):
    path = tmp_path / "last.pt"
    path.write_bytes(content)
    found = kill_test.defect(path)
    assert found == says if says is None else found.startswith(says)
