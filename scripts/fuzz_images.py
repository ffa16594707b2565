"""Images: damaged, of another format, of odd sizes in their headers, arrays, and what is no image at all."""

from __future__ import annotations

import random

import fuzz_sets
from fuzz_core import Box, Case, picture
from fuzz_damage import damaged
from fuzz_files import odd

FORMS = (".jpg", ".png", ".bmp", ".tiff", ".webp", ".ppm", ".jp2")


def make(box: Box, rng: random.Random) -> Case:
    """One case."""
    fuzz_sets.make(box.case, rng.choice(("detect", "segment")))
    for image in sorted((box.case / "images").rglob("*.jpg"))[: rng.randint(1, 3)]:
        way = rng.randrange(4)
        form = rng.choice(FORMS)
        if way == 0:
            odd(image, rng, box)
        elif way == 1:
            image.unlink()
            image.with_suffix(form).write_bytes(damaged(picture(1, form), rng))
        elif way == 2:
            image.with_suffix(".npy").write_bytes(_array(rng))
        else:
            content = bytearray(picture(2, form))
            for _ in range(rng.randint(1, 6)):
                content[rng.randrange(min(64, len(content)))] = rng.choice((0, 1, 127, 128, 255))
            image.write_bytes(content)
    return fuzz_sets.asked(box, rng, "data.yaml", *(["--deep"] if rng.random() < 0.5 else []))


def _array(rng: random.Random) -> bytes:
    """A .npy whose header says what is not so."""
    kinds = ("|u1", "<f4", "<f8", "|O", "<U9", "|V8", "<c16", "|b1", "<i9", "'", "<f4, <f4")
    shapes = ("(48, 64, 3)", "(1,)", "()", "(0, 0)", f"({10**9}, {10**9})", "(-1, 3)", "(48, 64, 3", "[[]]", "(2**99,)")
    head = f"{{'descr': '{rng.choice(kinds)}', 'fortran_order': False, 'shape': {rng.choice(shapes)}, }}"
    body = rng.choice((b"", bytes(48 * 64 * 3), bytes(100), rng.randbytes(500)))
    data = b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head.encode() + body
    return damaged(data, rng) if rng.random() < 0.5 else data
