"""A pickle that shows whether it was loaded, and does no harm."""

from __future__ import annotations

from pathlib import Path


class Marker:
    """Writes a marker file when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self):
        return Path.touch, (self.file,)
