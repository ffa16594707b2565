"""COCO JSON (instances, keypoints): images, annotations and categories, as they are."""

from __future__ import annotations

import os
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from yolo_nanfix.dataset.formats.build import TRIED, Annotated, Builder, image_root, inside, split_of
from yolo_nanfix.dataset.formats.defects import Defect
from yolo_nanfix.dataset.formats.json_walk import Broken, Entries, Entry, Text, Walk, read_json
from yolo_nanfix.dataset.formats.notes import Total, brief, numbers, side, whole
from yolo_nanfix.dataset.formats.sniff import json_kind, keys_of
from yolo_nanfix.dataset.options import LintOptions
from yolo_nanfix.errors import DataError
from yolo_nanfix.tasks import Basis, TaskBasis

CLASS_IDS = tuple(sorted(set(range(1, 91)) - {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}))
"""The ids; class k of 80 is the k-th of them."""
LAST_SAME_ID = 11
"""Up to this id, the number of a class is the id less one, as in any other set."""
_CLASS_NAMES = (
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light",
    "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow", "elephant",
    "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee", "skis", "snowboard",
    "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard", "tennis racket", "bottle",
    "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple", "sandwich", "orange", "broccoli",
    "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch", "potted plant", "bed", "dining table", "toilet",
    "tv", "laptop", "mouse", "remote", "keyboard", "cell phone", "microwave", "oven", "toaster", "sink",
    "refrigerator", "book", "clock", "vase", "scissors", "teddy bear", "hair drier", "toothbrush",
)  # fmt: skip
COCO_NAMES = dict(zip(CLASS_IDS, _CLASS_NAMES, strict=True))


RECTANGLE = 8
"""Numbers of a polygon with four corners, which may be a box."""
LIST_ALIASES: dict[str, tuple[str, ...]] = {
    "images": ("image", "imgs", "Images"),
    "annotations": ("annotation", "anns", "Annotations"),
    "categories": ("category", "cats", "classes", "Categories"),
}
"""The lists of a COCO file, each with names that it has in others."""


KeyAliases = dict[str, tuple[type, tuple[str, ...]]]
IMAGE: KeyAliases = {
    "file_name": (
        str,
        ("filename", "fileName", "file", "path", "image_name", "imageName", "img_name", "image_path", "name", "image"),
    ),
    "id": (int, ("image_id", "imageId", "img_id", "imageID")),
    "width": (int, ("w", "image_width", "img_width", "imageWidth")),
    "height": (int, ("h", "image_height", "img_height", "imageHeight")),
}
ANNOTATION: KeyAliases = {
    "image_id": (int, ("imageId", "img_id", "imageID", "imageid", "image")),
    "category_id": (int, ("categoryId", "class_id", "cat_id", "categoryID", "category", "label_id", "class")),
    "bbox": (list, ("box", "bounding_box", "boundingBox", "bndbox", "BBox", "boundingbox", "rect")),
    "segmentation": (list, ("segments", "segmentations", "polygon", "polygons")),
    "keypoints": (list, ("keypoint", "key_points", "keyPoints")),
}
CATEGORY: KeyAliases = {
    "name": (str, ("label", "title", "category_name", "class_name", "className", "categoryName")),
    "id": (int, ("category_id", "categoryId", "class_id", "cat_id")),
}
"""The keys of entries, each with the type of its value, and names that it has in others."""


class OtherNames:
    """Finds, entry by entry, the keys that no entry of a list has, and the names that all entries have instead."""

    def __init__(self, kinds: KeyAliases) -> None:
        self._kinds = kinds
        self._left: list[tuple[str, str, type]] | None = None

    def add(self, entry: Any) -> None:
        """Add one entry; anything but an object is skipped."""
        if not isinstance(entry, dict):
            return
        if self._left is None:
            self._left = [
                (key, alias, kind)
                for key, (kind, others) in self._kinds.items()
                for alias in others
                if key not in entry and alias not in self._kinds and alias in entry
            ]
        if self._left:
            self._left = [one for one in self._left if one[0] not in entry and type(entry.get(one[1])) is one[2]]

    @property
    def found(self) -> dict[str, str]:
        """For each key that no entry has, the name that all have instead."""
        found: dict[str, str] = {}
        for key, alias, _ in self._left or ():
            found.setdefault(key, alias)
        return found


