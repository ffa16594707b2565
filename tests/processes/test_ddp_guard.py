"""Two processes over gloo: a fault on one rank alone costs one micro-batch, and nobody waits for ever."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from marks import matrix
from releases import ROOT
from surroundings import LIMIT

HERE = Path(__file__).parent
RUN = """
import json, pathlib, sys
import yolo_nanfix
yolo_nanfix.patch(*json.loads(sys.argv[3]), guard=json.loads(sys.argv[1]))
import cpu_ddp, lab
from make_datasets import make_dataset
data = make_dataset(pathlib.Path("set").resolve(), n_train=16, n_val=4, size=(64, 64), seed=1)
settings = {"trainer": cpu_ddp.CpuDdpTrainer, "epochs": 2, **json.loads(sys.argv[2])}
result = lab.train(data, pathlib.Path("run").resolve(), **settings)
if result.error: raise result.error
"""


def start(folder, fault="", guard=True, patches=(), **arguments):
    """One run, ended."""
    paths = [str(p) for p in (HERE.parent, ROOT / "scripts", ROOT)]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "DDP_REPORT": str(folder), "OMP_NUM_THREADS": "1"}
    env |= {"DDP_FAULT": fault} if fault else {}
    command = [sys.executable, "-c", RUN, json.dumps(guard), json.dumps(arguments), json.dumps(patches)]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=LIMIT)


def train(folder, fault="", guard=True, patches=(), **arguments):
    """What each rank reports, and what `yolo-nanfix.json` holds."""
    done = start(folder, fault, guard, patches, **arguments)
    assert done.returncode == 0, done.stderr[-3000:]
    ranks = [json.loads((folder / f"{rank}.json").read_text()) for rank in (0, 1)]
    report = folder / "run" / "yolo-nanfix.json"
    return ranks, json.loads(report.read_text()) if report.exists() else None


def test_healthy_steps_are_stock_s_without_a_collective_of_ours(tmp_path):
    (tmp_path / "stock").mkdir()
    (tmp_path / "ours").mkdir()
    stock, _ = train(tmp_path / "stock", guard=False, epochs=1)
    ours, report = train(tmp_path / "ours", epochs=1)
    assert [rank["sum"] for rank in ours] == [rank["sum"] for rank in stock]
    assert [rank["gathered"] for rank in ours] == [0, 0]
    for rank in ours:
        assert {"box-iou-half-precision", "mask-area-zero", "rect-validation"} <= set(rank["patches"])
    assert report["healthy"] and report["guard"]["micro_batches"] == 4 and report["guard"]["events"] == []


@pytest.mark.parametrize(("fault", "nbs"), [("1:2:settings", 4), *matrix(("1:2:pixel", 16), ("0:1:backward", 4))])
def test_a_fault_on_one_rank_drops_the_same_micro_batch_on_both(fault, nbs, tmp_path):
    rank, number, kind = fault.split(":")
    ranks, report = train(tmp_path, fault, nbs=nbs)
    assert ranks[0]["sum"] == ranks[1]["sum"] and ranks[0]["finite"] and ranks[1]["finite"]
    assert ranks[0]["updates"] == ranks[1]["updates"] and [r["gathered"] for r in ranks] == [2, 2]
    assert report["healthy"] and report["guard"]["dropped_micro_batches"] == 1
    (event,) = report["guard"]["events"]
    assert [part["rank"] for part in event["ranks"]] == [int(rank)] and event["batch"] == int(number) + 1
    assert event["incident"].endswith(f"-rank{rank}.safetensors")
    (part,) = event["ranks"]
    assert (part["rank"], part["incident"]) == (int(rank), event["incident"])
    assert (tmp_path / "run" / "incidents" / event["incident"]).is_file()
    (verdict,) = report["guard"]["verdicts"]
    if kind == "pixel":
        assert len([s["file"] for s in event["sources"] if s["suspect"]]) == 1
        assert verdict["cause"] == "definition" and verdict["images"] == []  # the file is clean, the code is not
    elif kind == "settings":
        assert event["checks"] == ["settings"]
        assert part["values"]["group"] == 1 and (part["values"]["name"], part["values"]["value"]) == (
            "weight_decay",
            "nan",
        )
        assert (verdict["cause"], verdict["tensor"]) == ("setting", "optimizer.groups.1.weight_decay")
    else:
        assert event["checks"] == ["gradient"] and verdict["cause"] == "definition" and "cpu_ddp.py" in verdict["code"]


@pytest.mark.slow
def test_faults_on_both_ranks_in_one_step_are_one_event(tmp_path):
    ranks, report = train(tmp_path, "0:1:pixel;1:1:backward")
    assert ranks[0]["sum"] == ranks[1]["sum"] and ranks[0]["finite"] and [r["gathered"] for r in ranks] == [2, 2]
    assert report["guard"]["dropped_micro_batches"] == 1 and report["ranks"] == {"processes": 2, "lost": []}
    (event,) = report["guard"]["events"]
    assert [(p["rank"], p["checks"], p["cause"], len(p["images"])) for p in event["ranks"]] == [
        (0, ["loss", "batchnorm", "pixels", "outputs"], "definition", 1),
        (1, ["gradient"], "definition", 0),  # its own loss was finite: a replay told
    ]
    files = {path.name for path in (tmp_path / "run" / "incidents").iterdir()}
    assert {part["incident"] for part in event["ranks"]} == files and len(files) == 2


def test_a_run_that_loses_a_rank_ends_with_its_name_and_leaves_no_process(tmp_path):
    done = start(tmp_path, "0:5:kill", epochs=3)  # it would have written the report
    assert done.returncode == 1 and "yolo-nanfix: the run ends: rank 0 (process " in done.stderr
    report = json.loads((tmp_path / "run" / "yolo-nanfix.json").read_text())
    assert (report["outcome"], report["state"]) == ("stopped", "failed")
    (lost,) = report["ranks"]["lost"]
    assert (lost["rank"], lost["how"]) == (0, "gone")
    assert lost["epoch"] in (1, 2)  # as of its last sign of life, which is a second old
    assert report["reasons"][0].startswith("rank 0 (process ") and "last.pt" in report["reasons"][0]
    for rank in (0, 1):
        pid = json.loads((tmp_path / f"{rank}.json").read_text())["pid"]
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


@pytest.mark.slow
def test_the_same_fault_ruins_both_in_stock(tmp_path):
    ranks, _ = train(tmp_path, "1:2:pixel", guard=False, patches=["torchvision-operators-missing"], epochs=1)
    assert not ranks[0]["finite"] and not ranks[1]["finite"]
