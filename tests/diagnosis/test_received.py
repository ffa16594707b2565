"""Incidents from anybody are data: nothing in them runs, none asks for more than there is, damage is seen."""

from __future__ import annotations

import copy
import json
import os
import random
import sys
import time
import warnings
from pathlib import Path

import fuzz_incidents
import pytest
import torch
from marks import matrix
from safetensors import safe_open
from safetensors.torch import save_file

import yolo_nanfix
from yolo_nanfix import files
from yolo_nanfix.cli.main import main
from yolo_nanfix.diagnosis import bisect, incident_checks, label_lines, model_yaml, rebuild
from yolo_nanfix.diagnosis.allowance import Allowance, TooLarge
from yolo_nanfix.errors import DataError
from yolo_nanfix.guard.incident_writer import _definition
from yolo_nanfix.incident import Incident, NotReadable, load_incident


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A small incident, and the folder in which no marker may appear."""
    with yolo_nanfix.patched("torchvision-operators-missing", guard=False):
        yield fuzz_incidents.base()


@pytest.fixture(autouse=True)
def importable():
    """Ultralytics can be imported, and says nothing."""
    with yolo_nanfix.patched("torchvision-operators-missing", guard=False), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def changed(incident, change):
    facts = copy.deepcopy(dict(incident.facts))
    change(facts)
    return Incident(facts, incident.tensors)


def of_yaml(change):
    return lambda facts: change(facts["model"]["yaml"])


def hostile(folder):
    """By name, changes of the facts by which a builder that evaluates them would write the marker."""
    texts = fuzz_incidents.harmless(folder)
    first = texts[0]
    found = {f"activation {i}": of_yaml(lambda y, t=t: y.update(activation=t)) for i, t in enumerate(texts)}
    found |= {
        "layer": of_yaml(lambda y: y["backbone"][1].__setitem__(2, first)),
        "layer of nn": of_yaml(lambda y: y["backbone"][1].__setitem__(2, f"nn.{first}")),
        "layer of torchvision": of_yaml(lambda y: y["backbone"][1].__setitem__(2, f"torchvision.ops.{first}")),
        "argument": of_yaml(lambda y: y["backbone"][1][3].append(first)),
        "argument in a list": of_yaml(lambda y: y["backbone"][1][3].append([first])),
        "argument of the head": of_yaml(lambda y: y["head"][0][3].append(first)),
        "from": of_yaml(lambda y: y["backbone"][1].__setitem__(0, first)),
        "repeats": of_yaml(lambda y: y["backbone"][1].__setitem__(1, first)),
        "classes": of_yaml(lambda y: y.update(nc=first)),
        "scale": of_yaml(lambda y: y.update(scale=first, scales={first: [1, 1, 1]})),
        "width": of_yaml(lambda y: y.update(width_multiple=first)),
        "keypoints": of_yaml(lambda y: y.update(kpt_shape=first)),
        "model with weights": of_yaml(lambda y: y.update(activation="TorchVision('resnet18')")),
        "whole yaml": lambda f: f["model"].update(yaml=first),
        "class": lambda f: f["model"].update({"class": first}),
        "class of a module": lambda f: f["model"].update({"class": f"ultralytics.nn.tasks:{first}"}),
        "model as a layer": of_yaml(lambda y: y["backbone"].__setitem__(1, [-1, 1, "DetectionModel", [{"nc": 2}]])),
    }  # fmt: skip
    return found


def test_nothing_that_an_incident_says_is_run(whole, tmp_path, capsys):
    marker, path = tmp_path / fuzz_incidents.MARKER, tmp_path / "a.safetensors"
    for name, change in hostile(tmp_path).items():
        changed(whole, change).save(path)
        assert main(["diagnose", str(path)]) == 2, name
        said = capsys.readouterr().err.splitlines()[-1]
        assert said.startswith(f"yolo-nanfix: error: {path}") and not marker.exists(), name
        if "class" not in name:
            assert " is not a readable incident: " in said, name


def test_no_activation_fetches_a_model(whole, monkeypatch):
    monkeypatch.setattr("torch.hub.load_state_dict_from_url", lambda *args, **kwargs: pytest.fail("it was fetched"))
    for text in ("TorchVision('resnet18')", "TorchVision(model='resnet18', weights=None)"):
        with pytest.raises(NotReadable, match="activation"):
            rebuild.build_model(changed(whole, of_yaml(lambda y, t=text: y.update(activation=t))))


def test_the_markers_would_be_written_by_a_builder_that_evaluates(tmp_path):
    """Upstream's, given a yaml of one's own: what the test above keeps away from it."""
    from ultralytics.nn.tasks import DetectionModel

    yaml = {**copy.deepcopy(fuzz_incidents.YAML), "activation": fuzz_incidents.harmless(tmp_path)[1]}
    DetectionModel(yaml, verbose=False)
    assert (tmp_path / fuzz_incidents.MARKER).exists()


TOO_MUCH = {
    "loops": [-1, 1, "SPPF", [8, 5, 60_000]],
    "weights": [-1, 1, "nn.Embedding", [60_000, 60_000]],
    "upsampling": [-1, 1, "nn.Upsample", ["None", 60_000, "nearest"]],
    "size": [-1, 1, "nn.Upsample", [[60_000, 60_000]]],
    "padding": [-1, 1, "nn.ZeroPad2d", [[65_000] * 4]],
    "repeats": [-1, 256, "C2f", [64, True]],
    "memory": [-1, 1, "nn.LSTM", [8, 40_000]],
    "download": [-1, 1, "TorchVision", [8, "fasterrcnn_resnet50_fpn", "DEFAULT"]],
    "no layer": [-1, 1, "AutoBackend", ["a.pt"]],
    "later layer": [2, 1, "Conv", [8, 3, 2]],
    "a variable of the builder": [-1, 1, "nn.Linear", ["layers", 2]],
    "endless number": [-1, 1, "Conv", [10**30, 3, 2]],
}


def test_no_layer_takes_more_than_the_weights_account_for(whole):
    for name, row in TOO_MUCH.items():
        began = time.process_time()
        odd = changed(whole, of_yaml(lambda y, row=row: y["backbone"].__setitem__(1, copy.deepcopy(row))))
        with pytest.raises(NotReadable):
            rebuild.build_model(odd)
        assert time.process_time() - began < 20, name


def test_an_operation_with_a_huge_result_is_refused_before_it_runs():
    with Allowance(), pytest.raises(TooLarge, match=r"upsample_nearest2d would take [\d.e+]+ GiB"):
        torch.nn.functional.interpolate(torch.zeros(1, 1, 8, 8), scale_factor=300_000.0)
    with Allowance(), pytest.raises(TooLarge, match="mul would take"):
        torch.zeros(2_000_000, 1) * torch.zeros(1, 2_000_000)
    with Allowance():
        assert torch.equal(torch.ones(3, 1) * torch.ones(1, 3), torch.ones(3, 3))


FAMILIES = (
    ("v8/yoloe-v8-seg.yaml", "YOLOESegModel"),
    ("v8/yolov8-rtdetr.yaml", "RTDETRDetectionModel"),
    ("11/yolo11-cls-resnet18.yaml", "ClassificationModel"),
    ("26/yolo26-pose.yaml", "PoseModel"),
    *matrix(
        ("v5/yolov5.yaml", "DetectionModel"),
        ("v8/yolov8-worldv2.yaml", "WorldModel"),
        ("26/yolo26-sem.yaml", "SemanticSegmentationModel"),
        ("26/yolo26-depth.yaml", "DepthModel"),
    ),
)


@pytest.mark.parametrize(("file", "name"), FAMILIES)
def test_upstreams_own_yamls_are_built_as_before(file, name):
    from ultralytics.nn import tasks

    cls = getattr(tasks, name)
    yaml = tasks.yaml_model_load(Path(tasks.__file__).parents[1] / "cfg" / "models" / file)
    yaml["scale"] = next(iter(yaml.get("scales", "n")))
    said = copy.deepcopy(yaml)
    for row in yaml["backbone"]:
        if row[2] == "TorchVision":
            row[3][2] = None  # weights from the internet; an incident brings its own
    model = cls(yaml, ch=3, verbose=False)
    facts = json.loads(
        json.dumps({"model": {**_definition(model), "yaml": {**model.yaml, "backbone": said["backbone"]}}})
    )
    again = rebuild.build_model(Incident(facts, {f"model.{k}": v for k, v in model.state_dict().items()}))
    mine, theirs = model.state_dict(), again.state_dict()
    assert list(mine) == list(theirs) and all(torch.equal(mine[k], theirs[k]) for k in mine)
    assert str(model) == str(again) and model.save == again.save
    assert torch.equal(torch.as_tensor(model.stride), torch.as_tensor(again.stride))


def test_activations_and_words_that_are_data_pass(whole):
    for text in (
        "nn.SiLU()",
        "torch.nn.LeakyReLU(0.1)",
        "nn.Hardtanh(min_val=-1.0, max_val=2)",
        "nn.Identity()",
        " nn.GELU() ",
    ):
        yaml = {**whole.facts["model"]["yaml"], "activation": text}
        assert model_yaml.checked({"yaml": yaml, "nc": 2}).yaml["activation"] == text
    rows = model_yaml.checked({"yaml": whole.facts["model"]["yaml"], "nc": 2}).yaml
    assert rows["backbone"][2] == [-1, 1, "nn.Upsample", [None, 2, "nearest"]] and rows["head"][0][3] == ["nc"]


def test_the_default_activation_of_this_process_stays(whole):
    from ultralytics.nn.modules.conv import Conv

    usual = Conv.default_act
    rebuild.build_model(whole)
    assert Conv.default_act is usual
    with pytest.raises(NotReadable):
        rebuild.build_model(changed(whole, of_yaml(lambda y: y["backbone"].__setitem__(1, [-1, 1, "Conv", ["a"]]))))
    assert Conv.default_act is usual


def test_only_the_numbers_of_the_loss_are_set(whole):
    def odd(facts):
        facts["criterion"] = {"no": 7, "forward": 1, "hyp": 2, "new": 3, "__class__": 4}
        facts["attributes"] = {"model.3": {"nc": 99, "reg_max": 99}, "criterion": {"no": 8}}

    model = rebuild.build_model(incident := changed(whole, odd))
    rebuild.restore_criterion(model, incident.facts)
    held = vars(model.criterion)
    assert held["no"] == 7 and not {"forward", "new", "__class__"} & held.keys() and held["hyp"] is model.args
    from yolo_nanfix.diagnosis.replay import Replay

    replay = Replay(incident, None, None, ())
    replay.run()
    assert replay.model.model[-1].nc == 2 and replay.model.criterion.no == 8


def test_no_other_module_is_imported_for_the_class(whole):
    for module in ("ultralytics.solutions.heatmap", "ultralytics.utils.benchmarks", "antigravity"):
        with pytest.raises(DataError):
            rebuild.build_model(changed(whole, lambda f, m=module: f["model"].update({"class": f"{m}:X"})))
        assert module not in sys.modules


def test_damage_is_seen_and_a_whole_file_comes_back_bit_for_bit(whole, tmp_path):
    path = tmp_path / "a.safetensors"
    whole.save(path)
    again = load_incident(path)
    assert again.facts == json.loads(json.dumps({"format": 1, **whole.facts}))
    assert again.tensors.keys() == whole.tensors.keys()
    same = [torch.equal(whole.tensors[k].nan_to_num(7), v.nan_to_num(7)) for k, v in again.tensors.items()]
    assert all(same)
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    rng = random.Random(5)
    for _ in range(40):
        spoilt = bytearray(data)
        spoilt[rng.randrange(start, len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(bytes(spoilt))
        with pytest.raises(NotReadable, match="damaged"):
            load_incident(path)
    with safe_open(tmp_path / "a.safetensors", framework="pt") as stream:
        facts = stream.metadata()["yolo-nanfix"]
    save_file({k: v.contiguous() for k, v in whole.tensors.items()}, path, metadata={"yolo-nanfix": facts})
    assert load_incident(path).facts == again.facts  # of a version without the checksum


def test_label_files_are_read_within_bounds_and_devices_not_at_all(tmp_path, monkeypatch):
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    image, label = str(tmp_path / "images" / "a.jpg"), tmp_path / "labels" / "a.txt"
    label.write_text("0 0.5 0.5 0.1 0.1\n0 nan 0.5 0.1 0.1\n")
    assert label_lines._Parents().first_suspect([image]) == label_lines.Origin(f"{label}:2", image)
    parents = label_lines._Parents()
    with monkeypatch.context() as only_once:
        parents.first_suspect([image])
        only_once.setattr(label_lines, "_read_bounded", None)
        assert parents.first_suspect([image, image]) == label_lines.Origin(f"{label}:2", image)
    monkeypatch.setattr(label_lines, "MOST_BYTES", 31)
    assert label_lines._Parents().first_suspect([image]) is None  # a line that is cut is no suspect line
    label.unlink()
    os.mkfifo(label)
    odd = ["/dev/images/zero.jpg", "\0", "//host/share/images/a.jpg", "", ".", "..", "/", "images/", "\ud800"]
    assert label_lines._Parents().first_suspect([image, *odd]) is None


def test_what_is_asked_grows_with_what_an_incident_holds_and_no_faster():
    count = 50_000
    batch = {"batch_idx": torch.zeros(count), "cls": torch.zeros(count, 1), "bboxes": torch.rand(count, 4)}
    sources = [{"labels": {"file": "/a.txt", "rows": ["0 0.5 0.5 nan 0.1"] * 2000}}]
    began = time.process_time()
    assert label_lines.origins(batch, range(count), sources) == (label_lines.Origin("/a.txt", ""),)
    assert time.process_time() - began < 10
    with Allowance(held=1000), pytest.raises(TooLarge, match="zeros would make 134217728 values, far more"):
        torch.zeros(1 << 27)
    with Allowance(held=1 << 24):
        assert torch.zeros(1 << 27).shape == (1 << 27,)


def test_images_are_asked_about_so_often_and_no_more():
    batch = {"img": torch.arange(4096.0).reshape(-1, 1, 1, 1)}
    asked = []

    def fails(part):
        asked.append(len(part["img"]))
        return bool((part["img"] % 3 == 1).any())

    guilt = bisect.bisect(batch, (), (), fails)
    assert not guilt.images and guilt.said == "128 replays were made before every image was asked"
    assert len(asked) == bisect.ASKED


def test_headers_that_would_fill_the_memory_are_not_parsed(whole, tmp_path, monkeypatch):
    path = tmp_path / "a.safetensors"
    whole.save(path)
    assert load_incident(path)
    for name, most in (("HEADER_BYTES", 1000), ("HEADER_TEXTS", 100)):
        with monkeypatch.context() as smaller:
            smaller.setattr(files, name, most)
            with pytest.raises(NotReadable, match="its header"):
                load_incident(path)
    path.write_bytes((1 << 62).to_bytes(8, "little") + b"{}")
    with pytest.raises(NotReadable, match="its header claims"):
        load_incident(path)


def test_forged_and_damaged_incidents_end_in_a_verdict_or_a_clear_error(tmp_path, monkeypatch):
    """A few of each kind; `scripts/fuzz_incidents.py` makes as many as one likes."""
    monkeypatch.chdir(tmp_path)
    slowest, refused, judged = 0.0, 0, 0
    for number, path in enumerate(fuzz_incidents.cases(tmp_path, random.Random(3), 27, each=True)):
        began = time.process_time()
        try:
            assert isinstance(yolo_nanfix.diagnose(path).summary, str)
            judged += 1
        except DataError as error:
            refused += 1
            assert str(path) in str(error), number
            assert len(str(error)) < 2000, number
        slowest = max(slowest, time.process_time() - began)
    assert not (tmp_path / fuzz_incidents.MARKER).exists() and list(tmp_path.iterdir()) == [path]
    assert refused > 8 and judged > 2 and slowest < 20


def test_the_patches_of_the_run_but_those_that_load_checkpoints(whole, tmp_path):
    path = tmp_path / "a.safetensors"
    changed(whole, lambda f: f.update(patches=["compat-torch-load", "focal-loss-edge"])).save(path)
    with incident_checks.received(path) as incident:
        assert incident_checks.replayed_patches(incident) == ("focal-loss-edge",)
    changed(whole, lambda f: f.update(patches=["no-such-patch"])).save(path)
    with pytest.raises(DataError, match=r"a\.safetensors: .*no-such-patch"):
        yolo_nanfix.diagnose(path)
