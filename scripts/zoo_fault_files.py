"""Faults in the files of a dataset. Each function changes a copy and returns the image files that are faulty now."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml
from make_datasets import paths

PATCH = 8
"""Side in pixels of the hole in a picture."""


def array(root: Path, fault: Mapping[str, Any]) -> list[Path]:
    """A float32 .npy beside images, read in their place: pixels multiplied, or replaced by a value."""
    faulty = []
    for index in _indices(root, fault):
        image, _ = paths(root, fault["split"], index)
        pixels = cv2.imread(str(image)).astype(np.float32) * np.float32(fault["factor"])
        if fault["value"] is not None:
            pixels = _holed(pixels, float(fault["value"]), fault["share"])
        np.save(copy := image.with_suffix(".npy"), pixels)
        os.utime(copy, (newer := image.stat().st_mtime + 1, newer))
        faulty.append(image)
    return faulty


def tiff(root: Path, fault: Mapping[str, Any]) -> list[Path]:
    """The whole set as float32 TIFF of several bands, as satellites deliver it; some files with a nodata hole."""
    faulty = []
    for split in ("train", "val"):
        for index, image in enumerate(sorted((root / "images" / split).glob("*.jpg"))):
            pixels = cv2.imread(str(image)).astype(np.float32)
            bands = [np.ascontiguousarray(pixels[..., band % 3]) for band in range(fault["channels"])]
            target = image.with_suffix(".tiff")
            if split == fault["split"] and index in fault["images"]:
                bands[-1] = _holed(bands[-1], float(fault["value"]), 0.0)
                faulty.append(target)
            cv2.imwritemulti(str(target), bands)
            image.unlink()
    config = root / "data.yaml"
    config.write_text(yaml.safe_dump({**yaml.safe_load(config.read_text()), "channels": fault["channels"]}))
    return faulty


def deep_png(root: Path, fault: Mapping[str, Any]) -> list[Path]:
    """Every image as 12-bit data in a 16-bit PNG, which is black to a reader that keeps the upper 8 bits."""
    faulty = []
    for image in sorted((root / "images").rglob("*.jpg")):
        cv2.imwrite(str(target := image.with_suffix(".png")), cv2.imread(str(image)).astype(np.uint16) * 16)
        image.unlink()
        faulty.append(target)
    return faulty


def rows(root: Path, fault: Mapping[str, Any]) -> list[Path]:
    """Rows added to label files, or in place of what they hold; or the files are removed."""
    faulty = []
    for index in _indices(root, fault):
        image, label = paths(root, fault["split"], index)
        before = [] if fault["replace"] else label.read_text().splitlines()
        label.write_text("".join(f"{row}\n" for row in (*before, *fault["rows"])))
        if fault["missing"]:
            label.unlink()
        faulty.append(image)
    return faulty


def _indices(root: Path, fault: Mapping[str, Any]) -> list[int]:
    if fault["images"] != "all":
        return list(fault["images"])
    return list(range(len(list((root / "labels" / fault["split"]).glob("*.txt")))))


def _holed(pixels: np.ndarray, value: float, share: float) -> np.ndarray:
    """A square hole with the value at the centre; share 1: everywhere; huge finite values come as noise up to it."""
    holed = pixels.copy()
    if share == 1.0:
        noise = np.random.default_rng(0).random(pixels.shape, dtype=np.float32)
        return (noise if np.isfinite(value) else np.ones_like(pixels)) * np.float32(value)
    y, x = (side // 2 - PATCH // 2 for side in pixels.shape[:2])
    holed[y : y + PATCH, x : x + PATCH] = value
    return holed
