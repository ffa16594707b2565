"""The page of a dataset: what lint found is in it, also what cannot be shown, and nothing of it runs as code."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from make_datasets import make_dataset, paths, plant
from reading import Read

import yolo_nanfix
from yolo_nanfix import api, pages
from yolo_nanfix.cli.main import main
from yolo_nanfix.findings import Report
from yolo_nanfix.report.html import dataset_charts, dataset_pictures
from yolo_nanfix.report.html import dataset_page as page
from yolo_nanfix.report.html.dataset_page import groups

HOSTILE = (
    '<script>alert(1)</script>"', "</script><!--", "{{ 7*7 }}{% for x in y %}", "'><img src=x onerror=alert(1)>",
    "ünï \u202egpj", "two\nlines", os.fsdecode(b"broken \xff name"), "& &lt; \u2028",
)  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A drawn dataset with faults, and its page as `lint --deep --output-format html` writes it."""
    root = tmp_path_factory.mktemp("page")
    data = make_dataset(root / "set", n_train=12, n_val=4, size=(64, 64), n_classes=3, seed=2)
    plant(data.parent, "nan_pixels", index=1)
    plant(data.parent, "label_zero_box", index=2)
    plant(data.parent, "label_duplicate", index=3)
    plant(data.parent, "truncated_jpeg", index=4)
    image, label = paths(data.parent, "train", 5)
    shutil.copy(image, paths(data.parent, "val", 90)[0])
    shutil.copy(label, paths(data.parent, "val", 90)[1])
    shutil.copy(image, paths(data.parent, "train", 91)[0])
    paths(data.parent, "train", 91)[1].write_text("0 0.5 0.5 0.2 0.2\n")
    code = main(["lint", str(data), "--deep", "--output-format", "html", "--output-file", str(root / "lint.html")])
    assert code == 1
    return data, (root / "lint.html").read_text(encoding="utf-8")


def read(text):
    found = Read()
    found.feed(text)
    assert not found.wrong
    return found


def listed(found):
    return next(json.loads(text) for attributes, text in found.scripts if attributes.get("id") == "dataset-data")


def test_every_finding_is_in_the_list_and_every_rule_on_the_page(made):
    data, text = made
    report, found = yolo_nanfix.lint(data, deep=True), read(text)
    held = listed(found)
    rows = [dict(zip(held["columns"], row, strict=True)) for row in held["rows"]]
    assert held["total"] == len(rows) == len(report.findings)
    assert sorted(held["codes"][row["code"]][0] for row in rows) == sorted(f.code for f in report.findings)
    texts = {rule.code: rule for rule in api.rules()}
    for code in report.by_code():
        assert f"rule-{code}" in {a.get("id") for a in found.of("article")}
        assert texts[code].upstream.replace("`", "")[:40] in found.text
    assert held["severities"][rows[0]["severity"]] == "fatal"


def test_the_top_says_what_is_wrong_and_what_to_do_in_order(made):
    text = read(made[1]).text
    assert "Of 18 images, 1 turns training into NaN, 1 is left out by Ultralytics" in text
    fix = f"{shlex.quote(str(made[0]))} --fix"
    steps = ("First fix or remove 1 image", fix, "--diff --unsafe-fixes", "Decide which", "Lint again")
    places = [text.index(step) for step in steps]
    assert places == sorted(places)


def test_only_fixes_that_would_fix_something_are_advised(tmp_path):
    data = make_dataset(tmp_path / "set", n_train=8, n_val=2, size=(64, 64), seed=6)
    plant(data.parent, "label_spill", index=3)  # by more than 1 %: no safe fix clips so far
    text = read(api.lint_page(yolo_nanfix.lint(data))).text
    assert "--fix --unsafe-fixes" in text and "without loss" not in text
    plant(data.parent, "label_duplicate", index=2)
    report = yolo_nanfix.lint(data)
    text = read(api.lint_page(report)).text
    assert "Fix what can be fixed without loss: 1 finding (BX007)." in text
    data.parent.rename(tmp_path / "gone")
    assert "BX007" in read(api.lint_page(report)).text


