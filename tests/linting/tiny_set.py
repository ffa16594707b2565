"""A tiny healthy dataset, one image a split, and the ways to make it faulty."""

from __future__ import annotations

import io
import os
from pathlib import Path

import cv2
import numpy as np
from PIL import Image as PILImage

YAML = "train: images/train\nval: images/val\nnames: [cat, dog]\n"
ROWS = "0 0.5 0.5 0.2 0.2\n1 0.3 0.3 0.1 0.2\n"


def picture(
    height: int = 48, width: int = 64, channels: int = 3, dtype: str = "uint8", top: int = 255, seed: int = 0
) -> np.ndarray:
    """Seeded noise of shape (height, width[, channels]) from 0 to top."""
    shape = (height, width, channels) if channels > 1 else (height, width)
    return (np.random.default_rng(seed).random(shape) * top).astype(dtype)


def encode(suffix: str, pixels: np.ndarray) -> bytes:
    """The bytes of an image file."""
    return bytes(cv2.imencode(suffix, pixels)[1].tobytes())


def tiff_pages(pages: list[np.ndarray]) -> bytes:
    """The bytes of a TIFF with one page for each array."""
    return bytes(cv2.imencodemulti(".tiff", pages)[1].tobytes())


def turned(pixels: np.ndarray, turn: int, name: str = "JPEG") -> bytes:
    """The bytes of an image of BGR or BGRA pixels with an orientation of EXIF."""
    exif, stream = PILImage.Exif(), io.BytesIO()
    exif[274] = turn
    order = [2, 1, 0, 3][: pixels.shape[2]]
    PILImage.fromarray(np.ascontiguousarray(pixels[..., order])).save(stream, name, exif=exif)
    return stream.getvalue()


class TinySet:
    """`images/train/a.jpg` and `images/val/b.jpg` with labels and data.yaml, all healthy."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.yaml(YAML)
        self.put("images/train/a.jpg", encode(".jpg", picture()))
        self.put("images/val/b.jpg", encode(".jpg", picture(seed=1)))
        self.put("labels/train/a.txt", ROWS)
        self.put("labels/val/b.txt", ROWS)

    def put(self, path: str, content: bytes | str) -> Path:
        """Write a file under the root."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        return file

    def yaml(self, text: str) -> None:
        """Replace data.yaml."""
        self.put("data.yaml", text)

    def rows(self, content: bytes | str) -> None:
        """Replace the labels of the train image."""
        self.put("labels/train/a.txt", content)

    def image(self, suffix: str, content: bytes) -> Path:
        """Replace the train image by one of another suffix."""
        (self.root / "images/train/a.jpg").unlink(missing_ok=True)
        return self.put(f"images/train/a{suffix}", content)

    def npy(self, pixels: np.ndarray) -> None:
        """Put an array beside the train image."""
        np.save(self.root / "images/train/a.npy", pixels)

    def drop(self, path: str) -> None:
        """Remove a file."""
        (self.root / path).unlink()

    def state(self) -> dict[str, tuple[int, bytes]]:
        """Modification time and bytes of every file, and of folders the time alone."""
        found = {}
        for path in sorted(self.root.rglob("*")):
            content = path.read_bytes() if path.is_file() else b""
            found[os.fspath(path)] = (path.lstat().st_mtime_ns, content)
        return found
