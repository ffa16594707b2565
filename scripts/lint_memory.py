"""How much memory lint takes for a million label rows: YOLO label files, and one COCO file.

python scripts/lint_memory.py [--rows 1000000] [--folder DIR]

Prints one line each: rows, seconds, and the most resident memory of this process and its children. Each is linted in a
process of its own. Exits with 1 if one takes 1.5 GB or more.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

LIMIT_MB = 1500
PER_IMAGE = 100


def _boxes(rows: int) -> np.ndarray:
    """(rows, 5) class and normalised boxes inside the image."""
    rng = np.random.default_rng(0)
    boxes = np.empty((rows, 5))
    boxes[:, 0] = rng.integers(0, 80, rows)
    boxes[:, 3:] = rng.uniform(0.01, 0.1, (rows, 2))
    boxes[:, 1:3] = rng.uniform(0.1, 0.9, (rows, 2))
    return boxes.round(6)


def make(root: Path, rows: int) -> None:
    """Write the two datasets: `yolo` and `coco.json`, with links to one image."""
    boxes = _boxes(rows).reshape(-1, PER_IMAGE, 5)
    names = [f"{i:06}" for i in range(len(boxes))]
    picture = np.random.default_rng(1).integers(0, 255, (480, 640, 3)).astype(np.uint8)
    for split, part in (("train", names[:-1]), ("val", names[-1:])):
        (root / "yolo/images" / split).mkdir(parents=True)
        (root / "yolo/labels" / split).mkdir(parents=True)
        for name in part:
            text = "\n".join(" ".join(f"{v:g}" for v in row) for row in boxes[int(name)])
            (root / "yolo/labels" / split / f"{name}.txt").write_text(text)
            image = root / "yolo/images" / split / f"{name}.jpg"
            if name == names[0]:
                cv2.imwrite(str(image), picture)
            else:
                image.hardlink_to(root / "yolo/images/train" / f"{names[0]}.jpg")
    classes = ", ".join(f"c{i}" for i in range(80))
    (root / "yolo/data.yaml").write_text(f"train: images/train\nval: images/val\nnames: [{classes}]\n")
    _coco(root / "coco.json", boxes, names)


def _coco(file: Path, boxes: np.ndarray, names: list[str]) -> None:
    """Write the same boxes as COCO."""
    size = np.array([640, 480, 640, 480])
    images = [{"id": i, "file_name": f"{n}.jpg", "width": 640, "height": 480} for i, n in enumerate(names)]
    annotations = []
    for i, rows in enumerate(boxes):
        corners = (np.column_stack([rows[:, 1:3] - rows[:, 3:] / 2, rows[:, 3:]]) * size).round(2)
        for row, box in zip(rows, corners.tolist(), strict=True):
            number = len(annotations) + 1
            annotations.append({"id": number, "image_id": i, "category_id": int(row[0]) + 1, "bbox": box, "iscrowd": 0})
    categories = [{"id": i + 1, "name": f"c{i}"} for i in range(80)]
    file.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))


def measure(data: str) -> None:
    """Lint in this process; print rows, seconds and megabytes."""
    from yolo_nanfix.linting.runner import run

    begun = time.perf_counter()
    report = run(data, cache=False)
    took = time.perf_counter() - begun
    rows = sum(counts["rows"] for counts in report.counts.values())
    most = [resource.getrusage(who).ru_maxrss / 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    print(json.dumps({"rows": rows, "seconds": round(took, 1), "self_mb": round(most[0]), "child_mb": round(most[1])}))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument(
        "--folder", type=Path, help="where the datasets are written (default: the system's temp folder)"
    )
    parser.add_argument("--make", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.make:
        make(args.make, args.rows - args.rows % PER_IMAGE)
        return 0
    if args.measure:
        measure(args.measure)
        return 0
    worst = 0
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        # the kernel hands the peak of a process on to those that it starts: this one must stay small
        subprocess.run([sys.executable, __file__, "--make", folder, "--rows", str(args.rows)], check=True)
        for name in ("yolo", "coco.json"):
            command = [sys.executable, __file__, "--measure", str(Path(folder, name))]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            said = json.loads(done.stdout)
            worst = max(worst, said["self_mb"], said["child_mb"])
            print(f"{name}: {said}")
    return int(worst >= LIMIT_MB)


if __name__ == "__main__":
    raise SystemExit(main())