def test_the_offending_row_is_red_and_pixels_are_ringed(made):
    data, text = made
    held = listed(read(text))
    rows = [dict(zip(held["columns"], row, strict=True)) for row in held["rows"]]
    flat = next(row for row in rows if held["codes"][row["code"]][0] == "BX004")
    _, view, width, height, outlines, left = held["pictures"][str(flat["image"])]
    assert flat["row"] in [outline[0] for outline in outlines] and left == 0
    label = paths(data.parent, "train", 2)[1].read_text().splitlines()
    assert len(outlines) == len(label)
    row = label[flat["row"] - 1].split()
    name = held["classes"][held["sets"][flat["classes"]][0]]
    assert name == yaml.safe_load(data.read_text())["names"][int(row[0])]
    centre = [float(row[1]) * width, float(row[2]) * height]
    assert np.abs(np.subtract(next(o for o in outlines if o[0] == flat["row"])[3:], centre)).max() < 3
    nan = next(row for row in rows if held["codes"][row["code"]][0] == "IM011")
    assert 0 < nan["pixel"][0] < width and 0 < nan["pixel"][1] < height
    assert view.split()[2:] == [str(width), str(height)] or view.startswith("-")


def test_copies_stand_side_by_side(made):
    report = yolo_nanfix.lint(made[0], deep=True)
    pairs = [f for f in report.findings if f.code in ("SP001", "SP002", "SP003", "SP004", "SP005")]
    assert {"SP001", "SP002", "SP003"} <= {f.code for f in pairs}
    files = {image for f in report.findings if (image := f.image)} | {str(paths(made[0].parent, "train", 5)[0])}
    assert all(f.partner in files for f in pairs)
    group = next(group for group in groups(report.findings) if "SP003" in {f.code for f in group.findings})
    assert {Path(image).name for image in group.images} == {"0005.jpg", "0090.jpg", "0091.jpg"}
    assert "Copies and leakage" in read(made[1]).text


def test_distributions_are_those_of_the_labels(made):
    studied = pages.study(yolo_nanfix.lint(made[0]))
    charts = {chart.title: chart for chart in dataset_charts.charts(studied[0])}
    rows = [
        line.split()[0]
        for label in (made[0].parent / "labels" / "train").glob("*.txt")
        for line in label.read_text().splitlines()
    ]
    counts = charts["Objects of each class"].counts
    assert counts["train"] == tuple(rows.count(str(number)) for number in range(3))
    assert sum(charts["Objects in each image"].counts["val"]) == 5
    assert charts["Sizes of the images"].labels == ("64x64",)


def test_small_and_without_a_request(made):
    found = read(made[1])
    assert len(made[1]) < 1_000_000
    for _, attributes in found.elements:
        assert not [name for name in attributes if name.startswith("on")]
        assert all(not (attributes.get(name) or "#").startswith(("http", "//")) for name in ("src", "href"))


def test_what_cannot_be_shown_says_so(tmp_path):
    data = make_dataset(tmp_path / "set", n_train=6, n_val=2, size=(64, 64), seed=4)
    broken, bomb = paths(data.parent, "train", 0)[0], paths(data.parent, "train", 1)[0].with_suffix(".png")
    broken.write_bytes(b"no image at all")
    paths(data.parent, "train", 1)[0].unlink()
    chunk = struct.pack(">2I5B", 30000, 30000, 8, 2, 0, 0, 0)
    head = b"IHDR" + chunk
    bomb.write_bytes(
        b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head)) + bytes(8) + b"IEND"
    )
    report = yolo_nanfix.lint(data)
    show = pages.show(report)
    reasons = {Path(file).name: picture.reason for file, picture in show.pictures.items()}
    assert reasons["0000.jpg"] and reasons["0001.png"]
    held = listed(read(page.lint_page(report, show)))
    assert set(held["without"].values()) == {reasons["0000.jpg"], reasons["0001.png"]}


