"""Annotations of other formats: the defects of YOLO labels are found in them, at their line, and some of their own."""

from __future__ import annotations

import asyncio
import json
import warnings
from pathlib import Path

import numpy as np
import pytest
from linting.cases_formats import CASES, HEIGHT, WIDTH, annotation, coco, ndjson, voc, whole_coco, xml
from linting.tiny_set import TinySet, encode, picture

from yolo_nanfix.dataset import formats
from yolo_nanfix.dataset.formats import build
from yolo_nanfix.dataset.formats.coco import COCO_IDS, COCO_NAMES
from yolo_nanfix.dataset.formats.json_walk import Broken, Text, Walk
from yolo_nanfix.dataset.formats.voc import BrokenXml, read_xml
from yolo_nanfix.dataset.options import LintOptions
from yolo_nanfix.errors import DataError
from yolo_nanfix.linting.runner import run


def _lint(tiny: TinySet, change, task: str = "detect", data: str = ""):
    change(tiny)
    return run(tiny.root / data if data else tiny.root, options=LintOptions(task))


def _rows(tiny: TinySet, change, task: str = "detect", data: str = ""):
    change(tiny)
    return formats.read(tiny.root / data, LintOptions(task))


@pytest.fixture
def tiny(tmp_path: Path) -> TinySet:
    return TinySet(tmp_path)


@pytest.mark.parametrize("task", ["detect", "segment"])
@pytest.mark.parametrize(("change", "data"), [(coco(), "instances.json"), (coco(), "")])
def test_a_healthy_coco_file_has_no_findings(tiny: TinySet, change, data: str, task: str):
    report = _lint(tiny, change, task, data)
    assert [f for f in report.findings if f.code[:2] in ("AN", "BX", "SG", "IM")] == []
    assert report.counts == {"train": {"images": 2, "labels": 2, "rows": 2}} and report.task == task


@pytest.mark.parametrize("data", ["", "Annotations", "Annotations/a.xml"])
def test_a_healthy_voc_folder_has_no_findings(tiny: TinySet, data: str):
    report = _lint(tiny, voc(), data=data)
    assert report.findings == () and report.counts["train"]["rows"] == 1


def test_a_healthy_ndjson_has_no_findings(tiny: TinySet):
    report = _lint(tiny, ndjson(), data="set.ndjson")
    assert report.findings == () and set(report.counts) == {"train", "val"}


def test_rows_are_normalised(tiny: TinySet):
    """Box, polygon and keypoints in the coordinates of YOLO."""
    whole = _rows(tiny, coco())
    assert np.allclose(whole.labels.box[0], [15 / WIDTH, 15 / HEIGHT, 10 / WIDTH, 10 / HEIGHT])
    assert whole.labels.cls.tolist() == [0, 1] and whole.labels.line.tolist() == [1, 2]
    polygons = formats.read(tiny.root, LintOptions("segment")).labels
    assert polygons.columns.tolist() == [9, 9] and np.allclose(polygons.points[2], [20 / WIDTH, 20 / HEIGHT])
    annotation(keypoints=[10, 10, 2, 20, 20, 1])(_again(tiny))
    pose = formats.read(tiny.root, LintOptions("pose"))
    assert pose.config.kpt_shape == (2, 3) and pose.labels.visible.tolist() == [2, 1]
    assert np.allclose(pose.labels.points[1], [20 / WIDTH, 20 / HEIGHT])


def test_how_many_images_are_read_at_once_changes_nothing(tiny: TinySet, monkeypatch):
    tiny.put("images/val/b.jpg", b"no image")
    at_once = _lint(tiny, coco()).as_dict()
    monkeypatch.setattr(build, "TOGETHER", 1)
    assert run(tiny.root, options=LintOptions("detect")).as_dict() == at_once


def _again(tiny: TinySet) -> TinySet:
    """The set as it was made."""
    return TinySet(tiny.root)


def test_the_same_rows_as_the_converter_of_ultralytics_writes(tiny: TinySet, monkeypatch):
    from ultralytics.data.converter import convert_coco

    def change(whole):
        whole["annotations"].append({"id": 3, "image_id": 2, "category_id": 1, "bbox": [1.5, 2.25, 30, 20]})
        whole["annotations"].append({"id": 4, "image_id": 2, "category_id": 1, "bbox": [1, 1, 0, 5]})

    labels = _rows(tiny, coco(change)).labels
    convert_coco(str(tiny.root), str(tiny.root / "out"), cls91to80=False)
    written = [[float(v) for v in line.split()] for name in ("train/a", "val/b")
               for line in (tiny.root / f"out/labels/instances/{name}.txt").read_text().splitlines()]  # fmt: skip
    assert np.allclose(np.column_stack([labels.cls, labels.box]), written, atol=1e-5)


