"""Annotations as Ultralytics NDJSON: lines with odd values, odd lines, damaged bytes."""

from __future__ import annotations

import random
from typing import Any

import fuzz_sets
from fuzz_coco import dumped
from fuzz_core import Box, Case, picture, put
from fuzz_damage import damaged
from fuzz_files import odd
from fuzz_values import encoded, mutated, text


def whole() -> list[Any]:
    """A healthy file of two images."""
    head = {"type": "dataset", "task": "detect", "class_names": {"0": "cat", "1": "dog"}}
    record = {"type": "image", "width": 64, "height": 48, "url": "https://127.0.0.1:9/a.jpg"}
    rows = {"annotations": {"boxes": [[0, 0.5, 0.5, 0.2, 0.2], [1, 0.3, 0.3, 0.1, 0.1]]}}
    shapes = {"annotations": {"segments": [[0, 0.1, 0.1, 0.4, 0.1, 0.4, 0.4]], "pose": [[0, 0.5, 0.5, 0.2, 0.2, 0.5]]}}
    return [
        head,
        {**record, "file": "a.jpg", "split": "train", **rows},
        {**record, "file": "b.jpg", "split": "val", **shapes},
    ]


def make(box: Box, rng: random.Random) -> Case:
    """One case."""
    put(box.case, {"a.jpg": picture(), "images/train/a.jpg": picture(), "images/val/b.jpg": picture(1)})
    way = rng.randrange(10)
    document = mutated(whole(), rng, box) if way < 7 else whole()
    lines = [dumped(line) for line in document] if isinstance(document, list) else [dumped(document)]
    if way == 6:
        lines.insert(
            rng.randrange(len(lines) + 1), rng.choice(("", "{", "[]", "1", "null", text(rng, box), "[" * 3000))
        )
    content = "\n".join(lines) + rng.choice(("\n", ""))
    file = box.case / "set.ndjson"
    file.write_bytes(damaged(content.encode(), rng) if way == 7 else encoded(content, rng))
    if way == 8:
        file.write_text(content + dumped(whole()[1]) * rng.choice((1, 2000)))
    elif way == 9:
        odd(file, rng, box)
    return fuzz_sets.asked(box, rng, rng.choice((file.name, file.name, ".")))
