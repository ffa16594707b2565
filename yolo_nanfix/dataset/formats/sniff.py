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


class Foreign(NamedTuple):
    """A kind of file that is neither COCO nor VOC.

    Attributes:
        what: its name in a sentence ("a LabelMe file").
        how: what to do instead.
    """

    what: str
    how: str

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


_TOOL = "export from the tool that wrote it as COCO or YOLO, and lint that"
_STUDIO = "in Label Studio choose Export, then YOLO with Images or COCO, and lint what that gives"
_BACK = "correct the labels in the tool, export them from there as YOLO or COCO, and lint that"
_CVAT = "in CVAT export the task as Ultralytics YOLO or COCO 1.0, and lint that"
_PIXELS = "turn its map coordinates into pixels of the image tiles, write them as COCO or YOLO, and lint that"

HANDOFF_TASKS = Foreign("a file of tasks for Label Studio, as `yolo-nanfix handoff` writes it", _BACK)
HANDOFF_CVAT = Foreign("a file for CVAT, as `yolo-nanfix handoff` writes it", _BACK)
HANDOFF = Foreign("the summary of what `yolo-nanfix handoff` wrote", _BACK)
REPORT = Foreign("a report of `yolo-nanfix lint`", "lint the dataset itself, its data.yaml or folder")
STUDIO_NOTES = Foreign(
    "notes.json of Label Studio's YOLO export, which holds no labels, only the names of the classes",
    "lint the folder in which it lies, with its images and labels",
)
STUDIO = Foreign("Label Studio's own JSON export", _STUDIO)
STUDIO_SETUP = Foreign("a labelling setup of Label Studio, which holds no labels", _STUDIO)
LABELME = Foreign(
    "a LabelMe file (one an image, as LabelMe and X-AnyLabeling save them)",
    "convert the folder with `labelme2yolo`, or export YOLO from X-AnyLabeling, and lint that",
)
VIA = Foreign("a project of the VGG Image Annotator", "in VIA export the annotations in COCO format, and lint that")
CVAT = Foreign("CVAT's own XML (CVAT for images or video 1.1)", _CVAT)
GEOJSON = Foreign("GeoJSON", _PIXELS)
RESULTS = Foreign(
    "a list of detections in COCO's format of results, as `val` writes predictions.json",
    "lint the annotations; detections are judged by `val`",
)
NDJSON = Foreign("Ultralytics NDJSON", "give the file the suffix .ndjson, and lint that")


def _has(*keys: str, inner: Iterable[str] = (), listed: bool = False) -> Callable[[Keys], bool]:
    """A test for all these keys at the top, and for one of some below."""
    top, below = frozenset(keys), frozenset(inner)
    return lambda found: found.listed == listed and top <= found.top and (not below or bool(below & found.inner))


def _is_studio(found: Keys) -> bool:
    told = found.top & {"annotations", "completions", "predictions", "total_annotations"}
    return found.listed and "data" in found.top and bool(told)


def _is_handoff(found: Keys) -> bool:
    return found.listed and {"data", "id"} <= found.top and {"defects", "split", "image"} <= found.inner


def _is_short_studio(found: Keys) -> bool:
    shapes = {"rectanglelabels", "polygonlabels", "brushlabels", "ellipselabels", "keypointlabels"}
    return found.listed and bool(shapes & found.inner) and "original_width" in found.inner


def _is_notes(found: Keys) -> bool:
    told = {"info", "categories"} <= found.top and not {"images", "annotations"} & found.top
    return not found.listed and told and "contributor" in found.inner


def _is_geojson(found: Keys) -> bool:
    return not found.listed and "features" in found.top and "FeatureCollection" in found.texts


def _is_via(found: Keys) -> bool:
    project = bool(found.top & {"_via_img_metadata", "_via_settings", "_via_data_format_version"})
    loose = {"filename", "regions"} <= found.inner and bool(found.inner & {"shape_attributes", "region_attributes"})
    return not found.listed and (project or loose or {"project", "config", "attribute", "metadata"} <= found.top)


def _is_createml(found: Keys) -> bool:
    named = found.top & {"image", "imagefilename"} and found.top & {"annotations", "annotation"}
    return found.listed and bool(named) and "coordinates" in found.inner


def _is_panoptic(found: Keys) -> bool:
    return not found.listed and {"images", "annotations"} <= found.top and "segments_info" in found.inner


def _is_captions(found: Keys) -> bool:
    named = {"images", "annotations"} <= found.top and "caption" in found.inner
    return not found.listed and named and not {"bbox", "category_id"} & found.inner


