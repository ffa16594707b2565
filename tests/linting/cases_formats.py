"""Faulty and clean twins for the rules on annotation files, as in `cases.py`: the tiny set as COCO, VOC and NDJSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from linting.tiny_set import TinySet, picture, turned

Change = Callable[[TinySet], object]
WIDTH, HEIGHT = 64, 48


def bare(tiny: TinySet) -> None:
    """Leave nothing but the images of the set."""
    for path in ("data.yaml", "labels/train/a.txt", "labels/val/b.txt"):
        tiny.drop(path)


def whole_coco() -> dict[str, Any]:
    """A healthy COCO file of the tiny set."""
    square = [[10, 10, 20, 10, 20, 20, 10, 20]]
    points = [10, 10, 2, 20, 20, 1]
    return {
        "images": [
            {"id": 1, "file_name": "train/a.jpg", "width": WIDTH, "height": HEIGHT},
            {"id": 2, "file_name": "val/b.jpg", "width": WIDTH, "height": HEIGHT},
        ],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "bbox": [10, 10, 10, 10], "segmentation": square},
            {"id": 2, "image_id": 2, "category_id": 2, "bbox": [10, 10, 10, 10], "segmentation": square},
        ],
        "categories": [{"id": 1, "name": "cat", "keypoints": ["nose", "tail"]}, {"id": 2, "name": "dog"}],
        "keypoints": points,
    }


def coco(change: Callable[[dict[str, Any]], object] = lambda whole: None, text: str | None = None) -> Change:
    """The tiny set as COCO, with a change to it; or with this text in place of the JSON."""

    def put(tiny: TinySet) -> None:
        bare(tiny)
        whole = whole_coco()
        change(whole)
        tiny.put("instances.json", json.dumps(whole, indent=1) if text is None else text)

    return put


def image(number: int = 0, **fields: Any) -> Change:
    return coco(lambda whole: whole["images"][number].update(fields))


def annotation(number: int = 0, **fields: Any) -> Change:
    return coco(lambda whole: whole["annotations"][number].update(fields))


def category(number: int = 0, **fields: Any) -> Change:
    return coco(lambda whole: whole["categories"][number].update(fields))


def xml(
    box: tuple[object, ...] = (10, 10, 20, 20),
    size: tuple[object, object] = (WIDTH, HEIGHT),
    name: str = "cat",
    filename: str = "a.jpg",
    more: str = "",
) -> str:
    """One VOC file."""
    corners = "".join(f"<{c}>{v}</{c}>" for c, v in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=False))
    return (
        f"<annotation>\n<filename>{filename}</filename>\n<size><width>{size[0]}</width><height>{size[1]}</height></size>\n"
        f"<object><name>{name}</name>{more}<bndbox>{corners}</bndbox></object>\n</annotation>\n"
    )


def voc(text: str = xml(), lists: str = "") -> Change:
    """One image with its VOC file."""

    def put(tiny: TinySet) -> None:
        bare(tiny)
        tiny.put("JPEGImages/a.jpg", (tiny.root / "images/train/a.jpg").read_bytes())
        tiny.put("Annotations/a.xml", text)
        if lists:
            tiny.put("ImageSets/Main/train.txt", lists)

    return put


def ndjson(first: dict[str, Any] | None = None, raw: str = "", **fields: Any) -> Change:
    """A train and a val image as NDJSON; `fields` change the record of the first."""

    def put(tiny: TinySet) -> None:
        bare(tiny)
        head = {"type": "dataset", "task": "detect", "class_names": {"0": "cat", "1": "dog"}, **(first or {})}
        record = {"type": "image", "width": WIDTH, "height": HEIGHT, "url": "https://x.org/a.jpg"}
        rows = {"annotations": {"boxes": [[0, 0.5, 0.5, 0.2, 0.2], [1, 0.3, 0.3, 0.1, 0.1]]}}
        one = {**record, "file": "a.jpg", "split": "train", **rows, **fields}
        two = {**record, "file": "b.jpg", "split": "val", "url": "https://x.org/b.jpg", **rows}
        lines = [json.dumps(line) for line in (head, one, two)]
        tiny.put("set.ndjson", "\n".join([*lines, raw]) + "\n")

    return put


def quarter(box: list[int], size: tuple[int, int]) -> Change:
    """The tiny set as COCO, its train image turned by EXIF, with this box and this width and height."""

    def put(tiny: TinySet) -> None:
        fields = {"width": size[0], "height": size[1]}
        coco(lambda w: (w["images"][0].update(fields), w["annotations"][0].update(bbox=box, segmentation=[])))(tiny)
        tiny.put("images/train/a.jpg", turned(picture(), 6))

    return put


def _without(tiny: TinySet) -> None:
    image(1, file_name="val/c.jpg")(tiny)


def _no_url(tiny: TinySet) -> None:
    ndjson(url=None)(tiny)


def _mixed(tiny: TinySet) -> None:
    voc()(tiny)
    tiny.put("Annotations/b.xml", "<annotations><version>1.1</version><image id='0' name='a.jpg'/></annotations>")


_POSE = {"keypoints": [10, 10, 2, 20, 20, 1], "num_keypoints": 2}
_CUT = json.dumps(whole_coco(), indent=1)[:400]
_RUNS = {"counts": "abc", "size": [HEIGHT, WIDTH]}

CASES: dict[str, tuple[str, Change, Change]] = {
    "AN001": ("detect", coco(text=_CUT), coco()),
    "AN002": ("detect", coco(lambda whole: whole["images"].append({"file_name": "c.jpg"})), coco()),
    "AN003": ("detect", annotation(bbox=[float("nan"), 1, 2, 3]), coco()),
    "AN004": ("detect", image(1, id="2"), coco()),
    "AN005": ("detect", image(1, id=1), coco()),
    "AN006": ("detect", annotation(1, id=1), coco()),
    "AN007": ("detect", _without, coco()),
    "AN008": ("detect", annotation(image_id=7), coco()),
    "AN009": ("detect", annotation(category_id=7), coco()),
    "AN010": ("detect", category(1, name="cat"), coco()),
    "AN011": ("detect", category(1, id=7), coco()),
    "AN012": ("detect", image(width=0), voc()),
    "AN013": ("detect", image(width=2 * WIDTH, height=2 * HEIGHT), voc()),
    "AN014": ("detect", annotation(bbox=[1, 2, 3]), coco()),
    "AN015": ("detect", annotation(bbox=[10, 10, 0, 5]), annotation(bbox=[10, 10, 10, 10.5])),
    "AN016": ("segment", annotation(segmentation=[[1, 2, 3, 4, 5]]), coco()),
    "AN017": ("segment", annotation(segmentation={**_RUNS, "size": [WIDTH, HEIGHT]}), annotation(segmentation=_RUNS)),
    "AN018": ("detect", annotation(bbox=[10, 10, 20, 20]), annotation(bbox=[10, 10, 11, 10])),
    "AN019": ("pose", annotation(**{**_POSE, "keypoints": [1, 2, 3, 4]}), annotation(**_POSE)),
    "AN020": ("pose", annotation(**{**_POSE, "num_keypoints": 1}), annotation(**_POSE)),
    "AN021": ("detect", annotation(iscrowd=1), annotation(iscrowd=0)),
    "AN022": ("detect", voc(xml(filename="b.jpg")), voc()),
    "AN023": ("detect", image(1, file_name="train/a.jpg"), coco()),
    "AN024": ("detect", image(file_name="../../a.jpg"), coco()),
    "AN025": ("detect", ndjson(split="validation"), ndjson(split="train")),
    "AN026": ("detect", ndjson(annotations={"boxes": [[5, 0.5, 0.5, 0.2, 0.2]]}), ndjson()),
    "AN027": ("detect", ndjson(annotations={"boxes": [], "segments": []}), ndjson(annotations={})),
    "AN028": ("detect", ndjson(annotations={"boxes": [[0, 0.5, 0.5, 0.2]]}), ndjson()),
    "AN029": ("detect", voc(lists="a\nb\n"), voc(lists="a\n")),
    "AN030": ("detect", _no_url, ndjson()),
    "AN031": ("detect", category(1, name="Cat"), coco()),
    "AN032": ("detect", image(file_name="train/a.gif"), coco()),
    "AN035": ("detect", _mixed, voc()),
    "AN033": ("detect", quarter([50, 10, 12, 10], (WIDTH, HEIGHT)), quarter([10, 50, 12, 10], (HEIGHT, WIDTH))),
    "AN036": (
        "detect",
        coco(lambda whole: [one.update(filename=one.pop("file_name")) for one in whole["images"]]),
        coco(),
    ),
    "AN037": ("detect", annotation(id=0), coco()),
    "AN038": ("detect", category(1, id=12), coco()),
    "AN034": ("detect", quarter([10, 50, 12, 10], (WIDTH, HEIGHT)), quarter([10, 50, 12, 10], (HEIGHT, WIDTH))),
}
