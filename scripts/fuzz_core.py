"""What a case of the fuzz campaign is, the box that it runs in, and what must hold afterwards."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import shutil
import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

LARGEST = 8 << 20
"""Files up to so many bytes are compared by their content, larger ones by size and time."""
CODES = frozenset((0, 1, 2))
CONTROLS = {chr(i) for i in range(32)} - set("\n\r\t")
OWN_PLACES = ("home/.cache", "home/.local/share/yolo-nanfix", "home/.config")
"""Where the tool may write whatever it is asked."""


@dataclass(frozen=True)
class Case:
    """One input and what is done with it.

    Attributes:
        commands: the words of each command behind `yolo-nanfix`; they stand in the folder of the case.
        writes: names in the folder of the case that the commands may make or change, and all below them.
        fixes: the commands may change every file of the folder.
        undone: they must have taken all of it back: bytes, modes and times of files.
        same: the outputs of these commands are the same.
        before: called before a command, by its number; it may change the box.
        environ: variables of the commands.
    """

    commands: Sequence[Sequence[str]]
    writes: tuple[str, ...] = ()
    fixes: bool = False
    undone: bool = False
    same: tuple[int, ...] = ()
    before: Mapping[int, Callable[[], object]] = field(default_factory=dict)
    environ: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Box:
    """The folders around a case: `case` is where commands stand; in `outside` nothing may change."""

    root: Path

    @property
    def case(self) -> Path:
        """The folder that the commands stand in."""
        return self.root / "case"

    @property
    def outside(self) -> Path:
        """Files of the user that are no business of any command."""
        return self.root / "outside"

    @property
    def home(self) -> Path:
        """The user's home."""
        return self.root / "home"

    @property
    def temporary(self) -> Path:
        """The folder for temporary files, which stays empty."""
        return self.root / "tmp"

    def make(self) -> None:
        """An empty case, and files around it."""
        shutil.rmtree(self.root, ignore_errors=True)
        for folder in (self.case, self.outside / "images", self.outside / "labels", self.home, self.temporary):
            folder.mkdir(parents=True)
        (self.outside / "secret.txt").write_text("secret\n")
        (self.outside / "images" / "a.jpg").write_bytes(picture())
        (self.outside / "labels" / "a.txt").write_text("0 0.5 0.5 0.2 1.2\n0 0.5 0.5 0.2 1.2\n")
        (self.home / ".profile").write_text("# mine\n")

    def environ(self) -> dict[str, str]:
        """Variables that make this box the user's."""
        return {
            "HOME": str(self.home),
            "XDG_CACHE_HOME": str(self.home / ".cache"),
            "XDG_DATA_HOME": str(self.home / ".local" / "share"),
            "XDG_CONFIG_HOME": str(self.home / ".config"),
            "TMPDIR": str(self.temporary),
            "TORCHINDUCTOR_CACHE_DIR": str(self.home / ".cache" / "torch"),
        }


@lru_cache
def picture(seed: int = 0, form: str = ".jpg") -> bytes:
    """A small picture of noise."""
    import cv2
    import numpy as np

    pixels = np.random.default_rng(seed).integers(0, 255, (48, 64, 3), np.uint8)
    return bytes(cv2.imencode(form, pixels)[1].tobytes())


def put(folder: Path, files: Mapping[str, bytes | str]) -> None:
    """Write files below a folder."""
    for name, content in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode("utf-8", "surrogateescape") if isinstance(content, str) else content)


Entry = tuple[Any, ...]


def snapshot(top: Path) -> dict[str, Entry]:
    """What is below a folder: kind, mode, time and content of each entry; links are not followed."""
    found: dict[str, Entry] = {}
    for folder, below, names in os.walk(top):
        for name in (*below, *names):
            path = Path(folder) / name
            found[os.fspath(path.relative_to(top))] = _entry(path)
    return found


def _entry(path: Path) -> Entry:
    status = path.lstat()
    kind = stat.S_IFMT(status.st_mode)
    if stat.S_ISLNK(status.st_mode):
        return kind, os.readlink(path)  # noqa: PTH115
    if stat.S_ISDIR(status.st_mode):
        return kind, status.st_mode, status.st_mtime_ns
    content = ""
    if stat.S_ISREG(status.st_mode) and status.st_size <= LARGEST:
        content = hashlib.sha256(path.read_bytes()).hexdigest()
    return kind, status.st_mode, status.st_mtime_ns, status.st_size, content


