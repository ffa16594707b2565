"""The same patch set in DDP workers, in spawned dataloader workers, and under `yolo-nanfix run`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import lab
import pytest
from make_datasets import make_dataset
from marks import matrix
from releases import ROOT, run

import yolo_nanfix
from yolo_nanfix.hook import VARIABLE, environment

pytestmark = pytest.mark.usefixtures("unpatched")
HERE = Path(__file__).parent
DDP = f"""
import json, os, pathlib, sys
sys.path.insert(0, {str(ROOT / "scripts")!r})
os.environ["PYTHONPATH"] = os.pathsep.join([{str(ROOT / "scripts")!r}, os.environ["PYTHONPATH"]])
os.environ["DDP_REPORT"] = os.getcwd()
import yolo_nanfix
from yolo_nanfix import upstream
names = [p.name for p in yolo_nanfix.patch(min_area_px=0.5).patches if p.state == "on"]
import cpu_ddp, lab
from make_datasets import make_dataset
data = make_dataset(pathlib.Path("set").resolve(), n_train=8, n_val=4, size=(64, 64), seed=1)
result = lab.train(data, pathlib.Path("run").resolve(), trainer=cpu_ddp.CpuDdpTrainer, epochs=1)
if result.error: raise result.error
ranks = [json.loads(pathlib.Path(f"{{rank}}.json").read_text()) for rank in (0, 1)]
print(json.dumps([upstream.version(), names, *ranks]))
"""


@pytest.mark.parametrize("release", matrix("8.3.253", "8.4.190"))
def test_both_ddp_workers_train_under_the_patches_of_the_process_that_starts_them(release):
    version, names, first, second = json.loads(run(release, DDP).splitlines()[-1])
    assert version == release
    assert set(first["patches"]) == set(second["patches"]) == set(names)
    assert {"box-iou-half-precision", "mask-area-zero", "rect-validation"} <= set(names)
    assert first["patches"]["mask-area-zero"] == second["patches"]["mask-area-zero"] == {"min_area_px": 0.5}
    assert first["finite"] and first["sum"] == second["sum"]


def test_without_our_worker_the_processes_that_train_are_stock():
    code = DDP.replace("patch(min_area_px=0.5)", 'patch(min_area_px=0.5, disable=["ddp-workers-unpatched"])')
    _, names, first, second = json.loads(run("8.4.190", code).splitlines()[-1])
    assert "mask-area-zero" in names
    assert set(first["patches"]) == set(second["patches"]) <= {"torchvision-operators-missing"}


SPAWN = """
import json, multiprocessing
from torch.utils.data import DataLoader
import yolo_nanfix

class Answers:
    '''A dataset whose items say what is patched in the process that reads them.'''
    def __len__(self): return 1
    def __getitem__(self, index):
        from ultralytics.utils import loss, metrics
        from yolo_nanfix.patching.stack import Patched
        on = {p.name: dict(p.params) for p in yolo_nanfix.status().patches if p.state == "on"}
        return json.dumps([on, isinstance(loss.bbox_iou, Patched), multiprocessing.current_process().name])

def look(worker_init_fn):
    loader = DataLoader(Answers(), num_workers=1, multiprocessing_context="spawn", worker_init_fn=worker_init_fn)
    return json.loads(next(iter(loader))[0])

if __name__ == "__main__":
    yolo_nanfix.patch("box-iou-half-precision", "mask-area-zero", "spawn-workers-unpatched", min_area_px=0.5)
    from ultralytics.data import build
    patched = look(build.seed_worker)
    yolo_nanfix.unpatch("spawn-workers-unpatched")
    print(json.dumps([patched, look(build.seed_worker)]))
"""


def test_a_spawned_dataloader_worker_puts_the_patch_set_that_its_parent_has(tmp_path):
    script = tmp_path / "spawn.py"
    script.write_text(SPAWN)
    settings = {**os.environ, "YOLO_AUTOINSTALL": "false"}
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, env=settings, check=True)
    with_card, without = json.loads(done.stdout.splitlines()[-1])
    assert with_card[2] != "MainProcess"
    assert with_card[1] and with_card[0]["mask-area-zero"] == {"min_area_px": 0.5}
    assert with_card[0].keys() == {"box-iou-half-precision", "mask-area-zero", "spawn-workers-unpatched"}
    assert without[0] == {} and not without[1]


def nanfix(*words: str, **settings) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "yolo_nanfix", *words]
    return subprocess.run(command, capture_output=True, text=True, **settings)


LOOK = (
    "import json, sys, yolo_nanfix; assert 'torch' not in sys.modules; import ultralytics;"
    "s = yolo_nanfix.status(); print(json.dumps([[p.name for p in s.patches if p.state == 'on'], bool(s.guard)]))"
)


@pytest.mark.parametrize(
    "options", [(), pytest.param(("--no-guard", "--disable", "mask-area-zero"), marks=pytest.mark.slow)]
)
def test_run_brings_a_command_under_patches(options):
    done = nanfix("run", *options, "--", sys.executable, "-c", LOOK)
    names, guarded = json.loads(done.stdout.splitlines()[-1])
    assert done.returncode == 0, done.stderr
    assert guarded == (not options)
    assert ("mask-area-zero" in names) == (not options)
    assert "box-iou-half-precision" in names


def test_run_reaches_the_children_of_the_command():
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {LOOK!r}], check=True)"
    done = nanfix("run", "--", sys.executable, "-c", child)
    assert done.returncode == 0 and "box-iou-half-precision" in done.stdout


@pytest.mark.slow
def test_run_under_an_old_release_that_imports_torchvision_at_once():
    code = f"""
