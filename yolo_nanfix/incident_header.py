"""Looks at the header of an incident file before anything parses it; files come from anybody."""

from __future__ import annotations

from pathlib import Path

LARGEST = 1 << 25
"""Bytes of a header, the facts among them; a value of three bytes there takes seventy of memory."""
MOST = 1 << 21
"""Texts in a header; 100 000 tensors take a million."""


def look(path: str | Path) -> None:
    """Refuse a header that would fill the memory.

    Args:
        path: a safetensors file.

    Raises:
        ValueError: the header is larger, or of more entries, than any that the guard writes.
        OSError: the file cannot be read.
    """
    with open(path, "rb") as file:
        size = int.from_bytes(file.read(8), "little")
        if size > LARGEST:
            raise ValueError(f"its header claims {size} bytes; at most {LARGEST} are read")
        header = file.read(size)
    texts = (header.count(b'"') - header.count(b'\\"')) // 2
    if texts > MOST:
        raise ValueError(f"its header has {texts} texts; at most {MOST} are read")
