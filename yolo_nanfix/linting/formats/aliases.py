"""Names that keys of COCO files have by mistake: told once, and read as if they were right."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

LISTS: dict[str, tuple[str, ...]] = {
    "images": ("image", "imgs", "Images"),
    "annotations": ("annotation", "anns", "Annotations"),
    "categories": ("category", "cats", "classes", "Categories"),
}
"""The lists of a COCO file, each with names that it has in others."""


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_whole(value: Any) -> bool:
    return type(value) is int


def _is_list(value: Any) -> bool:
    return isinstance(value, list)


Kinds = dict[str, tuple[Callable[[Any], bool], tuple[str, ...]]]
IMAGE: Kinds = {
    "file_name": (
        _is_text,
        ("filename", "fileName", "file", "path", "image_name", "imageName", "img_name", "image_path", "name", "image"),
    ),
    "id": (_is_whole, ("image_id", "imageId", "img_id", "imageID")),
    "width": (_is_whole, ("w", "image_width", "img_width", "imageWidth")),
    "height": (_is_whole, ("h", "image_height", "img_height", "imageHeight")),
}
ANNOTATION: Kinds = {
    "image_id": (_is_whole, ("imageId", "img_id", "imageID", "imageid", "image")),
    "category_id": (_is_whole, ("categoryId", "class_id", "cat_id", "categoryID", "category", "label_id", "class")),
    "bbox": (_is_list, ("box", "bounding_box", "boundingBox", "bndbox", "BBox", "boundingbox", "rect")),
    "segmentation": (_is_list, ("segments", "segmentations", "polygon", "polygons")),
    "keypoints": (_is_list, ("keypoint", "key_points", "keyPoints")),
}
CATEGORY: Kinds = {
    "name": (_is_text, ("label", "title", "category_name", "class_name", "className", "categoryName")),
    "id": (_is_whole, ("category_id", "categoryId", "class_id", "cat_id")),
}
"""The keys of entries, each with what its value is, and names that it has in others."""


def other_names(entries: Iterable[Any], kinds: Kinds) -> dict[str, str]:
    """For each key that no entry has, the one that all of them have in its place."""
    objects = [entry for entry in entries if isinstance(entry, dict)]
    if not objects:
        return {}
    first, found = objects[0], {}
    for key, (fits, aliases) in kinds.items():
        if key not in first:
            for alias in aliases:
                if alias not in kinds and alias in first and _all(objects, key, alias, fits):
                    found[key] = alias
                    break
    return found


def _all(objects: list[dict[str, Any]], key: str, alias: str, fits: Callable[[Any], bool]) -> bool:
    return all(key not in entry and fits(entry.get(alias)) for entry in objects)


def rename(entries: Iterable[Any], names: dict[str, str]) -> None:
    """Give the values of other names their own."""
    for entry in entries:
        if isinstance(entry, dict):
            for key, alias in names.items():
                entry[key] = entry[alias]
