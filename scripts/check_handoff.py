"""Read handoffs with the tools they are for: datumaro's CVAT and COCO readers, pycocotools, Label Studio's converter.

    pip install datumaro label-studio-sdk pycocotools           # in an environment of their own: 690 MB
    yolo-nanfix handoff data.yaml OUT --to cvat                 # and the other forms
    python scripts/check_handoff.py OUT ... --lint "$PWD/.venv/bin/yolo-nanfix"

Each image must have its name in the dataset. Each reader must find the images, classes and boxes of the `handoff.csv`
beside the file, within a pixel. With `--lint`
what datumaro and Label Studio then write as YOLO is put back by its names alone, and linted: each image must get its
label file, no label file may be left over, and each row must be where it was. Exit code 1 if one does not.
This script imports nothing of yolo-nanfix.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import logging
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

MISSING = "\N{REPLACEMENT CHARACTER}"


class Read(NamedTuple):
    """What a reader found: names of images, and image, class, left, top, right, bottom of each box."""

    images: set[str]
    boxes: list[tuple[str, str, float, float, float, float]]


def wanted(out: Path) -> Read:
    """The images that can be opened, and all boxes, as the CSV lists them."""
    with open(out / "handoff.csv", encoding="utf-8", newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["width"] != "0"]
    sides = ("left", "top", "right", "bottom")
    boxes = [(r["image"], r["class"], *(float(r[s]) for s in sides)) for r in rows if r["class"]]
    return Read({row["image"] for row in rows}, boxes)


def datumaro_set(out: Path, form: str, folder: str) -> Any:
    """A handoff as a dataset of datumaro, which reads it from `folder`."""
    from datumaro.components.dataset import Dataset

    source, target = {
        "cvat": ("annotations.xml", "annotations.xml"),
        "coco_instances": ("annotations.json", "annotations/instances_default.json"),
    }[form]
    (Path(folder) / target).parent.mkdir(exist_ok=True)
    (Path(folder) / target).write_bytes((out / source).read_bytes())
    shutil.copytree(out / "images", Path(folder) / "images")
    return Dataset.import_from(folder, form)


def by_datumaro(out: Path, form: str) -> Read:
    """What datumaro reads; of polygons the boxes around them."""
    from datumaro.components.annotation import AnnotationType

    names = {str(PurePosixPath(name).with_suffix("")): name for name in wanted(out).images}
    with tempfile.TemporaryDirectory() as folder:
        dataset = datumaro_set(out, form, folder)
        labels = dataset.categories()[AnnotationType.label]
        found = Read(set(), [])
        for item in dataset:
            found.images.add(names.get(item.id, item.id))
            drawn = set()  # an outline in COCO is read as a polygon and as a box of the same id
            for annotation in item.annotations:
                if annotation.id and annotation.id in drawn:
                    continue
                drawn.add(annotation.id)
                if annotation.type in (AnnotationType.bbox, AnnotationType.polygon):
                    x, y, w, h = annotation.get_bbox()
                    box = (x, y, x + w, y + h)
                    found.boxes.append((names.get(item.id, item.id), labels[annotation.label].name, *box))
    return found


def back_from_datumaro(out: Path, form: str, to: Path) -> None:
    """Labels as datumaro writes them for YOLO, below `to` under the names that it gives them."""
    from datumaro.components.annotation import AnnotationType

    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as written:
        dataset = datumaro_set(out, form, folder)
        classes = [label.name for label in dataset.categories()[AnnotationType.label]]
        dataset.export(str(Path(written) / "yolo"), "yolo")
        (subset,) = (Path(written) / "yolo").glob("obj_*_data")
        put_back(out, to, classes, [(file, file.relative_to(subset)) for file in sorted(subset.rglob("*.txt"))])


def back_from_label_studio(out: Path, to: Path) -> None:
    """The same by Label Studio's converter: each file of tasks is a project, whose labels have no folders."""
    for tasks in sorted(out.glob("tasks*.json")):
        folders = {
            (name := PurePosixPath(task["data"]["name"])).stem: name.parent
            for task in json.loads(tasks.read_text(encoding="utf-8"))
        }
        with tempfile.TemporaryDirectory() as written, label_studio(out) as converter:
            converter.convert_to_yolo(str(tasks), written, is_dir=False)
            classes = (Path(written) / "classes.txt").read_text(encoding="utf-8").splitlines()
            files = sorted((Path(written) / "labels").iterdir())
            put_back(out, to, classes, [(f, folders.get(f.stem, PurePosixPath("unknown")) / f.name) for f in files])


