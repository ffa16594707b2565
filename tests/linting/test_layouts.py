"""What `lint FOLDER` finds where there is no data.yaml, or where there are several."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
import zlib
from pathlib import Path

import pytest
from linting.tiny_set import ROWS, YAML, TinySet, encode, picture

from yolo_nanfix import api
from yolo_nanfix.dataset.config import Layout
from yolo_nanfix.dataset.discover import dataset
from yolo_nanfix.dataset.options import LintOptions
from yolo_nanfix.errors import DataError, UsageError
from yolo_nanfix.linting.runner import run


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder of no dataset yet."""
    (tmp_path / "set").mkdir()
    return tmp_path / "set"


def put(root: Path, *names: str, rows: str | None = ROWS) -> None:
    """Images by their paths; each with its label file where Ultralytics looks, unless `rows` is None."""
    for name in names:
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(encode(".jpg", picture(seed=zlib.crc32(name.encode()))))
        if rows is not None:
            head, found, tail = str(file).rpartition(f"{os.sep}images{os.sep}")
            label = Path(f"{head}/labels/{tail}" if found else str(file)).with_suffix(".txt")
            label.parent.mkdir(parents=True, exist_ok=True)
            label.write_text(rows)


def counts(root: Path) -> dict[str, tuple[int, int]]:
    return {split: (found["images"], found["rows"]) for split, found in run(root).counts.items()}


@pytest.mark.parametrize(
    ("names", "train", "val"),
    [
        (("images/a.jpg", "images/b.jpg"), 2, 0),
        (("a.jpg", "b.jpg"), 2, 0),
        (("images/train/a.jpg", "images/val/b.jpg"), 1, 1),
        (("train/images/a.jpg", "valid/images/b.jpg"), 1, 1),
        (("train/a.jpg", "val/b.jpg"), 1, 1),
        (("Train/images/a.jpg", "Val/images/b.jpg"), 1, 1),
        (("img/a.jpg", "img/b.jpg"), 2, 0),
        (("obj_train_data/a.jpg", "obj_train_data/b.jpg"), 2, 0),
    ],
)
@pytest.mark.parametrize("names_file", ["classes.txt", "obj.names", "notes.json", None])
def test_images_and_labels_are_linted_without_a_yaml(names, train, val, names_file, root: Path):
    put(root, *names)
    notes = {
        "categories": [{"id": 1, "name": "dog"}, {"id": 0, "name": "cat"}],
        "info": {"contributor": "Label Studio"},
    }
    if names_file:
        (root / names_file).write_text(json.dumps(notes) if names_file == "notes.json" else "cat\ndog\n")
    report = run(root)
    splits = {"train": (train, 2 * train), "val": (val, 2 * val)}
    assert counts(root) == {split: found for split, found in splits.items() if found[0]}
    (finding,) = (f for f in report.findings if f.code == "CF030")
    assert report.task == "detect" and {f.code for f in report.findings} <= {"CF030", "CL005"}
    assert finding.values["names"] == (("cat", "dog") if names_file else ("class_0", "class_1"))
    assert finding.values["source"] == (names_file or "")


def test_a_class_that_the_list_has_not_is_found(root: Path):
    put(root, "images/a.jpg", "images/b.jpg", rows="2 0.5 0.5 0.2 0.2\n")
    (root / "classes.txt").write_text("cat\ndog\n")
    assert {"CL003", "CF030"} <= set(run(root).by_code())
    (root / "classes.txt").write_text("cat\ndog\ncow\n")
    assert "CL003" not in run(root).by_code()  # nothing else changed: names count for what is remembered, too


def test_ultralytics_starts_with_none_of_these(root: Path):
    from ultralytics.data.utils import check_det_dataset

    put(root, "images/a.jpg")
    (root / "classes.txt").write_text("cat\ndog\n")
    with pytest.raises(AssertionError, match="No YAML file found"):
        check_det_dataset(str(root))


def test_it_can_be_fixed_undone_and_handed_over(root: Path, tmp_path: Path):
    put(root, "images/a.jpg", "images/b.jpg")
    (root / "classes.txt").write_text("cat\ndog\n")
    label = root / "labels/a.txt"
    label.write_text(ROWS + ROWS)
    report = api.lint(root)
    assert report.by_code()["BX007"] == 2
    assert api.handoff(report, tmp_path / "out", to="coco").images == 1
    assert "yolo-nanfix lint" in api.lint_page(report)
    assert api.fix(report).files == 1 and label.read_text() == ROWS
    api.undo(root)
    assert label.read_text() == ROWS + ROWS


