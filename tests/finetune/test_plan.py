"""A whole plan: what is shown of the advices, `plan.yaml`, the page, and what cannot be planned."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import releases
import yaml
from finetune.direct_count import direct
from finetune.plan_cases import REAL, case
from linting.tiny_set import TinySet, encode, picture
from make_datasets import make_dataset
from pages import reading

import yolo_nanfix
from yolo_nanfix.cli.main import main
from yolo_nanfix.errors import DataError, UsageError
from yolo_nanfix.finetune import planner
from yolo_nanfix.finetune.machine import Machine, look
from yolo_nanfix.plans import Plan, Reason, Strength
from yolo_nanfix.report.html import plan_page


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("plan") / "set", n_train=20, n_val=6, seed=0)


@pytest.fixture(scope="module")
def made(data: Path) -> Plan:
    return yolo_nanfix.plan(data, cache=False, device="cpu", epochs=20)


def test_a_plan_of_a_small_set(made: Plan, data: Path):
    found = {advice.setting: advice for advice in made.advices}
    assert found["lr0"].value == 0.0004 and found["optimizer"].value == "AdamW"  # 0.002 * sqrt(20 / 500)
    assert (found["warmup_epochs"].value, found["close_mosaic"].value) == (2.0, 2)
    assert found["val images"].because.figures["images"] == 6 and found["val images"].arguments == {}
    assert "epochs" not in found and made.given == {"device": "cpu", "epochs": 20}
    assert {one.setting for one in made.undecided} >= {"freeze", "batch", "nbs"}
    assert made.arguments["lr0"] == 0.0004 and made.arguments["epochs"] == 20
    assert (made.task, made.data, made.machine["gpu"]) == ("detect", str(data), "")
    assert made.figures["splits"]["train"]["images"] == 20


def test_the_strongest_come_first_and_ten_are_shown(monkeypatch, made: Plan):
    ranks = [(not a.changes, list(Strength).index(a.strength)) for a in made.advices]
    assert ranks == sorted(ranks) and len(made.advices) <= planner.MOST
    everything = case(
        "detect", images=13, val=3, names=("left", "right"), most=(400, 3), sides=(0.001,), longer=900, fill=0.5,
        epochs=20, model="yolov8n.yaml", gpu=Machine(8, "NVIDIA GeForce GTX 1660", 6.0),
    )  # fmt: skip
    advices, _ = planner.ask(everything)
    assert len(advices) > planner.MOST == len(planner.strongest(advices))
    out = set(map(id, advices)) - set(map(id, planner.strongest(advices)))
    assert all(not advice.changes or advice.strength is Strength.RULE for advice in advices if id(advice) in out)
    assert everything.advised["optimizer"] == "AdamW" and everything.steps == 20


def test_given_arguments_are_kept_and_not_advised_on(data: Path):
    given: dict[str, Any] = {"imgsz": 320, "lr0": 0.003, "nbs": 64, "device": "cpu", "close_mosaic": 0}
    made = yolo_nanfix.plan(data, **given)
    settings = {advice.setting for advice in made.advices} | {one.setting for one in made.undecided}
    assert not settings & set(given)
    assert {key: made.arguments[key] for key in given} == given
    named = next(advice for advice in made.advices if advice.setting == "optimizer")
    assert named.because.reason is Reason.LR0_IGNORED and named.because.figures["lr0"] is True


def test_plan_yaml_is_what_ultralytics_takes_and_holds_ours_as_a_comment(made: Plan, data: Path):
    from ultralytics.cfg import get_cfg

    text = planner.text(made)
    values = yaml.safe_load(text)
    wanted = {"data": str(data), "model": "yolo26n.pt", **made.arguments}
    assert wanted.pop("device") == "cpu" and values == wanted
    read = get_cfg(overrides=values)
    assert (read.lr0, read.optimizer, read.nbs, read.epochs) == (0.0004, "AdamW", 64, 20)
    own = block_of(text)
    assert own == {"recipe": "stock", "version": 1, "data": dict(made.fingerprint)}
    assert own["data"]["images"] == {"train": 20, "val": 6}


def block_of(text: str) -> Any:
    """The block of comments, found as PEP 723 finds its own."""
    (content,) = re.findall(r"(?m)^# /// yolo-nanfix$\s((?:^#(?:| .*)$\s)+)^# ///$", text)
    return yaml.safe_load("".join(f"{line.removeprefix('#').removeprefix(' ')}\n" for line in content.splitlines()))


NAMES = ["a\n# ///\nepochs: 1", "left: [", "\u2028", "\x85# ///", "#", "", "ä", "x" * 3000, "- a", "{}"]


def test_odd_names_neither_end_the_block_nor_become_arguments(made: Plan):
    hostile = replace(made, fingerprint={**made.fingerprint, "names": NAMES}, data="/a b/#c: 'd'\n.yaml")
    text = planner.text(hostile)
    assert block_of(text)["data"]["names"] == NAMES
    values = yaml.safe_load(text)
    assert values["data"] == "/a b/#c: 'd'\n.yaml" and values["epochs"] == 20


def test_ultralytics_trains_with_the_file(data: Path, tmp_path: Path):
    import lab

    file = tmp_path / "plan.yaml"
    yolo_nanfix.plan(data, output=file, epochs=1, imgsz=64, device="cpu", batch=4, model=lab.TINY)
    values = yaml.safe_load(file.read_text())
    own = {"cfg": str(file), "project": str(tmp_path), "name": "run", "plots": False, "workers": 0, "pretrained": False}
    seen: dict[str, Any] = {}

    def starts(trainer: Any) -> None:
        seen.update(vars(trainer.args), class_of=type(trainer.optimizer).__name__)

    with lab.bare(), lab.said():
        from ultralytics import YOLO

        model = YOLO(lab.TINY)
        model.add_callback("on_train_start", starts)
        model.train(**own)
    assert seen["class_of"] == values["optimizer"] == "AdamW" and seen["lr0"] == values["lr0"]
    keys = ("momentum", "warmup_bias_lr", "batch", "epochs")
    assert {key: seen[key] for key in keys} == {key: values[key] for key in keys}


def test_files_are_never_replaced_unasked(data: Path, tmp_path: Path):
    file, page = tmp_path / "plan.yaml", tmp_path / "plan.html"
    yolo_nanfix.plan(data, output=file, page=page, device="cpu")
    first = file.read_text()
    assert reading.read(page.read_text()).wrong == []
    for again in ({"output": file}, {"page": page}):
        with pytest.raises(UsageError, match="exists"):
            yolo_nanfix.plan(data, device="cpu", imgsz=320, **again)
    assert file.read_text() == first
    yolo_nanfix.plan(data, output=file, overwrite=True, device="cpu", imgsz=320)
    assert yaml.safe_load(file.read_text())["imgsz"] == 320
    assert sorted(path.name for path in tmp_path.iterdir()) == ["plan.html", "plan.yaml"]


@pytest.mark.parametrize(
    ("names", "says"),
    [
        ({"output": "plan.txt"}, "name a .yaml file"),
        ({"page": "plan.yaml"}, "name a .html file"),
        ({"output": "folder.yaml"}, "is a folder"),
        ({"output": "none/plan.yaml"}, "cannot be written"),
    ],
)
def test_files_that_cannot_be_written(names: dict, says: str, data: Path, tmp_path: Path):
    (tmp_path / "folder.yaml").mkdir()
    with pytest.raises(UsageError, match=says):
        yolo_nanfix.plan(data, device="cpu", **{key: tmp_path / name for key, name in names.items()})


def test_the_page_and_the_notebook_escape_what_the_dataset_says(tmp_path: Path):
    tiny = TinySet(tmp_path)
    tiny.yaml("train: images/train\nval: images/val\nnames: ['<script>alert(1)</script> left', right]\n")
    made = yolo_nanfix.plan(tmp_path / "data.yaml", cache=False, device="cpu")
    assert any(advice.because.reason is Reason.CLASSES_MIRRORED for advice in made.advices)
    page = plan_page.page(made, planner.text(made))
    found = reading.read(page)
    assert found.wrong == [] and "<script>alert(1)</script> left" in found.text
    for text in (page, made._repr_html_()):
        assert "<script>alert" not in text and "&lt;script&gt;alert(1)&lt;/script&gt; left" in text
    for advice in made.advices:
        assert advice.setting in found.text and advice.source.address in found.text


def test_json_has_every_figure(data: Path, capsys):
    assert main(["plan", str(data), "device=cpu", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["figures"]["splits"]["val"]["images"] == 6 and told["arguments"]["device"] == "cpu"
    assert Plan.from_dict(told).as_dict() == told
    for advice in told["advices"]:
        assert set(advice) == {
            "setting", "value", "default", "changes", "because", "source", "strength", "arguments",
        }  # fmt: skip
        assert advice["strength"] in [strength.value for strength in Strength]
        assert advice["because"]["figures"] and advice["because"]["reason"] in [reason.value for reason in Reason]


def test_the_text_has_each_advice_and_quiet_has_the_arguments(made: Plan, data: Path, capsys):
    words = ["plan", str(data), "device=cpu", "epochs=20"]
    assert main(words) == 0
    text = capsys.readouterr().out
    for one in (*made.advices, *made.undecided):
        assert one.setting in text and one.source.address in text
    assert f"yolo-nanfix plan {shlex.quote(str(data))} --trial MINUTES" in text
    assert main([*words, "--quiet"]) == 0
    said = capsys.readouterr().out.split()
    assert dict(word.split("=") for word in said)["lr0"] == "0.0004" and "device=cpu" in said


def wrong_sets(folder: Path) -> dict[str, Path]:
    """Datasets that cannot be planned for, by what is wrong."""
    TinySet(folder / "empty").rows("")
    TinySet(folder / "dropped").rows("7 0.5 0.5 0.1 0.1\n")
    for name in ("a", "b"):
        TinySet(folder / "two" / name)
    (folder / "images").mkdir()
    for number in range(3):
        (folder / "images" / f"{number}.jpg").write_bytes(encode(".jpg", picture(seed=number)))
    return {
        "missing": folder / "nowhere" / "data.yaml",
        "no label": folder / "empty" / "data.yaml",
        "images alone": folder / "images",
        "all dropped": folder / "dropped" / "data.yaml",
        "several": folder / "two",
    }


WRONG = {
    "missing": "nowhere",
    "no label": "no label",
    "images alone": "no dataset that Ultralytics trains on",
    "all dropped": "no train image",
    "several": "2 yaml files",
}


@pytest.mark.parametrize("what", WRONG)
def test_what_cannot_be_planned_is_one_error(what: str, tmp_path: Path, capsys):
    data = wrong_sets(tmp_path)[what]
    assert main(["plan", str(data), "device=cpu", "--no-cache", "-o", str(tmp_path / "plan.yaml")]) == 2
    error = capsys.readouterr().err
    assert WRONG[what] in error and error.count("yolo-nanfix: error:") == 1 and "Traceback" not in error
    assert not (tmp_path / "plan.yaml").exists()
    with pytest.raises(DataError):
        yolo_nanfix.plan(data, cache=False, device="cpu")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["imgs=640"], "unknown training argument 'imgs'; did you mean 'imgsz'"),
        (["epochs=many"], "epochs"),
        (["imgsz"], "key=value"),
        (["data=x.yaml"], "data is the first argument"),
        (["mode=val"], "mode cannot be given to plan"),
        (["resume=True"], "resume cannot be given to plan"),
        (["classes=[0]"], "classes cannot be given to plan"),
        (["task=guess"], "unknown task"),
        (["epochs=3", "epochs=4"], "given twice"),
        (["--output", "plan.txt"], "name a .yaml file"),
        (["--outptu", "x"], "did you mean --output"),
    ],
)
def test_wrong_use_is_one_error(words: list[str], says: str, data: Path, capsys):
    assert main(["plan", str(data), *words]) == 2
    assert says in capsys.readouterr().err


def test_one_val_image_is_said(tmp_path: Path):
    TinySet(tmp_path)
    made = yolo_nanfix.plan(tmp_path / "data.yaml", cache=False, device="cpu")
    (advice,) = [advice for advice in made.advices if advice.setting == "val images"]
    assert advice.because.reason is Reason.VAL_ONE and advice.because.figures["by_images"] == pytest.approx(
        0.4449, abs=1e-3
    )


def test_fatal_findings_are_said(tmp_path: Path, capsys):
    tiny = TinySet(tmp_path)
    tiny.yaml("path: /of/another/machine\ntrain: images/train\nval: images/val\nnames: [cat, dog]\n")
    report = yolo_nanfix.lint(tmp_path / "data.yaml", settings=False, cache=False)
    fatal = sum(finding.severity.value == "fatal" for finding in report.findings)
    assert main(["plan", str(tmp_path / "data.yaml"), "--no-cache", "device=cpu", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["fatal"] == fatal > 0


@pytest.mark.parametrize("task", ["segment", "pose", "obb"])
def test_the_other_tasks_name_their_task_and_model(task: str, tmp_path: Path):
    made = yolo_nanfix.plan(
        make_dataset(tmp_path / "set", n_train=4, n_val=2, seed=0, task=task), cache=False, device="cpu", task=task
    )
    assert made.task == task and made.arguments["task"] == task
    assert made.arguments["model"] == f"yolo26n-{task.replace('segment', 'seg')}.pt"


def test_class_folders(tmp_path: Path):
    for split in ("train", "val"):
        for name in ("cat", "dog"):
            for number in range(3):
                file = tmp_path / split / name / f"{number}.jpg"
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(encode(".jpg", picture(seed=number + 10 * len(split))))
    made = yolo_nanfix.plan(tmp_path, cache=False, device="cpu")
    assert made.task == "classify" and made.arguments["model"] == "yolo26n-cls.pt"
    assert not {"imgsz", "max_det", "rect", "close_mosaic"} & set(made.arguments)
    assert yaml.safe_load(planner.text(made))["data"] == str(tmp_path)


def test_the_machine(monkeypatch):
    import torch

    properties = type("P", (), {"name": "NVIDIA L4", "total_memory": 24 << 30})
    assert look("cpu").gpu == "" and look("cpu").cores >= 1 and look("mps").gpu == "mps"
    assert look(None).gpu == ("" if not torch.cuda.is_available() else torch.cuda.get_device_properties(0).name)
    asked: list[int] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda n: asked.append(n) or properties)
    for device in (None, 1, "cuda:1", "0,1", [1, 0], "7", -1):
        found = look(device)
        assert (found.gpu, found.gpu_memory) == ("NVIDIA L4", 24.0)
    assert asked == [0, 1, 1, 0, 1, 0, 0]


@pytest.mark.shared
@pytest.mark.parametrize("name", REAL)
def test_the_figures_of_advices_on_real_sets(name: str, shared: Path):
    """Those in the reasons of the advices are what a plain loop counts."""
    task, classes, splits = REAL[name]
    root = shared / "data" / name
    wanted = direct(root, splits, classes, task)
    train, val = wanted["splits"]["train"], wanted["splits"]["val"]
    made = yolo_nanfix.plan(root / "data.yaml", device="cpu")
    because = {one.setting: one.because for one in (*made.advices, *made.undecided)}
    assert because["task"].figures == {"task": task, "objects": train["objects"], "images": train["images"]}
    counted = because["val images"].figures
    assert (counted["images"], counted["objects"]) == (val["images"], val["objects"])
    assert (counted["distinct"], counted["shared"]) == (val["distinct"], wanted["shared"])
    if "imgsz" in because:
        small = sum(side * 640 < 8 for side in wanted["sides"])
        assert because["imgsz"].figures["share"] == small / len(wanted["sides"])
        assert because["imgsz"].figures["objects"] == len(wanted["sides"]) == train["objects"]
    most = max(train["most_objects"], val["most_objects"])
    assert ("max_det" in because) == (most > 300)
    if most > 300:
        assert because["max_det"].figures["most"] == most
    counts = [count for count in train["classes"] if count]
    assert ("cls_pw" in because) == (max(counts) / min(counts) >= 10 and classes > 1)
    if "cls_pw" in because:
        assert because["cls_pw"].figures == {
            "ratio": max(counts) / min(counts),
            "most": max(counts),
            "fewest": min(counts),
        }
    padding = 1 - sum(wanted["fill"]) / len(wanted["fill"])
    assert "rect" not in because or because["rect"].figures["padding"] == pytest.approx(padding)
    if "lr0" in because:
        fit = round(0.002 * 5 / (4 + classes), 6)
        assert because["lr0"].figures["fit"] == fit and because["lr0"].figures["images"] == train["images"]


OLD = """
import sys, yolo_nanfix
made = yolo_nanfix.plan(sys.argv[1], output=sys.argv[2], epochs=20, device="cpu")
print("SAID", made.model, *(advice.setting for advice in made.advices))
"""


@pytest.mark.matrix
@pytest.mark.parametrize(("release", "model"), [("8.0.136", "yolov8n.pt"), ("8.3.100", "yolo11n.pt")])
def test_older_releases(release: str, model: str, data: Path, tmp_path: Path):
    said = releases.run(release, OLD, str(data), str(tmp_path / "plan.yaml")).partition("SAID ")[2].split()
    assert said[0] == model and {"lr0", "optimizer", "warmup_epochs", "close_mosaic"} <= set(said)
    values = yaml.safe_load((tmp_path / "plan.yaml").read_text())
    assert (values["model"], values["warmup_epochs"]) == (model, 0.0)  # 100 batches at least, of 40