def put_back(out: Path, to: Path, classes: list[str], files: list[tuple[Path, PurePosixPath | Path]]) -> None:
    """A YOLO dataset of the images of a handoff and of label files, by their names; classes as the CSV numbers them."""
    known = sorted({box[1] for box in wanted(out).boxes})
    for name in wanted(out).images:
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(out / "images" / name, to / name)
    for file, name in files:
        rows = [line.split() for line in file.read_text().splitlines()]
        lines = [" ".join((str(known.index(classes[int(number)])), *rest)) for number, *rest in rows]
        place = to / "/labels/".join(f"/{name}".rsplit("/images/", 1)).lstrip("/")  # as Ultralytics does
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text("".join(f"{line}\n" for line in lines))
    names = json.dumps(known or ["none"])
    (to / "data.yaml").write_text(f"train: .\nval: .\nnames: {names}\n", encoding="utf-8")


def linted(out: Path, to: Path, command: str) -> list[str]:
    """What is wrong with a dataset that came back: images without labels, labels without images, rows elsewhere."""
    words = [*shlex.split(command), "lint", str(to), "--json", "--task", "detect", "--isolated", "--no-cache"]
    report = json.loads(subprocess.run(words, capture_output=True, text=True).stdout)
    lines = [
        f"{f['code']} {f['place']['file']}: {f['message']}"
        for f in report["findings"]
        if f["code"].startswith(("FS00", "TX")) and f["code"] not in ("FS009", "TX017")
    ]
    counts = report["counts"]["train"]
    images, rows = len(wanted(out).images), len(wanted(out).boxes)
    if (counts["images"], counts["labels"], counts["rows"]) != (images, images, rows):
        lines.append(f"{counts}, not {images} images and label files with {rows} rows")
    return lines


def by_pycocotools(out: Path) -> Read:
    """What pycocotools reads."""
    from pycocotools.coco import COCO

    coco = COCO(str(out / "annotations.json"))
    return _of_coco(coco.dataset, {i: image["file_name"] for i, image in coco.imgs.items()})


@contextlib.contextmanager
def label_studio(out: Path) -> Iterator[Any]:
    """Label Studio's converter, served the images as its users are told to serve them."""
    from label_studio_sdk._extensions.label_studio_tools.core.utils.io import local_files_resolver
    from label_studio_sdk.converter import Converter

    brought = (out / "images").is_dir()
    root = out.absolute().parent if brought else Path(json.loads((out / "handoff.json").read_text())["root"]).parent
    with local_files_resolver(lambda path: str(root / path)):
        yield Converter(str(out / "label_config.xml"), None, download_resources=False)


def by_label_studio(out: Path) -> Read:
    """What Label Studio's own converter makes of the tasks, as COCO."""
    found = Read(set(), [])
    for file in sorted(out.glob("tasks*.json")):
        tasks = json.loads(file.read_text(encoding="utf-8"))
        with tempfile.TemporaryDirectory() as folder, label_studio(out) as converter:
            converter.convert_to_coco(str(file), folder, is_dir=False)
            whole = json.loads((Path(folder) / "result.json").read_text(encoding="utf-8"))
        order = [task["data"]["name"] for task in tasks if "annotations" in task]
        bare = {task["data"]["name"] for task in tasks} - set(order)  # images to be labelled: it exports none of them
        some = _of_coco(whole, {image["id"]: order[number] for number, image in enumerate(whole["images"])})
        found = Read(found.images | some.images | bare, found.boxes + some.boxes)
    return found


