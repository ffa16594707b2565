"""Names, links and stray files: what Ultralytics lists and which labels it finds is what the rules say."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import numpy as np
import pytest
from linting.cases_files import CASES, accents, noise, picture_at
from linting.tiny_set import ROWS, TinySet

from yolo_nanfix.linting.registry import LABELLED, all_rules
from yolo_nanfix.linting.runner import run

RULES = {rule.code: rule for rule in all_rules()}
UNSEEN = ("FS018", "FS019", "FS020")
"""The rules on images that are never listed."""
UNLABELLED = ("FS013", "FS014", "FS015", "FS016", "FS022")
"""The rules on labels that are not found."""


def _stock(root: Path) -> list[tuple[str, int]]:
    """Name and number of label rows of each train image, as Ultralytics' dataset reads them."""
    from ultralytics.data.dataset import YOLODataset
    from ultralytics.data.utils import check_det_dataset

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = check_det_dataset(str(root / "data.yaml"))
        made = YOLODataset(data["train"], data=data, task="detect", imgsz=32)
    return [(Path(label["im_file"]).name, len(label["cls"])) for label in made.labels]


@pytest.fixture(autouse=True)
def _no_font(monkeypatch):
    monkeypatch.setattr("ultralytics.data.utils.check_font", lambda *_a, **_k: None)


@pytest.mark.parametrize("code", UNSEEN)
def test_ultralytics_never_lists_the_image(code: str, tmp_path: Path):
    tiny = TinySet(tmp_path)
    CASES[code][1](tiny)
    assert RULES[code].effect.value == "drops" and code in run(tiny.root).by_code()
    assert [name for name, _ in _stock(tiny.root)] == ["a.jpg"]


@pytest.mark.parametrize("code", UNLABELLED)
def test_ultralytics_does_not_find_the_label(code: str, tmp_path: Path):
    tiny = TinySet(tmp_path)
    tiny.put("images/train/z.jpg", noise(9))
    tiny.put("labels/train/z.txt", ROWS)
    CASES[code][1](tiny)
    (finding,) = [f for f in run(tiny.root).findings if f.code == code]
    rows = dict(_stock(tiny.root))
    assert rows["z.jpg"] == 2
    assert [count for name, count in rows.items() if name != "z.jpg" and not (count and code == "FS014")][-1] == 0
    if code != "FS022":
        assert rows[Path(finding.image).name] == 0


def test_a_blank_in_the_folder_s_name_is_not_taken_for_one_in_the_label_s(tmp_path: Path):
    tiny = TinySet(tmp_path / "my set")
    CASES["FS013"][1](tiny)
    assert {"FS013"} == {code for code in run(tiny.root).by_code() if code in ("FS013", "FS014", "FS015")}


@pytest.mark.parametrize(
    "name",
    ["a b.jpg", "a (1).jpg", "[x].jpg", "größe.jpeg", "a#1.jpg", "{x}.jpg", "%20.jpg", "c\n.jpg", "c .JPG", "'.jpg"],
)
def test_odd_names_are_listed_with_their_labels(name: str, tmp_path: Path):
    tiny = TinySet(tmp_path)
    picture_at(f"images/train/{name}")(tiny)
    tiny.put(f"labels/train/{name.rpartition('.')[0]}.txt", ROWS)
    assert dict(_stock(tiny.root))[name] == 2
    assert set(run(tiny.root).by_code()) <= {"FS023", "FS025"}


def test_a_label_under_another_name_is_no_orphan(tmp_path: Path):
    tiny = TinySet(tmp_path)
    accents("NFD")(tiny)
    assert set(run(tiny.root).by_code()) == {"FS002", "FS014", "FS025"}


def test_files_of_the_system_are_passed_over(tmp_path: Path):
    tiny = TinySet(tmp_path)
    for name in ("Thumbs.db", ".DS_Store", "._a.jpg", "desktop.ini", "notes.md"):
        tiny.put(f"images/train/{name}", b"x")
        tiny.put(f"labels/train/{name}", b"x")
    assert run(tiny.root).findings == ()


def test_a_cache_is_not_loaded(tmp_path: Path):
    tiny = TinySet(tmp_path)
    boom = b"\x80\x04cos\nsystem\n(S'touch %s'\ntR." % os.fsencode(tmp_path / "boom")
    tiny.put("labels/train.cache", boom)
    run(tiny.root)
    assert not (tmp_path / "boom").exists()


@pytest.mark.parametrize("time_ns", [0, 1, -(10**9) - 7, 4 * 10**18])
def test_files_of_any_time_are_there(tmp_path: Path, time_ns: int):
    tiny = TinySet(tmp_path)
    tiny.npy(np.zeros((48, 64, 3), np.uint8))
    usual = run(tiny.root, cache=False)
    for file in ("labels/train/a.txt", "images/train/a.jpg", "images/train/a.npy"):
        os.utime(tmp_path / file, ns=(time_ns, time_ns))
    found = run(tiny.root, cache=False)
    assert "FS010" in {f.code for f in found.findings}  # the .npy is loaded
    assert (found.findings, found.counts) == (usual.findings, usual.counts)
    assert found.counts["train"]["labels"] == 1


def test_labels_of_val_in_train_and_labels_beside_images(tmp_path: Path):
    tiny = TinySet(tmp_path)
    (tmp_path / "labels/val/b.txt").rename(tmp_path / "labels/train/b.txt")
    (tmp_path / "labels/train/a.txt").rename(tmp_path / "images/train/a.txt")
    found = {(f.code, Path(f.place.file).name, Path(f.image).name) for f in run(tiny.root).findings if f.image}
    assert found == {("FS006", "a.txt", "a.jpg"), ("FS006", "b.txt", "b.jpg")}


def test_a_broken_link_to_an_image_says_so(tmp_path: Path):
    tiny = TinySet(tmp_path)
    (tmp_path / "images/train/c.jpg").symlink_to("/nowhere/c.jpg")
    (finding,) = [f for f in run(tiny.root).findings if f.code == "FS001"]
    assert finding.values["link"] and [name for name, _ in _stock(tiny.root)] == ["a.jpg"]


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may read everything")
def test_files_that_may_not_be_read(tmp_path: Path):
    tiny = TinySet(tmp_path)
    (tmp_path / "labels/train/a.txt").chmod(0)
    (tmp_path / "images/val/b.jpg").chmod(0)
    assert {"TX001", "IM001"} <= set(run(tiny.root).by_code())


def test_every_rule_on_names_is_asked_for_all_tasks_with_labels():
    for code in CASES:
        if code < "FS040" and code.startswith("FS"):
            assert set(LABELLED) <= set(RULES[code].tasks)


def test_links_that_go_round_are_said_once_each(tmp_path: Path):
    tiny = TinySet(tmp_path)
    for name in ("one", "two"):
        (tmp_path / "images/train" / name).symlink_to(".", target_is_directory=True)
    found = [f for f in run(tiny.root, cache=False).findings if f.code == "FS017"]
    assert [Path(f.place.file).name for f in found] == ["one", "two"]


def test_a_folder_in_the_place_of_a_label_is_named(tmp_path: Path):
    tiny = TinySet(tmp_path)
    tiny.drop("labels/train/a.txt")
    (tmp_path / "labels/train/a.txt").mkdir()
    (finding,) = [f for f in run(tiny.root, cache=False).findings if f.code == "FS016"]
    assert finding.values["exists"]
