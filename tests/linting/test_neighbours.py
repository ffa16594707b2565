"""Where a split has no labels, those that lie elsewhere are named; so are images that no split names."""

from __future__ import annotations

from pathlib import Path

import pytest
from linting.cases_files import noise
from linting.tiny_set import ROWS, YAML, TinySet

from yolo_nanfix.dataset import unlisted
from yolo_nanfix.linting.runner import run


def found(root: Path, code: str) -> list:
    return [f for f in run(root, cache=False).findings if f.code == code]


def several(tiny: TinySet, images: str, labels: str, count: int = 3) -> None:
    """So many pairs in these folders, beside the healthy images."""
    for i in range(count):
        tiny.put(f"{images}/x{i}.jpg", noise(i))
        tiny.put(f"{labels}/x{i}.txt", ROWS)


@pytest.mark.parametrize(
    ("labels", "capitals", "above"),
    [
        ("labels/test", (), False),
        ("labels/testing/deep", (), False),
        ("labels", (), True),
        ("Labels/val", ("Labels",), False),
        ("notes", (), False),
    ],
)
def test_labels_of_val_in_another_folder_are_named(labels: str, capitals: tuple[str, ...], above: bool, tmp_path: Path):
    tiny = TinySet(tmp_path)
    tiny.yaml(YAML.replace("images/val", "images/valid"))
    several(tiny, "images/valid", labels)
    (finding,) = found(tmp_path, "FS004")
    facts = {"images": 3, "folder": str(tmp_path / labels), "files": 3, "matching": 3}
    assert facts.items() <= finding.values.items()
    assert (finding.values["capitals"], finding.values["above"]) == (capitals, above)


def test_folders_with_a_capital_are_named(tmp_path: Path):
    tiny = TinySet(tmp_path)
    several(tiny, "Images", "Labels", 4)
    tiny.put("Labels/other.txt", ROWS)
    tiny.put("train.txt", "./Images/x0.jpg\n./Images/x1.jpg\n")
    tiny.yaml(YAML.replace("images/train", "train.txt"))
    (finding,) = found(tmp_path, "FS003")
    facts = {"folder": str(tmp_path / "Labels"), "files": 5, "matching": 2, "capitals": ("Images", "Labels")}
    assert facts.items() <= finding.values.items()


@pytest.mark.parametrize("images", ["imgs", "JPEGImages/part"])
def test_images_in_no_folder_of_that_name_are_told(images: str, tmp_path: Path):
    tiny = TinySet(tmp_path)
    tiny.yaml(YAML.replace("images/train", images))
    several(tiny, images, "labels/mine")
    (finding,) = found(tmp_path, "FS003")
    assert {"folder": str(tmp_path / "labels/mine"), "files": 3, "nameless": True}.items() <= finding.values.items()


def test_labels_of_images_that_share_their_names_cannot_be_told_apart(tmp_path: Path):
    tiny = TinySet(tmp_path)
    tiny.yaml(YAML.replace("images/train", "images/all"))
    several(tiny, "images/all/dogs", "labels/all")
    several(tiny, "images/all/none", "labels/all")
    (finding,) = found(tmp_path, "FS003")
    assert finding.values["repeated"] == 3


def test_labels_of_other_images_and_texts_that_are_no_labels_are_not_named(tmp_path: Path):
    tiny = TinySet(tmp_path)
    tiny.put("images/val/a.jpg", noise(1))  # labels/train/a.txt belongs to the image of train
    tiny.drop("images/val/b.jpg")
    tiny.drop("labels/val/b.txt")
    tiny.put("captions/a.txt", "a cat on a mat")
    (finding,) = found(tmp_path, "FS004")
    assert (finding.values["wanted"], finding.values["matching"]) == (str(tmp_path / "labels/val/a.txt"), 0)


def test_labels_of_a_part_of_val_in_a_folder_of_no_split_are_named(tmp_path: Path):
    tiny = TinySet(tmp_path)
    several(tiny, "images/val", "labels/test")
    (finding,) = found(tmp_path, "FS061")
    facts = {"bare": 3, "images": 4, "folder": str(tmp_path / "labels/test"), "files": 3, "matching": 3}
    assert finding.split == "val" and facts.items() <= finding.values.items()
    assert [f.because for f in found(tmp_path, "FS002")] == ["FS061"]
    several(tiny, "images/test", "labels/test")  # then they are the labels of test
    tiny.yaml(YAML + "test: images/test\n")
    assert not found(tmp_path, "FS061")


