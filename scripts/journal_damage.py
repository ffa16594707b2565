"""Ways in which the journal of a fix run gets damaged, by a disk or by a hand: for fuzzing, and for the tests of undo.

    damage(journal, random.Random(0), [Path("/elsewhere/file")])

Half of the ways leave a journal whose hash is right again, so that what it says is judged, not only that it changed.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

NAMES = ("journal.json", "pack.bin", "applied.json")
DEEP = 3000
ODD: tuple[Any, ...] = (
    *(None, True, False, -1, 0, 1, 7, 1 << 31, 1 << 63, -(1 << 63), 1 << 200, 0.5, 1e308, float("nan")),
    *("", "x", "\0", "\udcff", "a\nb\x1b[2J", ".", "..", "/", "//", "x" * 5000, [], [[]], {}, {"a": 1}, [1, 2, 3]),
)


def damage(journal: Path, rng: random.Random, places: Sequence[Path]) -> str:
    """Damage the journal in a folder; gives in which way.

    Args:
        journal: the folder of one fix run.
        rng: chooses.
        places: files and folders that are none of the dataset's; nothing may be written there.
    """
    way = rng.choice((_bytes, _bytes, _replaced, _said, _said, _said, _lead_away, _lead_away, _shape))
    return f"{way.__name__.strip('_')}: {way(journal, rng, places)}"


def _bytes(journal: Path, rng: random.Random, places: Sequence[Path]) -> str:
    """Bytes of one file are cut, flipped, set to zero, doubled, written over."""
    name = rng.choice(NAMES)
    old = (journal / name).read_bytes()
    at = rng.randrange(len(old) + 1)
    flipped = bytes(byte ^ (1 << rng.randrange(8)) if i == at else byte for i, byte in enumerate(old))
    ways = (old[:at], old[at:], flipped, old[:at] + bytes(16) + old[at + 16 :], old + old, rng.randbytes(len(old)))
    (journal / name).write_bytes(rng.choice(ways))
    return f"{name} from {at} on"


def _replaced(journal: Path, rng: random.Random, places: Sequence[Path]) -> str:
    """A file is gone, or something else stands in its place."""
    name = rng.choice((*NAMES, "undone.json", "begun", "cleared.json"))
    file = journal / name
    file.unlink(missing_ok=True)
    made: dict[str, Callable[[], object]] = {
        "nothing": lambda: None,
        "a folder": file.mkdir,
        "a pipe": lambda: os.mkfifo(file),
        "a link": lambda: file.symlink_to(rng.choice(places)),
        "a link that goes round": lambda: file.symlink_to(file),
        "a device": lambda: file.symlink_to(os.devnull),
        "nothing in it": lambda: file.write_bytes(b""),
    }
    what = rng.choice(sorted(made))
    made[what]()
    return f"{name} is {what}"


def _said(journal: Path, rng: random.Random, places: Sequence[Path]) -> str:
    """One value is another one."""
    head, body = read(journal)
    step = rng.choice(body["steps"])
    where: dict[str, Any] = rng.choice((head, body, step, step, step))
    key = rng.choice(sorted(where))
    where[key] = rng.choice(ODD)
    write(journal, head, body)
    return f"{key} is {where[key]!r:.20}"


def _lead_away(journal: Path, rng: random.Random, places: Sequence[Path]) -> str:
    """Paths, or names of temporary files, lead elsewhere."""
    head, body = read(journal)
    away, step = rng.choice(places), rng.choice(body["steps"])
    new = away.with_name("new.txt")
    here = Path(step["path"])
    up = os.path.relpath(away, here.parent)
    paths = (str(away), str(new), str(here.parent / up), up, f"/.{away}", "/proc/self/environ", "/dev/null")
    way = rng.randrange(6)
    if way == 0:
        step["path"] = rng.choice(paths)
    elif way == 1:
        step["target"] = rng.choice(paths)
    elif way == 2:
        step["path"] = step["target"] = rng.choice(paths)
        if away.is_file():
            step["after"] = hashlib.sha256(away.read_bytes()).hexdigest()
    elif way == 3:
        body["token"] = f"/{up}/"
    elif way == 4:
        body["folders"] = [str(away.parent), str(away), *body["folders"]]
    else:
        link = here.parent / "link"
        link.symlink_to(away.parent)
        step["path"] = step["target"] = str(link / away.name)
    write(journal, head, body)
    return f"{way}"


def _shape(journal: Path, rng: random.Random, places: Sequence[Path]) -> str:
    """The journal has another shape, though its hash is right."""
    head, body = read(journal)
    texts = {
        "deep": "[" * DEEP + "]" * DEEP,
        "deep in a step": json.dumps(body)[:-2] + ", " + '{"a":' * DEEP + "1" + "}" * DEEP + "]}",
        "no JSON": json.dumps(body)[:-5],
        "odd": json.dumps(rng.choice(ODD)),
        "lines": json.dumps(body, indent=1),
        "many steps": json.dumps({**body, "steps": body["steps"] * 300}),
        "no step": json.dumps({**body, "steps": []}),
        "steps by name": json.dumps({**body, "steps": {str(i): step for i, step in enumerate(body["steps"])}}),
    }
    name = rng.choice(sorted(texts))
    write(journal, head, texts[name])
    return name


def read(journal: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The two lines of a journal."""
    head, body = (journal / "journal.json").read_text().splitlines()
    return json.loads(head), json.loads(body)


def write(journal: Path, head: dict[str, Any], body: Any) -> None:
    """Write a journal whose hash is right, unless the hash itself was changed."""
    text = (body if isinstance(body, str) else json.dumps(body)).encode()
    if isinstance(head.get("sha256"), str) and len(head["sha256"]) == hashlib.sha256().digest_size * 2:
        head = {**head, "sha256": hashlib.sha256(text).hexdigest()}
    (journal / "journal.json").write_bytes(json.dumps(head).encode() + b"\n" + text + b"\n")