def test_an_archive_of_cvat(root: Path):
    """YOLO 1.1: the paths in it begin with `data/`, a folder that there is not."""
    put(root, "obj_train_data/a.jpg", "obj_train_data/sub/b.jpg")
    (root / "obj.names").write_text("cat\ndog\n")
    (root / "obj.data").write_text("classes = 2\ntrain = data/train.txt\nnames = data/obj.names\nbackup = backup/\n")
    (root / "train.txt").write_text("data/obj_train_data/a.jpg\ndata/obj_train_data/sub/b.jpg\n")
    report = run(root)
    assert counts(root) == {"train": (2, 4)} and report.by_code() == {"CF030": 1}
    assert report.findings[0].values["names"] == ("cat", "dog") and "obj" in report.findings[0].values["source"]
    assert run(root / "obj.data").by_code() == report.by_code()
    shutil.rmtree(root / "obj_train_data")
    (root / "obj_train_data").mkdir()
    (root / "obj_train_data/a.txt").write_text(ROWS)
    assert {"FS001", "FS055"} <= set(run(root).by_code())  # an export without its images


def test_a_data_file_of_darknet(root: Path):
    put(root / "data", "images/a.jpg", "images/b.jpg")
    (root / "data/cats.names").write_text("cat\ndog\n")
    for split, name in (("train", "a"), ("test", "b")):
        (root / f"data/{split}.txt").write_text(f"/home/ann/darknet/data/images/{name}.jpg\n")
    (root / "cats.data").write_text("classes=2\ntrain=data/train.txt\nvalid=data/test.txt\nnames=data/cats.names\n")
    assert counts(root) == {"train": (1, 2), "val": (1, 2)}
    assert set(run(root).by_code()) == {"CF030"}


@pytest.mark.parametrize("start", ["/home/ann/cats/", "D:\\cats\\", "data/", ""])
def test_a_list_whose_lines_lead_nowhere_is_one_finding(start, tmp_path: Path, monkeypatch):
    tiny = TinySet(tmp_path / "set")
    folder = "images\\train\\" if "\\" in start else "images/train/"
    tiny.put("train.txt", f"{start}{folder}a.jpg\n")
    tiny.yaml(YAML.replace("images/train", "train.txt"))
    report = run(tiny.root)
    assert report.by_code() == {"CF031": 1} and report.counts["train"]["rows"] == 2
    assert report.findings[0].values["folder"] == "."
    tiny.put("train.txt", "./images/train/a.jpg\n")
    assert run(tiny.root).findings == ()
    tiny.put("train.txt", "images/train/a.jpg\n")
    monkeypatch.chdir(tiny.root)  # from here Ultralytics finds it
    assert "CF031" not in run(tiny.root).by_code()


def test_class_folders_are_split_by_ultralytics_itself(root: Path):
    from ultralytics.data.utils import check_cls_dataset

    put(root, *(f"{name}/{i}.jpg" for name in ("cat", "dog") for i in range(5)), rows=None)
    report = run(root)
    assert report.task == "classify" and dataset(root, LintOptions()).layout is Layout.CLASS_FOLDERS
    assert report.exit_code == 1 and {f.severity.value for f in report.findings} == {"warning"}  # no crash is claimed
    assert check_cls_dataset(str(root))["nc"] == 2


@pytest.mark.parametrize("places", [(".", "."), ("train", "valid"), ("Annotations", "JPEGImages")])
def test_voc_beside_images(places, root: Path):
    for i, name in enumerate("ab"):
        xml, image = (places[i], places[i]) if places[0] == "train" else places
        put(root, f"{image}/{name}.jpg", rows=None)
        box = "<bndbox><xmin>10</xmin><ymin>10</ymin><xmax>30</xmax><ymax>30</ymax></bndbox>"
        size = "<size><width>64</width><height>48</height><depth>3</depth></size>"
        text = f"<annotation><filename>{name}.jpg</filename>{size}<object><name>cat</name>{box}</object></annotation>"
        (root / xml).mkdir(exist_ok=True)
        (root / xml / f"{name}.xml").write_text(text)
    expected = {"train": (1, 1), "val": (1, 1)} if places[0] == "train" else {"train": (2, 2)}
    assert counts(root) == expected and "AN007" not in run(root).by_code()


