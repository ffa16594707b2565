"""The chunks of a PNG before its pixels."""

from __future__ import annotations

import struct
from collections.abc import Iterator

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_MOST, _LONGEST = 64, 64
"""So many chunks are looked at, and the data of those that are no longer."""
_head = struct.Struct(">L4s")


def chunks(file: str) -> Iterator[tuple[bytes, bytes]]:
    """Name and data (of short ones) of each chunk up to the pixels, IDAT; nothing of what is no PNG."""
    try:
        with open(file, "rb") as stream:
            if stream.read(len(_SIGNATURE)) != _SIGNATURE:
                return
            for _ in range(_MOST):
                length, name = _head.unpack(stream.read(_head.size))
                data = stream.read(length) if length <= _LONGEST and name != b"IDAT" else b""
                yield name, data
                if name == b"IDAT":
                    return
                stream.seek(length - len(data) + 4, 1)
    except (OSError, ValueError, struct.error):
        return


def still_apart(file: str) -> bool:
    """Whether a PNG is animated and its still picture, which comes first, is none of the frames."""
    names = [name for name, _ in chunks(file)]
    return names[-1:] == [b"IDAT"] and b"acTL" in names and b"fcTL" not in names
