"""Values that break readers, and documents with one of them somewhere: the shared part of all structured kinds."""

from __future__ import annotations

import contextlib
import copy
import random
from collections.abc import Callable, Iterator
from typing import Any

from fuzz_core import Box

DEEP = (30, 300, 3000)
"""So deep may lists be nested; 3000 is more than Python's readers follow."""


def text(rng: random.Random, box: Box) -> str:
    """A text that somebody may run, follow, print or take for something else."""
    owned = box.outside / "owned"
    return rng.choice(
        (
            *("", " ", "\t", "\n", "\r\n", "\0", "\x1b[31mred", "\ufeff", "a\u202eb", "\u2028", "名前", "é" * 300),
            *("x" * 300, "x" * 70_000, "%s%n%d", "{}{0}{x.__class__}", "{{7*7}}", "<script>alert(1)</script>"),
            *(
                "nan",
                "inf",
                "-inf",
                "null",
                "None",
                "true",
                "~",
                "1e999",
                "0x10",
                "1_000",
                "١٢",
                "½",
                "01",
                "+1",
                "1,5",
            ),
            *("..", "../..", "../" * 30 + "etc/passwd", "/", "/etc/passwd", "/dev/zero", "/dev/full", "/dev/tty"),
            *("/proc/self/mem", "/proc/self/environ", "~/x", "~root/x", "file:///etc/passwd", "http://127.0.0.1:9/x"),
            *("C:\\x\\y.jpg", "\\\\host\\share", "con", "-rf", "--fix", "--", "*", "a/b/../../../c", "./.", "images"),
            *(
                f"$(touch {owned})",
                f"`touch {owned}`",
                f"| touch {owned}",
                f"; touch {owned};",
                f"=cmd|'touch {owned}'",
            ),
            *(f"__import__('os').system('touch {owned}')", f"@{owned}", str(owned), str(box.outside), str(box.home)),
            *(str(box.outside / "secret.txt"), str(box.outside / "images"), str(box.outside / "images" / "a.jpg")),
            *(
                "\udc80\udcff",
                "a\\\nb",
                "'\"",
                "=1+1",
                "::error::x",
                "##[error]x",
                "2024-01-01",
                "12:30:45",
                "!!binary",
            ),
        )
    )


def number(rng: random.Random) -> float:
    """A number at the edge of something."""
    whole = (0, -1, 1, 2, 255, 256, 2**31 - 1, 2**31, -(2**31) - 1, 2**53 + 1, 2**63, 2**64, 10**30, -(10**400))
    broken = (0.0, -0.0, 0.5, 1.0000001, 1e308, -1e308, 1e-320, float("nan"), float("inf"), float("-inf"), 1e16)
    return rng.choice((*whole, *broken))


def nested(rng: random.Random) -> Any:
    """Lists or mappings in each other."""
    value: Any = None
    mapping = rng.random() < 0.5
    for _ in range(rng.choice(DEEP)):
        value = {"a": value} if mapping else [value]
    return value


def any_value(rng: random.Random, box: Box) -> Any:
    """A value of any type."""
    make: Callable[[], Any] = rng.choice(
        (
            lambda: text(rng, box),
            lambda: text(rng, box),
            lambda: number(rng),
            lambda: number(rng),
            lambda: rng.choice((None, True, False)),
            lambda: rng.choice(([], {}, [[]], [{}], {"": ""}, [None], [0] * 3, {"a": {}}, ["a", 1, None])),
            lambda: [text(rng, box) for _ in range(rng.randint(1, 4))],
            lambda: {text(rng, box)[:50]: number(rng) for _ in range(rng.randint(1, 4))},
            lambda: [number(rng)] * rng.choice((1, 5, 2000)),
            lambda: nested(rng),
        )
    )
    return make()


def places(document: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where each value of a document stands, mappings and lists too."""
    yield place
    if len(place) > 12:
        return
    if isinstance(document, dict):
        for key, value in document.items():
            yield from places(value, (*place, key))
    elif isinstance(document, list):
        for i, value in enumerate(document[:50]):
            yield from places(value, (*place, i))


def mutated(document: Any, rng: random.Random, box: Box, most: int = 3) -> Any:
    """A copy of a document with one to `most` values replaced, left out, doubled, renamed or exchanged."""
    out = copy.deepcopy(document)
    for _ in range(rng.randint(1, most)):
        with contextlib.suppress(RecursionError):  # once something is nested deeply, it can be neither shown nor copied
            out = _once(out, rng, box)
    return out


def _once(document: Any, rng: random.Random, box: Box) -> Any:
    where = rng.choice(list(places(document)))
    if not where:
        return any_value(rng, box) if rng.random() < 0.3 else document
    holder = document
    for step in where[:-1]:
        holder = holder[step]
    key, value = where[-1], holder[where[-1]]
    way = rng.randrange(8)
    if way == 0:
        del holder[key]
    elif way == 1 and isinstance(holder, list):
        holder.extend([value] * rng.choice((1, 3, 200)))
    elif way == 1:
        holder[rng.choice((text(rng, box), str(key).upper(), f"{key} ", number(rng)))] = holder.pop(key)
    elif way == 2:
        other = rng.choice(list(places(document)))
        holder[key] = copy.deepcopy(_at(document, other))
    elif way == 3:
        holder[key] = rng.choice(([value], {"a": value}, str(value), [value, value]))
    elif way == 4 and isinstance(value, (int, float)) and not isinstance(value, bool):
        holder[key] = number(rng)
    elif way == 4 and isinstance(value, str):
        holder[key] = value + text(rng, box)
    else:
        holder[key] = any_value(rng, box)
    return document


def _at(document: Any, place: tuple[Any, ...]) -> Any:
    for step in place:
        document = document[step]
    return document


def encoded(words: str, rng: random.Random) -> bytes:
    """A text in an encoding and with line ends that somebody's editor writes."""
    plain = words.encode("utf-8", "surrogatepass")
    ways = (
        lambda: plain,
        lambda: plain,
        lambda: plain,
        lambda: b"\xef\xbb\xbf" + plain,
        lambda: words.encode("utf-16", "surrogatepass"),
        lambda: words.encode("utf-16-le", "surrogatepass"),
        lambda: words.encode("utf-32", "surrogatepass"),
        lambda: words.encode("latin-1", "replace"),
        lambda: words.encode("cp1252", "replace"),
        lambda: plain.replace(b"\n", b"\r\n"),
        lambda: plain.replace(b"\n", b"\r"),
        lambda: plain.replace(b" ", b"\xc2\xa0"),
        lambda: plain + b"\x1a",
        lambda: plain + b"\0" * 100,
    )
    return rng.choice(ways)()
