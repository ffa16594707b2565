"""Parses large JSON files entry by entry, with the line of each, never the whole file as Python objects.

Python objects take ten times the memory of their text and more, so no entry is kept: one that is needed again is
parsed again from its offset in the text.
"""

from __future__ import annotations

import codecs
import json
import re
from array import array
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from yolo_nanfix.dataset import bounded
from yolo_nanfix.dataset.bounded import ANNOTATION_ENTRIES, ENTRY_BYTES
from yolo_nanfix.errors import DataError

_PART = 1 << 22
Said = tuple[str, dict[str, Any]]
"""A text with names in braces, and the values of these names: see `wording.sentence`."""


def read_json(file: Path) -> tuple[bytes, list[Said]]:
    """The content of a file as UTF-8 (perhaps with invalid bytes) without byte order mark, and defects of its encoding.

    Raises:
        DataError: if the file cannot be read.
    """
    try:
        data = bounded.read_bytes(file, bounded.most_annotations())
    except (OSError, ValueError) as error:
        raise DataError(f"{file} cannot be read: {error}") from error
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return _recoded(data), [("the file is UTF-16; UTF-8 is read", {})]
    odd: list[Said] = []
    if data[:3] == codecs.BOM_UTF8:
        odd.append(("the file begins with a byte order mark, which JSON must not have", {}))
        data = data[3:]
    if (at := _first_wrong(data)) is not None:
        odd.append(("line {at}: byte {byte:#04x} is not UTF-8", {"at": data.count(10, 0, at) + 1, "byte": data[at]}))
    return data, odd


def _recoded(data: bytes) -> bytes:
    decoder, made = codecs.getincrementaldecoder("utf-16")(errors="replace"), bytearray()
    for at in range(0, len(data), _PART):
        made += decoder.decode(data[at : at + _PART], at + _PART >= len(data)).encode("utf-8", "replace")
    return bytes(made)


def _first_wrong(data: bytes) -> int | None:
    if data.isascii():
        return None
    decoder = codecs.getincrementaldecoder("utf-8")()
    for at in range(0, len(data), _PART):
        part = data[at : at + _PART]
        try:
            decoder.decode(part, at + _PART >= len(data))
        except UnicodeDecodeError as error:  # its object begins with the rest of the part before
            return at + len(part) - len(error.object) + error.start
    return None


class Text:
    """The bytes of a text; offsets in it are in bytes."""

    def __init__(self, data: bytes) -> None:
        """`data` is UTF-8; invalid bytes are replaced by `decoded`."""
        self.plain, self.data = data.isascii(), data
        self._line, self._counted = 1, 0

    def drop(self) -> None:
        """Free its memory."""
        self.data = b""

    def decoded(self, start: int, end: int) -> str:
        """The characters between two offsets at ASCII characters."""
        return self.data[start:end].decode("utf-8", "replace")

    def line(self, at: int) -> int:
        """The 1-based line of an offset; fast if it is not before that of the last call."""
        if at < self._counted:
            self._line, self._counted = 1, 0
        self._line += self.data.count(b"\n", self._counted, at)
        self._counted = at
        return self._line

    def place(self, at: int) -> tuple[int, int]:
        """1-based line and column."""
        return self.line(at), len(self.decoded(self.data.rfind(b"\n", 0, at) + 1, at)) + 1


_BLANK = re.compile(rb"[ \t\n\r]*")
_WINDOW = 1 << 20
"""Bytes that are decoded at once; up to `ENTRY_BYTES` for a value that takes more."""
_NEAR = 16
"""An error, or the end of a number, so near to the end of the window may come from the cut."""
Entry = Callable[[Any, int, bool], None]
"""Takes an entry, the offset of its first character, and whether it holds NaN or Infinity."""


class Broken(Exception):  # noqa: N818 - about the file
    """The text is not valid JSON: what is wrong, and at which character."""

    def __init__(self, message: str, at: int) -> None:
        super().__init__(message)
        self.message, self.at = message, at