@dataclass
class Tally:
    """Counts of a file's annotations by which their task is guessed.

    Attributes:
        annotations: those that are objects.
        polygons: those of them with a polygon of more than four corners.
        keypoints: those with keypoints.
        zeros: those of the category 0.
    """

    annotations: int = 0
    polygons: int = 0
    keypoints: int = 0
    zeros: int = 0

    def add(self, entry: Any) -> None:
        """Count one annotation."""
        if isinstance(entry, dict):
            self.annotations += 1
            rings = entry.get("segmentation")
            if isinstance(rings, list):
                self.polygons += any(isinstance(ring, list) and len(ring) > RECTANGLE for ring in rings)
            self.keypoints += bool(entry.get("keypoints"))
            self.zeros += entry.get("category_id") == 0


def coco_basis(categories: Iterable[Any], tallies: Sequence[Tally]) -> Basis:
    """Keypoints mean pose; polygons of more than four corners, in more than half of the annotations, segment."""
    count, polygons = sum(tally.annotations for tally in tallies), sum(tally.polygons for tally in tallies)
    named = any(isinstance(entry, dict) and entry.get("keypoints") for entry in categories)
    keypoints = sum(tally.keypoints for tally in tallies) if named else 0
    task = "pose" if keypoints else "segment" if 2 * polygons > count else "detect"
    numbers = {"annotations": count, "polygons": polygons, "keypoints": keypoints}
    return Basis(TaskBasis.ANNOTATIONS, task, numbers)


COCO_TASKS = ("detect", "segment", "pose")
LISTS = {"images": IMAGE, "annotations": ANNOTATION, "categories": CATEGORY}
"""The lists of a COCO file, each with the keys of its entries."""
COCO_IDS = frozenset(CLASS_IDS)
"""The 80 category ids of COCO itself, for which the converter has a table."""
BOX_SLACK = 3.0
"""Pixels by which a box may differ from its polygon."""
_NO_ID = -(1 << 63)


class _File:
    def __init__(self, path: Path, text: Text) -> None:
        self.path, self.walk = str(path), Walk(text)
        self.lists = {name: Entries(self.walk) for name in LISTS}
        self.images, self.annotations, self.categories = self.lists.values()
        self.tally = Tally()
        self._ids, self._texts = array("q"), dict[int, str]()  # of annotations; texts by the number of the annotation

    def add_id(self, entry: Any) -> None:
        """Keep the id of an annotation, which is parsed again later."""
        own = entry.get("id") if isinstance(entry, dict) else None
        if isinstance(own, str):
            self._texts[len(self._ids)] = own
        self._ids.append(own if whole(own) else _NO_ID)

    def called(self, number: int) -> str:
        """What an annotation is called."""
        own: int | str = self._texts.get(number, self._ids[number])
        return "annotation" if own == _NO_ID else f"annotation {own}"

    def repeated(self) -> set[int]:
        """The ids of several annotations each."""
        ids = np.sort(np.array(self._ids, np.int64))
        return set(ids[1:][ids[1:] == ids[:-1]].tolist())


def read_coco(files: Sequence[Path], source: Path, options: LintOptions) -> Annotated:
    """Read COCO files; each is one split, by its name or that of its folder.

    Raises:
        DataError: a file cannot be read, is JSON of another kind, or the task has no labels in COCO.
    """
    if options.task not in (None, *COCO_TASKS):
        raise DataError(f"COCO has no labels for the task {options.task}; lint {source} with {', '.join(COCO_TASKS)}")
    for path in files:
        if (other := json_kind(path)) is not None:
            raise DataError(other.said_of(path, "COCO"))
        if (keys := keys_of(path)) is not None and keys.listed:
            raise DataError(f"{path} is JSON, but no COCO file: a list, not one object with {', '.join(LISTS)}")
    builder = Builder(source, options, pixels=True)
    walked = [_walk(file, builder) for file in files]
    categories = (entry for file in walked for entry in file.categories)
    task = builder.settle(coco_basis(categories, [file.tally for file in walked]))
    classes = _categories(walked, builder, task)
    for file in walked:
        _CocoReader(file, classes, builder, task).read()
    return builder.finish()


