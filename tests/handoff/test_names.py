"""What comes back from a labelling tool finds its images: names go out whole, and labels under them lint clean.

The tools' rules for names are those that `scripts/check_handoff.py` sees in datumaro and in Label Studio's converter.
"""

from __future__ import annotations

import csv
import io
import json
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath
from urllib.parse import parse_qs, urlparse
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from linting.tiny_set import TinySet, encode, picture

from yolo_nanfix import api
from yolo_nanfix.cli.main import main
from yolo_nanfix.errors import UsageError

ROBOFLOW = "18d796b6-69ed-499e-8748-314b3f6cfcb1_jpg.rf.d6299d0da2b046209f4b0edfdd871338"
NAMES = (
    f"images/train/{ROBOFLOW}.jpg",
    f"images/train/other-{ROBOFLOW}.jpg",
    "images/train/a.jpg",
    "images/val/a.jpg",
    "images/train/sub folder/deep/a.jpg",
    "images/train/Größe 猫 😀 نیم\u200cفاصله.jpg",
    "images/val/n\u0303 e\u0301.jpg",
    f"images/val/{'x' * 240}.jpg",
    "images/train/50% & #1?;+.jpg",
    "images/train/dots.in.name.jpg",
)
ROWS = "0 0.5 0.5 0.5 0.5\n1 0.3 0.5 0.4 0.25\n1 0.3 0.5 0.4 0.25\n"


@pytest.fixture
def named(tmp_path: Path) -> TinySet:
    """Each image with the same kind of finding, a row that stands twice, and with a box of its own."""
    tiny = TinySet(tmp_path / "set")
    tiny.drop("images/val/b.jpg"), tiny.drop("labels/val/b.txt")
    for number, name in enumerate(NAMES):
        tiny.put(name, encode(".jpg", picture(seed=number)))
        tiny.put(label_of(name), f"0 0.{30 + number} 0.5 0.25 0.25\n{ROWS}")
    return tiny


def label_of(name: str) -> str:
    return f"labels/{PurePosixPath(name.removeprefix('images/')).with_suffix('')}.txt"


def handed(data: Path, to: str, **options) -> Path:
    out = data.parent / f"out-{to}"
    api.handoff(api.lint(data, task="detect", settings=False), out, to=to, **options)
    return out


def by_coco(out: Path) -> Iterator[tuple[str, Path]]:
    """The name of each label that comes back, and the image that the tool shows."""
    for image in json.loads((out / "annotations.json").read_text())["images"]:
        yield label_of(image["file_name"]), out / "images" / image["file_name"]


def by_cvat(out: Path) -> Iterator[tuple[str, Path]]:
    for image in ET.parse(out / "annotations.xml").iter("image"):
        yield label_of(image.get("name") or ""), out / "images" / (image.get("name") or "")


def by_label_studio(out: Path) -> Iterator[tuple[str, Path]]:
    """Its YOLO labels have the name of the image file, without a folder; each file of tasks is a project."""
    for file in sorted(out.glob("tasks*.json")):
        tasks = json.loads(file.read_text())
        stems = [PurePosixPath(parse_qs(urlparse(t["data"]["image"]).query)["d"][-1]) for t in tasks]
        assert len({path.stem for path in stems}) == len(tasks), "one label would overwrite another"
        folders = {PurePosixPath(task["data"]["name"]).parent for task in tasks}
        for task, path in zip(tasks, stems, strict=True):
            folder = PurePosixPath(task["data"]["name"]).parent if len(folders) > 1 else folders.copy().pop()
            yield label_of(f"{folder}/{path.stem}.jpg"), out.parent / path


READERS = {"coco": by_coco, "cvat": by_cvat, "label-studio": by_label_studio}