import subprocess, sys
done = subprocess.run([sys.executable, "-m", "yolo_nanfix", "run", "--", sys.executable, "-c", {LOOK!r}],
                      capture_output=True, text=True)
print(done.stdout.strip() or done.stderr)
"""
    names, _ = json.loads(run("8.0.186", code).splitlines()[-1])
    assert {"torchvision-operators-missing", "compat-numpy-trapz", "compat-torch-load"} <= set(names)


def test_run_passes_the_exit_code_on_and_leaves_other_programs_alone():
    look = "import sys; sys.exit(7 if 'torch' not in sys.modules and 'ultralytics' not in sys.modules else 1)"
    assert nanfix("run", "--", sys.executable, "-c", look).returncode == 7


def test_the_environment_s_own_sitecustomize_still_runs(tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import builtins; builtins.theirs = 5")
    env = environment({}, {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"})
    code = "import sys; print(theirs, any('yolo_nanfix' in type(f).__module__ for f in sys.meta_path))"
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["5", "True"]


def test_a_python_without_yolo_nanfix_is_told(tmp_path):
    env = environment({}, {"PATH": os.environ["PATH"]})
    command = [sys.executable, "-S", "-c", "import sitecustomize"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0 and "nothing is patched there" in done.stderr


def test_a_bad_setting_stops_the_command_before_it_trains(tmp_path):
    (tmp_path / "nanfix.yaml").write_text("rekt: off\n")
    done = nanfix("run", "--", sys.executable, "-c", "import ultralytics; print('went on')", cwd=tmp_path)
    assert done.returncode == 2 and "did you mean 'rect'" in done.stderr and "went on" not in done.stdout


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "no command given"),
        (("--", "no-such-command-here"), "cannot be started: No such file"),
        (("--disable", "mask-area", "--", "true"), "did you mean 'mask-area-zero'"),
    ],
)
def test_wrong_use_of_run(words, says):
    done = nanfix("run", *words)
    assert done.returncode == 2 and says in done.stderr
    assert VARIABLE not in os.environ


def test_patch_in_this_process_does_not_reach_unrelated_children():
    yolo_nanfix.patch()
    assert VARIABLE not in os.environ and "_site" not in os.environ.get("PYTHONPATH", "")


TUNE = """
import json, os, pathlib, sys
HERE = pathlib.Path(sys.argv[1])
sys.path.insert(0, str(HERE.parent))
import lab, yolo_nanfix
from make_datasets import make_dataset
data = make_dataset(pathlib.Path("set").resolve(), n_train=4, n_val=2, size=(64, 64), seed=1)
import ultralytics.engine.model
from ultralytics.engine import tuner
stock = tuner.Tuner.__dict__["__call__"]
yolo_nanfix.patch(min_area_px=0.5, max_bad_in_a_row=7, disable=json.loads(sys.argv[2]))
os.environ["PATH"] = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])  # where `yolo` is
before = [os.environ.get(name) for name in ("NANFIX_STATE", "PYTHONPATH")]
from ultralytics import YOLO
settings = {"imgsz": 32, "batch": 4, "epochs": 1, "device": "cpu", "workers": 0, "plots": False, "val": True}
YOLO(lab.TINY, task="detect").tune(data=str(data), iterations=1, project=str(pathlib.Path.cwd()), name="t", **settings)
same = [os.environ.get(name) for name in ("NANFIX_STATE", "PYTHONPATH")] == before
yolo_nanfix.unpatch()
reports = [json.loads(path.read_text()) for path in pathlib.Path.cwd().rglob("yolo-nanfix.json")]
told = [[r["patches"]["mask-area-zero"]["state"], r["guard"]["settings"]["max_bad_in_a_row"]] for r in reports]
print(json.dumps([told, same, tuner.Tuner.__dict__["__call__"] is stock]))
"""


@pytest.mark.parametrize("release", [*matrix("8.1.47"), "8.4.190"])
def test_the_trials_of_tune_have_the_patches_and_the_guard_of_the_process_that_tunes(release):
    told, same_environment, same_method = json.loads(run(release, TUNE, str(HERE), "[]").splitlines()[-1])
    assert told == [["on", 7]]
    assert same_environment and same_method


def test_every_one_of_several_datasets_is_trained_on_under_the_guard(tmp_path):
    sets = [tmp_path / name for name in ("one", "two")]
    data = [str(make_dataset(path, n_train=4, n_val=2, size=(64, 64), seed=1)) for path in sets]
    with yolo_nanfix.patched():
        assert lab.train(data, tmp_path / "runs", epochs=1, imgsz=32).error is None
    reports = {path.parent.name: json.loads(path.read_text()) for path in tmp_path.rglob("yolo-nanfix.json")}
    assert set(reports) == {"one", "two"} and all(r["guard"]["micro_batches"] == 1 for r in reports.values())


@pytest.mark.slow
def test_without_the_card_the_trials_are_stock():
    told, *same = json.loads(run("8.4.190", TUNE, str(HERE), '["tune-children-unpatched"]').splitlines()[-1])
    assert told == [] and same == [True, True]