def _walk(path: Path, builder: Builder) -> _File:
    """Read one file; the entries before a syntax error are kept."""
    data, odd = read_json(path)
    file = _File(path, Text(data))
    note = partial(builder.note, file.path)
    for says, values in odd:
        note(Defect.ANNOTATION_FILE_BROKEN, says, **values)
    others = {name: OtherNames(kinds) for name, kinds in LISTS.items()}

    def taker(name: str) -> Entry:
        entries, other = file.lists[name], others[name]

        def take(entry: Any, at: int, strange: bool) -> None:
            entries.add(at, strange)
            other.add(entry)
            if entries is file.annotations:
                file.add_id(entry)
                file.tally.add(entry)
            elif strange:
                note(Defect.NUMBER_NOT_FINITE, "NaN or Infinity in '{name}'", entries.lines[-1], name=name)

        return take

    named, walk = _lists(file.walk.text.data), file.walk
    try:
        keys = walk.run({alias: taker(name) for name, alias in named.items()})
    except Broken as error:
        line, column = walk.text.place(error.at)
        place: dict[str, Any] = {"at": line, "column": column, "problem": error.message}
        note(Defect.ANNOTATION_FILE_BROKEN, "no valid JSON: {problem} (line {at}, column {column})", line, **place)
        return file
    for name in walk.no_lists:
        note(Defect.ENTRY_MALFORMED, "{name!r} is no list of objects", name=name)
    missing = [name for name in LISTS if named[name] not in keys]
    if len(missing) == len(LISTS):
        raise DataError(f"{path} is JSON, but no COCO file: it has none of the lists {', '.join(LISTS)}")
    if missing:
        note(Defect.ENTRY_MALFORMED, "it has no list {missing:,}", missing=tuple(missing))
    lists = {name: alias for name, alias in named.items() if name != alias and alias in keys}
    _right_names(file, lists, others, builder)
    return file


def _lists(text: bytes) -> dict[str, str]:
    found = {}
    for name in LISTS:
        others = (alias for alias in LIST_ALIASES[name] if f'"{alias}"'.encode() in text)
        found[name] = name if f'"{name}"'.encode() in text else next(others, name)
    return found


def _right_names(file: _File, lists: Mapping[str, str], others: Mapping[str, OtherNames], builder: Builder) -> None:
    """Note lists and keys of other names than COCO's, and read on as if they had the right ones."""
    pairs = list(lists.items())
    for name, other in others.items():
        file.lists[name].rename(other.found)
        pairs += [(f"{name}.{key}", f"{name}.{alias}") for key, alias in other.found.items()]
    if others["annotations"].found:
        file.tally = Tally()
        for entry in file.annotations:
            file.tally.add(entry)
    if pairs:
        wanted, found = zip(*pairs, strict=True)
        says = "keys have other names than in COCO in all entries: {found:,} for {wanted:,}"
        builder.note(file.path, Defect.KEYS_MISNAMED, says, found=found, wanted=wanted)