@pytest.mark.parametrize("to", READERS)
@pytest.mark.parametrize("images", ["copy", "link"])
def test_labels_come_back_to_their_images(named: TinySet, to: str, images: str):
    out = handed(named.root, to, images=images)
    again = TinySet(named.root.parent / "again")
    shutil.rmtree(again.root / "images"), shutil.rmtree(again.root / "labels")
    for label, image in READERS[to](out):
        again.put(label, (named.root / label).read_bytes())  # corrected or not: by the name that came back
        source = named.root / image.relative_to(out / "images")
        assert image.read_bytes() == source.read_bytes()
        again.put(str(image.relative_to(out / "images")), image.read_bytes())
    report = api.lint(again.root, task="detect", settings=False)
    assert {f.code for f in report.findings if f.code.startswith("FS")} <= {"FS025", "FS026"}, "no orphan, none missing"
    labels = sum(counts["labels"] for counts in report.counts.values())
    assert labels == len(NAMES) == sum(counts["images"] for counts in report.counts.values())
    with open(out / "handoff.csv", encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert {row["image"] for row in rows} == set(NAMES) == {row["file"] for row in rows}
    assert str(named.root) not in (out / "handoff.csv").read_text(), "paths are relative"


def test_label_studio_gets_one_file_of_tasks_unless_names_repeat(named: TinySet):
    assert [f.name for f in sorted(handed(named.root, "label-studio").glob("tasks*"))] == [
        "tasks-1-images-train.json",
        "tasks-2-images-train-sub-folder-deep.json",
        "tasks-3-images-val.json",
    ]
    for name in ("images/val/a.jpg", "images/train/sub folder/deep/a.jpg"):
        named.drop(name)
    out = handed(named.root, "label-studio", overwrite=True)
    assert [f.name for f in out.glob("tasks*")] == ["tasks.json"]


def test_images_stay_where_they_are_only_if_told_so_and_are_found_there(named: TinySet, capsys):
    root, out = named.root, named.root.parent / "out"
    assert main(["handoff", str(root), str(out), "--to", "label-studio", "--no-images"]) == 0
    said = capsys.readouterr().out
    assert f"the images stay in {root}" in said and f"DOCUMENT_ROOT={shlex.quote(str(root.parent))}\n" in said
    tasks = [t for file in out.glob("tasks*.json") for t in json.loads(file.read_text())]
    paths = [parse_qs(urlparse(task["data"]["image"]).query)["d"][-1] for task in tasks]
    assert all((root.parent / path).is_file() for path in paths) and not (out / "images").exists()
    assert main(["handoff", str(root), str(out), "--to", "label-studio", "--overwrite"]) == 0
    assert f"the images are in {out / 'images'}" in capsys.readouterr().out


def test_images_outside_of_the_datasets_folder_keep_their_folders(tmp_path: Path):
    tiny = TinySet(tmp_path / "set")
    for split in ("train", "val"):
        tiny.put(f"../store/{split}/images/a.jpg", encode(".jpg", picture(seed=len(split))))
        tiny.put(f"../store/{split}/labels/a.txt", ROWS)
    tiny.yaml("train: ../store/train/images\nval: ../store/val/images\nnames: [cat, dog]\n")
    images = json.loads((handed(tiny.root, "coco") / "annotations.json").read_text())["images"]
    assert sorted((i["file_name"], i["split"]) for i in images) == [
        ("train/images/a.jpg", "train"),
        ("val/images/a.jpg", "val"),
    ]


def test_a_name_that_cannot_be_written_is_said_and_leaves_others_alone(tmp_path: Path, capsys):
    tiny = TinySet(tmp_path / "set")
    for seed, name in enumerate(("a\x01b", "a_b", "\udcff"), 5):
        tiny.put(f"images/train/{name}.jpg", encode(".jpg", picture(seed=seed)))
        tiny.put(f"labels/train/{name}.txt", ROWS)
    assert main(["handoff", str(tiny.root), str(tmp_path / "out"), "--to", "coco"]) == 0
    assert "2 names cannot be written" in capsys.readouterr().out
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out/handoff.csv").read_text(encoding="utf-8"))))
    told = {row["image"]: row["file"] for row in rows}
    assert told == {
        "images/train/a_b.jpg": "images/train/a_b.jpg",
        "images/train/a_b~2.jpg": "images/train/a\\x01b.jpg",
        "images/train/_.jpg": "images/train/\\udcff.jpg",
    }


def test_both_images_of_a_pair_go_along(tmp_path: Path):
    tiny = TinySet(tmp_path / "set")
    for split, name in (("train", "one"), ("val", "two"), ("train", "three")):
        tiny.put(f"images/{split}/{name}.jpg", encode(".jpg", picture(seed=9 if name != "three" else 3)))
        tiny.put(f"labels/{split}/{name}.txt", "0 0.5 0.5 0.2 0.2\n")
    tiny.put("labels/train/three.txt", ROWS)
    report = api.lint(tiny.root, settings=False).select(at_least="warning")
    assert {f.code for f in report.findings} == {"SP002", "BX007"}
    out = tmp_path / "out"
    api.handoff(report, out, to="coco")
    images = {i["file_name"]: i for i in json.loads((out / "annotations.json").read_text())["images"]}
    assert set(images) == {"images/train/one.jpg", "images/val/two.jpg", "images/train/three.jpg"}
    assert images["images/train/one.jpg"]["defects"][0]["message"] == (
        "images/val/two.jpg: the same bytes as images/train/one.jpg (train)"
    )
    assert images["images/train/one.jpg"]["split"] == "train" and images["images/val/two.jpg"]["split"] == "val"
    done = api.handoff(report.select("SP002"), out, to="coco", max_images=1, overwrite=True)
    assert done.images == 2, "never one of a pair alone"


def test_what_the_whole_set_explains_is_no_work_for_labellers(tmp_path: Path, capsys):
    tiny = TinySet(tmp_path / "set")
    tiny.rows(ROWS)
    report = api.lint(tiny.root, settings=False)
    explained = replace(report, findings=tuple(replace(f, because="BX999") for f in report.findings))
    done = api.handoff(explained, tmp_path / "out", to="csv")
    assert (done.images, done.explained) == (0, len(report.findings)) and report.findings


@pytest.fixture
def bare(tmp_path: Path) -> TinySet:
    """Two labelled images and, without labels, two sound ones, a copy, a copy of a labelled one, and broken ones."""
    tiny = TinySet(tmp_path / "set")
    for number in (1, 2):
        tiny.put(f"images/train/new{number}.jpg", encode(".jpg", picture(96, 96, seed=20 + number)))
    tiny.put("images/train/new1 (copy).jpg", encode(".jpg", picture(96, 96, seed=21)))
    tiny.put("images/train/0-copy of a.jpg", (tiny.root / "images/train/a.jpg").read_bytes())
    tiny.put("images/train/torn.jpg", encode(".jpg", picture(seed=30))[:300])
    tiny.put("images/train/empty.jpg", b"")
    tiny.put("images/train/small.jpg", encode(".jpg", picture(8, 8)))
    tiny.put("images/train/grey.jpg", encode(".jpg", np.full((64, 64, 3), 90, np.uint8)))
    return tiny


@pytest.mark.parametrize("to", [*READERS, "csv"])
def test_unlabelled_gives_what_is_worth_labelling(bare: TinySet, to: str, capsys):
    before, out = bare.state(), bare.root.parent / "out"
    assert main(["handoff", str(bare.root), str(out), "--to", to, "--unlabelled"]) == 0
    said = capsys.readouterr().out
    assert "2 images, 0 label rows, 0 findings" in said
    assert "left out: 4 images that Ultralytics drops or that are damaged, 2 copies of others" in said
    names = {row["image"] for row in csv.DictReader(io.StringIO((out / "handoff.csv").read_text()))}
    assert names in (
        {f"images/train/new{n}.jpg" for n in ("1", "2")},
        {f"images/train/new{n}.jpg" for n in ("1 (copy)", "2")},
    )
    if to != "csv":
        assert {str(image.relative_to(out / "images")) for _, image in READERS[to](out)} == names
    assert not (out / "overlays").exists() and bare.state() == before
    if to == "label-studio":
        assert all("annotations" not in task for task in json.loads((out / "tasks.json").read_text()))


def test_unlabelled_does_not_go_with_choosing_findings(bare: TinySet, capsys):
    words = ["handoff", str(bare.root), str(bare.root.parent / "out"), "--to", "csv", "--unlabelled"]
    assert main([*words, "--select", "BX"]) == 2
    report = replace(api.lint(bare.root, settings=False), task="classify")
    with pytest.raises(UsageError, match="class folders"):
        api.handoff(report, bare.root.parent / "out", unlabelled=True)
