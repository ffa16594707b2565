"""What OpenCV's decoders print about damaged images, which findings say, is not shown."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def silent() -> Iterator[None]:
    """Let OpenCV log nothing for the length of a `with` block.

    Its functions for that are in `cv2` up to 4.12 and in `cv2.utils.logging` from 4.13 on; where they are in neither,
    what it logs is not worth a failure.
    """
    import cv2  # few datasets hold a file that needs it

    places: tuple[Any, ...] = (getattr(getattr(cv2, "utils", None), "logging", None), cv2)
    logging = next((place for place in places if hasattr(place, "setLogLevel") and hasattr(place, "getLogLevel")), None)
    if logging is None:
        yield
        return
    before = logging.getLogLevel()
    logging.setLogLevel(0)
    try:
        yield
    finally:
        logging.setLogLevel(before)
