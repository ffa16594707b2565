"""The text of a JSON file in as much memory as the file has bytes, whatever its characters."""

from __future__ import annotations

import codecs
from pathlib import Path

from yolo_nanfix.dataset import bounded
from yolo_nanfix.errors import DataError

_PART = 1 << 22


def read_bytes(file: Path) -> tuple[bytes, list[str]]:
    """What a file holds, as UTF-8 without a mark, and what is odd about its encoding; it may hold what is no UTF-8.

    Raises:
        DataError: if the file cannot be read.
    """
    try:
        data = bounded.read(file, bounded.most_annotations())
    except (OSError, ValueError) as error:
        raise DataError(f"{file} cannot be read: {error}") from error
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return _recoded(data), ["the file is UTF-16; UTF-8 is read"]
    odd = []
    if data[:3] == codecs.BOM_UTF8:
        odd.append("the file begins with a byte order mark, which JSON must not have")
        data = data[3:]
    if (at := _first_wrong(data)) is not None:
        odd.append(f"line {data.count(10, 0, at) + 1}: byte {data[at]:#04x} is not UTF-8")
    return data, odd


def _recoded(data: bytes) -> bytes:
    """UTF-16 as UTF-8, some at a time."""
    decoder, made = codecs.getincrementaldecoder("utf-16")(errors="replace"), bytearray()
    for at in range(0, len(data), _PART):
        made += decoder.decode(data[at : at + _PART], at + _PART >= len(data)).encode("utf-8", "replace")
    return bytes(made)


def _first_wrong(data: bytes) -> int | None:
    """Where the first byte stands that is no UTF-8."""
    if data.isascii():
        return None
    decoder = codecs.getincrementaldecoder("utf-8")()
    for at in range(0, len(data), _PART):
        part = data[at : at + _PART]
        try:
            decoder.decode(part, at + _PART >= len(data))
        except UnicodeDecodeError as error:  # what it was given begins with what was left of the part before
            return at + len(part) - len(error.object) + error.start
    return None


class Text:
    """A text whose every character stands for one byte of UTF-8: a character of another alphabet widens all others."""

    def __init__(self, data: bytes) -> None:
        """`data` is UTF-8; bytes that are none are replaced in what `decoded` gives."""
        self.plain = data.isascii()
        self.signs = data.decode("latin-1")
        self._line, self._counted = 1, 0

    def drop(self) -> None:
        """Give its memory back."""
        self.signs = ""

    def decoded(self, start: int, end: int) -> str:
        """The characters between two places that stand on ASCII."""
        part = self.signs[start:end]
        return part if self.plain or part.isascii() else part.encode("latin-1").decode("utf-8", "replace")

    def line(self, at: int) -> int:
        """The 1-based line of a place; cheap for one behind that of the last call."""
        if at < self._counted:
            self._line, self._counted = 1, 0
        self._line += self.signs.count("\n", self._counted, at)
        self._counted = at
        return self._line

    def place(self, at: int) -> tuple[int, int]:
        """1-based line and column."""
        return self.line(at), len(self.decoded(self.signs.rfind("\n", 0, at) + 1, at)) + 1