def _categories(files: Sequence[_File], builder: Builder, task: str) -> dict[int, int]:
    """Class numbers by category id, in the order of the ids; keypoints are those of the first category with any."""
    names: dict[int, str] = {}
    points = 0
    spared = set() if any(file.tally.zeros for file in files) else {0}  # Roboflow's, for the group of the others
    for file in files:
        note = partial(builder.note, file.path)
        ids: set[int] = set()
        for entry, line in zip(file.categories, file.categories.lines, strict=True):
            if not isinstance(entry, dict) or not whole(entry.get("id")) or not isinstance(entry.get("name"), str):
                note(Defect.ENTRY_MALFORMED, "the category {value} has no id or name", line, value=brief(entry))
                continue
            number, name = entry["id"], entry["name"]
            if number in ids:
                note(Defect.CATEGORY_REPEATED, "the category id {id} occurs twice", line, id=number)
            elif names.get(number, name) != name:
                says, known = "category {id} is {name!r} here and {other!r} in another file", names[number]
                note(Defect.CATEGORY_REPEATED, says, line, id=number, name=name, other=known)
            elif number not in names and name in names.values():
                note(Defect.CATEGORY_REPEATED, "the category name {name!r} occurs twice", line, name=name)
            ids.add(number)
            names.setdefault(number, name)
            keypoints = entry.get("keypoints")
            points = points or (len(keypoints) if isinstance(keypoints, list) else 0)
        numbered = ids - spared
        if numbered and sorted(numbered) != list(range(1, len(numbered) + 1)) and ids != COCO_IDS:
            _note_uneven(ids, names, note)
        _note_unlike_coco(ids, names, note)
    builder.names = [names[number] for number in sorted(names)]
    builder.kpt_shape = (points, 3) if points and task == "pose" else None
    return {number: i for i, number in enumerate(sorted(names))}


def _note_uneven(ids: set[int], names: dict[int, str], note: Callable[..., None]) -> None:
    if 0 in ids:
        says = (
            "category ids start at 0: `convert_coco(cls91to80=False)` makes class -1 of {name!r}, and images with it "
            "are dropped; by default it raises TypeError"
        )
        note(Defect.CATEGORY_IDS_UNEVEN, says, name=names[0])
    else:
        says = "category ids are not 1 to {count}: {ids:,8}"
        note(Defect.CATEGORY_IDS_UNEVEN, says, count=len(ids), ids=tuple(sorted(ids)))


def _note_unlike_coco(ids: set[int], names: dict[int, str], note: Callable[..., None]) -> None:
    """Note what the converter's table of COCO's classes does to other classes, if it does anything."""
    other = [i for i in sorted(ids) if i > LAST_SAME_ID and COCO_NAMES.get(i, "") != names[i].strip().casefold()]
    if not other or ids == COCO_IDS:
        return
    raising = [i for i in other if i not in COCO_IDS]
    moved = [i for i in other if i in COCO_IDS and CLASS_IDS.index(i) != i - 1]
    parts, values = [], dict[str, Any]({"count": len(other), "same": LAST_SAME_ID})
    if raising:
        parts.append("id {raising} ({raising_name!r}) raises an error")
        values |= {"raising": raising[0], "raising_name": names[raising[0]]}
    if moved:
        parts.append("id {moved} ({moved_name!r}) becomes class {cls}, not {wanted}")
        values |= {"moved": moved[0], "moved_name": names[moved[0]]}
        values |= {"cls": CLASS_IDS.index(moved[0]), "wanted": moved[0] - 1}
    says = (
        "{count} category ids are above {same}, and their names are not COCO's: in `convert_coco` as it is by default "
    )
    note(Defect.CATEGORIES_NOT_OF_COCO, says + " and ".join(parts), **values)