@pytest.mark.parametrize("code", ["AN001", "AN002", "AN004", "AN008", "AN014", "AN019", "AN036"])
def test_the_converter_crashes_where_the_rule_says_so(tiny: TinySet, code: str):
    from ultralytics.data.converter import convert_coco

    task, faulty, _ = CASES[code]
    faulty(tiny)
    assert code in run(tiny.root, options=LintOptions(task)).by_code()
    keys = {"use_keypoints": code == "AN019", "use_segments": False}
    with pytest.raises((ValueError, KeyError, TypeError, IndexError)):
        convert_coco(str(tiny.root), str(tiny.root / "out"), cls91to80=False, **keys)


@pytest.mark.parametrize(("code", "rows"), [("AN012", ["inf"]), ("AN015", []), ("AN021", []), ("AN009", ["6 "])])
def test_the_converter_does_with_rows_what_the_rule_says(tiny: TinySet, code: str, rows: list[str]):
    from ultralytics.data.converter import convert_coco

    CASES[code][1](tiny)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        convert_coco(str(tiny.root), str(tiny.root / "out"), cls91to80=False)
    label = tiny.root / "out/labels/instances/train/a.txt"
    lines = label.read_text().splitlines() if label.exists() else []
    assert len(lines) == len(rows) and all(part in line for part, line in zip(rows, lines, strict=True))


@pytest.mark.parametrize("code", ["AN016", "AN017"])
def test_the_converter_draws_the_box_in_place_of_the_polygon(tiny: TinySet, code: str, monkeypatch):
    from ultralytics.data.converter import convert_coco

    CASES[code][1](tiny)
    convert_coco(str(tiny.root), str(tiny.root / "out"), use_segments=True, cls91to80=False)
    (line,) = (tiny.root / "out/labels/instances/train/a.txt").read_text().splitlines()
    left, top, right, bottom = 10 / WIDTH, 10 / HEIGHT, 20 / WIDTH, 20 / HEIGHT
    box = [left, top, right, top, right, bottom, left, bottom]
    assert np.allclose([float(v) for v in line.split()[1:]], box, atol=1e-5)


@pytest.mark.parametrize("code", ["AN001", "AN025", "AN030"])
def test_the_conversion_of_ndjson_stops_where_the_rule_says_so(tiny: TinySet, code: str, monkeypatch):
    from ultralytics.data.converter import convert_ndjson_to_yolo

    change = ndjson(raw="{") if code == "AN001" else CASES[code][1]
    report = _lint(tiny, change, data="set.ndjson")
    assert code in report.by_code()
    with pytest.raises((ValueError, RuntimeError)):
        asyncio.run(convert_ndjson_to_yolo(tiny.root / "set.ndjson", tiny.root / "out"))


def test_findings_name_line_and_annotation(tiny: TinySet):
    """A rule on boxes, asked with COCO: the place is the annotation's line, and no number of a row is left in it."""

    def change(whole):
        first = whole["annotations"][0]
        whole["annotations"] += [{**first, "id": 77}, {**first, "id": 99, "bbox": [50, 10, 20, 10], "segmentation": []}]

    report = _lint(tiny, coco(change), data="instances.json")
    text = (tiny.root / "instances.json").read_text().splitlines()
    found = {f.code: f for f in report.findings}
    assert found["BX007"].values == {"entry": "annotation 77", "line": "annotation 1"}
    assert '"id": 77' in text[found["BX007"].place.line]
    assert found["BX006"].values["entry"] == "annotation 99" and '"id": 99' in text[found["BX006"].place.line]
    assert found["BX006"].image.endswith("images/train/a.jpg") and found["BX006"].split == "train"


@pytest.mark.parametrize("name", ["power line 99999", "power line 2", "line 3 {line}"])
def test_names_of_classes_are_no_lines(tmp_path: Path, name: str):
    """Whatever a class is called, what is said of its boxes is said as of any other class."""
    (tmp_path / "a.jpg").write_bytes(encode(".jpg", picture(200, 200)))
    boxes = [[2 + k % 7, 2 + k % 150, 190 if k == 130 else 20 + k % 3, 20] for k in range(240)]
    annotations = [{"id": k, "image_id": 1, "category_id": 1, "bbox": box} for k, box in enumerate(boxes, 1)]
    images = [{"id": 1, "file_name": "a.jpg", "width": 200, "height": 200}]
    whole = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": name}]}
    (tmp_path / "a.json").write_text(json.dumps(whole))
    (odd,) = (f for f in run(tmp_path / "a.json").findings if f.code == "BX019")
    assert odd.values["entry"] == "annotation 131" and f"{name!r}" in odd.message


