"""A kill while the checkpoint of a finished run is stripped: stock's file is torn, ours is the old or the new one."""

from __future__ import annotations

import json
import logging
import os
import signal
import stat
from pathlib import Path

import pytest
import torch
import ultralytics.engine.trainer as trainer_module
import warm_python
from marks import matrix
from releases import run
from surroundings import LIMIT
from torch import nn
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils import torch_utils

import yolo_nanfix
from yolo_nanfix.patching.fixes.checkpoint_files import FIXES, FOLDER

pytestmark = pytest.mark.usefixtures("unpatched")
NAME = "checkpoint-strip-torn"


@pytest.fixture(scope="module")
def content(tmp_path_factory) -> bytes:
    """A checkpoint as a run leaves it before it is stripped: EMA, optimizer, training arguments."""
    torch.manual_seed(0)
    model = DetectionModel("yolov8n.yaml", nc=1, verbose=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    saved = {"epoch": 1, "best_fitness": 0.5, "model": None, "ema": model.half(), "updates": 7}
    file = tmp_path_factory.mktemp("saved") / "last.pt"
    torch.save({**saved, "optimizer": optimizer.state_dict(), "train_args": {"imgsz": 64}}, file)
    return file.read_bytes()


KILL = """
import os, signal, sys, time
import torch, yolo_nanfix
from ultralytics.utils.torch_utils import strip_optimizer
from yolo_nanfix.patching.fixes import checkpoint_files as fix

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)  # not one instruction more

class Cut:
    '''A file that the power fails on: after half a megabyte the process is no more.'''
    def __init__(self, path):
        self.stream, self.written = open(path, "wb"), 0
    def write(self, data):
        self.written += self.stream.write(data)
        self.stream.flush()
        if self.written > 500_000:
            die()
        return len(data)
    def flush(self):
        self.stream.flush()

file, how, moment = sys.argv[1:]
if how == "ours":
    yolo_nanfix.patch("checkpoint-strip-torn")
    from ultralytics.utils.torch_utils import strip_optimizer
save = torch.save
if moment == "writing":
    torch.save = lambda obj, path, *args, **kwargs: save(obj, Cut(path), *args, **kwargs)
elif moment == "before the rename":
    fix._replace = die
elif moment == "after the rename":
    replace = fix._replace
    fix._replace = lambda target, fresh: die(replace(target, fresh))
strip_optimizer(file)
"""


def killed(file: Path, how: str, moment: str) -> None:
    done = warm_python.run(KILL, (str(file), how, moment), os.environ, str(file.parents[1]), LIMIT)
    assert done.returncode == -signal.SIGKILL, done.stderr


def test_stock_leaves_a_torn_file(content, tmp_path):
    file = tmp_path / "last.pt"
    file.write_bytes(content)
    killed(file, "stock", "writing")
    with pytest.raises(RuntimeError, match="PytorchStreamReader"):
        torch.load(file, weights_only=False)


@pytest.mark.parametrize(
    ("moment", "old"), [("writing", True), ("before the rename", True), ("after the rename", False)]
)
def test_ours_leaves_the_old_or_the_new_file_and_the_next_strip_tidies_up(moment, old, content, tmp_path):
    file = tmp_path / "last.pt"
    file.write_bytes(content)
    killed(file, "ours", moment)
    assert (file.read_bytes() == content) is old and len(list(tmp_path.glob(f".{FOLDER}.*.tmp"))) == 1
    assert torch.load(file, weights_only=False)["epoch"] == (1 if old else -1)
    with yolo_nanfix.patched(NAME, guard=False):
        torch_utils.strip_optimizer(file)
    assert torch.load(file, weights_only=False)["epoch"] == -1 and list(tmp_path.iterdir()) == [file]


def tensors(saved) -> dict[str, torch.Tensor]:
    return saved["model"].state_dict()


def same(a, b) -> bool:
    """Two stripped checkpoints, their dates aside."""
    x, y = tensors(a), tensors(b)
    plain = [{k: v for k, v in c.items() if k not in ("date", "model")} for c in (a, b)]
    return plain[0] == plain[1] and x.keys() == y.keys() and all(torch.equal(x[k], y[k]) for k in x)


def test_without_a_kill_file_and_result_are_stock_s(content, tmp_path):
    results, files = [], []
    for how in ("stock", "ours"):
        (tmp_path / how).mkdir()
        files.append(tmp_path / how / "best.pt")
        files[-1].write_bytes(content)
        files[-1].chmod(0o640)
        with yolo_nanfix.patched(*([NAME] if how == "ours" else ["torchvision-operators-missing"]), guard=False):
            results.append(trainer_module.strip_optimizer(files[-1], updates={"train_results": {"epoch": [1]}}))
        assert list((tmp_path / how).iterdir()) == [files[-1]]
    loaded = [torch.load(file, weights_only=False) for file in files]
    assert same(*results) and same(*loaded) and loaded[1]["train_results"] == {"epoch": [1]}
    assert all(t.dtype == torch.float16 for t in tensors(loaded[1]).values() if t.is_floating_point())
    assert stat.S_IMODE(files[1].stat().st_mode) == 0o640


def test_the_log_says_what_stock_says(content, tmp_path, monkeypatch):
    file, said = tmp_path / "last.pt", []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())
    monkeypatch.setattr(torch_utils.LOGGER, "handlers", [handler])
    for how in (NAME, "torchvision-operators-missing"):
        file.write_bytes(content)
        with yolo_nanfix.patched(how, guard=False):
            said.clear()
            torch_utils.strip_optimizer(file)
        assert [line for line in said if "strip" in line] == [f"Optimizer stripped from {file}, {size(file)}MB"]
    assert not torch_utils.LOGGER.filters