class Walk:
    """Walks through the lists of the object that a text holds."""

    def __init__(self, text: Text) -> None:
        self.text, self._odd, self._entries = text, False, 0
        self._window, self._start, self._most = "", 0, ENTRY_BYTES * bounded.times()
        self.no_lists: list[str] = []
        self._decoder = json.JSONDecoder(parse_constant=self._constant)

    def _constant(self, name: str) -> float:
        self._odd = True
        return float(name)

    def drop(self) -> None:
        """Free the memory of the text; nothing can be read afterwards."""
        self.text.drop()
        self._window = ""

    def value(self, at: int) -> tuple[Any, int]:
        """The value that begins at an offset, and the offset behind it.

        Raises:
            Broken: there is none, or it is too large.
        """
        found = self._in_window(at) if self._start <= at < self._start + len(self._window) else None
        size = min(_WINDOW, self._most)
        while found is None:
            self._window, self._start = self.text.data[at : at + size].decode("latin-1"), at  # a character a byte
            found = self._in_window(at)
            if found is None and size == self._most:
                raise Broken(f"a value of more than {self._most >> 20} MB, or one that does not end", at)
            size = min(16 * size, self._most)
        value, end = found
        if self.text.plain or (exact := self.text.decoded(at, end)).isascii():
            return value, end
        return self._decoder.raw_decode(exact)[0], end

    def _in_window(self, at: int) -> tuple[Any, int] | None:
        """As `value`; None if it may go on beyond the window."""
        self._odd, start = False, self._start
        whole = start + len(self._window) == len(self.text.data)
        try:
            value, end = self._decoder.raw_decode(self._window, at - start)
        except json.JSONDecodeError as error:
            if not whole and (error.pos + _NEAR > len(self._window) or error.msg.startswith("Unterminated")):
                return None
            raise Broken(error.msg, start + error.pos) from error
        except (RecursionError, ValueError) as error:  # nested too deeply; a number of too many digits
            raise Broken(str(error), at) from error
        return (value, start + end) if whole or end + _NEAR <= len(self._window) else None

    def run(self, wanted: Mapping[str, Entry]) -> set[str]:
        """Call the functions in `wanted` with each entry of the lists of these names; return the keys of the object.

        Names in `wanted` whose value is no list are added to `no_lists`.

        Raises:
            Broken: the text is no JSON object; entries before the error were passed on.
        """
        keys: set[str] = set()
        text, at = self.text.data, self._skip(0)
        if text[at : at + 1] != b"{":
            raise Broken("the file must hold one object, { ... }", at)
        at = self._skip(at + 1)
        while text[at : at + 1] != b"}":
            key, at = self.value(at)
            if not isinstance(key, str):
                raise Broken("a key in double quotes is expected", at)
            keys.add(key)
            at = self._skip(self._expect(at, b":"))
            if key in wanted and text[at : at + 1] == b"[":
                at = self._list(at + 1, wanted[key])
            else:
                self.no_lists += [key] if key in wanted else []
                at = self._unwanted(at)
            at = self._next(at, b"}")
        if (end := self._skip(at + 1)) != len(text):
            raise Broken("there is more behind the end", end)
        return keys

    def _unwanted(self, at: int) -> int:
        """The offset behind a value that is skipped; a list may be of any size."""
        if self.text.data[at : at + 1] != b"[" or len(self.text.data) - at <= self._most:
            return self.value(at)[1]
        return self._list(at + 1, lambda *_: None)

    def _list(self, at: int, take: Entry) -> int:
        """Pass on the entries of a list; return the offset behind it."""
        text, at, most = self.text.data, self._skip(at), ANNOTATION_ENTRIES * bounded.times()
        while text[at : at + 1] != b"]":
            self._entries += 1
            if self._entries > most:
                raise Broken(f"more than {most} entries", at)
            entry, end = self.value(at)
            take(entry, at, self._odd)
            at = self._next(end, b"]")
        return at + 1

    def _next(self, at: int, end: bytes) -> int:
        """The offset of the next entry, behind a comma, or of the end."""
        at = self._skip(at)
        if self.text.data[at : at + 1] == end:
            return at
        at = self._skip(self._expect(at, b","))
        if self.text.data[at : at + 1] == end:
            raise Broken("a comma before the end", at)
        return at

    def _expect(self, at: int, sign: bytes) -> int:
        at = self._skip(at)
        if self.text.data[at : at + 1] != sign:
            raise Broken(f"'{sign.decode()}' is expected" if at < len(self.text.data) else "the file breaks off", at)
        return at + 1

    def _skip(self, at: int) -> int:
        match = _BLANK.match(self.text.data, at)
        return match.end() if match else at


class Entries:
    """The entries of one list of a file, which are parsed again each time they are iterated.

    Attributes:
        lines: the line of each.
        odd: whether it holds NaN or Infinity.
    """

    def __init__(self, walk: Walk) -> None:
        self._walk, self._places, self._names = walk, array("q"), dict[str, str]()
        self.lines, self.odd = array("i"), bytearray()

    def add(self, at: int, odd: bool) -> None:
        """Add the entry at an offset."""
        self._places.append(at)
        self.lines.append(self._walk.text.line(at))
        self.odd.append(odd)

    def rename(self, names: Mapping[str, str]) -> None:
        """From now on, in all objects, copy values under other keys to the right keys."""
        self._names = dict(names)

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[Any]:
        for place in self._places:
            entry, _ = self._walk.value(place)
            yield _renamed(entry, self._names) if self._names else entry


def _renamed(entry: Any, names: Mapping[str, str]) -> Any:
    """An entry with the values of other keys copied to the right keys."""
    if isinstance(entry, dict):
        entry |= {key: entry[alias] for key, alias in names.items()}
    return entry
