"""The torchvision patch, each case in a process of its own, since imports of torchvision cannot be undone."""

from __future__ import annotations

import os
import tempfile

import pytest
import warm_python
from surroundings import LIMIT


def python(code):
    strict = "import warnings; warnings.simplefilter('error')\n"
    return warm_python.run(strict + code, (), os.environ, tempfile.gettempdir(), timeout=LIMIT)


@pytest.fixture(scope="module")
def broken():
    """What stock says where the installed torchvision does not fit the installed torch; empty where it does."""
    stock = python("import torchvision; from torchvision.extension import _has_ops; assert _has_ops()")
    return stock.stderr if stock.returncode else ""


def test_stock_torchvision_does_not_import_and_under_the_patch_its_nms_runs_until_it_is_taken_away(broken):
    if not broken:
        pytest.skip("the installed torchvision fits the installed torch")
    assert "torchvision::nms does not exist" in broken
    ours = python(
        "import torch, yolo_nanfix as n; name = 'torchvision-operators-missing'; n.patch(name); n.unpatch()\n"
        "b = torch.tensor([[0., 0, 10, 10], [0, 0, 10, 9], [20, 20, 30, 30]])\n"
        "s = torch.tensor([.5, .9, .3])\n"
        "def works():\n"
        "    import torchvision\n"
        "    print(torchvision.ops.nms(b, s, .5).tolist())\n"
        "    print(torchvision.ops.batched_nms(b, s, torch.tensor([0, 1, 1]), .5).tolist())\n"
        "    return torchvision\n"
        "try:\n"
        "    works()\n"
        "except RuntimeError:\n"
        "    n.patch(name)\n"
        "    torchvision = works()\n"
        "torchvision.ops.roi_align(torch.zeros(1, 1, 4, 4), torch.zeros(1, 5), 2)\n"
    )
    assert ours.stdout.splitlines()[-2:] == ["[1, 2]", "[1, 0, 2]"], ours.stderr
    assert (ours.stdout + ours.stderr).count("registers nms in pure torch") == 1
    assert ours.returncode != 0 and "roi_align" in ours.stderr  # other operators stay missing, and say so


def test_patch_leaves_the_import_of_torchvision_to_whoever_needs_it(broken):
    code = (
        "import sys, yolo_nanfix; told = yolo_nanfix.patch(); print('torchvision' in sys.modules);"
        "print({p.name: p for p in told.patches}['torchvision-operators-missing'].reason);"
        "import torchvision; b = __import__('torch').tensor([[0., 0, 9, 9]]);"
        "print(torchvision.ops.nms(b, b[:, 3], .5).tolist());"
        "print({p.name: p for p in yolo_nanfix.status().patches}['torchvision-operators-missing'].state);"
        "yolo_nanfix.unpatch(); print([f for f in sys.meta_path if 'yolo_nanfix' in type(f).__module__])"
    )
    ours = python(code)
    lines = ours.stdout.splitlines()
    assert "False" in lines, ours.stderr
    assert "acts when torchvision is imported, if its operators cannot load" in lines
    assert lines[-3:] == ["[0]", "on" if broken else "not-needed", "[]"]


def test_never_active_where_torchvision_works():
    """A stand-in package whose operators are there: the patch leaves it alone."""
    code = (
        "import sys, types; tv = types.ModuleType('torchvision'); ext = types.ModuleType('torchvision.extension');"
        "tv.__path__ = []; ext._has_ops = lambda: True; tv.extension = ext; tv.__version__ = '1';"
        "sys.modules.update({'torchvision': tv, 'torchvision.extension': ext});"
        "from yolo_nanfix.patching import engine; engine.apply(['torchvision-operators-missing']);"
        "s = {p.name: p for p in engine.states()}['torchvision-operators-missing']; print(s.state, s.reason)"
    )
    ours = python(code)
    assert ours.stdout.splitlines()[-1:] == ["not-needed torchvision works"], ours.stderr