_JSON: tuple[tuple[Callable[[Keys], bool], Foreign], ...] = (
    (_has("data", "task", "findings", "counts"), REPORT),
    (_is_handoff, HANDOFF_TASKS),
    (_has("format", "data", "task", "boxes", "findings"), HANDOFF),
    (_is_studio, STUDIO),
    (_is_short_studio, STUDIO),
    (_is_notes, STUDIO_NOTES),
    (_has("shapes", "imagePath"), LABELME),
    (_is_via, VIA),
    (_is_geojson, GEOJSON),
    (_has("image_id", "category_id", "score", listed=True), RESULTS),
    (_has("type", "class_names"), NDJSON),
    (_has("objects", "size", inner=("classTitle", "geometryType")), Foreign("a Supervisely file", _TOOL)),
    (_has("classes", "tags", inner=("shape", "hotkey")), Foreign("meta.json of a Supervisely project", _TOOL)),
    (_has("imgHeight", "imgWidth", "objects"), Foreign("a Cityscapes file", _TOOL)),
    (_has("name", "labels", listed=True, inner=("box2d", "poly2d")), Foreign("a BDD100K (Scalabel) file", _TOOL)),
    (_has("frames", inner=("box2d", "poly2d", "labels")), Foreign("a Scalabel file", _TOOL)),
    (_is_panoptic, Foreign("COCO for panoptic segmentation", "lint the file of instances that belongs to it")),
    (_is_captions, Foreign("COCO for captions, which has no boxes", "lint the file of instances that belongs to it")),
    (_is_createml, Foreign("a CreateML file", _TOOL)),
    (_has("dm_format_version"), Foreign("a Datumaro file", "convert it with `datum convert -f coco`, and lint that")),
    (
        _has("items", "categories", inner=("label_id", "label")),
        Foreign("a Datumaro file", "convert it with `datum convert -f coco`, and lint that"),
    ),
    (_has("data_row"), Foreign("a Labelbox export", _TOOL)),
    (_has("data_row", listed=True), Foreign("a Labelbox export", _TOOL)),
    (_has("Labeled Data", listed=True), Foreign("a Labelbox export", _TOOL)),
    (_has("item", "annotations", inner=("slots", "bounding_box")), Foreign("a Darwin (V7) file", _TOOL)),
    (_has("source-ref"), Foreign("a manifest of SageMaker Ground Truth", _TOOL)),
    (_has("samples", inner=("_cls",)), Foreign("a FiftyOne dataset", "export it as COCO or YOLOv5Dataset")),
    (_has("jsonResponse", listed=True), Foreign("a Kili export", _TOOL)),
    (_has("label_hash", "data_units"), Foreign("an Encord export", _TOOL)),
)
"""A test for each kind of JSON, the most certain first."""


def json_kind(file: Path) -> Foreign | None:
    """The kind of a JSON file of one of these tools; None if it may be COCO, or is unknown."""
    found = keys_of(file)
    return None if found is None else next((foreign for fits, foreign in _JSON if fits(found)), None)


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
    "View": STUDIO_SETUP,
    "kml": Foreign("KML", _PIXELS),
    "svg": Foreign("an SVG drawing", _TOOL),
    "html": Foreign("a web page", "download the annotations again: this is what the server said instead of them"),
    "PcGts": Foreign("PAGE XML of text lines", _TOOL),
    "alto": Foreign("ALTO XML of text lines", _TOOL),
    "HRSC_Image": Foreign("an HRSC2016 file", _TOOL),
    "sequence": Foreign("a UA-DETRAC file", _TOOL),
    "tagset": Foreign("an ICDAR file", _TOOL),
    "opencv_storage": Foreign("an OpenCV storage", _TOOL),
}
"""Kinds of XML by their outermost element."""
DLIB = Foreign("a file of dlib's imglab", _TOOL)
LABELME_XML = Foreign("an XML file of the LabelMe website, with polygons", _TOOL)
ROLABELIMG = Foreign(
    "a file of roLabelImg, with rotated boxes",
    "convert it to DOTA's text, then with Ultralytics' `convert_dota_to_yolo_obb`",
)


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
        return HANDOFF_CVAT if first_text.startswith("yolo-nanfix") else CVAT
    if tag == "dataset" and "images" in inside:
        return DLIB
    if tag != "annotation" or "bndbox" in below:
        return None
    if "robndbox" in below:
        return ROLABELIMG
    return LABELME_XML if "polygon" in below else None


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