class _CocoReader:
    def __init__(self, file: _File, classes: dict[int, int], builder: Builder, task: str) -> None:
        self._file, self._classes, self._builder, self._task = file, classes, builder, task
        self._images: dict[Any, int] = {}
        self._sizes: dict[Any, tuple[int, int]] = {}
        self._points = builder.kpt_shape[0] if builder.kpt_shape else 0
        self._without = False

    def read(self) -> None:
        """Add everything."""
        file = self._file
        self._read_images()
        twice, met = file.repeated(), set[int]()
        crowds = 0
        for number, (entry, odd) in enumerate(zip(file.annotations, file.annotations.odd, strict=True)):
            if odd:
                self._note(Defect.NUMBER_NOT_FINITE, number, "NaN or Infinity")
            elif not isinstance(entry, dict):
                self._note(Defect.ENTRY_MALFORMED, number, "the annotation {value} is no object", value=brief(entry))
            elif entry.get("iscrowd") in (1, True):
                crowds += 1
            else:
                own = entry.get("id")
                if whole(own) and own in twice:
                    if own in met:
                        self._note(Defect.ANNOTATION_ID_REPEATED, number, "the id occurs twice")
                    met.add(own)
                if own == 0 and whole(own):
                    self._note(Defect.ANNOTATION_ID_ZERO, number, "COCO's evaluation takes the id 0 for no match")
                self._annotation(number, entry)
        if crowds:
            says, of = "{count} of {of} have iscrowd: 1", len(file.annotations)
            self._builder.note(file.path, Defect.ANNOTATION_SKIPPED, says, count=crowds, of=of)
        self._builder.totals[file.path] = Total(len(file.images), len(file.annotations))
        lines = file.annotations.lines
        self._builder.where[file.path] = lambda number: (lines[number - 1], file.called(number - 1))
        file.walk.drop()

    def _note(self, defect: Defect, number: int, says: str, image: int | None = None, **values: Any) -> None:
        line, called = self._file.annotations.lines[number], self._file.called(number)
        self._builder.note(self._file.path, defect, "{entry}: " + says, line, image, entry=called, **values)

    def _read_images(self) -> None:
        """Add the images; the first of two entries with one id counts."""
        file, builder = self._file, self._builder
        note = partial(builder.note, file.path)
        folder = Path(file.path).parent
        stem = Path(file.path).stem.replace("instances_", "").replace("person_keypoints_", "")
        root = builder.root or image_root(folder, _first_names(file.images), (stem,))
        split = split_of(stem, folder.name)
        met: set[str] = set()
        malformed: list[tuple[str, int]] = []
        for entry, line in zip(file.images, file.images.lines, strict=True):
            name = entry.get("file_name") if isinstance(entry, dict) else None
            if not isinstance(name, str) or not name or "id" not in entry:
                malformed.append((brief(entry), line))
                continue
            own = entry["id"]
            if not whole(own):
                note(Defect.ID_NOT_WHOLE, "the image id {id!r} is no whole number", line, id=own)
            key = own if isinstance(own, (int, str)) else brief(own)
            if key in self._images:
                note(Defect.IMAGE_ID_REPEATED, "image id {id} occurs twice; {name!r}", line, id=key, name=name)
                continue
            if not inside(name):
                note(Defect.PATH_OUTSIDE, "image {id}: file_name is {name!r}", line, id=key, name=name)
            if name in met:
                note(Defect.FILE_NAME_REPEATED, "image {id}: {name!r} has an entry already", line, id=key, name=name)
            met.add(name)
            size = side(entry.get("width")), side(entry.get("height"))
            path = f"{root}{os.sep}{name}" if inside(name) else f"{root}{os.sep}{Path(name).name}"
            self._images[key] = builder.image(path, split, file.path, size)
            self._sizes[key] = size
            if min(size) <= 0:
                given = {"id": key, "width": brief(entry.get("width")), "height": brief(entry.get("height"))}
                note(
                    Defect.IMAGE_SIZE_ZERO, "image {id}: the size is {width}x{height}", line, self._images[key], **given
                )
        self._without = len(malformed) == len(file.images) > 1
        if self._without:
            (entry, line), says = malformed[0], "none of {count} images has an id and a file_name; the first is {value}"
            note(Defect.ENTRY_MALFORMED, says, line, count=len(malformed), value=entry)
        else:
            for entry, line in malformed:
                note(Defect.ENTRY_MALFORMED, "the image {value} has no id or file_name", line, value=entry)

    def _annotation(self, number: int, entry: dict[str, Any]) -> None:
        """Check one annotation, and add it as a row if it can become one."""
        key = entry.get("image_id")
        image = self._images.get(key) if isinstance(key, (int, str)) else None
        if image is None and self._without:
            return None
        if image is None:
            return self._note(Defect.IMAGE_UNKNOWN, number, "there is no image {id!r}", id=key)
        category = entry.get("category_id")
        cls = self._classes.get(category) if whole(category) else None
        if cls is None:
            self._note(Defect.CATEGORY_UNKNOWN, number, "there is no category {category!r}", image, category=category)
        box = entry.get("bbox")
        if not numbers(box) or len(box) != 4:
            return self._note(Defect.BOX_MALFORMED, number, "bbox is {box}", image, box=brief(box))
        x, y, w, h = box
        if w <= 0 or h <= 0:
            return self._note(Defect.BOX_EMPTY, number, "bbox is {box}: a side is not above 0", image, box=brief(box))
        parts = self._segments(number, entry, image, (x, y, x + w, y + h))
        points = self._keypoints(number, entry, image)
        if cls is None:
            return None
        if self._task == "segment" and parts:
            for part in parts:
                self._builder.outline(image, number + 1, cls, part)
        elif self._task == "pose" and points:
            columns = 5 + len(points)
            centre = (x + w / 2, y + h / 2, w, h)
            self._builder.row(image, number + 1, cls, centre, points[::3], points[1::3], points[2::3], columns)
        else:
            self._builder.row(image, number + 1, cls, (x + w / 2, y + h / 2, w, h))
        return None

    def _segments(
        self, number: int, entry: dict[str, Any], image: int, box: tuple[float, float, float, float]
    ) -> list[list[float]]:
        """The polygons of an annotation that can be used."""
        given = entry.get("segmentation")
        if isinstance(given, dict):
            width, height = self._sizes[entry["image_id"]]
            if given.get("size") != [height, width]:
                says, size = "the mask is of {size}, the image of [{height}, {width}]", brief(given.get("size"))
                self._note(Defect.MASK_SIZE_DIFFERS, number, says, image, size=size, height=height, width=width)
            return []
        if given is None or (given == [] and self._task != "segment"):
            if self._task == "segment":
                self._note(Defect.SEGMENTATION_MALFORMED, number, "there is no segmentation", image)
            return []
        parts = given if isinstance(given, list) else []
        good = [part for part in parts if numbers(part) and len(part) >= 6 and len(part) % 2 == 0]
        if len(good) < len(parts) or not parts:
            bad = next((part for part in parts if part not in good), given)
            says, values = "no polygon: {bad}", dict[str, Any](bad=brief(bad))
            if isinstance(bad, list):
                says, values = "no polygon: {bad} of {count} numbers", values | {"count": len(bad)}
            self._note(Defect.SEGMENTATION_MALFORMED, number, says, image, **values)
        if good:
            x, y = [v for part in good for v in part[::2]], [v for part in good for v in part[1::2]]
            around = (min(x), min(y), max(x), max(y))
            slack = max(BOX_SLACK, 0.05 * max(box[2] - box[0], box[3] - box[1]))
            if max(abs(a - b) for a, b in zip(around, box, strict=True)) > slack:
                says = "the box is ({box:,}), the polygon ({polygon:,}): left, top, right, bottom"
                self._note(Defect.BOX_AGAINST_POLYGON, number, says, image, box=box, polygon=around)
        return good

    def _keypoints(self, number: int, entry: dict[str, Any], image: int) -> list[float]:
        """The keypoints of an annotation if they can be used."""
        given = entry.get("keypoints")
        if given is None:
            return []
        wanted = 3 * self._points if self._points else None
        if not numbers(given) or len(given) % 3 or (wanted is not None and len(given) != wanted):
            says = "keypoints are {given}" + (", not {wanted}" if wanted else ", not three numbers a point")
            count = len(given) if isinstance(given, list) else None
            found = brief(given) if count is None else f"{count} numbers"
            self._note(Defect.KEYPOINTS_MALFORMED, number, says, image, given=found, count=count, wanted=wanted)
            return []
        seen = sum(v > 0 for v in given[2::3])
        told = entry.get("num_keypoints")
        if told is not None and told != seen:
            says = "num_keypoints is {told!r}, but {labelled} are labelled"
            self._note(Defect.KEYPOINT_COUNT_WRONG, number, says, image, told=told, labelled=seen)
        return given


def _first_names(images: Entries) -> list[str]:
    names = (entry.get("file_name") for entry in images if isinstance(entry, dict))
    return list(islice((name for name in names if isinstance(name, str) and inside(name)), TRIED))