def test_a_file_that_breaks_off_is_read_up_to_there(tiny: TinySet):
    whole = json.dumps(whole_coco(), indent=1)
    cut = whole.index('"categories"') - 60
    report = _lint(tiny, coco(text=whole[:cut]), data="instances.json")
    broken = next(f for f in report.findings if f.code == "AN001")
    assert broken.place.line == broken.values["at"] == whole.count("\n", 0, cut) + 1 and broken.values["column"]
    assert report.counts["train"]["images"] == 2


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'\xef\xbb\xbf{"images": []}', "byte order mark"),
        (b'{"images": [], "annotations": [], "categories": []}\n{', "there is more behind the end"),
        (b'{"images": [],\n "annotations": [{"id": "\xff"}], "categories": []}', "line 2: byte 0xff is not UTF-8"),
        ('{"images": [], "annotations": []}'.encode("utf-16"), "UTF-16"),
        (b'{"images": ' + b"[" * 100_000, "recursion"),
        (b'{"images": [],}', "a comma before the end"),
        (b'{"images": [] "x": 1}', "',' is expected"),
        (b'{"images": [], "n": ' + b"9" * 5000 + b"}", "digits"),
        (b"[]", "one object"),
        (b"", "one object"),
    ],
)
def test_what_is_said_of_broken_json(tiny: TinySet, data: bytes, message: str):
    tiny.put("a.json", data)
    try:
        said = " ".join(f.message for f in run(tiny.root / "a.json").findings if f.code == "AN001")
    except DataError as error:
        said = str(error)
    assert message in said


def test_lines_and_columns_hold_beyond_ascii():
    said = "ä\nöü\n\n日x"
    text, places = Text(said.encode()), [len(said[:i].encode()) for i in (0, 2, 3, 5, 6, 7)]
    assert [text.place(i) for i in places] == [(1, 1), (2, 1), (2, 2), (3, 1), (4, 1), (4, 2)]
    assert text.place(places[2]) == (2, 2) and text.line(places[0]) == 1


def test_the_walk_gives_every_entry_with_its_place():
    text, met = b' {"a": [1, {"b": [2]}, NaN], "c": {"a": [3]}, "d": []} ', []
    keys = Walk(Text(text)).run({"a": lambda *entry: met.append(entry)})
    assert keys == {"a", "c", "d"} and met[0] == (1, 8, False) and met[1] == ({"b": [2]}, 11, False)
    assert met[2][0] != met[2][0] and met[2][2] and len(met) == 3
    with pytest.raises(Broken):
        Walk(Text(b'{"a": [1')).run({"a": lambda *entry: None})


_BOMB = '<!DOCTYPE b [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]><annotation>&b;</annotation>'
_FILE = '<!DOCTYPE b [<!ENTITY a SYSTEM "file:///etc/passwd">]><annotation>&a;</annotation>'
_NET = '<!DOCTYPE b SYSTEM "http://127.0.0.1:9/x.dtd"><annotation>&a;</annotation>'


@pytest.mark.parametrize(("text", "message"), [(_BOMB, "entity 'a'"), (_FILE, "entity 'a'"), (_NET, "entity")])
def test_entities_of_xml_are_refused(tiny: TinySet, text: str, message: str):
    report = _lint(tiny, voc(text))
    (finding,) = [f for f in report.findings if f.code == "AN001"]
    assert message in finding.message and finding.severity.value == "fatal"


def test_xml_keeps_lines_and_refuses_depth(tmp_path: Path):
    file = tmp_path / "a.xml"
    file.write_text("<a>\n<b>1</b>\n<b>\n2</b></a>")
    root = read_xml(file)
    assert [(b.line, b.text.strip()) for b in root.every("b")] == [(2, "1"), (3, "2")] and root.said("c") is None
    file.write_text("<a>" * 100_000)
    with pytest.raises(BrokenXml, match="nested deeper"):
        read_xml(file)


