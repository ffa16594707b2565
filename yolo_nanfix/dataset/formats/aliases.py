"""Names that keys of COCO files have by mistake: told once, and read as if they were right."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
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


class OtherNames:
    """Finds, entry by entry, the keys that no entry of a list has, and the names that all have in their place."""

    def __init__(self, kinds: Kinds) -> None:
        """No entry was seen yet."""
        self._kinds = kinds
        self._left: list[tuple[str, str, Callable[[Any], bool]]] | None = None

    def add(self, entry: Any) -> None:
        """Look at one more entry; what is no object tells nothing."""
        if not isinstance(entry, dict):
            return
        if self._left is None:
            self._left = [
                (key, alias, fits)
                for key, (fits, others) in self._kinds.items()
                for alias in others
                if key not in entry and alias not in self._kinds and alias in entry
            ]
        if self._left:
            self._left = [one for one in self._left if one[0] not in entry and one[2](entry.get(one[1]))]

    @property
    def found(self) -> dict[str, str]:
        """For each key that no entry has, the name that all have in its place."""
        found: dict[str, str] = {}
        for key, alias, _ in self._left or ():
            found.setdefault(key, alias)
        return found


def other_names(entries: Iterable[Any], kinds: Kinds) -> dict[str, str]:
    """For each key that no entry has, the one that all of them have in its place."""
    names = OtherNames(kinds)
    for entry in entries:
        names.add(entry)
    return names.found


def renamed(entry: Any, names: Mapping[str, str]) -> Any:
    """An entry in which the values of other names have their own too."""
    if isinstance(entry, dict):
        entry |= {key: entry[alias] for key, alias in names.items()}
    return entry