@pytest.mark.parametrize("name", ["custom_train", "instances_train2017", "whatever", "train"])
@pytest.mark.parametrize("home", ["annotations", "."])
def test_coco_under_any_name_finds_its_images_beside(name, home, root: Path):
    put(root, "train2017/a.jpg", "val2017/b.jpg", rows=None)
    annotation = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [10, 10, 20, 20], "area": 400, "iscrowd": 0}
    images = [{"id": 1, "file_name": "a.jpg", "width": 64, "height": 48}]
    text = json.dumps({"images": images, "annotations": [annotation], "categories": [{"id": 1, "name": "cat"}]})
    (root / home).mkdir(exist_ok=True)
    (root / home / f"{name}.json").write_text(text)
    report = run(root)
    assert "AN007" not in report.by_code() and report.counts["train"]["images"] == 1


def test_root_says_where_the_images_of_annotations_are(root: Path, tmp_path: Path):
    put(tmp_path / "far/away", "a.jpg", rows=None)
    images = [{"id": 1, "file_name": "a.jpg", "width": 64, "height": 48}]
    file = root / "set.json"
    file.write_text(json.dumps({"images": images, "annotations": [], "categories": [{"id": 1, "name": "cat"}]}))
    assert "AN007" in run(file).by_code()
    assert "AN007" not in run(file, options=LintOptions(root=tmp_path / "far/away")).by_code()


def test_other_yaml_files_are_no_datasets(tmp_path: Path):
    tiny = TinySet(tmp_path / "set")
    (tiny.root / "data.yaml").rename(tiny.root / "cats.yaml")
    tiny.put("hyp.yaml", "lr0: 0.01\n")
    tiny.put("docker-compose.yml", "services: {}\n")
    assert run(tiny.root).findings == () and run(tiny.root).data.endswith("cats.yaml")


def test_several_datasets_in_a_folder_are_all_linted(tmp_path: Path):
    tiny = TinySet(tmp_path / "set")
    (tiny.root / "data.yaml").rename(tiny.root / "one.yaml")
    tiny.put("two.yaml", YAML + "kpt_shape: [2, 3]\n")
    report = api.lint(tiny.root)
    assert report.data == f"{tiny.root / 'one.yaml'}, {tiny.root / 'two.yaml'}" and report.task == "detect, pose"
    with pytest.raises(UsageError, match="one dataset at a time"):
        api.fix(report)
    tiny.put("data.yaml", YAML)
    assert api.lint(tiny.root).data.endswith("data.yaml")  # the usual name


def test_a_yaml_in_a_folder_below_counts(root: Path):
    put(root, "images/train/a.jpg", "images/val/b.jpg")
    (root / "config").mkdir()
    (root / "config/cats.yaml").write_text("path: ..\n" + YAML)
    (root / "config/hyp.yaml").write_text("lr0: 0.01\n")
    assert run(root).data.endswith("cats.yaml") and set(counts(root)) == {"train", "val"}


def test_several_sets_in_folders_are_named(root: Path):
    for name in ("one", "two"):
        put(root, f"{name}/images/a.jpg")
    assert run(root).task == "detect"  # no folders of classes: in each are images and labels
    for name in ("one", "two"):
        (root / name / "data.yaml").write_text("train: images\nval: images\nnames: [cat, dog]\n")
    with pytest.raises(DataError, match=r"2 yaml files \(one.data\.yaml, two.data\.yaml\); say which one"):
        run(root)


def test_a_folder_without_anything_is_an_error_that_says_what_was_looked_for(root: Path):
    with pytest.raises(DataError, match=r"no \.yaml file"):
        run(root)
    (root / "readme.md").write_text("nothing")
    with zipfile.ZipFile(root / "set.zip", "w") as archive:
        archive.writestr("a.txt", "0")
    with pytest.raises(DataError, match=r"no \.yaml file"):
        run(root)


@pytest.mark.parametrize("given", ["", "data.yaml"])
def test_a_yaml_of_names_alone_beside_images_and_labels(given: str, root: Path):
    """As supervision's `as_yolo` writes it."""
    put(root, "train/images/a.jpg", "val/images/b.jpg")
    (root / "data.yaml").write_text("names:\n- cat\n- dog\nnc: 2\n")
    report = run(root / given)
    (found,) = report.findings
    assert (found.code, found.values["source"], found.values["train"]) == ("CF030", "data.yaml", ("train/images",))
    assert counts(root) == {"train": (1, 2), "val": (1, 2)}
    (root / "data.yaml").write_text("train: train/images\nval: val/images\nnames:\n- cat\n- dog\n")
    assert run(root / given).findings == ()
