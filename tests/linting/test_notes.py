"""What is wrong with all entries of annotation files is one finding; what is wrong with some is one for each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from linting.cases_formats import bare, xml
from linting.tiny_set import TinySet, encode, picture

from yolo_nanfix.dataset.formats.defects import Defect
from yolo_nanfix.dataset.formats.notes import Note, Total, folded
from yolo_nanfix.linting.runner import run

MANY = 6


def coco(
    root: Path, image: dict[str, Any], annotation: dict[str, Any], faulty: int = MANY
) -> list[tuple[str, int | None]]:
    """The findings on COCO with some entries changed: their codes, and how many entries are meant by each."""
    whole: dict[str, Any] = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "cat"}]}
    for k in range(MANY):
        (root / f"{k}.jpg").write_bytes(encode(".jpg", picture(seed=k)))
        changed = (image, annotation) if k < faulty else ({}, {})
        whole["images"].append({"id": k, "file_name": f"{k}.jpg", "width": 64, "height": 48, **changed[0]})
        box = {"id": k + 1, "image_id": k, "category_id": 1, "bbox": [10, 10, 20, 20]}
        whole["annotations"].append({**box, **changed[1]})
    (root / "instances.json").write_text(json.dumps(whole))
    return [(f.code, f.values.get("all")) for f in run(root).findings if f.code.startswith("AN")]


@pytest.mark.parametrize(
    ("image", "annotation", "code"),
    [
        ({}, {"bbox": None}, "AN014"),
        ({}, {"bbox": [10, 10, 0, 5]}, "AN015"),
        ({}, {"category_id": 7}, "AN009"),
        ({"width": 640, "height": 480}, {}, "AN013"),
        ({"width": 0}, {}, "AN012"),
    ],
)
def test_what_all_entries_have_is_one_finding(image, annotation, code: str, tmp_path: Path):
    assert coco(tmp_path, image, annotation) == [(code, MANY)]
    assert coco(tmp_path, image, annotation, MANY - 1) == [(code, None)] * (MANY - 1)


def test_of_voc_all_files_count(tmp_path: Path):
    tiny = TinySet(tmp_path)
    bare(tiny)
    for k in range(MANY):
        tiny.put(f"JPEGImages/{k}.jpg", encode(".jpg", picture(seed=k)))
        tiny.put(f"Annotations/{k}.xml", xml(filename=f"{k}.jpg", size=(640, 480)))
    (found,) = (f for f in run(tmp_path).findings if f.code.startswith("AN"))
    assert found.code == "AN013" and found.place.file == str(tmp_path)
    sizes = {"width": 640, "height": 480, "own_width": 64, "own_height": 48}
    assert found.values == {"all": MANY, "name": "0.jpg", **sizes}
    tiny.put("Annotations/0.xml", xml(filename="0.jpg"))
    assert run(tmp_path).by_code()["AN013"] == MANY - 1


def test_few_entries_are_told_one_by_one():
    notes = [Note(Defect.BOX_EMPTY, "a.json", "{id}", {"id": k}, k) for k in range(4)]
    assert list(folded(notes[:3], {"a.json": Total(3, 3)}, "set")) == notes[:3]
    (one,) = folded(notes, {"a.json": Total(9, 4)}, "set")
    assert (one.defect, one.file, one.line, one.values) == (Defect.BOX_EMPTY, "a.json", 0, {"all": 4, "id": 0})
    assert list(folded(notes, {}, "set")) == notes