@pytest.mark.parametrize(
    ("text", "code", "line"),
    [
        (xml(box=(20, 10, 10, 20)), "AN015", 4),
        (xml(box=(10, 10, "x", 20)), "AN014", 4),
        (xml(box=(10, 10, "nan", 20)), "AN003", 4),
        (xml(box=(10, 10, 20)), "AN014", 4),
        (xml(size=(0, 0)), "AN012", 3),
        (xml(name=""), "AN002", 4),
        (xml(more="<difficult>1</difficult>"), "AN021", None),
        (xml(filename="/abs/a.jpg"), "AN024", 2),
        (xml(box=(10, 10, 70, 20)), "BX006", 4),
        (xml(size=(128, 96)), "AN013", None),
        ("<annotations/>", "AN002", 1),
        (xml()[:-20], "AN001", 4),
    ],
)
def test_what_is_found_in_voc(tiny: TinySet, text: str, code: str, line: int | None):
    finding = next(f for f in _lint(tiny, voc(text)).findings if f.code == code)
    assert finding.place.line == line


def test_the_splits_of_voc_are_those_of_its_lists(tiny: TinySet):
    voc(lists="a\n")(tiny)
    tiny.put("ImageSets/Main/val.txt", "b\n")
    tiny.put("JPEGImages/b.jpg", (tiny.root / "images/val/b.jpg").read_bytes())
    tiny.put("Annotations/b.xml", xml(filename="b.jpg"))
    assert {s: c["images"] for s, c in run(tiny.root).counts.items()} == {"train": 1, "val": 1}


@pytest.mark.parametrize("name", ["train/_annotations.coco.json", "annotations/instances_train2017.json"])
def test_images_are_found_where_exports_put_them(tiny: TinySet, name: str):
    whole = whole_coco()
    whole["images"] = [{**whole["images"][0], "file_name": "a.jpg"}]
    whole["annotations"] = whole["annotations"][:1]
    for path in ("data.yaml", "labels/train/a.txt", "labels/val/b.txt"):
        tiny.drop(path)
    folder = "train" if name.startswith("train") else "train2017"
    tiny.put(f"{folder}/a.jpg", (tiny.root / "images/train/a.jpg").read_bytes())
    tiny.put(name, json.dumps(whole))
    report = run(tiny.root)
    assert "AN007" not in report.by_code() and report.counts["train"]["images"] == 1


@pytest.mark.parametrize("names", [("a.ndjson", "b.ndjson")])
def test_two_ndjson_files_are_one_too_many(tiny: TinySet, names: tuple[str, ...]):
    tiny.drop("data.yaml")
    for name in names:
        tiny.put(name, "{}")
    with pytest.raises(DataError, match="say which one"):
        run(tiny.root)


@pytest.mark.parametrize(("change", "task"), [(coco(), "obb"), (voc(), "pose"), (voc(), "segment")])
def test_a_task_without_labels_in_the_format_is_refused(tiny: TinySet, change, task: str):
    with pytest.raises(DataError, match="has no labels for the task"):
        _lint(tiny, change, task)


def test_the_ids_of_coco_itself_are_no_finding(tiny: TinySet):
    from ultralytics.data.converter import coco91_to_coco80_class

    assert {i + 1 for i, new in enumerate(coco91_to_coco80_class()) if new is not None} == set(COCO_IDS)
    categories = [{"id": i, "name": f"c{i}"} for i in sorted(COCO_IDS)]
    assert "AN011" not in _lint(tiny, coco(lambda whole: whole.update(categories=categories))).by_code()


def test_the_names_of_coco_are_those_of_ultralytics():
    import ultralytics
    from ultralytics.utils import YAML

    names = YAML.load(Path(ultralytics.__file__).parent / "cfg/datasets/coco.yaml")["names"]
    assert list(COCO_NAMES.items()) == list(zip(sorted(COCO_IDS), names.values(), strict=True))


def _classes(*ids: int, names: dict[int, str] | None = None):
    """The tiny set as COCO with categories of these ids, and an annotation of each."""

    def change(whole):
        whole["categories"] = [{"id": i, "name": (names or {}).get(i, f"part{i}")} for i in ids]
        whole["annotations"] = [
            {"id": k, "image_id": 1, "category_id": i, "bbox": [3 * k, 10, 10, 10]} for k, i in enumerate(ids, 1)
        ]

    return coco(change)


def _converted(tiny: TinySet, *, table: bool) -> list[int]:
    """The class numbers that the converter writes for the train image."""
    from ultralytics.data.converter import convert_coco

    out = tiny.root / f"out{table}"
    convert_coco(str(tiny.root), str(out), cls91to80=table)
    return [int(row.split()[0]) for row in (out / "labels/instances/train/a.txt").read_text().splitlines()]


def test_classes_that_the_converter_takes_for_those_of_coco(tiny: TinySet):
    (found,) = (f for f in _lint(tiny, _classes(*range(1, 12), 13, 14)).findings if f.code == "AN038")
    assert "2 category ids" in found.message and "id 13 ('part13') becomes class 11, not 12" in found.message
    assert _converted(tiny, table=True) == [*range(11), 11, 12]
    assert _converted(tiny, table=False) == [*range(11), 12, 13]
    (found,) = (f for f in _lint(_again(tiny), _classes(*range(1, 15))).findings if f.code == "AN038")
    assert "id 12 ('part12') raises an error" in found.message
    with pytest.raises(TypeError):
        _converted(tiny, table=True)


