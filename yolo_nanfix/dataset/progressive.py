"""Whether a progressive JPEG has its scans: one that lacks some decodes without a complaint, and is coarse."""

from __future__ import annotations

from yolo_nanfix.dataset.jpegs import Content

_HEAD = 4096
_FRAME, _SCAN = b"\xff\xc2", b"\xff\xda"
_MOST = 256
"""So many scans are looked at; encoders write ten or so."""


def without_detail(content: Content) -> str:
    """What to say of a progressive JPEG in which a colour component has no scan but that of its mean values.

    Nothing where it has all, or is no progressive JPEG.
    """
    if bytes(content[:_HEAD]).find(_FRAME) < 0:
        return ""
    data = bytes(content)
    frame = data.find(_FRAME)
    count = data[frame + 9] if frame + 9 < len(data) else 0
    wanted = {data[frame + 10 + 3 * k] for k in range(count) if frame + 10 + 3 * k < len(data)}
    if data[frame + 2 : frame + 4] != (8 + 3 * count).to_bytes(2, "big") or len(wanted) != count or not count:
        return ""
    detailed: set[int] = set()
    at, scans = data.find(_SCAN, frame), 0
    while at >= 0 and scans < _MOST and at + 5 <= len(data):
        own = data[at + 4]
        end = at + 5 + 2 * own
        if data[at + 2 : at + 4] != (6 + 2 * own).to_bytes(2, "big") or end + 1 >= len(data):
            return ""
        if data[end + 1] and not data[end]:
            return ""  # all coefficients at once: the frame of a thumbnail was met, not that of the image
        if data[end]:  # the first coefficient of the scan; that of mean values is 0
            detailed.update(data[at + 5 : end : 2])
        scans += 1
        at = data.find(_SCAN, end)
    lacking = len(wanted - detailed)
    if not scans or not lacking:
        return ""
    return f"a progressive JPEG that ends after {scans} scans: {lacking} of {count} colour components have no detail"
