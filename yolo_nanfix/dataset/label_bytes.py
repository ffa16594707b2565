"""The bytes of label files; apart from what makes numbers of them, which takes numpy."""

from __future__ import annotations

import os
import stat

from yolo_nanfix.dataset.oversized import LABEL_BYTES, check_lines, check_size
from yolo_nanfix.files import NotRegular, Refusal, not_regular


def read_bytes(path: str) -> bytes | None:
    """The bytes of a regular file, or None if there is none.

    Raises:
        OSError: it is there but cannot be read.
        TooLarge: it is larger than label files are read.
    """
    try:
        status = os.stat(path)  # noqa: PTH116 - a Path object costs as much as the call
    except (OSError, ValueError):
        return None
    if not stat.S_ISREG(status.st_mode):
        return None
    check_size(status.st_size)
    with open(path, "rb", buffering=0, opener=_open) as stream:
        data = stream.read(LABEL_BYTES + 1)  # it may have grown
    if data is None:  # it has nothing now, and would be waited for
        raise NotRegular(path, not_regular(path) or Refusal.PIPE)
    if len(data) != status.st_size and (refusal := not_regular(path)) is not None:  # as in /proc, where sizes are 0
        raise NotRegular(path, refusal)
    check_size(len(data))
    check_lines(data)
    return data


def _open(path: str, flags: int) -> int:
    """Without waiting: a pipe may have taken the place of the file."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