def changed(before: Mapping[str, Entry], after: Mapping[str, Entry]) -> list[str]:
    """The names of what came, went or is not as it was."""
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))


def _plain(entries: Mapping[str, Entry]) -> dict[str, Entry]:
    """The files and links of a snapshot: an undo gives folders no times back."""
    return {name: entry for name, entry in entries.items() if not stat.S_ISDIR(entry[0])}


def judge_files(case: Case, before: Mapping[str, Entry], after: Mapping[str, Entry]) -> list[str]:
    """What a case did to files that it may not do.

    Args:
        case: the case.
        before, after: snapshots of the whole box.
    """
    wrong = []
    if case.undone:
        lost = [n for n in changed(_plain(before), _plain(after)) if n.startswith("case/")]
        wrong += [f"bytes lost: {name}" for name in lost]
    for name in changed(before, after):
        if name == "tmp" or name.startswith(OWN_PLACES) or any(place.startswith(name) for place in OWN_PLACES):
            continue
        if name.startswith("tmp/"):
            wrong.append(f"left behind: {name}")
        elif not name.startswith("case"):
            wrong.append(f"write outside: {name}")
        elif not case.fixes and not _may(case, name, before, after):
            wrong.append(f"bytes lost: {name}")
    return wrong


def _may(case: Case, name: str, before: Mapping[str, Entry], after: Mapping[str, Entry]) -> bool:
    """Whether a name in the folder of the case may change; a folder gets a new time with what is made in it."""
    if any(name == f"case/{free}" or name.startswith(f"case/{free}/") for free in case.writes):
        return True
    old, new = before.get(name), after.get(name)
    folder = old is not None and new is not None and stat.S_ISDIR(old[0]) and stat.S_ISDIR(new[0])
    return folder and any(f"case/{free}".startswith(f"{name}/") for free in case.writes)


def judge_output(words: Sequence[str], code: int, out: bytes, err: bytes) -> list[str]:
    """What is wrong with how a command ended and what it printed."""
    wrong = []
    if code not in CODES:
        wrong.append(f"exit code {code}: {_last(err)}")
    elif b"Traceback (most recent call last)" in err:
        wrong.append(f"traceback: {_last(err)}")
    if len(err) > 50_000:
        wrong.append(f"{len(err)} bytes of errors")
    if code in CODES and (form := _form(words, code)):
        try:
            _parse(out, form)
        except ValueError as error:
            wrong.append(f"not {form}: {str(error)[:100]}")
    for name, stream in (("stdout", out), ("stderr", err)):
        text = stream.decode("utf-8", "replace")
        at = next((i for i, letter in enumerate(text) if letter in CONTROLS), None)
        if at is not None:
            wrong.append(f"control characters on {name}: {text[max(0, at - 80) : at + 40]!r}")
    return wrong


def _last(err: bytes) -> str:
    lines = err.decode("utf-8", "replace").strip().splitlines() or ["nothing on stderr"]
    places = [line.strip() for line in lines if line.strip().startswith("File ")]
    return " | ".join((lines[-1][:200], *places[-1:]))


def _form(words: Sequence[str], code: int) -> str:
    """The form that stdout must have; empty if any will do."""
    options = words[: words.index("--")] if "--" in words else words
    if "--json" in options:
        return "json"
    if code == 2 or "--output-format" not in words or "--output-file" in words or "--statistics" in words:
        return ""
    at = words.index("--output-format") + 1
    form = words[at] if at < len(words) else ""
    return {"sarif": "json", "gitlab": "json"}.get(form, form)


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _parse(out: bytes, form: str) -> None:
    """Read the output in its form.

    Raises:
        ValueError: it is not of it.
    """
    text = out.decode("utf-8")
    if form == "json":
        json.loads(text, parse_constant=_refuse)
    elif form == "jsonl":
        for line in text.splitlines():
            json.loads(line, parse_constant=_refuse)
    elif form == "junit":
        try:
            ElementTree.parse(io.StringIO(text))
        except ElementTree.ParseError as error:
            raise ValueError(str(error)) from error


def dice(seed: int, kind: str, number: int) -> random.Random:
    """The random numbers of one case, which hang on nothing else."""
    return random.Random(f"{seed}:{kind}:{number}")