def _of_coco(whole: dict[str, Any], names: dict[int, str]) -> Read:
    """The boxes of a COCO dataset."""
    labels = {category["id"]: category["name"] for category in whole["categories"]}
    boxes = [
        (names[a["image_id"]], labels[a["category_id"]], x, y, x + w, y + h)
        for a in whole["annotations"]
        if "keypoints" not in a or a["keypoints"] is None or labels[a["category_id"]] != "default"
        for x, y, w, h in (a["bbox"],)
    ]
    return Read(set(names.values()), boxes)


def differences(found: Read, expected: Read) -> list[str]:
    """How what was read differs from what should be there."""
    lines = [f"image {name!r} is only on one side" for name in sorted(found.images ^ expected.images)]
    if len(found.boxes) != len(expected.boxes):
        lines.append(f"{len(found.boxes)} boxes, not {len(expected.boxes)}")
    for ours, theirs in zip(_sorted(expected.boxes), _sorted(found.boxes), strict=False):
        if ours[:2] != theirs[:2] or max(abs(a - b) for a, b in zip(ours[2:], theirs[2:], strict=True)) > 1:
            lines.append(f"{ours} was read as {theirs}")
    return lines


def _sorted(boxes: Iterable[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return sorted(boxes, key=lambda box: (*box[:2], *(round(side) for side in box[2:])))


def readers(out: Path) -> dict[str, tuple[Any, Any]]:
    """The readers for the form of a folder, each with what writes YOLO again, if it does."""
    if (out / "annotations.xml").exists():
        return {"datumaro's CVAT reader": (lambda: by_datumaro(out, "cvat"), partial(back_from_datumaro, out, "cvat"))}
    if (out / "annotations.json").exists():
        back = partial(back_from_datumaro, out, "coco_instances")
        return {
            "datumaro's COCO reader": (lambda: by_datumaro(out, "coco_instances"), back),
            "pycocotools": (lambda: by_pycocotools(out), None),
        }
    return {"Label Studio's converter": (lambda: by_label_studio(out), partial(back_from_label_studio, out))}


def strangers(out: Path) -> list[str]:
    """The images that have another name than in the dataset, where that is still there."""
    root = Path(json.loads((out / "handoff.json").read_text(encoding="utf-8")).get("root", ""))
    names = sorted(wanted(out).images) if root.is_dir() else []
    return [f"{name!r} is no file below {root}" for name in names if not (root / name).is_file()]


def check(out: Path, read: Any, back: Any, lint: str) -> tuple[str, list[str]]:
    """What one reader found, and what of it is not as written."""
    found = read()
    lines = [*strangers(out), *differences(found, wanted(out))]
    what = f"{len(found.images)} images, {len(found.boxes)} boxes"
    if lint and back is not None and wanted(out).boxes:
        with tempfile.TemporaryDirectory() as folder:
            back(Path(folder))
            lines += linted(out, Path(folder), lint)
        what += ", back as YOLO and linted"
    return what, lines


def main() -> int:
    """Check each folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", nargs="+", type=Path)
    parser.add_argument("--lint", default="", metavar="COMMAND", help="also write YOLO again, and lint it by COMMAND")
    args = parser.parse_args()
    logging.disable(logging.WARNING)
    bad = 0
    for out in args.out:
        for name, (read, back) in readers(out).items():
            stdout, sys.stdout = sys.stdout, open(os.devnull, "w")  # noqa: SIM115 - pycocotools talks
            try:
                what, lines = check(out, read, back, args.lint)
            finally:
                sys.stdout = stdout
            bad += bool(lines)
            print(f"{out}: {name}: {what}: {'as written' if not lines else 'DIFFERENT'}")
            print(*(f"  {line}" for line in lines[:10]), sep="\n", end="\n" if lines else "")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