def test_hostile_names_stay_text(tmp_path):
    for number, name in enumerate(HOSTILE):
        for split in ("train", "val"):
            image = tmp_path / "images" / split / f"{name.replace('/', '_')}.png"
            label = tmp_path / "labels" / split / f"{name.replace('/', '_')}.txt"
            image.parent.mkdir(parents=True, exist_ok=True)
            label.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.full((32, 32, 3), 20 * number + (split == "val"), np.uint8)
            image.write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
            label.write_text(f"{number} 0.5 0.5 0.4 0\n")
    names = {number: name.encode("utf-8", "replace").decode() for number, name in enumerate(HOSTILE)}
    (tmp_path / "data.yaml").write_text(
        yaml.safe_dump({"train": "images/train", "val": "images/val", "names": names}, allow_unicode=True),
        encoding="utf-8",
    )
    report = yolo_nanfix.lint(tmp_path)
    text = api.lint_page(report)
    found = read(text)
    assert len(found.of("script")) == 4
    assert not [a for tag, a in found.elements for name in a if name.startswith("on") or tag == "img"]
    held = listed(found)
    assert len(held["rows"]) == len(report.findings) >= 2 * len(HOSTILE)
    assert "<script>alert(1)</script>" in found.text and "{{ 7*7 }}" in found.text and "\\u202e" in found.text
    text.encode("utf-8")


def test_annotations_and_folders_give_pages_too(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "coco").mkdir()
    cv2.imwrite(str(tmp_path / "coco" / "a.jpg"), rng.integers(0, 256, (60, 80, 3), dtype=np.uint8))
    whole = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 80, "height": 60}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "bbox": [10, 10, 30, 20], "area": 600, "iscrowd": 0},
            {"id": 2, "image_id": 1, "category_id": 2, "bbox": [70, 10, 30, 20], "area": 600, "iscrowd": 0},
        ],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
    }
    (tmp_path / "coco" / "instances.json").write_text(json.dumps(whole))
    report = yolo_nanfix.lint(tmp_path / "coco" / "instances.json")
    show = pages.show(report)
    assert not show.fixable
    spills = next(a for f, a in zip(report.findings, show.about, strict=True) if f.code.startswith("BX"))
    picture = show.pictures[str(tmp_path / "coco" / "a.jpg")]
    assert spills.classes == ("dog",) and len(picture.outlines) == 2
    assert next(o.label for o in picture.outlines if o.row == spills.row) == "dog"
    assert "handoff" not in read(page.lint_page(report, show)).text
    for split in ("train", "val"):
        for name in ("one", "two"):
            (tmp_path / "folders" / split / name).mkdir(parents=True)
            file = tmp_path / "folders" / split / name / f"{name}.png"
            cv2.imwrite(str(file), rng.integers(0, 256, (40, 40, 3), dtype=np.uint8))
    (tmp_path / "folders" / "train" / "one" / "bad.png").write_bytes(b"nothing")
    folders = read(api.lint_page(yolo_nanfix.lint(tmp_path / "folders"))).text
    assert "yolo-nanfix lint" in folders and "--task classify" not in folders  # the folders speak for themselves


def test_commands_name_the_task_where_the_set_speaks_for_another(made):
    report = yolo_nanfix.lint(made[0], task="segment")
    assert report.basis.guess == "detect" and "--task segment --fix" in read(api.lint_page(report)).text
    assert "--task detect" not in read(api.lint_page(yolo_nanfix.lint(made[0]))).text


def test_a_report_alone_gives_a_page(made):
    report = Report.from_dict(json.loads(json.dumps(yolo_nanfix.lint(made[0]).as_dict())))
    found = read(page.lint_page(report))
    assert len(listed(found)["rows"]) == len(report.findings)
    gone = Report.from_dict({**report.as_dict(), "data": "/nowhere/data.yaml"})
    assert "BX004" in read(api.lint_page(gone)).text


