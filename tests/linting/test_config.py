"""data.yaml is resolved as Ultralytics resolves it, and refused with one clear message otherwise."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from linting.tiny_set import YAML, TinySet

from yolo_nanfix.dataset.config import read_config
from yolo_nanfix.errors import DataError


@pytest.fixture
def tiny(tmp_path: Path) -> TinySet:
    return TinySet(tmp_path / "tiny")


@pytest.mark.parametrize(
    "text",
    [
        YAML,
        "path: {root}\n" + YAML,
        "path: {root}/images\ntrain: train\nval: val\nnames: [cat, dog]\n",
        "path: {root}/images\ntrain: ../images/train\nval: [val]\nnames: {{0: cat, 1: dog}}\n",
        "path: {root}\ntrain: ../images/train\nvalidation: images/val\nnames: {{'0': cat, '1': dog}}\n",
        "train: [images/train]\nval: [images/val]\nnames: [cat, dog]\nnc: '2'\n",
    ],
)
def test_the_forms_that_ultralytics_takes(tiny: TinySet, text: str):
    tiny.yaml(text.format(root=tiny.root))
    config = read_config(tiny.root / "data.yaml")
    assert config.splits == {"train": (tiny.root / "images/train",), "val": (tiny.root / "images/val",)}
    assert (config.names, config.nc, config.channels) == ({0: "cat", 1: "dog"}, 2, 3)


def test_agrees_with_ultralytics(tiny: TinySet):
    from ultralytics.data.utils import check_det_dataset

    tiny.yaml("path: " + str(tiny.root / "images") + "\ntrain: ../train\nval: val\nnc: 3\nchannels: 1\n")
    stock, ours = check_det_dataset(str(tiny.root / "data.yaml")), read_config(tiny.root)
    assert [str(p) for p in ours.splits["train"]] == [stock["train"]]
    assert (ours.names, ours.nc, ours.channels) == (stock["names"], stock["nc"], stock["channels"])


def test_a_folder_means_its_one_yaml(tiny: TinySet):
    assert read_config(tiny.root).yaml_file == tiny.root / "data.yaml"
    tiny.put("other.yaml", YAML)
    assert read_config(tiny.root).yaml_file == tiny.root / "data.yaml"
    (tiny.root / "data.yaml").rename(tiny.root / "another.yaml")
    with pytest.raises(DataError, match="2 yaml files"):
        read_config(tiny.root)
    tiny.put("tiny.yaml", YAML)
    assert read_config(tiny.root).yaml_file.name == "tiny.yaml"


def test_a_relative_path_is_looked_for_in_the_datasets_folder(tiny: TinySet, tmp_path: Path, monkeypatch):
    settings = tmp_path / "cfg/Ultralytics/settings.json"
    settings.parent.mkdir(parents=True)
    settings.write_text(json.dumps({"datasets_dir": str(tmp_path)}))
    monkeypatch.setenv("YOLO_CONFIG_DIR", str(tmp_path / "cfg"))
    tiny.yaml("path: tiny\n" + YAML)
    assert read_config(tiny.root).root == tiny.root


@pytest.mark.parametrize("name", ["coco8.yaml", "coco8"])
def test_a_name_that_ultralytics_ships(name: str, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("YOLO_CONFIG_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"coco8\.yaml.*lint never executes: download the data first"):
        read_config(name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train: [a\nval: b\n", r"data\.yaml is not valid YAML, line 2, column \d+"),
        ("- a\n- b\n", "must be a mapping .* but it is a list"),
        ("", "but it is empty"),
        ("names: 2024-13-45\n", "not valid YAML"),
        ("[" * 5000, "holds too much to be read, line 1, column 101"),
        ("? [a, b]\n: c\n", "key 'names' is missing|not valid YAML|missing"),
        ("val: images/val\nnames: [a]\n", "the key 'train' is missing"),
        ("train: images/train\nnames: [a]\n", "the key 'val' is missing"),
        (
            YAML.replace("names", "nmaes"),
            r"'names' is missing .*did you mean 'names' where .*data\.yaml:3 says 'nmaes'",
        ),
        (YAML.replace("[cat, dog]", "cat"), "'names' must be a list or mapping, not str"),
        (YAML.replace("[cat, dog]", "[]"), "at least one"),
        (YAML + "nc: many\n", r"data\.yaml:4: 'nc' must be a whole number, not 'many'"),
        (YAML + "nc: 1.5\n", "'nc' must be a whole number"),
        (YAML + "nc: .inf\n", "'nc' must be a whole number"),
        ("train: images/train\nval: images/val\nnc: 0\n", "at least one"),
        (YAML + "channels: three\n", "'channels' must be a whole number"),
        (
            YAML.replace("images/val", "images/nowhere"),
            r"data\.yaml:2: 'val' names 'images/nowhere', but .* does not exist",
        ),
        (YAML.replace("images/val", "7"), "'val' must be a text or list, not int"),
        (YAML.replace("images/val", "[7]"), "must list paths as text"),
        (YAML.replace("images/train", "C:\\data\\x\\cows"), "a path of another machine.*--root DIR"),
        (YAML.replace("images/train", "''"), "'train' is empty"),
        (YAML.replace("images/train", "labels/train"), "holds no images"),
        (YAML.replace("images/val", "labels/val"), "'val' names .* holds no images"),
    ],
)
def test_what_cannot_be_used_is_refused(tiny: TinySet, text: str, message: str):
    from yolo_nanfix.linting.runner import run

    tiny.yaml(text)
    with pytest.raises(DataError, match=message) as caught:
        run(tiny.root / "data.yaml")
    assert "data.yaml" in str(caught.value)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("s3://bucket/set/data.yaml", r"is an address; copy the dataset to this machine first \(.*fsspec"),
        ("set.tar.gz", r"is an archive; unpack it \(tar -xf"),
        ("x" * 5000, "cannot be read|does not exist"),
    ],
)
def test_what_to_do_instead(data: str, message: str, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=message):
        read_config(data)


def test_a_folder_that_is_called_like_an_archive_is_a_folder(tmp_path: Path):
    assert read_config(TinySet(tmp_path / "cats.zip").root).nc == 2


@pytest.mark.parametrize("data", ["nowhere.yaml", "nowhere", "http://example.org/a.yaml", "a.zip", "\0", "", "a/b"])
def test_data_that_is_not_there(data: str, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError):
        read_config(data)


def test_a_download_entry_is_never_executed(tiny: TinySet):
    marker = tiny.root / "executed"
    script = f"download: |\n  open({str(marker)!r}, 'w')\n"
    tiny.yaml(YAML.replace("images/val", "nowhere") + script)
    with pytest.raises(DataError, match="never executes"):
        read_config(tiny.root)
    tiny.yaml("train: !!python/object/apply:os.system ['touch executed']\n")
    with pytest.raises(DataError, match="not valid YAML, line 1"):
        read_config(tiny.root)
    assert not marker.exists()


def test_duplicate_keys_are_kept_with_their_lines(tiny: TinySet):
    tiny.yaml("names: {0: cat, 1: dog, 1: cow}\n" + YAML)
    found = [(d.key, d.first_line, d.line) for d in read_config(tiny.root).duplicate_keys]
    assert ("names", 1, 4) in found


def test_no_object_has_keypoints_without_end(tiny: TinySet):
    for points, usable in ((17, True), (100_000, True), (100_001, False), (10**30, False)):
        tiny.put("data.yaml", f"{YAML}kpt_shape: [{points}, 3]\n")
        assert read_config(tiny.root).kpt_shape == ((points, 3) if usable else None)