def size(file: Path) -> str:
    return f"{file.stat().st_size / 1e6:.1f}"


def test_a_file_named_by_the_caller_and_a_link_are_written_where_they_point(content, tmp_path):
    file, other, link = tmp_path / "last.pt", tmp_path / "other.pt", tmp_path / "link.pt"
    file.write_bytes(content)
    link.symlink_to(file)
    with yolo_nanfix.patched(NAME, guard=False):
        torch_utils.strip_optimizer(file, str(other))
        assert file.read_bytes() == content and torch.load(other, weights_only=False)["epoch"] == -1
        torch_utils.strip_optimizer(f=str(link))
    assert link.is_symlink() and torch.load(file, weights_only=False)["epoch"] == -1


def test_what_is_no_checkpoint_stays_as_it_is(tmp_path):
    file = tmp_path / "last.pt"
    file.write_bytes(b"not a checkpoint")
    with yolo_nanfix.patched(NAME, guard=False):
        assert torch_utils.strip_optimizer(file) == {}
    assert file.read_bytes() == b"not a checkpoint" and list(tmp_path.iterdir()) == [file]


def test_the_probe_passes_on_stock_and_finds_a_function_that_strips_nothing():
    stock = torch_utils.strip_optimizer
    probe = FIXES["checkpoint-strip-torn"].probe
    assert probe(stock, stock) is None
    assert "differs" in probe(stock, lambda f: torch.save({"model": nn.Linear(2, 2), "epoch": 3}, f))


OLD = """
import json, pathlib, torch, yolo_nanfix
with yolo_nanfix.patched(guard=False):
    from ultralytics.engine import trainer
    file = pathlib.Path("last.pt")
    torch.save({"epoch": 1, "model": torch.nn.Linear(2, 2), "ema": None, "optimizer": {"a": 1}, "train_args": {}}, file)
    node = file.stat().st_ino
    trainer.strip_optimizer(file)
    saved = torch.load(file, weights_only=False)
    names = [path.name for path in file.parent.iterdir()]
    print(json.dumps([saved["epoch"], saved["optimizer"], file.stat().st_ino != node, names]))
"""


@pytest.mark.parametrize("release", matrix("8.0.136", "8.3.0"))
def test_older_releases_strip_in_one_step_too(release):
    epoch, optimizer, replaced, names = json.loads(run(release, OLD).splitlines()[-1])
    assert (epoch, optimizer, replaced) == (-1, None, True) and names == ["last.pt"]
