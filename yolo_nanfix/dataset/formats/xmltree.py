"""Reads XML with the line of each element, and nothing else: no entities, no external files, no network."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from xml.parsers import expat

from yolo_nanfix.files import ANYWHERE
from yolo_nanfix.shown import shown

DEEPEST = 64
MANY = 500_000
"""Elements of a file at most: those of some 60 000 objects."""
_LARGEST = 16 << 20
_PIECE = 1 << 20
"""Bytes of text that come at once: small pieces of a long text would be joined over and over."""


class BrokenXml(Exception):  # noqa: N818 - not an error of ours: the file is broken
    """The file cannot be read as XML; `line` is 1-based, or None."""

    def __init__(self, message: str, line: int | None = None) -> None:
        """Keep both."""
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
        """The text of the first element of that tag, without blanks around it; None if there is none."""
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
        if count > MANY:
            raise BrokenXml(f"more than {MANY} elements", element.line)
        if len(open_now) > DEEPEST:
            raise BrokenXml(f"nested deeper than {DEEPEST} elements", element.line)
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
