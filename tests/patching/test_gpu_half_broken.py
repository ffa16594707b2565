"""GPUs with broken float16, by name. There is no such hardware here, so the name that torch reports is made up."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
import torch
from releases import run
from ultralytics.utils import checks

import yolo_nanfix
from yolo_nanfix.patching import tally
from yolo_nanfix.patching.fixes.half_precision import broken_half

pytestmark = pytest.mark.usefixtures("unpatched")
NAME = "gpu-half-broken"
BROKEN = (
    "NVIDIA GeForce GTX 1660 SUPER",
    "NVIDIA GeForce GTX 1660 Ti with Max-Q Design",
    "GeForce GTX 1650",
    "NVIDIA GeForce GTX 1650Ti",
    "NVIDIA GeForce GTX 1630",
    "NVIDIA T400 4GB",
    "NVIDIA T550 Laptop GPU",
    "NVIDIA T600",
    "T1000 8GB",
    "Quadro T1000",
    "NVIDIA T1200 Laptop GPU",
    "Quadro T2000 with Max-Q Design",
    "Tesla K40m",
    "NVIDIA CMP 30HX",
)
SOUND = (
    "NVIDIA H200",
    "NVIDIA GeForce RTX 4060",
    "NVIDIA GeForce RTX 2060 SUPER",
    "NVIDIA GeForce GTX 1060 6GB",
    "NVIDIA GeForce GTX 1080 Ti",
    "Tesla T4",
    "NVIDIA T40 24GB",
    "Tesla K80",
    "Quadro RTX 4000",
    "NVIDIA RTX 2000 Ada Generation",
    "NVIDIA A100-SXM4-40GB",
    "AMD Instinct MI250X",
)


class OnCuda:
    """A model whose only parameter says that it is on a GPU."""

    def parameters(self):
        return iter([SimpleNamespace(device=torch.device("cuda", 0))])


@pytest.mark.parametrize("name", BROKEN)
def test_names_from_the_reports_are_known(name):
    reason = broken_half(name)
    assert reason is not None and "https://" in reason


@pytest.mark.parametrize("name", SOUND)
def test_other_names_are_not(name):
    assert broken_half(name) is None


@pytest.mark.parametrize("name", BROKEN)
def test_amp_is_off_on_a_broken_gpu(name, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device=None: name)
    from ultralytics.engine import trainer

    tally.clear()
    with yolo_nanfix.patched(NAME):
        assert trainer.check_amp(OnCuda()) is False
    assert tally.read() == {NAME: 1}


def test_a_sound_gpu_gets_the_answer_of_stock(monkeypatch):
    """Offline that is: checks skipped, AMP on."""
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device=None: "NVIDIA H200")
    stock = checks.check_amp(OnCuda())
    with yolo_nanfix.patched(NAME):
        assert checks.check_amp(OnCuda()) is stock is True


def test_the_cpu_is_not_asked_for_its_name():
    model = torch.nn.Conv2d(3, 1, 1)
    with yolo_nanfix.patched(NAME):
        assert checks.check_amp(model) is False


OLD = """
import json, torch, lab, yolo_nanfix
from types import SimpleNamespace
torch.cuda.get_device_name = lambda device=None: "NVIDIA GeForce GTX 1660 SUPER"
model = SimpleNamespace(parameters=lambda: iter([SimpleNamespace(device=torch.device("cuda", 0))]))
def offline(*args, **kwargs):
    raise ConnectionError

with lab.bare():
    from ultralytics.utils import checks, downloads
    downloads.safe_download = offline  # at once, in place of minutes of retries
    stock = checks.check_amp(model)
    with yolo_nanfix.patched("gpu-half-broken"):
        print("\\n" + json.dumps([stock, checks.check_amp(model)]))
"""


def test_a_release_without_a_list_leaves_amp_on_and_ours_turns_it_off():
    assert json.loads(run("8.3.29", OLD).splitlines()[-1]) == [True, False]
