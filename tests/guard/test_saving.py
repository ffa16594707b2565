"""Checkpoints are written whole or not at all, and whatever else is written while they are is as in stock."""

from __future__ import annotations

import io
import json
import resource
import threading
from pathlib import Path
from types import SimpleNamespace

import lab
import pytest
import torch
from make_datasets import make_dataset
from marks import matrix

import yolo_nanfix
from yolo_nanfix.guard.checkpoints import unreadable, whole


@pytest.fixture
def trainer(tmp_path):
    weights = tmp_path / "weights"
    weights.mkdir()
    for name in ("last.pt", "best.pt"):
        torch.save({"old": torch.ones(3)}, weights / name)
    return SimpleNamespace(wdir=weights, last=weights / "last.pt", best=weights / "best.pt")


def saved(path):
    return torch.load(path, weights_only=True)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def packed(size):
    buffer = io.BytesIO()
    torch.save({"new": torch.zeros(size)}, buffer)
    return buffer.getvalue()


WRITERS = {
    "bytes": lambda path, size=2: path.write_bytes(packed(size)),
    "torch": lambda path, size=2: torch.save({"new": torch.zeros(size)}, path),  # releases before 8.2 do so
    "text": lambda path, size=2: torch.save({"new": torch.zeros(size)}, f=str(path)),
}


@pytest.mark.parametrize("how", WRITERS)
def test_good_files_take_their_places(trainer, how):
    functions = Path.write_bytes, torch.save

    def write():
        WRITERS[how](trainer.last)
        assert "new" in saved(trainer.last) and names(trainer.wdir) == ["best.pt", "last.pt"]
        WRITERS[how](trainer.wdir / "epoch3.pt")
        return True

    inode = trainer.last.stat().st_ino
    trainer.last.chmod(0o640)
    assert whole(trainer, write) == (True, [])
    assert "new" in saved(trainer.last) and "old" in saved(trainer.best) and "new" in saved(trainer.wdir / "epoch3.pt")
    assert trainer.last.stat().st_ino != inode and trainer.last.stat().st_mode & 0o777 == 0o640
    assert names(trainer.wdir) == ["best.pt", "epoch3.pt", "last.pt"]
    assert (Path.write_bytes, torch.save) == functions


def test_a_torn_file_does_not_replace_a_good_one(trainer):
    _, torn = whole(trainer, lambda: trainer.last.write_bytes(packed(2000)[:900]))
    assert len(torn) == 1 and torn[0][0] == "last.pt"
    assert "old" in saved(trainer.last)


def test_a_damaged_record_is_found(trainer):
    torch.save({"w": torch.arange(5000.0)}, trainer.last)
    content = bytearray(trainer.last.read_bytes())
    content[len(content) // 2] ^= 0xFF
    trainer.last.write_bytes(bytes(content))
    assert "damaged" in unreadable(trainer.last)
    assert unreadable(trainer.best) is None


@pytest.mark.parametrize("how", ["bytes", *matrix("torch", "text")])
def test_an_error_while_writing_leaves_the_old_files(trainer, how):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises((OSError, RuntimeError)):
            whole(trainer, lambda: WRITERS[how](trainer.last, 50_000))
        with pytest.raises((OSError, RuntimeError)):  # in stock's way
            WRITERS[how](trainer.best, 50_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "old" in saved(trainer.last) and names(trainer.wdir) == ["best.pt", "last.pt"]
    assert unreadable(trainer.best)


def test_checkpoints_of_another_kind_are_not_judged(trainer):
    def write():
        trainer.last.write_bytes(b"weights of mine")
        torch.save({"e": 1}, trainer.best, _use_new_zipfile_serialization=False)

    assert whole(trainer, write) == (None, [])
    assert trainer.last.read_bytes() == b"weights of mine" and saved(trainer.best) == {"e": 1}


def test_a_link_stays_one(trainer, tmp_path):
    trainer.last.rename(tmp_path / "elsewhere.pt")
    trainer.last.symlink_to(tmp_path / "elsewhere.pt")
    assert whole(trainer, lambda: trainer.last.write_bytes(packed(2))) == (len(packed(2)), [])
    assert trainer.last.is_symlink() and "new" in saved(tmp_path / "elsewhere.pt")


def test_two_trainers_may_save_at_once(trainer):
    functions, inside, leave = (Path.write_bytes, torch.save), threading.Event(), threading.Event()

    def slow():
        inside.set()
        return leave.wait(10)

    first = threading.Thread(target=whole, args=(trainer, slow))
    first.start()
    assert inside.wait(10)
    inode = trainer.last.stat().st_ino
    trainer.last.write_bytes(packed(3))  # this thread does not save
    assert trainer.last.stat().st_ino == inode
    other = SimpleNamespace(wdir=trainer.wdir, last=trainer.wdir / "mine.pt", best=None)
    assert whole(other, lambda: torch.save({"new": torch.ones(1)}, other.last)) == (None, [])
    leave.set()
    first.join()
    assert "new" in saved(other.last) and (Path.write_bytes, torch.save) == functions


class Keeper(lab.trainer_class("detect")):
    """Writes files of its own beside the checkpoints, reads the earlier ones, and keeps two."""

    def save_model(self):
        saw = {p.name for p in self.wdir.iterdir()}
        before = torch.load(self.last, weights_only=False)["epoch"] if self.last.exists() else None
        written = super().save_model()
        now = torch.load(self.last, weights_only=False)["epoch"]
        lines = [*getattr(self, "lines", ()), f"{sorted(saw)} {before} {now} {self.best.exists()} {written}"]
        self.lines = lines
        (self.wdir / "meta.txt").write_text("\n".join(lines))
        torch.save({"a": self.epoch}, self.wdir / "old.pt", _use_new_zipfile_serialization=False)
        (self.wdir / "exports").mkdir(exist_ok=True)
        torch.save({"e": self.epoch}, self.wdir / "exports" / f"e{self.epoch}.pt")
        (self.wdir / f"keep{self.epoch}.pt").write_bytes(self.last.read_bytes())
        for old in sorted(self.wdir.glob("keep*.pt"))[:-2]:
            old.unlink()
        (self.wdir / "newest.pt").unlink(missing_ok=True)
        (self.wdir / "newest.pt").symlink_to(f"keep{self.epoch}.pt")
        return written


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("data") / "set", n_train=8, n_val=2, size=(64, 64), seed=1)


def test_own_ways_of_saving_are_as_in_stock(data, tmp_path, unpatched):
    runs = []
    for patches in (lab.bare(), yolo_nanfix.patched()):
        with patches:
            runs.append(lab.train(data, tmp_path / str(len(runs)), trainer=Keeper, epochs=4, save_period=2, val=False))
    assert [run.error for run in runs] == [None, None] and runs[0].losses == runs[1].losses
    trees = [
        {str(p.relative_to(folder)): "" if p.suffix == ".pt" else p.is_file() and p.read_text() for p in paths}
        for folder, paths in ((run.trainer.wdir, sorted(run.trainer.wdir.rglob("*"))) for run in runs)
    ]
    assert trees[0] == trees[1] and len(trees[0]) == 14
    assert runs[1].trainer.last.read_bytes()[:8] == runs[0].trainer.last.read_bytes()[:8]
    report = json.loads((runs[1].trainer.save_dir / "yolo-nanfix.json").read_text())
    assert report["state"] == "healthy" and not report["guard"]["events"]
