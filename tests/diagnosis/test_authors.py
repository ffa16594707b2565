"""Whose text a line is: an edited copy of Ultralytics is the user's, wherever it lies; the rest of it is upstream's."""

from __future__ import annotations

import importlib.util
import inspect
import shutil
import sys
import zipfile
import zipimport
from pathlib import Path

import pytest
import torch
from torch import nn

from yolo_nanfix import upstream
from yolo_nanfix.diagnosis import places
from yolo_nanfix.diagnosis.examine import examine
from yolo_nanfix.incident import Incident
from yolo_nanfix.verdicts import Cause

OWN = "\n\ndef own_ratio(x):\n    return x / (x - x)\n"


@pytest.fixture
def stock():
    """The file of Ultralytics' losses, as it is installed, and a line of a function that no card knows."""
    from ultralytics.utils import loss

    return Path(loss.__file__), inspect.getsourcelines(loss.KeypointLoss)[1] + 3


def line_of(text, words):
    return text[: text.index(words)].count("\n") + 1


@pytest.fixture(params=("site-packages", "current folder", "archive"))
def fork(request, stock, tmp_path):
    """A copy of that file with a function of the user's own, in each layout: its name, its loader, its text."""
    text = stock[0].read_text() + OWN
    folder = tmp_path / ("site-packages" if request.param == "site-packages" else "site") / "ultralytics" / "utils"
    folder.mkdir(parents=True)
    (folder / "loss.py").write_text(text)
    if request.param != "archive":
        return str(folder / "loss.py"), None, text
    packed = tmp_path / "packed.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        archive.write(folder / "loss.py", "ultralytics/utils/loss.py")
    return str(packed / "ultralytics/utils/loss.py"), zipimport.zipimporter(str(packed)), text


def test_the_installed_text_is_the_release_s_also_in_a_copy(stock, tmp_path):
    file, line = stock
    copy = tmp_path / "vendor" / "ultralytics" / "utils" / "loss.py"
    copy.parent.mkdir(parents=True)
    shutil.copy(file, copy)
    assert places.text_of_release(str(file), line) and places.text_of_release(str(copy), line)
    assert not places.text_of_release(str(copy.rename(tmp_path / "loss.py")), line)


def test_in_an_edited_file_only_what_was_edited_is_the_user_s(fork, stock):
    file, loader, text = fork
    assert not places.text_of_release(file, line_of(text, "return x / (x - x)"), loader)
    assert places.text_of_release(file, stock[1], loader)


def test_without_a_record_the_fingerprints_of_the_cards_tell(fork, stock, monkeypatch):
    """As an editable install: what no card knows cannot be told from the user's."""
    monkeypatch.setattr(upstream, "recorded", dict)
    places.text_of_release.cache_clear()
    file, loader, text = fork
    known = line_of(text, "def single_mask_loss") + 1
    assert places.text_of_release(file, known, loader)
    assert not places.text_of_release(file, line_of(text, "return x / (x - x)"), loader)
    assert not places.text_of_release(file, stock[1], loader)
    places.text_of_release.cache_clear()


class Net(nn.Module):
    """A model whose loss is a function of one convolution's output."""

    def __init__(self, function):
        super().__init__()
        self.conv, self.function = nn.Conv2d(3, 4, 3), function

    def forward(self, batch):
        loss = self.function(self.conv(batch["img"])).sum()
        return loss, {"loss": loss.detach()}


def verdict_of(function):
    torch.manual_seed(0)
    model = Net(function)
    tensors = {f"model.{k}": v.clone() for k, v in model.state_dict().items()}
    return examine(Incident({}, {"batch.img": torch.rand(2, 3, 8, 8), **tensors}), model)


def test_a_function_edited_into_a_copy_is_a_definition_and_no_image_is_blamed(stock, tmp_path, monkeypatch):
    text = stock[0].read_text() + OWN
    file = tmp_path / "ultralytics" / "utils" / "loss.py"
    file.parent.mkdir(parents=True)
    file.write_text(text)
    spec = importlib.util.spec_from_file_location("ultralytics.utils.loss_of_a_fork", file)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    monkeypatch.chdir(tmp_path)
    verdict = verdict_of(module.own_ratio)
    line = line_of(text, "return x / (x - x)")
    assert (verdict.cause, verdict.op, verdict.code) == (
        Cause.DEFINITION,
        "aten.div",
        f"ultralytics/utils/loss.py:{line}",
    )
    assert verdict.images == () and "not that of the release" in verdict.evidence["numerics"]


def test_the_release_s_own_function_is_numerics():
    from ultralytics.utils.tal import dist2bbox

    def function(x):
        return dist2bbox(x.flatten()[:4] * 0 + 3e38, torch.full((2,), 3e38), dim=0)

    verdict = verdict_of(function)
    assert (verdict.cause, verdict.code.partition(":")[0]) == (Cause.NUMERICS, "ultralytics/utils/tal.py")


def test_a_function_that_a_notebook_or_exec_made_is_the_user_s():
    made: dict[str, object] = {"__name__": "__main__"}
    exec(compile("def ratio(x):\n    return x / (x - x)\n", "<ipython-input-3-0a>", "exec"), made)  # noqa: S102 - as a notebook does
    verdict = verdict_of(made["ratio"])
    assert (verdict.cause, verdict.code) == (Cause.DEFINITION, "<ipython-input-3-0a>:2")
