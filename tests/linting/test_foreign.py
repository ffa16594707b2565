"""JSON and XML of other tools are named for what they are, with the way from there to COCO or YOLO."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from linting.cases_formats import annotation, bare, category, coco, image, voc, whole_coco, xml
from linting.tiny_set import TinySet

from yolo_nanfix import api
from yolo_nanfix.dataset.formats.coco import IMAGE, OtherNames
from yolo_nanfix.dataset.formats.sniff import json_kind, sniff
from yolo_nanfix.errors import DataError
from yolo_nanfix.linting.runner import run

BOX = {"x": 10.0, "y": 20.0, "width": 30.0, "height": 5.0, "rotation": 0}
STUDIO = {"id": "r1", "type": "rectanglelabels", "from_name": "label", "to_name": "image", "value": BOX}
JSON: dict[str, tuple[Any, str]] = {
    "notes": (
        {
            "categories": [{"id": 0, "name": "a"}],
            "info": {"year": 2024, "version": "1.0", "contributor": "Label Studio"},
        },
        "notes.json of Label Studio's YOLO export",
    ),
    "studio": (
        [{"id": 1, "annotations": [{"id": 1, "result": [STUDIO]}], "data": {"image": "/data/upload/a.jpg"}}],
        "Label Studio's own JSON export",
    ),
    "studio, short": (
        [{"image": "a.jpg", "id": 1, "label": [{**BOX, "rectanglelabels": ["cat"], "original_width": 640}]}],
        "Label Studio's own JSON export",
    ),
    "labelme": (
        {
            "version": "5.4.1",
            "flags": {},
            "shapes": [{"label": "cat", "points": [[1, 2], [3, 4]], "shape_type": "rectangle"}],
            "imagePath": "a.jpg",
            "imageData": "/9j/" + "A" * 100_000,
            "imageHeight": 48,
            "imageWidth": 64,
        },
        "a LabelMe file",
    ),
    "via": (
        {"_via_settings": {}, "_via_img_metadata": {"a.jpg123": {"filename": "a.jpg", "size": 123, "regions": []}}},
        "VGG Image Annotator",
    ),
    "via 1": (
        {"a.jpg123": {"filename": "a.jpg", "size": 123, "regions": [{"shape_attributes": {"name": "rect"}}]}},
        "VGG Image Annotator",
    ),
    "supervisely": (
        {
            "description": "",
            "tags": [],
            "size": {"height": 48, "width": 64},
            "objects": [{"classTitle": "cat", "geometryType": "rectangle", "points": {"exterior": [[1, 2], [3, 4]]}}],
        },
        "a Supervisely file",
    ),
    "geojson": (
        {
            "type": "FeatureCollection",
            "features": [{"type": "Feature", "geometry": {"type": "Polygon", "coordinates": []}, "properties": {}}],
        },
        "GeoJSON",
    ),
    "bdd": (
        [{"name": "a.jpg", "labels": [{"category": "car", "box2d": {"x1": 1, "y1": 2, "x2": 3, "y2": 4}}]}],
        "BDD100K",
    ),
    "cityscapes": (
        {"imgHeight": 1024, "imgWidth": 2048, "objects": [{"label": "road", "polygon": [[0, 1]]}]},
        "Cityscapes",
    ),
    "createml": (
        [
            {
                "image": "a.jpg",
                "annotations": [{"label": "cat", "coordinates": {"x": 1, "y": 2, "width": 3, "height": 4}}],
            }
        ],
        "CreateML",
    ),
    "results": ([{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.9}], "format of results"),
    "datumaro": (
        {"dm_format_version": "1.0", "info": {}, "categories": {"label": {"labels": []}}, "items": []},
        "Datumaro",
    ),
    "ndjson": ({"type": "dataset", "task": "detect", "class_names": {"0": "cat"}}, "Ultralytics NDJSON"),
    "panoptic": (
        {
            "images": [{"id": 1, "file_name": "a.jpg"}],
            "annotations": [{"image_id": 1, "file_name": "a.png", "segments_info": [{"id": 3, "bbox": [1, 2, 3, 4]}]}],
            "categories": [{"id": 1, "name": "a"}],
        },
        "COCO for panoptic segmentation",
    ),
    "captions": (
        {"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [{"id": 1, "image_id": 1, "caption": "a cat"}]},
        "COCO for captions",
    ),
    "kili": ([{"content": "a.jpg", "jsonResponse": {"JOB_0": {"annotations": []}}}], "Kili"),
}
XML = {
    "CVAT": "<annotations><version>1.1</version><meta><task><name>birds</name></task></meta><image id='0' name='a.jpg' "
    "width='64' height='48'><box label='cat' xtl='1' ytl='2' xbr='3' ybr='4'/></image></annotations>",
    "imglab": "<dataset><name>x</name><images><image file='a.jpg'><box top='1' left='2'/></image></images></dataset>",
    "LabelMe website": "<annotation><filename>a.jpg</filename><object><name>cat</name><polygon><pt/></polygon>"
    "</object></annotation>",
    "roLabelImg": "<annotation><filename>a.jpg</filename><object><name>cat</name><robndbox><cx>1</cx></robndbox>"
    "</object></annotation>",
    "a labelling setup of Label Studio": "<View><Image name='image' value='$image'/></View>",
    "PAGE": "<PcGts><Page imageFilename='a.jpg'/></PcGts>",
}


@pytest.fixture
def tiny(tmp_path: Path) -> TinySet:
    return TinySet(tmp_path)


@pytest.mark.parametrize("kind", JSON)
def test_json_of_another_tool_is_named(tiny: TinySet, kind: str):
    content, name = JSON[kind]
    file = tiny.put("other.json", json.dumps(content, indent=1))
    with pytest.raises(DataError) as caught:
        run(file)
    said = str(caught.value)
    assert name in said and "lint" in said and said.startswith(str(file)) and "\n" not in said


@pytest.mark.parametrize("kind", [kind for kind in JSON if kind != "notes"])
def test_a_folder_of_such_files_alone_is_named_too(tmp_path: Path, kind: str):
    content, name = JSON[kind]
    (tmp_path / "a.json").write_text(json.dumps(content))
    (tmp_path / "a.jpg").write_bytes(b"")
    with pytest.raises(DataError, match=r"a\.json is .*" + name.split()[-1]):
        run(tmp_path)


@pytest.mark.parametrize("name", XML)
def test_xml_of_another_tool_is_named(tiny: TinySet, name: str):
    bare(tiny)
    file = tiny.put("other.xml", XML[name])
    for data in (file, tiny.root):
        with pytest.raises(DataError, match=name) as caught:
            run(data)
        assert "not Pascal VOC" in str(caught.value)


def test_other_xml_among_voc_is_one_finding(tiny: TinySet):
    voc()(tiny)
    for k in range(3):
        tiny.put(f"Annotations/b{k}.xml", XML["CVAT"])
    (found,) = (f for f in run(tiny.root).findings if f.code.startswith("AN"))
    assert found.code == "AN035" and found.message.startswith("3 of 4 files: b0.xml is CVAT's own XML")


@pytest.mark.parametrize("fmt", ["coco", "cvat", "label-studio"])
def test_what_handoff_wrote_is_known(tiny: TinySet, tmp_path: Path, fmt: str):
    tiny.rows("0 0.95 0.5 0.2 0.2\n")
    out = tmp_path / "handed"
    api.handoff(api.lint(tiny.root, settings=False), out, to=fmt)
    if fmt == "coco":
        report = run(out / "annotations.json")
        assert {f.code for f in report.findings} == {"BX006", "CL004"}
        return
    for name in {"cvat": ["annotations.xml"], "label-studio": ["tasks.json", "label_config.xml"]}[fmt]:
        with pytest.raises(DataError, match=r"yolo-nanfix handoff|labelling setup of Label Studio"):
            run(out / name)


def test_coco_stays_coco(tiny: TinySet):
    """Also where its keys stand in another order, or names as those of other tools occur in it."""
    whole = whole_coco()
    whole["info"] = {"contributor": "Label Studio", "shapes": 1, "imagePath": "", "dm_format_version": 1}
    whole["images"][0]["data"] = {"regions": [], "filename": "a"}
    for order in (list(whole), list(reversed(whole))):
        file = tiny.put("instances.json", json.dumps({key: whole[key] for key in order}))
        assert json_kind(file) is None and sniff(file).name == "coco"
        assert {f.code for f in run(file).findings} <= {"CL006", "CL007", "SP007"}


def _misnamed(whole: dict[str, Any]) -> None:
    whole["annotation"] = whole.pop("annotations")
    for one in whole["images"]:
        one["filename"] = one.pop("file_name")
    for one in whole["annotation"]:
        one["category"], one["box"] = one.pop("category_id"), one.pop("bbox")
    for one in whole["categories"]:
        one["label"] = one.pop("name")


def test_keys_of_other_names_are_one_finding_and_are_read(tiny: TinySet):
    coco(_misnamed)(tiny)
    report = run(tiny.root)
    (found,) = (f for f in report.findings if f.code.startswith("AN"))
    assert found.code == "AN036" and report.counts["train"]["rows"] == 2
    told = dict(zip(found.values["wanted"], found.values["found"], strict=True))
    assert told["annotations"] == "annotation" and told["categories.name"] == "categories.label"
    assert {"images.file_name", "annotations.bbox", "annotations.category_id"} <= told.keys()


def test_elements_of_other_names_are_one_finding_and_are_read(tiny: TinySet):
    voc(xml().replace("bndbox", "bbox").replace("<name>", "<label>").replace("</name>", "</label>"))(tiny)
    report = run(tiny.root)
    (found,) = report.findings
    assert found.code == "AN036" and report.counts["train"]["rows"] == 1
    assert found.values == {"count": 1, "found": ("<bbox>", "<label>"), "wanted": ("<bndbox>", "<name>")}


def test_lists_that_are_objects_are_told(tiny: TinySet):
    coco(lambda whole: whole.update(images={"1": whole["images"][0]}))(tiny)
    assert "'images' is no list of objects" in [f.message for f in run(tiny.root).findings if f.code == "AN002"]
    file = tiny.put("list.json", json.dumps([whole_coco()]))
    with pytest.raises(DataError, match="a list, not one object with images, annotations, categories"):
        run(file)


def test_keys_that_only_some_entries_lack_are_not_renamed():
    def found(*entries: Any) -> dict[str, str]:
        names = OtherNames(IMAGE)
        for entry in entries:
            names.add(entry)
        return names.found

    assert found({"id": 1, "filename": "a.jpg"}, {"id": 2, "file_name": "b.jpg"}) == {}
    assert found({"id": 1, "name": 7}) == {}
    assert found() == {} and found(1, None) == {}
    assert found({"image_id": 1, "filename": "a"}) == {"file_name": "filename", "id": "image_id"}


def test_images_that_all_lack_a_name_are_one_finding(tiny: TinySet):
    coco(lambda whole: [one.pop("file_name") for one in whole["images"]])(tiny)
    found = [f for f in run(tiny.root).findings if f.code.startswith("AN")]
    assert [f.code for f in found] == ["AN002"] and "none of 2 images has an id and a file_name" in found[0].message


@pytest.mark.parametrize("change", [image(0, file_name=None), annotation(0, bbox=None), category(0, name=None)])
def test_one_faulty_entry_is_no_matter_of_names(tiny: TinySet, change):
    change(tiny)
    assert "AN036" not in run(tiny.root).by_code()


def test_a_folder_with_yolo_beside_the_notes_is_not_taken_for_coco(tiny: TinySet):
    tiny.put("notes.json", json.dumps(JSON["notes"][0]))
    tiny.drop("data.yaml")
    assert sniff(tiny.root) is None


def test_a_pipe_is_not_waited_for(tiny: TinySet):
    coco()(tiny)
    os.mkfifo(tiny.root / "a.json")
    assert [file.name for file in sniff(tiny.root).files] == ["instances.json"]
    tiny.drop("instances.json")
    assert sniff(tiny.root) is None


def test_a_voc_file_is_voc_whatever_else_is_in_it(tiny: TinySet):
    voc(xml(more="<polygon><pt/></polygon>"))(tiny)
    assert run(tiny.root).findings == ()


def test_images_whose_labels_are_of_another_tool_say_of_which(tiny: TinySet):
    tiny.drop("labels/train/a.txt")
    tiny.put("images/train/a.json", json.dumps(JSON["labelme"][0]))
    (found,) = (f for f in run(tiny.root).findings if f.code == "FS022")
    assert "a.json is a LabelMe file" in found.message and "labelme2yolo" in found.message
