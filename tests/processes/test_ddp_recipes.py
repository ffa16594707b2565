"""Two processes over gloo: both follow the recipe, agree on a plateau, and train what was frozen before."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from releases import ROOT
from surroundings import LIMIT

HERE = Path(__file__).parent
RUN = """
import json, pathlib, sys
import yolo_nanfix
yolo_nanfix.patch()
import cpu_ddp, lab
from make_datasets import make_dataset
from scheduled import MICRO, PLAIN, fitted, found
from yolo_nanfix.finetune import schedule
data = make_dataset(pathlib.Path("set").resolve(), n_train=8, n_val=2, size=(32, 32), seed=1)
here = pathlib.Path.cwd()
add, settled = fitted(found(sys.argv[1], here), epochs=4)
with schedule.applied(settled, {}, lambda fact: None):
    settings = {"model": MICRO, "imgsz": 32, "epochs": 4, **PLAIN, **add, "optimizer": "AdamW"}
    result = lab.train(data, here / "run", trainer=cpu_ddp.CpuDdpTrainer, **settings)
if result.error: raise result.error
"""


@pytest.mark.slow
@pytest.mark.parametrize("until", ["0.5", "{plateau: 1}"])
def test_both_ranks_unfreeze_in_the_same_epoch_and_stay_equal(until, tmp_path):
    paths = [str(p) for p in (HERE.parent, HERE.parent / "finetune", ROOT / "scripts", ROOT)]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "DDP_REPORT": str(tmp_path), "OMP_NUM_THREADS": "1"}
    text = f"freeze:\n- {{layers: backbone, until: {until}}}\nlearning_rate: {{backbone: 0.1}}\nema: {{tau: 50}}"
    command = [sys.executable, "-c", RUN, text]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=LIMIT)
    assert done.returncode == 0, done.stderr[-3000:]
    ranks = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1)]
    assert ranks[0]["sum"] == ranks[1]["sum"] and ranks[0]["updates"] == ranks[1]["updates"]
    held = json.loads((tmp_path / "run" / "yolo-nanfix-recipe.json").read_text())
    assert [(fact["epoch"], len(fact["frozen"])) for fact in held["happened"]] == [(1, 4), (3, 0)]
    assert held["fitness"].keys() == {"0", "1", "2", "3"}
    saved = torch.load(tmp_path / "run" / "weights" / "last.pt", map_location="cpu", weights_only=False)["optimizer"]
    steps = {int(state["step"]) for state in saved["state"].values()}
    assert len(saved["state"]) == 31 and steps == {4, 8}  # those of the backbone in two of four epochs