@pytest.mark.parametrize(
    "change", [_classes(*range(1, 12)), _classes(*sorted(COCO_IDS)), _classes(1, 17, 90, names=COCO_NAMES)]
)
def test_classes_that_the_converter_takes_for_what_they_are(tiny: TinySet, change):
    assert "AN038" not in _lint(tiny, change).by_code()


def test_categories_from_zero_become_class_minus_one(tiny: TinySet):
    (found,) = (f for f in _lint(tiny, _classes(0, 1)).findings if f.code == "AN011")
    assert "category ids start at 0" in found.message and "class -1 of 'part0'" in found.message
    assert _converted(tiny, table=False) == [-1, 0]
    with pytest.raises(TypeError):
        _converted(tiny, table=True)


def test_a_category_zero_of_which_nothing_is_made_is_no_finding(tiny: TinySet):
    """As Roboflow writes one for the group of all others."""

    def change(whole):
        whole["categories"] = [{"id": i, "name": f"part{i}"} for i in range(3)]
        whole["annotations"] = [{"id": i, "image_id": 1, "category_id": i, "bbox": [3 * i, 9, 9, 9]} for i in (1, 2)]

    assert "AN011" not in _lint(tiny, coco(change)).by_code()
    assert _converted(tiny, table=False) == [0, 1] == _converted(tiny, table=True)


@pytest.mark.parametrize(("first", "recall"), [(0, 2 / 3), (1, 1.0)])
def test_the_annotation_with_id_0_counts_as_missed(tiny: TinySet, first: int, recall: float):
    from faster_coco_eval import COCO, COCOeval_faster

    def change(whole):
        box = {"bbox": [10, 10, 10, 10], "area": 100, "iscrowd": 0, "category_id": 1}
        whole["annotations"] = [{**box, "id": first + k, "image_id": 1 + k % 2} for k in range(3)]
        whole["annotations"][2]["bbox"] = [40, 20, 10, 10]

    assert ("AN037" in _lint(tiny, coco(change)).by_code()) == (first == 0)
    whole = json.loads((tiny.root / "instances.json").read_text())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        truth = COCO(whole)
    keys = ("image_id", "category_id", "bbox")
    perfect = truth.loadRes([{**{key: one[key] for key in keys}, "score": 0.9} for one in whole["annotations"]])
    evaluation = COCOeval_faster(truth, perfect, "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    assert evaluation.stats[8] == pytest.approx(recall, abs=1e-3)


def test_json_of_another_kind_is_refused(tiny: TinySet):
    tiny.put("a.json", '{"shapes": []}')
    with pytest.raises(DataError, match="no COCO file"):
        run(tiny.root / "a.json")


def test_a_yolo_dataset_stays_one(tiny: TinySet):
    tiny.put("instances.json", json.dumps(whole_coco()))
    report = run(tiny.root)
    assert report.data.endswith("data.yaml") and not [f for f in report.findings if f.code.startswith("AN")]


@pytest.mark.parametrize(
    ("task", "key", "row", "code"),
    [
        ("segment", "segments", [0, 0.1, 0.1, 0.5, 0.1, 0.5], "AN028"),
        ("pose", "pose", [0, 0.5, 0.5, 0.2, 0.2, 0.5, 0.5, 2], None),
        ("obb", "obb", [0, 0.1, 0.1, 0.5, 0.1, 0.5, 0.5], "AN028"),
        ("detect", "boxes", [0.5, 0.5, 0.5, 0.2, 0.2], "AN028"),
        ("detect", "boxes", [0, 0.5, 0.5, 0.2, 0.0], "BX004"),
        ("detect", "segments", [0, 0.1, 0.1, 0.5, 0.1, 0.5, 0.5], "AN027"),
    ],
)
def test_what_is_found_in_ndjson(tiny: TinySet, task: str, key: str, row: list[float], code: str | None):
    change = ndjson({"task": task, "kpt_shape": [1, 3]}, annotations={key: [row]})
    report = _lint(tiny, change, data="set.ndjson")
    found = [f for f in report.findings if f.image and f.image.endswith("a.jpg") and f.code[:2] in ("AN", "BX")]
    assert [f.code for f in found] == ([code] if code else []) and report.task == task
    assert all(f.place.line == 2 for f in found)