def test_labels_in_a_folder_that_is_looked_at_are_told_one_by_one(tmp_path: Path):
    tiny = TinySet(tmp_path)
    several(tiny, "images/val", "labels/train")
    assert not found(tmp_path, "FS061") and len(found(tmp_path, "FS006")) == 3


def test_a_report_that_tells_of_other_folders_is_not_remembered(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("YOLO_NANFIX_CACHE", str(tmp_path / "memory"))
    tiny = TinySet(tmp_path / "set")
    tiny.drop("labels/val/b.txt")
    for matching in (0, 1):
        values = [dict(f.values) for f in run(tiny.root).findings if f.code == "FS004"]
        assert [found["matching"] for found in values] == [matching]
        tiny.put("elsewhere/b.txt", ROWS)


def test_a_search_ends(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(unlisted, "MOST_FOLDERS", 4)
    for i in range(5):
        (tmp_path / f"{i}/a").mkdir(parents=True)
        (tmp_path / f"{i}/a/x.txt").write_text(ROWS)
    image = str(tmp_path / "images/x.jpg")
    assert unlisted.find_labels([image], [str(tmp_path)]) == {}


def test_a_disk_is_not_searched(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(unlisted.os, "scandir", pytest.fail)
    assert unlisted.find_labels(["/a/images/x.jpg", "/b/images/x.jpg"], [str(tmp_path), "/"]) == {}


@pytest.mark.parametrize(
    ("yaml", "images", "where"),
    [
        (YAML, "images/test", "images/test"),
        (YAML, "images/test/deep", "images/test"),
        (
            YAML.replace("images/train", "one/images").replace("images/val", "two/images"),
            "three/images",
            "three/images",
        ),
        (YAML.replace("images/train", "train").replace("images/val", "val"), "test", "test"),
    ],
)
def test_images_in_no_split_are_named(yaml: str, images: str, where: str, tmp_path: Path):
    tiny = TinySet(tmp_path)
    for folder in ("one/images", "two/images", "train", "val"):
        several(tiny, folder, folder.replace("images", "labels"))
    tiny.yaml(yaml)
    assert not found(tmp_path, "FS060")
    tiny.put(f"{images}/c.jpg", noise(3))
    (finding,) = found(tmp_path, "FS060")
    assert finding.place.file == str(tmp_path / where) and finding.values["images"] == 1


def test_images_that_a_list_leaves_out_are_named(tmp_path: Path):
    tiny = TinySet(tmp_path)
    several(tiny, "images/train", "labels/train")
    tiny.put("train.txt", "./images/train/a.jpg\n./images/train/x1.jpg\n")
    tiny.yaml(YAML.replace("images/train", "train.txt"))
    (finding,) = found(tmp_path, "FS060")
    assert finding.values == {"images": 2, "of": 4, "examples": ("x0.jpg", "x2.jpg"), "more": 0}


@pytest.mark.parametrize("path", ["runs/c.jpg", "masks/c.png", "labels/test/c.png", "images/.cache/c.jpg"])
def test_other_pictures_are_no_forgotten_split(path: str, tmp_path: Path):
    tiny = TinySet(tmp_path)
    tiny.put(path, noise(3))
    assert not found(tmp_path, "FS060")


def test_a_forgotten_split_that_comes_later_is_seen(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("YOLO_NANFIX_CACHE", str(tmp_path / "memory"))
    tiny = TinySet(tmp_path / "set")
    (tiny.root / "images/test").mkdir()
    assert not run(tiny.root).findings
    tiny.put("images/test/c.jpg", noise(3))
    assert [f.code for f in run(tiny.root).findings] == ["FS060"]
    tiny.put("images/test/d.jpg", noise(4))
    assert [dict(f.values)["images"] for f in run(tiny.root).findings] == [2]
    tiny.put("images/test/deep/e.jpg", noise(5))
    tiny.put("images/test/deep/f.jpg", noise(6))
    assert [dict(f.values)["images"] for f in run(tiny.root).findings] == [4]
    tiny.drop("images/test/deep/e.jpg")
    assert [dict(f.values)["images"] for f in run(tiny.root).findings] == [3]
