"""Draw a dataset with as many findings as you like, to try a page at its limits.

python scripts/many_findings.py OUT [--findings 10000]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

CLASSES = ("nut", "coin", "seed", "plate", "washer", "bolt")
DEFECTS = (
    "{c} 0.5 0.5 0 0.2",  # a side is 0
    "{c} 0.9{n:03d} 0.5 0.25 0.2",  # reaches out of the image
    "{c} nan 0.5 0.2 0.2",
    "99 0.5 0.5 0.2 0.{n:03d}",  # no such class
    "{c} 1.5 0.5 0.2 0.1{n:03d}",  # outside altogether
)
ROWS = 5


def draw(out: Path, findings: int = 10_000, *, height: int = 96, width: int = 128) -> Path:
    """Write images of seeded noise with five bad label rows each, a fifth of them in val; return the data.yaml."""
    images = -(-findings // ROWS)
    base = np.random.default_rng(0).integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
    for number in range(images):
        split = "val" if number % 5 == 4 else "train"
        pixels = cv2.resize(np.roll(base, number, axis=1), (width, height), interpolation=cv2.INTER_CUBIC)
        pixels[:4, :8] = (number % 256, number // 256, 128)  # no two are the same
        image = out / "images" / split / f"{number:05d}.jpg"
        label = out / "labels" / split / f"{number:05d}.txt"
        image.parent.mkdir(parents=True, exist_ok=True)
        label.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(image), pixels)
        good = f"{number % len(CLASSES)} 0.3 0.3 0.2{number % 1000:03d} 0.3\n"
        bad = "".join(
            row.format(c=(number + k) % len(CLASSES), n=number % 1000) + "\n" for k, row in enumerate(DEFECTS)
        )
        label.write_text(good + bad)
    data = out / "data.yaml"
    data.write_text(f"train: images/train\nval: images/val\nnames: [{', '.join(CLASSES)}]\n")
    return data


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="a folder that is not there yet")
    parser.add_argument("--findings", type=int, default=10_000, metavar="N", help="at least so many (default: 10000)")
    args = parser.parse_args()
    if args.out.exists():
        parser.error(f"{args.out} is there already")
    print(draw(args.out, args.findings))


if __name__ == "__main__":
    main()
