"""A handoff in every form: what is in it, well-formed for hostile names too, and there whole or not at all."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from urllib.parse import unquote
from xml.etree import ElementTree as ET

import cv2
import numpy as np
import pytest
from linting.tiny_set import ROWS, YAML, TinySet, encode, picture

from yolo_nanfix import api
from yolo_nanfix.errors import DataError, UsageError

FAULTY = "0 0.5 0.5 0.5 0.5\n1 0.9 0.5 0.4 0.25\n9 0.5 0.5 0 0.5\n1 nan 0.5 0.5 0.5\n"
"""On 64x48 pixels: a clean box, one that spills out, one of class 9 without width, one that cannot be drawn."""
HOSTILE = (
    "<b>&\"x'].jpg",
    "a\nb\tc.jpg",
    "Größe 猫 😀.jpg",
    "\udcff\udcfe.jpg",
    "=1+1,;.jpg",
    "\x01\x7f\u2028.jpg",
    "a..jpg",
)


@pytest.fixture
def tiny(tmp_path: Path) -> TinySet:
    tiny = TinySet(tmp_path / "set")
    tiny.rows(FAULTY)
    return tiny


def hand(tiny: TinySet, to: str, task: str = "detect", **options) -> Path:
    out = tiny.root.parent / "out"
    api.handoff(api.lint(tiny.root, task=task, settings=False), out, to=to, **options)
    return out


def test_cvat_has_boxes_labels_attributes_and_tags(tiny: TinySet):
    root = ET.parse(hand(tiny, "cvat") / "annotations.xml").getroot()
    assert root.findtext("version") == "1.1"
    names = [label.findtext("name") for label in root.iter("label")]
    assert names == ["cat", "dog", "class 9", "lint-defect"]
    (image,) = root.iter("image")
    assert image.attrib == {"id": "0", "name": "images/train/a.jpg", "width": "64", "height": "48"}
    boxes = [
        (b.get("label"), *(float(b.get(s) or "nan") for s in ("xtl", "ytl", "xbr", "ybr"))) for b in image.iter("box")
    ]
    assert boxes == [("cat", 16, 12, 48, 36), ("dog", 44.8, 18, 70.4, 30), ("class 9", 32, 12, 33, 36)]
    texts = [b.findtext("attribute") or "" for b in image.iter("box")]
    assert texts[0] == "" and texts[1].startswith("BX006 ") and "CL003 " in texts[2] and "BX004 " in texts[2]
    (tag,) = image.iter("tag")
    assert tag.get("label") == "lint-defect" and (tag.findtext("attribute") or "").startswith("TX010 ")


def test_label_studio_has_percent_regions_and_a_setup_that_knows_them(tiny: TinySet):
    out = hand(tiny, "label-studio", images="copy")
    (task,) = json.loads((out / "tasks.json").read_text())
    result = task["annotations"][0]["result"]
    first = result[0]["value"]
    assert (first["x"], first["y"], first["width"], first["height"]) == pytest.approx((25, 25, 50, 50))
    assert first["rectanglelabels"] == ["cat"] and result[1]["meta"]["text"][0].startswith("BX006 ")
    setup = ET.parse(out / "label_config.xml").getroot()
    controls = {e.get("name"): e for e in setup}
    for region in result:
        assert region["from_name"] in controls and region["to_name"] == "image"
    chosen = next(r for r in result if r["type"] == "choices")["value"]["choices"]
    assert set(chosen) <= {c.get("value") for c in controls["defects"]} and len(chosen) >= 4
    path = out.parent / unquote(task["data"]["image"].partition("?d=")[2])
    assert path.read_bytes() == (tiny.root / "images/train/a.jpg").read_bytes()


def test_coco_has_pixels_and_defects(tiny: TinySet):
    whole = json.loads((hand(tiny, "coco") / "annotations.json").read_text())
    assert [c["name"] for c in whole["categories"]] == ["cat", "dog", "class 9"]
    assert [a["bbox"] for a in whole["annotations"]] == [[16, 12, 32, 24], [44.8, 18, 25.6, 12], [32, 12, 1, 24]]
    assert [d["code"] for d in whole["annotations"][1]["defects"]] == ["BX006"]
    assert whole["images"][0]["file_name"] == "images/train/a.jpg"


def test_what_is_handed_over_as_coco_is_linted_as_coco(tiny: TinySet):
    """The summary beside it is no annotations, and is named for what it is."""
    out = hand(tiny, "coco")
    report = api.lint(out)
    assert not {code for code in report.by_code() if code[:2] == "AN"} and report.data.startswith(str(out))
    with pytest.raises(DataError, match="summary of what `yolo-nanfix handoff` wrote"):
        api.lint(out / "handoff.json")


def test_csv_has_a_row_a_box_and_a_row_a_finding_without_one(tiny: TinySet):
    rows = list(csv.DictReader(io.StringIO((hand(tiny, "csv") / "handoff.csv").read_text(), newline="")))
    assert [row["line"] for row in rows] == ["1", "2", "3", "4"]
    assert rows[0]["codes"] == "" and rows[1]["codes"] == "BX006" and rows[3]["codes"] == "TX010"
    assert (rows[1]["left"], rows[1]["class"], rows[3]["left"]) == ("44.80", "dog", "")


def test_polygons_rotated_boxes_and_keypoints_keep_their_shape(tiny: TinySet):
    tiny.rows("0 0.1 0.1 0.5 0.1 0.5 1.5 0.1 0.5\n")
    out = hand(tiny, "cvat", task="obb")
    assert (
        next(ET.parse(out / "annotations.xml").iter("polygon")).get("points")
        == "6.40,4.80;32.00,4.80;32.00,72.00;6.40,24.00"
    )
    tiny.yaml(YAML.replace("[cat, dog]", "[cat]") + "kpt_shape: [2, 3]\n")
    for split, name in (("train", "a"), ("val", "b")):
        tiny.put(
            f"labels/{split}/{name}.txt", "0 0.5 0.5 0.5 0.5 0.25 0.25 2 0.5 0.5 0\n0 0.5 0.5 0.5 1.5 0.1 0.1 2 0 0 0\n"
        )
    out = hand(tiny, "coco", task="pose", overwrite=True)
    first = json.loads((out / "annotations.json").read_text())["annotations"][0]
    assert first["keypoints"] == [16, 12, 2, 0, 0, 0] and first["num_keypoints"] == 1


@pytest.mark.parametrize("to", ["cvat", "label-studio", "coco", "csv"])
def test_hostile_names_give_well_formed_files(tiny: TinySet, to: str):
    for name in HOSTILE:
        tiny.put(f"images/train/{name}", encode(".jpg", picture()))
        tiny.put(f"labels/train/{name[:-4]}.txt", FAULTY)
    tiny.yaml(YAML.replace("[cat, dog]", json.dumps(["<cat>&\"'\n\x1b", "]]>"])))
    out = hand(tiny, to, images="copy")
    with open(out / "handoff.csv", encoding="utf-8", newline="") as stream:
        names = {row["image"] for row in csv.DictReader(stream)}
    assert len(names) == 1 + len(HOSTILE)
    if to == "cvat":
        assert {image.get("name") for image in ET.parse(out / "annotations.xml").iter("image")} == names
    elif to == "coco":
        images = json.loads((out / "annotations.json").read_text())["images"]
        assert {image["file_name"] for image in images} == names
    elif to == "label-studio":
        tasks = json.loads((out / "tasks.json").read_text())
        ET.parse(out / "label_config.xml")
        assert {task["data"]["name"] for task in tasks} == names
        for task in tasks:
            task["data"]["image"].encode("ascii")
    for name in names:
        assert (out / "images" / name).read_bytes()[:2] == b"\xff\xd8"
    assert len(list((out / "overlays").iterdir())) == len(names)


def test_the_offending_box_is_red_and_the_clean_one_is_not(tiny: TinySet):
    tiny.image(".jpg", encode(".jpg", np.full((960, 2560, 3), 255, np.uint8)))
    (overlay,) = (hand(tiny, "csv") / "overlays").iterdir()
    drawn = cv2.imread(str(overlay)).astype(int)
    assert drawn.shape[0] < 600 and drawn.shape[1] > 1280, "scaled down, with room for the box that spills out"
    margin = (drawn.shape[1] - 1280) // 2
    red = (drawn[..., 2] > 180) & (drawn[..., 1] < 110)
    green = (drawn[..., 1] > 130) & (drawn[..., 2] < 140) & (drawn[..., 0] < 160)
    assert red[:, margin + int(1280 * 1.1) - 3 : margin + int(1280 * 1.1) + 4].any(axis=1).sum() > 100
    assert green[:, margin + 317 : margin + 324].any(axis=1).sum() > 200
    assert not red[:, margin + 317 : margin + 324].any()


def test_an_image_that_cannot_be_opened_has_an_overlay_and_a_csv_row_alone(tiny: TinySet):
    tiny.rows(ROWS)
    tiny.put("images/train/bad.jpg", b"")
    report = api.lint(tiny.root, settings=False)
    done = api.handoff(report, tiny.root.parent / "out", to="coco", images="link")
    out = Path(done.folder)
    assert [Path(file).name for file in done.unreadable] == ["bad.jpg"]
    assert json.loads((out / "annotations.json").read_text())["images"] == []
    assert "IM002" in (out / "handoff.csv").read_text() and len(list((out / "overlays").iterdir())) == 1
    assert not (out / "images").exists()


def test_an_image_that_cannot_be_read_does_not_stop_the_others(tiny: TinySet):
    (tiny.root / "images/train/loop.jpg").symlink_to("loop.jpg")
    (tiny.root / "images/train/nowhere.jpg").symlink_to("none")
    report = api.lint(tiny.root, settings=False)
    assert {Path(f.image).name for f in report.findings if f.image} >= {"a.jpg", "loop.jpg", "nowhere.jpg"}
    out = tiny.root.parent / "out"
    api.handoff(report, out, to="csv")
    assert [p.name for p in (out / "images").rglob("*.jpg")] == ["a.jpg"]


def test_a_folder_that_is_there_is_refused_or_replaced_only_if_it_is_a_handoff(tiny: TinySet):
    before = tiny.state()
    out = hand(tiny, "coco")
    with pytest.raises(UsageError, match="--overwrite"):
        hand(tiny, "csv")
    hand(tiny, "csv", overwrite=True)
    assert not (out / "annotations.json").exists() and (out / "handoff.csv").exists()
    with pytest.raises(UsageError, match="was not written by handoff"):
        api.handoff(api.lint(tiny.root), tiny.root, to="csv", overwrite=True)
    assert tiny.state() == before
    assert sorted(p.name for p in out.parent.iterdir()) == ["out", "set"]


def test_what_goes_wrong_leaves_nothing_behind(tiny: TinySet, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(UsageError, match="does not exist"):
        api.handoff(api.lint(tiny.root), tiny.root.parent / "no/such/out", to="csv")
    report = api.lint(tiny.root)
    (tiny.root / "images/train/a.jpg").unlink()
    (tiny.root / "images/train/a.jpg").mkdir()
    assert api.handoff(report, tiny.root.parent / "out", to="csv", images="copy").images == 1

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        api.handoff(report, tiny.root.parent / "other", to="csv", progress=interrupt)
    assert sorted(p.name for p in tiny.root.parent.iterdir()) == ["out", "set"]


def test_the_worst_images_come_first_and_findings_can_be_chosen(tiny: TinySet):
    tiny.put("labels/val/b.txt", "0 0.9 0.5 0.4 0.25\n")
    report = api.lint(tiny.root, settings=False)
    done = api.handoff(report, tiny.root.parent / "one", to="coco", max_images=1)
    (image,) = json.loads((Path(done.folder) / "annotations.json").read_text())["images"]
    assert image["file_name"] == "images/train/a.jpg"
    done = api.handoff(report.select("BX006"), tiny.root.parent / "two", to="coco")
    whole = json.loads((Path(done.folder) / "annotations.json").read_text())
    assert done.images == 2 and {d["code"] for a in whole["annotations"] for d in a["defects"]} == {"BX006"}
