"""Reads a large JSON object entry by entry, and tells where each entry begins."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from yolo_nanfix.errors import DataError
from yolo_nanfix.linting import bounded
from yolo_nanfix.linting.oversized import ANNOTATION_MB, ENTRIES

_BLANK = re.compile(r"[ \t\n\r]*")
Entry = Callable[[Any, int, bool], None]
"""Takes an entry, the place of its first character, and whether it holds NaN or Infinity."""


class Broken(Exception):  # noqa: N818 - not an error of ours: the file is broken
    """The text is no JSON: what is wrong, and at which character."""

    def __init__(self, message: str, at: int) -> None:
        """Keep both."""
        super().__init__(message)
        self.message, self.at = message, at


def read_text(file: Path) -> tuple[str, list[str]]:
    """The text of a file, and what is odd about its encoding; bytes that are not UTF-8 are replaced.

    Raises:
        DataError: if the file cannot be read.
    """
    try:
        data = bounded.read(file, bounded.most_annotations())
    except (OSError, ValueError) as error:
        raise DataError(f"{file} cannot be read: {error}") from error
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", errors="replace"), ["the file is UTF-16; UTF-8 is read"]
    odd = ["the file begins with a byte order mark, which JSON must not have"] if data[:3] == b"\xef\xbb\xbf" else []
    data = data[3:] if odd else data
    try:
        return data.decode("utf-8"), odd
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        odd.append(f"line {line}: byte {data[error.start]:#04x} is not UTF-8")
        return data.decode("utf-8", errors="replace"), odd


class Lines:
    """From a place in a text to its line."""

    def __init__(self, text: str) -> None:
        """One pass over the text."""
        codes = np.frombuffer(text.encode("ascii", errors="replace"), np.uint8)
        self._ends: NDArray[np.int64] = np.flatnonzero(codes == 10)

    def at(self, place: int) -> tuple[int, int]:
        """1-based line and column."""
        line = int(np.searchsorted(self._ends, place))
        start = int(self._ends[line - 1]) + 1 if line else 0
        return line + 1, place - start + 1


class Walk:
    """Walks through the lists of the object that a text holds."""

    def __init__(self, text: str) -> None:
        """Nothing is read yet."""
        self._text, self._odd = text, False
        self.no_lists: list[str] = []
        self._decoder = json.JSONDecoder(parse_constant=self._constant)

    def _constant(self, name: str) -> float:
        self._odd = True
        return float(name)

    def value(self, at: int) -> tuple[Any, int]:
        """The value that begins at a place, and the place behind it.

        Raises:
            Broken: there is none.
        """
        self._odd = False
        try:
            return self._decoder.raw_decode(self._text, at)
        except json.JSONDecodeError as error:
            raise Broken(error.msg, error.pos) from error
        except (RecursionError, ValueError) as error:  # nested too deeply; a number of too many digits
            raise Broken(str(error), at) from error

    def run(self, wanted: Mapping[str, Entry]) -> set[str]:
        """Give each entry of the lists named in `wanted` to its taker; the keys of the object.

        What is named in `wanted` and is no list is told in `no_lists`.

        Raises:
            Broken: the text is no JSON object; what stands before the place was given.
        """
        keys: set[str] = set()
        at = self._skip(0)
        if self._text[at : at + 1] != "{":
            raise Broken("the file must hold one object, { ... }", at)
        at = self._skip(at + 1)
        while self._text[at : at + 1] != "}":
            key, at = self.value(at)
            if not isinstance(key, str):
                raise Broken("a key in double quotes is expected", at)
            keys.add(key)
            at = self._skip(self._expect(at, ":"))
            if key in wanted and self._text[at : at + 1] == "[":
                at = self._list(at + 1, wanted[key])
            else:
                self.no_lists += [key] if key in wanted else []
                at = self.value(at)[1]
            at = self._next(at, "}")
        if (end := self._skip(at + 1)) != len(self._text):
            raise Broken("there is more behind the end", end)
        return keys

    def _list(self, at: int, take: Entry) -> int:
        """Give the entries of a list; the place behind it."""
        at = self._skip(at)
        count, most = 0, ENTRIES * max(1, bounded.most_annotations() // (ANNOTATION_MB << 20))
        while self._text[at : at + 1] != "]":
            count += 1
            if count > most:
                raise Broken(f"more than {most} entries in a list", at)
            entry, end = self.value(at)
            take(entry, at, self._odd)
            at = self._next(end, "]")
        return at + 1

    def _next(self, at: int, end: str) -> int:
        """The place of the next entry, behind a comma, or of the end."""
        at = self._skip(at)
        if self._text[at : at + 1] == end:
            return at
        at = self._skip(self._expect(at, ","))
        if self._text[at : at + 1] == end:
            raise Broken("a comma before the end", at)
        return at

    def _expect(self, at: int, sign: str) -> int:
        """The place behind a sign that must stand there."""
        at = self._skip(at)
        if self._text[at : at + 1] != sign:
            raise Broken(f"'{sign}' is expected" if at < len(self._text) else "the file breaks off", at)
        return at + 1

    def _skip(self, at: int) -> int:
        match = _BLANK.match(self._text, at)
        return match.end() if match else at
