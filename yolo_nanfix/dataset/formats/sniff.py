"""Detects the annotation format of a file or folder.

Files of tools whose format lint does not read are recognised, so that one error says how to export COCO or YOLO.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from yolo_nanfix.dataset import layouts
from yolo_nanfix.dataset.find_yaml import dataset_yamls
from yolo_nanfix.errors import DataError
from yolo_nanfix.files import ANYWHERE

_HEAD = 1 << 16
_TOKEN = re.compile(r'"((?:[^"\\]|\\.)*)"(\s*:)?|[{}\[\]]')

_TOOL = "export from the tool that wrote it as COCO or YOLO, and lint that"


class Foreign(NamedTuple):
    """A kind of file that is neither COCO nor VOC.

    Attributes:
        what: its name in a sentence ("a LabelMe file").
        how: what to do instead.
    """

    what: str
    how: str = _TOOL

    def said_of(self, file: str | Path, instead_of: str) -> str:
        """The sentence on such a file, which was taken for another format."""
        return f"{file} is {self.what}, not {instead_of}: {self.how}"


class Keys(NamedTuple):
    """The keys in the first bytes of a JSON file.

    Attributes:
        listed: whether its outermost value is a list.
        top: the keys of the outermost object, or of the objects in the outermost list.
        inner: all keys below.
        texts: short texts that are values, whatever their keys.
    """

    listed: bool
    top: frozenset[str]
    inner: frozenset[str]
    texts: frozenset[str]


_BACK = "correct the labels in the tool, export them from there as YOLO or COCO, and lint that"
_PIXELS = "turn its map coordinates into pixels of the image tiles, write them as COCO or YOLO, and lint that"
_INSTANCES = "lint the file of instances that belongs to it"
_FROM_STUDIO = "in Label Studio choose Export, then YOLO with Images or COCO, and lint what that gives"
REPORT = Foreign("a report of `yolo-nanfix lint`", "lint the dataset itself, its data.yaml or folder")
STUDIO_NOTES = Foreign(
    "notes.json of Label Studio's YOLO export, which holds no labels, only the names of the classes",
    "lint the folder in which it lies, with its images and labels",
)
STUDIO = Foreign("Label Studio's own JSON export", _FROM_STUDIO)
LABELME = Foreign(
    "a LabelMe file (one an image, as LabelMe and X-AnyLabeling save them)",
    "convert the folder with `labelme2yolo`, or export YOLO from X-AnyLabeling, and lint that",
)
VIA = Foreign("a project of the VGG Image Annotator", "in VIA export the annotations in COCO format, and lint that")
RESULTS = Foreign(
    "a list of detections in COCO's format of results, as `val` writes predictions.json",
    "lint the annotations; detections are judged by `val`",
)
NDJSON = Foreign("Ultralytics NDJSON", "give the file the suffix .ndjson, and lint that")
DATUMARO = Foreign("a Datumaro file", "convert it with `datum convert -f coco`, and lint that")
LABELBOX = Foreign("a Labelbox export")
CREATEML = Foreign("a CreateML file")


def _has(*keys: str, inner: Iterable[str] = (), without: Iterable[str] = ()) -> Callable[[Keys], bool]:
    """A test for all these keys at the top, for one of some below, and for none of others anywhere."""
    top, below = frozenset(keys), frozenset(inner)
    return lambda found: (
        top <= found.top and (not below or bool(below & found.inner)) and (found.top | found.inner).isdisjoint(without)
    )


def _holds(*keys: str, inner: Iterable[str] = ()) -> Callable[[Keys], bool]:
    """A test for all these keys below the top, and for one of some."""
    return lambda found: found.inner.issuperset(keys) and (not inner or not found.inner.isdisjoint(inner))


_OBJECTS: tuple[tuple[Callable[[Keys], bool], Foreign], ...] = (
    (_has("data", "task", "findings", "counts"), REPORT),
    (
        _has("format", "data", "task", "boxes", "findings"),
        Foreign("the summary of what `yolo-nanfix handoff` wrote", _BACK),
    ),
    (_has("info", "categories", inner=["contributor"], without=["images", "annotations"]), STUDIO_NOTES),
    (_has("shapes", "imagePath"), LABELME),
    *((_has(key), VIA) for key in ("_via_img_metadata", "_via_settings", "_via_data_format_version")),
    (_holds("filename", "regions", inner=["shape_attributes", "region_attributes"]), VIA),
    (_has("project", "config", "attribute", "metadata"), VIA),
    (lambda found: "features" in found.top and "FeatureCollection" in found.texts, Foreign("GeoJSON", _PIXELS)),
    (_has("type", "class_names"), NDJSON),
    (_has("objects", "size", inner=["classTitle", "geometryType"]), Foreign("a Supervisely file")),
    (_has("classes", "tags", inner=["shape", "hotkey"]), Foreign("meta.json of a Supervisely project")),
    (_has("imgHeight", "imgWidth", "objects"), Foreign("a Cityscapes file")),
    (_has("frames", inner=["box2d", "poly2d", "labels"]), Foreign("a Scalabel file")),
    (_has("images", "annotations", inner=["segments_info"]), Foreign("COCO for panoptic segmentation", _INSTANCES)),
    (
        _has("images", "annotations", inner=["caption"], without=["bbox", "category_id"]),
        Foreign("COCO for captions, which has no boxes", _INSTANCES),
    ),
    (_has("dm_format_version"), DATUMARO),
    (_has("items", "categories", inner=["label_id", "label"]), DATUMARO),
    (_has("data_row"), LABELBOX),
    (_has("item", "annotations", inner=["slots", "bounding_box"]), Foreign("a Darwin (V7) file")),
    (_has("source-ref"), Foreign("a manifest of SageMaker Ground Truth")),
    (_has("samples", inner=["_cls"]), Foreign("a FiftyOne dataset", "export it as COCO or YOLOv5Dataset")),
    (_has("label_hash", "data_units"), Foreign("an Encord export")),
)
"""A test for each kind of JSON whose outermost value is an object, the most certain first."""
_LISTS: tuple[tuple[Callable[[Keys], bool], Foreign], ...] = (
    (
        lambda found: _has("data", "id")(found) and _holds("defects", "split", "image")(found),
        Foreign("a file of tasks for Label Studio, as `yolo-nanfix handoff` writes it", _BACK),
    ),
    *((_has("data", key), STUDIO) for key in ("annotations", "completions", "predictions", "total_annotations")),
    (
        _holds(
            "original_width",
            inner=["rectanglelabels", "polygonlabels", "brushlabels", "ellipselabels", "keypointlabels"],
        ),
        STUDIO,
    ),
    (_has("image_id", "category_id", "score"), RESULTS),
    (_has("name", "labels", inner=["box2d", "poly2d"]), Foreign("a BDD100K (Scalabel) file")),
    *((_has("image", key, inner=["coordinates"]), CREATEML) for key in ("annotations", "annotation")),
    *((_has("imagefilename", key, inner=["coordinates"]), CREATEML) for key in ("annotations", "annotation")),
    (_has("data_row"), LABELBOX),
    (_has("Labeled Data"), LABELBOX),
    (_has("jsonResponse"), Foreign("a Kili export")),
)
"""The same of lists."""


def json_kind(file: Path) -> Foreign | None:
    """The kind of a JSON file of one of these tools; None if it may be COCO, or is unknown."""
    found = keys_of(file)
    if found is None:
        return None
    return next((foreign for fits, foreign in (_LISTS if found.listed else _OBJECTS) if fits(found)), None)


def keys_of(file: Path) -> Keys | None:
    """The keys in the first bytes of a JSON file; None if it is no JSON, or cannot be read."""
    try:
        head = ANYWHERE.read(file, _HEAD)
    except OSError:
        return None
    text = head.decode("utf-16" if head[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig", errors="replace").lstrip()
    if text[:1] not in ("{", "["):
        return None
    depth, level = 0, 2 if text[0] == "[" else 1
    top: set[str] = set()
    inner: set[str] = set()
    texts: set[str] = set()
    for match in _TOKEN.finditer(text):
        sign = match[0]
        if sign in "{[":
            depth += 1
        elif sign in "}]":
            depth -= 1
        elif match[2]:
            (top if depth == level else inner).add(match[1])
        elif len(sign) < 40:
            texts.add(match[1])
    return Keys(text[0] == "[", frozenset(top), frozenset(inner), frozenset(texts))


_XML: dict[str, Foreign] = {
    "View": Foreign("a labelling setup of Label Studio, which holds no labels", _FROM_STUDIO),
    "kml": Foreign("KML", _PIXELS),
    "svg": Foreign("an SVG drawing"),
    "html": Foreign("a web page", "download the annotations again: this is what the server said instead of them"),
    "PcGts": Foreign("PAGE XML of text lines"),
    "alto": Foreign("ALTO XML of text lines"),
    "HRSC_Image": Foreign("an HRSC2016 file"),
    "sequence": Foreign("a UA-DETRAC file"),
    "tagset": Foreign("an ICDAR file"),
    "opencv_storage": Foreign("an OpenCV storage"),
}
"""Kinds of XML by their outermost element."""
_FROM_CVAT = "in CVAT export the task as Ultralytics YOLO or COCO 1.0, and lint that"
_FROM_ROLABELIMG = "convert it to DOTA's text, then with Ultralytics' `convert_dota_to_yolo_obb`"


def xml_kind(tag: str, inner: Iterable[str], deeper: Iterable[str], first_text: str = "") -> Foreign | None:
    """The kind of an XML file; None if it is VOC, or unknown.

    Args:
        tag: its outermost element.
        inner: the elements in that.
        deeper: the elements in its <object>s, <meta> and <images>.
        first_text: the name of the task in it, if it has one.
    """
    inside, below = set(inner), set(deeper)
    if tag in _XML:
        return _XML[tag]
    if tag == "annotations" and inside & {"image", "track", "meta"}:
        if first_text.startswith("yolo-nanfix"):
            return Foreign("a file for CVAT, as `yolo-nanfix handoff` writes it", _BACK)
        return Foreign("CVAT's own XML (CVAT for images or video 1.1)", _FROM_CVAT)
    if tag == "dataset" and "images" in inside:
        return Foreign("a file of dlib's imglab")
    if tag != "annotation" or "bndbox" in below:
        return None
    if "robndbox" in below:
        return Foreign("a file of roLabelImg, with rotated boxes", _FROM_ROLABELIMG)
    return Foreign("an XML file of the LabelMe website, with polygons") if "polygon" in below else None


def in_folder(files: Iterable[Path]) -> tuple[Path, Foreign] | None:
    """The first JSON file in a folder of one of these tools, and its kind; None if there is none."""
    for file in files:
        if file.suffix.lower() == ".json" and os.path.isfile(file) and (kind := json_kind(file)) is not None:  # noqa: PTH113
            return file, kind
    return None


_TAIL = 1 << 12
_SPLITS = ("train", "val", "valid", "validation", "test")
_COCO_KEYS = (b'"images"', b'"annotations"', b'"categories"')


class AnnotationFiles(NamedTuple):
    """A format (`coco`, `voc` or `ndjson`) and its annotation files."""

    name: str
    files: tuple[Path, ...]


def sniff(data: str | Path) -> AnnotationFiles | None:
    """The format of a file by its suffix, or of a folder that holds no yaml by its content; None for a YOLO dataset.

    A folder is COCO by the JSON files in it, in its folder `annotations` or in those of its splits; VOC by the XML
    files in it or in its folder `Annotations`; NDJSON if it holds one such file.

    Raises:
        DataError: the folder cannot be listed, holds several NDJSON files, or labels of another tool alone.
    """
    if "://" in str(data):
        return None
    path = Path(str(data).strip())
    suffix = path.suffix.lower()
    try:
        if path.is_file():
            names = {".json": "coco", ".xml": "voc", ".ndjson": "ndjson"}
            return AnnotationFiles(names[suffix], (path.absolute(),)) if suffix in names else None
        return _in_folder(path.absolute()) if path.is_dir() else None
    except (OSError, ValueError) as error:
        raise DataError(f"'{path}' cannot be read: {error}") from error


def is_annotations(file: Path) -> bool:
    """Whether a file holds the annotations of a dataset of another format."""
    suffix = file.suffix.lower()
    return suffix in (".ndjson", ".xml") or (suffix == ".json" and _is_coco(file))


def _in_folder(folder: Path) -> AnnotationFiles | None:
    here = _sorted_entries(folder)
    if dataset_yamls(folder):
        return None
    rows = [file for file in here if file.suffix.lower() == ".ndjson"]
    if len(rows) > 1:
        raise DataError(f"'{folder}' holds {len(rows)} NDJSON files ({rows[0].name}, ...); say which one")
    if rows:
        return AnnotationFiles("ndjson", tuple(rows))
    splits = [file / "_annotations.coco.json" for file in here if file.is_dir()]
    found = [*here, *_sorted_entries(folder / "annotations"), *splits]
    coco = [file for file in found if file.suffix.lower() == ".json" and _is_coco(file)]
    if coco:
        return AnnotationFiles("coco", tuple(coco))
    inner = [
        file for split in here if split.is_dir() and split.name.lower() in _SPLITS for file in _sorted_entries(split)
    ]
    for notes in (_sorted_entries(folder / "Annotations"), here, _sorted_entries(folder / "annotations"), inner):
        voc = [file for file in notes if file.suffix.lower() == ".xml" and file.is_file()]
        if voc:
            break
    if not voc and not any(_speaks_of_yolo(file) for file in here) and (other := in_folder(found)) is not None:
        raise DataError(other[1].said_of(other[0], "COCO"))
    return AnnotationFiles("voc", tuple(voc)) if voc else None


def _speaks_of_yolo(file: Path) -> bool:
    """Whether an entry of a folder may be labels or images of a YOLO dataset, or its data file."""
    return file.suffix.lower() in (".txt", ".data") or (file.name.lower() in layouts.NAMES and file.is_dir())


def _sorted_entries(folder: Path) -> list[Path]:
    """What is in a folder, sorted, without hidden files; nothing if there is none."""
    try:
        return sorted(Path(entry.path) for entry in os.scandir(folder) if not entry.name.startswith("."))
    except (FileNotFoundError, NotADirectoryError):
        return []


def _is_coco(file: Path) -> bool:
    """Whether the beginning or end of a JSON file names one of COCO's lists, and it is not of another tool."""
    if not file.is_file():  # a pipe would be waited for
        return False
    try:
        with open(file, "rb") as stream:
            head = stream.read(_HEAD)
            stream.seek(-min(_TAIL, file.stat().st_size), os.SEEK_END)
            parts = head + stream.read(_TAIL)
    except OSError:
        return False
    named = head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{") and any(key in parts for key in _COCO_KEYS)
    return named and json_kind(file) is None
