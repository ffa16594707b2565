"""Checkpoints are written whole or not at all."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from yolo_nanfix.guard.saving import FOLDER, unreadable, whole


@pytest.fixture
def trainer(tmp_path):
    weights = tmp_path / "weights"
    weights.mkdir()
    for name in ("last.pt", "best.pt"):
        torch.save({"old": torch.ones(3)}, weights / name)
    return SimpleNamespace(wdir=weights, last=weights / "last.pt", best=weights / "best.pt")


def saved(path):
    return torch.load(path, weights_only=True)


def test_good_files_take_their_places(trainer):
    def write():
        assert trainer.last.parent.name == FOLDER
        torch.save({"new": torch.zeros(2)}, trainer.last)
        torch.save({"new": torch.zeros(2)}, trainer.wdir / "epoch3.pt")
        return True

    assert whole(trainer, write) == (True, [])
    assert trainer.last.parent.name == "weights"
    assert "new" in saved(trainer.last) and "old" in saved(trainer.best) and "new" in saved(trainer.wdir / "epoch3.pt")
    assert sorted(p.name for p in trainer.wdir.iterdir()) == ["best.pt", "epoch3.pt", "last.pt"]


def test_a_torn_file_does_not_replace_a_good_one(trainer):
    def write():
        torch.save({"new": torch.zeros(2000)}, trainer.last)
        trainer.last.write_bytes(trainer.last.read_bytes()[:900])

    _, torn = whole(trainer, write)
    assert len(torn) == 1 and torn[0].startswith("last.pt: ")
    assert "old" in saved(trainer.last)


def test_a_damaged_record_is_found(trainer):
    torch.save({"w": torch.arange(5000.0)}, trainer.last)
    content = bytearray(trainer.last.read_bytes())
    content[len(content) // 2] ^= 0xFF
    trainer.last.write_bytes(bytes(content))
    assert "damaged" in unreadable(trainer.last)
    assert unreadable(trainer.best) is None


def test_an_error_while_writing_leaves_the_old_files(trainer):
    def write():
        trainer.last.write_bytes(b"half a file")
        raise OSError("No space left on device")

    with pytest.raises(OSError, match="No space"):
        whole(trainer, write)
    assert "old" in saved(trainer.last) and not (trainer.wdir / FOLDER).exists()
