"""Pascal VOC: an XML file per image, boxes in pixels."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import isfinite
from pathlib import Path
from typing import Any
from xml.parsers import expat

from yolo_nanfix.dataset import bounded
from yolo_nanfix.dataset.formats.build import SPLITS, Annotated, Builder, image_root, inside, split_of
from yolo_nanfix.dataset.formats.defects import Defect
from yolo_nanfix.dataset.formats.notes import Total, brief, side
from yolo_nanfix.dataset.formats.sniff import Foreign, xml_kind
from yolo_nanfix.dataset.options import LintOptions
from yolo_nanfix.dataset.paths import SUFFIX_FORMATS
from yolo_nanfix.errors import DataError
from yolo_nanfix.files import ANYWHERE
from yolo_nanfix.tasks import Basis, TaskBasis
from yolo_nanfix.wording import shown

MOST_NESTED = 64
MOST_ELEMENTS = 500_000
"""Elements of a file at most: those of some 60 000 objects."""
_LARGEST = 16 << 20
_PIECE = 1 << 20
"""Bytes of text per callback: small pieces of a long text would be joined over and over."""


class BrokenXml(Exception):  # noqa: N818 - about the file
    """The file cannot be read as XML; `line` is 1-based, or None."""

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.message, self.line = message, line


@dataclass(slots=True)
class Element:
    """One element: its tag, its 1-based line, its own text and the elements in it."""

    tag: str
    line: int
    text: str = ""
    inner: list[Element] = field(default_factory=list)

    def first(self, tag: str) -> Element | None:
        """The first element of that tag directly in this one."""
        return next((element for element in self.inner if element.tag == tag), None)

    def every(self, tag: str) -> list[Element]:
        """All elements of that tag directly in this one."""
        return [element for element in self.inner if element.tag == tag]

    def said(self, tag: str) -> str | None:
        """The text of the first element of that tag, without spaces around it; None if there is none."""
        found = self.first(tag)
        return None if found is None else found.text.strip()


def read_xml(file: Path) -> Element:
    """The outermost element of a file.

    Raises:
        BrokenXml: the file cannot be read, is no XML, is nested too deeply, or declares entities.
    """
    try:
        data = ANYWHERE.read(file, _LARGEST + 1)
    except (OSError, ValueError) as error:
        raise BrokenXml(f"cannot be read: {error}") from error
    if len(data) > _LARGEST:
        raise BrokenXml(f"larger than {_LARGEST >> 20} MB")
    parser = expat.ParserCreate()
    parser.buffer_text, parser.buffer_size = True, _PIECE
    top = Element("", 0)
    open_now, count = [top], 0

    def start(tag: str, _attributes: dict[str, str]) -> None:
        nonlocal count
        element = Element(tag, parser.CurrentLineNumber)
        count += 1
        if count > MOST_ELEMENTS:
            raise BrokenXml(f"more than {MOST_ELEMENTS} elements", element.line)
        if len(open_now) > MOST_NESTED:
            raise BrokenXml(f"nested deeper than {MOST_NESTED} elements", element.line)
        open_now[-1].inner.append(element)
        open_now.append(element)

    def end(_tag: str) -> None:
        open_now.pop()

    def text(said: str) -> None:
        open_now[-1].text += said

    def entity(name: str, *_: object) -> None:
        raise BrokenXml(f"it declares or uses the entity {shown(name)}, which is refused", parser.CurrentLineNumber)

    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, text
    parser.EntityDeclHandler = parser.UnparsedEntityDeclHandler = parser.SkippedEntityHandler = entity
    parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        said = expat.ErrorString(error.code) or str(error)
        raise BrokenXml(f"{said} (line {error.lineno}, column {error.offset + 1})", error.lineno) from error
    except (ValueError, LookupError) as error:  # an encoding that Python does not know or cannot use
        raise BrokenXml(f"{error}") from error
    return top.inner[0]


BOX_CORNERS = ("xmin", "ymin", "xmax", "ymax")


def read_voc(files: Sequence[Path], source: Path, options: LintOptions) -> Annotated:
    """Read VOC files; ImageSets/Main beside their folder says the splits, without it all are train.

    Raises:
        DataError: the task has no labels in VOC, or a list of images cannot be read.
    """
    if options.task not in (None, "detect"):
        raise DataError(f"Pascal VOC has no labels for the task {options.task}; lint {source} with detect")
    builder = Builder(source, options, pixels=True)
    builder.settle(Basis(TaskBasis.ANNOTATIONS, "detect"))
    trees: dict[Path, Element] = {}
    foreign: dict[Foreign, list[Path]] = {}
    for file in files:
        try:
            tree = read_xml(file)
        except BrokenXml as error:
            says = "no valid XML: {problem}"
            builder.note(str(file), Defect.ANNOTATION_FILE_BROKEN, says, error.line, problem=error.message)
            continue
        if (other := _foreign(tree)) is not None:
            foreign.setdefault(other, []).append(file)
            continue
        if tree.tag != "annotation":
            says = "the outermost element is <{tag}>, not <annotation>"
            builder.note(str(file), Defect.ENTRY_MALFORMED, says, tree.line, tag=tree.tag[:40])
            continue
        trees[file] = tree
    for other, found in foreign.items():
        if not trees:
            raise DataError(other.said_of(found[0], "Pascal VOC"))
        says = "{count} of {of} files: {name} is {what}, not Pascal VOC; {how}"
        about: dict[str, Any] = {"count": len(found), "of": len(files), "name": found[0].name, **other._asdict()}
        builder.note(str(source), Defect.ANNOTATIONS_FOREIGN, says, **about)
    splits = _splits(files[0].parent, {file.stem for file in files}, builder) if files else {}
    homes = list(dict.fromkeys(file.parent for file in trees))
    roots = {home: builder.root or image_root(home, _image_names(trees, home)) for home in homes}
    objects = [o for tree in trees.values() for o in tree.every("object")]
    if renamed := _right_names(objects):
        says = "elements have other names than in Pascal VOC in all {count} objects: {found:,} for {wanted:,}"
        pairs: dict[str, Any] = {"found": tuple(renamed.values()), "wanted": tuple(renamed)}
        builder.note(str(source), Defect.KEYS_MISNAMED, says, count=len(objects), **pairs)
    builder.names = sorted({name for o in objects if (name := o.said("name"))})
    reader = _Reader(builder, roots)
    for file, tree in trees.items():
        of_folder = split_of("", file.parent.name) if len(homes) > 1 else "train"
        reader.add(file, tree, splits.get(file.stem, of_folder))
    reader.finish(source)
    return builder.finish()


_ALIASES = {
    "bndbox": ("bbox", "box", "boundingbox", "bounding_box", "BndBox", "rectangle"),
    "name": ("label", "class", "category", "class_name"),
}
"""Elements of an object, each with names that it has in others."""


def _right_names(objects: Sequence[Element]) -> dict[str, str]:
    """Rename elements that have another name in all objects; return the right names, each with the one before."""
    renamed = {}
    for tag, aliases in _ALIASES.items():
        if any(one.first(tag) for one in objects):
            continue
        alias = next((alias for alias in aliases if objects and all(one.first(alias) for one in objects)), None)
        if alias is not None:
            for one in objects:
                for element in one.every(alias):
                    element.tag = tag
            renamed[f"<{tag}>"] = f"<{alias}>"
    return renamed


def _image_names(trees: Mapping[Path, Element], home: Path) -> list[str]:
    """The image names of the files in one folder, by `<filename>` or else by their own names."""
    own = {file: tree for file, tree in trees.items() if file.parent == home}
    return [name for tree in own.values() if (name := tree.said("filename"))] or [f"{file.stem}.jpg" for file in own]


def _foreign(tree: Element) -> Foreign | None:
    """The kind of a file of another tool; None if it may be VOC."""
    deeper = [e.tag for outer in tree.inner if outer.tag in ("object", "images") for e in outer.inner]
    task = (meta := tree.first("meta")) and meta.first("task")
    return xml_kind(tree.tag, [e.tag for e in tree.inner], deeper, (task.said("name") or "") if task else "")


def _splits(folder: Path, stems: set[str], builder: Builder) -> dict[str, str]:
    found: dict[str, str] = {}
    for split in SPLITS:
        listed = folder.parent / "ImageSets" / "Main" / f"{split}.txt"
        try:
            lines = bounded.read_bytes(listed).decode("utf-8", "replace").splitlines() if listed.is_file() else []
        except OSError as error:
            raise DataError(f"{listed} cannot be read: {error}") from error
        missing = []
        for number, line in enumerate(lines, 1):
            stem = line.strip()
            if stem in stems:
                found.setdefault(stem, split)
            elif stem:
                missing.append((number, stem))
        if missing:
            says, stems_of = "{count} images without an XML file: {images:,3}", tuple(stem for _, stem in missing)
            about: dict[str, Any] = {"count": len(missing), "images": stems_of}
            builder.note(str(listed), Defect.LISTED_WITHOUT_ANNOTATION, says, missing[0][0], **about)
    return found


class _Reader:
    def __init__(self, builder: Builder, roots: Mapping[Path, Path]) -> None:
        self._builder, self._roots = builder, roots
        self._classes = {name: i for i, name in enumerate(builder.names)}
        self._met: dict[str, str] = {}
        self._skipped = self._total = 0

    def add(self, file: Path, tree: Element, split: str) -> None:
        """Add one file: an image and its objects."""
        label = str(file)
        told = tree.said("filename") or ""
        name = self._name(file, told)
        width, height, line = _size(tree)
        image = self._builder.image(f"{self._roots[file.parent]}{os.sep}{name}", split, label, (width, height))
        note, at = partial(self._builder.note, label), tree.first("filename")
        place = at.line if at else None
        if told and not inside(told):
            note(Defect.PATH_OUTSIDE, "<filename> is {name!r}", place, image, name=told)
        elif told and Path(told).stem != file.stem and told != file.stem:
            says = "<filename> is {name!r}, but the file is {own!r}"
            note(Defect.FILE_NAME_DIFFERS, says, place, image, name=told, own=file.name)
        first = self._met.setdefault(name, label)
        if first != label:
            says = "{name!r} is annotated in {other} too"
            note(Defect.FILE_NAME_REPEATED, says, None, image, name=name, other=first)
        if min(width, height) <= 0:
            says = "there is no <size>" if tree.first("size") is None else "<size> is {width}x{height}"
            note(Defect.IMAGE_SIZE_ZERO, says, line, image, width=width, height=height)
        for one in tree.every("object"):
            self._object(label, one, image)

    def finish(self, source: Path) -> None:
        """Say what concerns all files."""
        if self._skipped:
            says, counts = "{count} of {of} objects have <difficult>1</difficult>", (self._skipped, self._total)
            self._builder.note(str(source), Defect.ANNOTATION_SKIPPED, says, count=counts[0], of=counts[1])
        if len(self._met) > 1:
            self._builder.totals[str(source)] = Total(len(self._met), self._total)

    def _name(self, file: Path, told: str) -> str:
        """The image's file name: that in the XML, or one with the XML's stem that exists."""
        own = [f"{file.stem}.{suffix}" for suffix in ("jpg", *SUFFIX_FORMATS)]
        names = [told, *own] if told and inside(told) else own
        there = (name for name in names if os.path.isfile(f"{self._roots[file.parent]}{os.sep}{name}"))  # noqa: PTH113
        return next(there, names[0])

    def _object(self, label: str, one: Element, image: int) -> None:
        """Check one object, and add it as a row if it can become one."""
        self._total += 1
        note, name = partial(self._builder.note, label), one.said("name")
        if not name:
            note(Defect.ENTRY_MALFORMED, "an object without a <name>", one.line, image)
        if one.said("difficult") == "1":
            self._skipped += 1
        box = one.first("bndbox")
        texts = [box.said(corner) if box else None for corner in BOX_CORNERS]
        values = [_number(text) for text in texts]
        finite = [value for value in values if value is not None and isfinite(value)]
        line = box.line if box else one.line
        if len(finite) < len(values):
            wrong = (three for three in zip(BOX_CORNERS, texts, values, strict=True) if three[2] not in finite)
            shown = ", ".join(f"{corner} {text or 'missing'}" for corner, text, _ in wrong)
            strange = any(value is not None and not isfinite(value) for value in values)
            defect = Defect.NUMBER_NOT_FINITE if strange else Defect.BOX_MALFORMED
            return note(defect, "{name!r}: {corners}", line, image, name=name, corners=brief(shown))
        x1, y1, x2, y2 = finite
        if x2 <= x1 or y2 <= y1:
            says = "{name!r}: the box is from {low:,} to {high:,}"
            return note(Defect.BOX_EMPTY, says, line, image, name=name, low=(x1, y1), high=(x2, y2))
        if name:
            centre = ((x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1)
            self._builder.row(image, line, self._classes[name], centre)
        return None


def _number(text: str | None) -> float | None:
    """A number, perhaps NaN or Infinity; None if the text is none."""
    try:
        return float(text or "")
    except ValueError:
        return None


def _size(tree: Element) -> tuple[int, int, int]:
    """Width and height that the file gives (0 if none), and the line."""
    size = tree.first("size")
    if size is None:
        return 0, 0, tree.line
    width, height = (side(_number(size.said(tag))) for tag in ("width", "height"))
    return width, height, size.line