def test_a_clean_dataset_has_a_page_that_says_so(tmp_path):
    data = make_dataset(tmp_path / "set", n_train=6, n_val=4, size=(64, 64), seed=5)
    report = yolo_nanfix.lint(data, select=["BX"])
    found = read(api.lint_page(report))
    assert "Nothing is wrong with these 10 images." in found.text
    assert "Objects of each class" in found.text


def test_a_dataset_with_which_training_does_not_start_is_told(tmp_path):
    data = make_dataset(tmp_path / "set", n_train=2, n_val=1, size=(64, 64), seed=1)
    for label in (tmp_path / "set/labels/train").iterdir():
        label.unlink()
    report = yolo_nanfix.lint(data, settings=False)
    assert not report.starts and "Training does not start." in read(api.lint_page(report)).text
    assert "does not start" not in read(api.lint_page(report.select("CL"))).text


def test_what_has_no_room_is_left_out_and_counted(made, monkeypatch):
    monkeypatch.setattr(dataset_pictures, "LEAST_ROOM", 4000)
    monkeypatch.setattr(dataset_pictures, "MOST_ROOM", 4000)
    monkeypatch.setattr("yolo_nanfix.report.html.dataset_page.ROOM", 600)
    report = yolo_nanfix.lint(made[0])
    found = read(api.lint_page(report))
    held = listed(found)
    assert 0 < len(held["rows"]) < len(report.findings) == held["total"]
    assert f"{len(report.findings) - len(held['rows'])} of {len(report.findings)} findings are left out" in found.text
    assert "images with findings are left out or cannot be shown" in found.text


def test_stdout_takes_the_page_and_fixes_come_before_it(made, tmp_path, capsys):
    shutil.copytree(made[0].parent, tmp_path / "set")
    arguments = ["lint", str(tmp_path / "set"), "--output-format", "html", "--quiet"]
    assert main(arguments) == 1
    before = capsys.readouterr().out
    assert before.startswith("<!doctype html>") and before.isascii() and "BX007" in read(before).text
    assert main([*arguments, "--fix"]) == 1
    after = read(capsys.readouterr().out)
    assert not [a for a in after.of("article") if a.get("id") == "rule-BX007"]


def test_images_without_labels_are_told_by_what_is_worth_labelling(tmp_path):
    data = make_dataset(tmp_path / "set", n_train=6, n_val=2, size=(64, 64), seed=4)
    images = tmp_path / "new images"
    shutil.copytree(data.parent / "images" / "train", images)
    (images / "zero.jpg").write_bytes(b"")
    shutil.copy(images / "0001.jpg", images / "copy.jpg")
    text = read(api.lint_page(yolo_nanfix.lint(images))).text
    assert "Of 8 images without labels, 6 are worth labelling." in text and "yolo-nanfix train" not in text
    assert f"yolo-nanfix handoff '{images}' '{images}-to-label' --to cvat --unlabelled" in text
    (images / "zero.jpg").unlink(), (images / "copy.jpg").unlink()
    text = read(api.lint_page(yolo_nanfix.lint(images))).text
    assert "Of 6 images without labels, all are worth labelling." in text and "--unlabelled" in text


def test_the_cause_of_the_rest_comes_first(tmp_path):
    data = make_dataset(tmp_path / "set", n_train=24, n_val=8, size=(90, 160), seed=4)
    for file in (data.parent / "labels").rglob("*.txt"):
        rows = [list(map(float, line.split())) for line in file.read_text().splitlines()]
        swapped = [(int(c), x * 160 / 90, y * 90 / 160, w * 160 / 90, h * 90 / 160) for c, x, y, w, h in rows]
        file.write_text("".join(" ".join(map(str, row)) + "\n" for row in swapped))
    report = yolo_nanfix.lint(data)
    (cause,) = (f for f in report.own if f.code == "BX023")
    text = read(api.lint_page(report)).text
    assert (
        f"First fix the cause of the rest: BX023 axes-swapped explains {report.follows(cause)['BX001']} BX001" in text
    )
    assert text.index("--fix --unsafe-fixes") < text.index("Lint again, then train")
    assert "would drop rows" not in text
