"""What OpenCV's decoders print about damaged images, which findings say, is not shown."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def silent() -> Iterator[None]:
    """Let OpenCV log nothing for the length of a `with` block; its functions for that have moved between versions."""
    import cv2  # few datasets hold a file that needs it

    logging: Any = getattr(cv2.utils, "logging", cv2)
    before = logging.getLogLevel()
    logging.setLogLevel(0)
    try:
        yield
    finally:
        logging.setLogLevel(before)
