"""What an undo journal says, as text and back. Text that is damaged, or says what no fix run does, is not believed."""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

VERSION = 2
LARGEST = 1 << 30
"""Bytes; a step takes some 500."""
_LINE = 1 << 16
_HEX = re.compile(r"[0-9a-f]{64}")
_TOKEN = re.compile(r"[0-9a-f]{8}")
_MODE = 0o7777
_WORD = 1 << 63
_STAMP = 5


class Broken(Exception):  # noqa: N818 - it says what the journal is
    """A journal is damaged; the message says how.

    Attributes:
        data: the dataset that it names; None if it does not say even that.
    """

    def __init__(self, why: str, data: str | None = None) -> None:
        """`why` is the message."""
        super().__init__(why)
        self.data = data


@dataclass(frozen=True)
class Step:
    """One change: `path` with the bytes `before` became `target` with the bytes `after`.

    Attributes:
        path, target: the same unless the file was moved.
        before, after: SHA-256.
        at, size: place of the original bytes in the pack.
        new_at, new_size: place of the new bytes; the same as of the original ones where they do not change.
        mode, mtime_ns: of the original file.
        stamp: what told the file from any other state when it was read.
    """

    path: str
    target: str
    before: str
    after: str
    at: int
    size: int
    new_at: int
    new_size: int
    mode: int
    mtime_ns: int
    stamp: tuple[int, ...]


class Record(NamedTuple):
    """What a journal says; the names are those of `journal.Journal`."""

    data: str
    root: str
    token: str
    steps: tuple[Step, ...]
    folders: tuple[str, ...]
    whole: bool


def dumps(said: Record) -> bytes:
    """Two lines of JSON: whose journal it is, with a hash of the second; what is to happen."""
    steps = [asdict(step) for step in said.steps]
    what = {"root": said.root, "token": said.token, "whole": said.whole, "folders": said.folders, "steps": steps}
    body = json.dumps(what).encode()
    head = {"version": VERSION, "data": said.data, "sha256": hashlib.sha256(body).hexdigest()}
    return json.dumps(head).encode() + b"\n" + body + b"\n"


def loads(content: bytes) -> Record:
    """What a journal says.

    Raises:
        Broken: it is damaged, of another release, or says what no fix run does.
    """
    line, _, body = content.partition(b"\n")
    head = _json(line, None) if len(line) <= _LINE else None
    data = head.get("data") if isinstance(head, dict) else None
    if not isinstance(head, dict) or not isinstance(data, str) or not _is_path(data):
        raise Broken("the first line of journal.json is damaged")
    if head.get("version") != VERSION:
        raise Broken(f"journal.json is of version {head.get('version')!r:.40}; this release reads {VERSION}", data)
    body = body.removesuffix(b"\n")
    if head.get("sha256") != hashlib.sha256(body).hexdigest():
        raise Broken("journal.json is damaged: its hash is another one", data)
    raw = _json(body, data)
    try:
        root, token, folders, whole = (raw[key] for key in ("root", "token", "folders", "whole"))
        steps = tuple(map(_step, raw["steps"]))
        sound = isinstance(folders, list) and all(map(_is_path, (root, *folders))) and _TOKEN.fullmatch(token)
    except (TypeError, KeyError, ValueError) as error:
        raise Broken(f"journal.json says what no fix does ({error!s:.80})", data) from None
    if not sound or not steps or not isinstance(whole, bool):
        raise Broken("journal.json says what no fix does", data)
    return Record(data, root, token, steps, tuple(folders), whole)


def _json(text: bytes, data: str | None) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise Broken("journal.json is damaged: it is no JSON", data) from None


def _step(raw: dict[str, Any]) -> Step:
    """A step that a fix could have made.

    Raises:
        TypeError, KeyError, ValueError: it is none.
    """
    step = Step(**{**raw, "stamp": tuple(raw["stamp"])})
    if not all(_is_path(path) and os.path.split(path)[1] for path in (step.path, step.target)):
        raise ValueError("a path that is none")
    if not (_HEX.fullmatch(step.before) and _HEX.fullmatch(step.after)):
        raise ValueError("a hash that is none")
    places = (step.at, step.size, step.new_at, step.new_size)
    if not all(type(number) is int and abs(number) < _WORD for number in (*places, step.mode, step.mtime_ns)):
        raise ValueError("a number that is none")
    if min(places) < 0 or not 0 <= step.mode <= _MODE:
        raise ValueError("a number out of its range")
    if len(step.stamp) != _STAMP or not all(type(number) is int for number in step.stamp):
        raise ValueError("a stamp that is none")
    return step


def _is_path(value: Any) -> bool:
    """Whether a value is an absolute path that leads straight to where it leads."""
    if not isinstance(value, str) or "\0" in value:
        return False
    return os.path.normpath(value) == value and os.path.isabs(value)  # noqa: PTH117
