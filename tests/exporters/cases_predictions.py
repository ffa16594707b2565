"""What a model found, written as labels by Ultralytics' own `Results.save_txt`: pseudo-labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from exporters.inputs import HEIGHT, NAMES, WIDTH, corners, disc, layout, mask, picture, pixels, turned

SCORES = (0.93, 0.81)


def predicted(
    root: Path, task: str, *, conf: bool = False, ids: bool = False, times: int = 1, odd: Sequence[Any] = ()
) -> Path:
    """A nut and a bolt found in each of six pictures, and in the second one the further masks `odd`."""
    import torch
    from ultralytics.engine.results import Results

    for i in range(6):
        outlines = _outlines(task, i)
        file = picture(root / "in" / f"{i}.png", i, outlines)
        masks = [mask(outline) for outline in outlines] + list(odd if i == 1 else ())
        frames = [_frame(outline) for outline in outlines] + [_frame(np.argwhere(m)[:, ::-1]) for m in masks[2:]]
        tracks = [[float(10 * i + j)] if ids else [] for j in range(len(frames))]
        ends = [[*track, score, j % 2] for j, (track, score) in enumerate(zip(tracks, SCORES * 2, strict=False))]
        boxes = torch.tensor([[*frame, *end] for frame, end in zip(frames, ends, strict=True)])
        found: dict[str, Any] = {"boxes": boxes}
        if task == "segment":
            found["masks"] = torch.tensor(np.array(masks), dtype=torch.uint8)
        elif task == "pose":
            found["keypoints"] = torch.tensor([_spots(frame) for frame in frames])
        elif task == "obb":
            bars = [_bar(i, j) for j in range(2)]
            found = {"obb": torch.tensor([[*bar, *end] for bar, end in zip(bars, ends, strict=True)])}
        for _ in range(times):
            made = Results(pixels(i, outlines), str(file), dict(enumerate(NAMES)), **found)
            made.save_txt(root / "out" / f"{i}.txt", save_conf=conf)
    more = {"kpt_shape": [2, 3], "flip_idx": [1, 0]} if task == "pose" else {}
    return layout(root / "yolo", root / "in", root / "out", NAMES, **more)


def _outlines(task: str, i: int) -> list[list[tuple[float, float]]]:
    if task == "obb":
        return [turned(*_bar(i, j)[:4], float(np.rad2deg(_bar(i, j)[4]))) for j in range(2)]
    return [disc(60 + 10 * i, 60, 30), corners(150 + 5 * i, 100 + 8 * i, 90, 50)]


def _bar(i: int, j: int) -> list[float]:
    """Centre, sides and angle in radians."""
    return [100.0 + 10 * i, 100.0, 120.0, 40.0, 0.5] if j == 0 else [230.0, 180.0 - 5 * i, 60.0, 30.0, 1.0]


def _frame(outline: Any) -> list[float]:
    low, high = np.min(outline, axis=0), np.max(outline, axis=0)
    return [float(v) for v in (*low, *high)]


def _spots(frame: list[float]) -> list[list[float]]:
    """Two keypoints; the second is not sure."""
    return [[frame[0] + 10, frame[1] + 10, 0.97], [frame[2] - 10, frame[3] - 10, 0.31]]


def boxes(root: Path) -> Path:
    return predicted(root, "detect")


def boxes_with_confidence(root: Path) -> Path:
    return predicted(root, "detect", conf=True)


def boxes_with_tracks(root: Path) -> Path:
    return predicted(root, "detect", ids=True)


def boxes_with_both(root: Path) -> Path:
    return predicted(root, "detect", conf=True, ids=True)


def boxes_twice(root: Path) -> Path:
    return predicted(root, "detect", times=2)


def masks(root: Path) -> Path:
    return predicted(root, "segment")


def masks_with_confidence(root: Path) -> Path:
    return predicted(root, "segment", conf=True)


def masks_with_both(root: Path) -> Path:
    return predicted(root, "segment", conf=True, ids=True)


def empty_mask(root: Path) -> Path:
    """One object whose mask is a single pixel."""
    dot = np.zeros((HEIGHT, WIDTH), bool)
    dot[200, 40] = True
    return predicted(root, "segment", odd=[dot])


def mask_of_parts(root: Path) -> Path:
    return predicted(root, "segment", odd=[mask(corners(20, 150, 30, 40), corners(90, 150, 30, 40))])


def turned_boxes(root: Path) -> Path:
    return predicted(root, "obb")


def turned_with_confidence(root: Path) -> Path:
    return predicted(root, "obb", conf=True)


def turned_with_both(root: Path) -> Path:
    return predicted(root, "obb", conf=True, ids=True)


def pose(root: Path) -> Path:
    return predicted(root, "pose")


def pose_with_confidence(root: Path) -> Path:
    return predicted(root, "pose", conf=True)
