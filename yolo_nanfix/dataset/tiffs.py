"""What the tags of a TIFF say of its alpha channel."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

_COLOURS, _EXTRA = 262, 338
_RGB, _UNASSOCIATED = 2, 2
_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def alpha_by_which_colours_are_multiplied(data: NDArray[np.uint8], stored: NDArray[Any]) -> NDArray[Any] | None:
    """The alpha channel by which libtiff multiplies red, green and blue when it decodes to 8 bits; None if it does not.

    It does where the tag ExtraSamples says that alpha is not associated, as Pillow and most editors write it.

    Args:
        data: the bytes of the file.
        stored: its pixels as OpenCV decodes them unchanged.
    """
    if stored.ndim != 3 or stored.shape[2] != 4 or data[:4].tobytes() not in _STARTS:
        return None
    from PIL import Image as PILImage

    with PILImage.open(io.BytesIO(data.tobytes())) as image:
        tags = getattr(image, "tag_v2", {})
        extra, colours = tags.get(_EXTRA), tags.get(_COLOURS)
    told = extra if isinstance(extra, tuple) else (extra,)
    return stored[..., 3] if told == (_UNASSOCIATED,) and colours == _RGB else None
