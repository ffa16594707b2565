"""Annotations as COCO: a document with odd values, and odd or damaged text."""

from __future__ import annotations

import json
import random
from typing import Any

import fuzz_sets
from fuzz_core import Box, Case, picture, put
from fuzz_damage import damaged
from fuzz_files import odd
from fuzz_values import encoded, mutated


def whole() -> dict[str, Any]:
    """A healthy file of two images."""
    square = [[10, 10, 20, 10, 20, 20, 10, 20]]
    counts = {"size": [48, 64], "counts": [100, 20, 2952]}
    return {
        "images": [
            {"id": 1, "file_name": "images/a.jpg", "width": 64, "height": 48},
            {"id": 2, "file_name": "images/b.jpg", "width": 64, "height": 48},
        ],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "bbox": [10, 10, 10, 10], "segmentation": square, "iscrowd": 0},
            {"id": 2, "image_id": 2, "category_id": 2, "bbox": [10, 10, 10, 10], "segmentation": counts, "iscrowd": 1},
            {"id": 3, "image_id": 2, "category_id": 1, "bbox": [1, 1, 9, 9], "keypoints": [10, 10, 2, 20, 20, 1]},
        ],
        "categories": [{"id": 1, "name": "cat", "keypoints": ["nose", "tail"]}, {"id": 2, "name": "dog"}],
    }


def make(box: Box, rng: random.Random) -> Case:
    """One case."""
    put(box.case, {"images/a.jpg": picture(), "images/b.jpg": picture(1)})
    file = box.case / "set.json"
    way = rng.randrange(10)
    document = whole() if way > 6 else mutated(whole(), rng, box)
    file.write_bytes(encoded(dumped(document), rng))
    if way == 7:
        file.write_bytes(damaged(json.dumps(document).encode(), rng))
    elif way == 8:
        content = json.dumps(document)
        file.write_text(
            rng.choice((content * 2, f"[{content}", content[:-1], f"x={content}", content + ",", "[" * 4000))
        )
    elif way == 9:
        odd(rng.choice((file, box.case / "images" / "a.jpg", box.case / "images")), rng, box)
    return fuzz_sets.asked(box, rng, rng.choice((file.name, file.name, ".")))


def dumped(document: Any) -> str:
    """A document as JSON; numbers that are not finite as Python writes them."""
    try:
        return json.dumps(document)
    except (RecursionError, TypeError):
        return '{"a": [' * 3000
