"""Ways in which bytes get damaged: by a disk, a killed copy, a foreign program, a hand."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

Damage = Callable[[bytes, random.Random], bytes]


def flip(data: bytes, rng: random.Random) -> bytes:
    """One to eight flipped bits."""
    out = bytearray(data)
    for _ in range(rng.randint(1, 8) if out else 0):
        out[rng.randrange(len(out))] ^= 1 << rng.randrange(8)
    return bytes(out)


def cut(data: bytes, rng: random.Random) -> bytes:
    """The end is lost."""
    return data[: rng.randrange(len(data) + 1)]


def headless(data: bytes, rng: random.Random) -> bytes:
    """The beginning is lost."""
    return data[rng.randrange(len(data) + 1) :]


def zeros(data: bytes, rng: random.Random) -> bytes:
    """A block of zeros, as a file system leaves one after a power cut."""
    at = rng.randrange(len(data) + 1)
    size = min(len(data) - at, rng.choice((1, 16, 512, 4096)))
    return data[:at] + bytes(size) + data[at + size :]


def lost(data: bytes, rng: random.Random) -> bytes:
    """A part is missing in the middle."""
    at = rng.randrange(len(data) + 1)
    return data[:at] + data[at + rng.randint(1, 64) :]


def doubled(data: bytes, rng: random.Random) -> bytes:
    """A part stands there twice."""
    at = rng.randrange(len(data) + 1)
    return data[:at] + data[max(0, at - rng.randint(1, 64)) :]


def noise(data: bytes, rng: random.Random) -> bytes:
    """A part is overwritten by random bytes."""
    at = rng.randrange(len(data) + 1)
    part = rng.randbytes(rng.randint(1, 32))
    return data[:at] + part + data[at + len(part) :]


def longer(data: bytes, rng: random.Random) -> bytes:
    """Something stands behind the end."""
    return data + rng.choice((b"\0", b"\n", b"{}", b"\x1a", data, rng.randbytes(100)))


def digits(data: bytes, rng: random.Random) -> bytes:
    """Another digit, so that text stays text and numbers stay numbers."""
    places = [i for i, byte in enumerate(data) if 48 <= byte <= 57]
    out = bytearray(data)
    for _ in range(rng.randint(1, 4) if places else 0):
        out[rng.choice(places)] = rng.choice(b"0123456789")
    return bytes(out)


DAMAGES: Sequence[Damage] = (flip, cut, headless, zeros, lost, doubled, noise, longer, digits)


def damaged(data: bytes, rng: random.Random) -> bytes:
    """The bytes after one of these; what stays the same by chance is cut by one byte."""
    out = rng.choice(DAMAGES)(data, rng)
    return out if out != data else data[:-1]
