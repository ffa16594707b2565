"""data.yaml, resolved as Ultralytics resolves it, into one frozen value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from pathlib import Path
from typing import Any

from yolo_nanfix.dataset.find_yaml import YamlFile, find_yaml, read_yaml
from yolo_nanfix.dataset.split_paths import Moved, SplitPath, at, find_splits, moved
from yolo_nanfix.errors import DataError
from yolo_nanfix.safe_yaml import Repeated
from yolo_nanfix.wording import shown

KNOWN_KEYS = (
    "path", "train", "val", "test", "minival", "validation", "names", "nc", "channels", "kpt_shape",
    "kpt_names", "kpt_oks_sigmas", "flip_idx", "download", "masks_dir", "depth_scale", "yaml_file",
)  # fmt: skip
"""The top-level keys that mean something to Ultralytics."""

MAX_CLASSES = 1_000_000
MAX_KEYPOINTS = 100_000
_TYPES: dict[str, tuple[type, ...]] = {
    "path": (str,), "train": (str, list), "val": (str, list), "test": (str, list),
    "names": (list, dict), "kpt_shape": (list,), "flip_idx": (list,),
}  # fmt: skip


class Layout(str, Enum):
    """How a dataset says which images and classes it has."""

    YAML = "yaml"
    """A data.yaml."""
    CLASS_FOLDERS = "class-folders"
    """Folders of images, one a class."""
    FOLDERS = "folders"
    """Folders of images and labels."""
    DARKNET = "darknet"
    """A data file of Darknet or CVAT."""
    IMAGES = "images"
    """Images alone."""


@dataclass(frozen=True)
class DataConfig:
    """A data.yaml whose images exist, or the same values without one.

    Attributes:
        yaml_file: the file it was read from.
        root: the folder that the split paths start from.
        splits: absolute folders or .txt lists of each split; `train` and `val` always, `test` if it exists. None of a
            `val` that is empty.
        names: class names by their numbers: 0 to nc - 1 unless `names` is a mapping with other keys.
        nc: number of classes that Ultralytics checks labels against.
        channels: image channels that the model is built for.
        kpt_shape: keypoints and their dimensions (2 or 3); None if absent or malformed.
        raw: the mapping as it is in the file.
        key_lines: 1-based line of each top-level key.
        duplicate_keys: keys that occur twice in one mapping.
        missing_test: the path that `test:` names, if nothing is there.
        astray: paths that lead nowhere, each with what is linted in its place.
        layout: how the dataset is described; without a yaml, `yaml_file` is the folder of the dataset.
        source: without a yaml the file that names the classes, if there is one.
        lists: by the path of a list of images how to read its lines if they lead nowhere.
        named: the root and the paths of the splits before links are followed; see `grounds.ground`.
    """

    yaml_file: Path
    root: Path
    splits: Mapping[str, tuple[Path, ...]]
    names: Mapping[int, str]
    nc: int
    raw: Mapping[str, Any]
    channels: int = 3
    kpt_shape: tuple[int, int] | None = None
    key_lines: Mapping[str, int] = field(default_factory=dict)
    duplicate_keys: tuple[Repeated, ...] = ()
    missing_test: Path | None = None
    astray: tuple[SplitPath, ...] = ()
    layout: Layout = Layout.YAML
    source: Path | None = None
    lists: Mapping[str, Moved] = field(default_factory=dict)
    named: tuple[Path, ...] = ()

    @property
    def home(self) -> Path:
        """The folder of data.yaml, or of the dataset."""
        return self.yaml_file.parent if self.layout is Layout.YAML else self.yaml_file

    @cached_property
    def in_order(self) -> bool:
        """Whether the class numbers are 0 to nc - 1, as Ultralytics wants them."""
        return max(self.names, default=-1) == len(self.names) - 1 and min(self.names, default=0) == 0

    @cached_property
    def numbered(self) -> Mapping[int, str]:
        """The names in the order of their numbers, from 0 without gaps: as lists of names have them."""
        return self.names if self.in_order else dict(enumerate(self.names.values()))

    @property
    def pose_columns(self) -> int:
        """The columns of a pose row: class, box and keypoints; 0 without `kpt_shape`."""
        return 5 + self.kpt_shape[0] * self.kpt_shape[1] if self.kpt_shape else 0

    @property
    def kpt_dims(self) -> int:
        """The numbers of each keypoint: 2 or 3; 0 without `kpt_shape`."""
        return self.kpt_shape[1] if self.kpt_shape else 0

    @cached_property
    def ceiling(self) -> int:
        """One more than the largest class number, or `MAX_CLASSES` if that is less."""
        return min(max(self.names, default=-1) + 1, MAX_CLASSES)

    def name(self, number: int) -> str:
        """The name of a class, or its number if it has none."""
        return self.names.get(number, f"class {number}")


def read_config(data: str | Path, root: Path | None = None) -> DataConfig:
    """Read and resolve the data.yaml that `data` means.

    Args:
        data: path of a yaml file, of a folder that holds one, or a name that Ultralytics ships (`coco8`).
        root: the folder in which the splits are looked for, in the place of `path:` and of the folder of the yaml.

    Raises:
        DataError: if the file is missing or broken, lacks a key, or its train or val path is not there.
    """
    source = read_yaml(find_yaml(data))
    raw = source.values
    for key, types in _TYPES.items():
        if raw.get(key) is not None and not isinstance(raw[key], types):
            wanted = " or ".join({"str": "text", "dict": "mapping"}.get(t.__name__, t.__name__) for t in types)
            raise DataError(f"{at(source, key)}: '{key}' must be a {wanted}, not {type(raw[key]).__name__}")
    nc = _class_count(source)
    for key in ("train", _val_key(raw)):
        if key not in raw:
            raise _missing_key(source, key, "'train' and 'val' are required")
    if not raw["train"]:
        empty = f"'train' is empty; with {shown(raw['train'])} Ultralytics would train on the current folder"
        raise DataError(f"{at(source, 'train')}: {empty}: write where the images are")
    base, splits, missing_test, astray, named = find_splits(source, root)
    lists = [path for paths in splits.values() for path in paths if path.is_file()]
    elsewhere = {str(path): moved(path, (path.parent, base, path.parent.parent)) for path in lists}
    return DataConfig(
        yaml_file=source.file,
        root=base,
        splits=splits,
        names=_class_names(raw.get("names"), nc),
        nc=nc,
        channels=_channels(source),
        kpt_shape=_kpt_shape(raw.get("kpt_shape")),
        raw=raw,
        key_lines=source.key_lines,
        duplicate_keys=source.duplicates,
        missing_test=missing_test,
        astray=astray,
        lists={path: how for path, how in elsewhere.items() if how is not None},
        named=named,
    )


def _missing_key(source: YamlFile, key: str, what: str) -> DataError:
    """The error for an absent key, with the nearest unknown key as a suggestion."""
    import difflib  # for mistakes alone

    unknown = [k for k in source.values if k not in KNOWN_KEYS]
    near = difflib.get_close_matches(key, unknown, n=1, cutoff=0.6)
    hint = f"; did you mean '{key}' where {at(source, near[0])} says '{near[0]}'?" if near else ""
    return DataError(f"{source.file}: the key '{key}' is missing ({what}){hint}")


def _val_key(raw: Mapping[str, Any]) -> str:
    """`val`, or `validation` if only that is in the file."""
    return "validation" if "val" not in raw and "validation" in raw else "val"


def _class_count(source: YamlFile) -> int:
    """The number of classes: the length of `names`, else `nc`."""
    raw, names = source.values, source.values.get("names")
    count = raw.get("nc")
    if "nc" in raw:
        try:
            whole = int(float(count))  # type: ignore[arg-type]
            if whole != float(count):  # type: ignore[arg-type]
                raise ValueError
        except (TypeError, ValueError, OverflowError):
            raise DataError(f"{at(source, 'nc')}: 'nc' must be a whole number, not {shown(count)}") from None
        count = whole
    if names is None and count is None:
        raise _missing_key(source, "names", "the class names, or 'nc', their number")
    total = count if names is None else len(names)
    if total is None or not 0 < total <= MAX_CLASSES:
        key = "nc" if names is None else "names"
        raise DataError(f"{at(source, key)}: '{key}' gives {total} classes; at least one is needed")
    return int(total)


def _class_names(names: list[Any] | dict[Any, Any] | None, nc: int) -> dict[int, str]:
    """Class names by number; a mapping without usable keys, or with the same twice, is taken in its order."""
    if names is None:
        return {i: f"class_{i}" for i in range(nc)}
    if isinstance(names, dict):
        by_number = class_numbers(names) or class_numbers({v: k for k, v in names.items() if type(v) is int}) or {}
        if len(by_number) == nc:
            return dict(sorted(by_number.items()))
        names = list(names.values())
    return {i: str(name) for i, name in enumerate(names)}


def class_numbers(names: Mapping[Any, Any]) -> dict[int, str] | None:
    """A mapping of class numbers to names as Ultralytics takes it; None if its keys are no whole numbers."""
    try:
        return {int(key): str(name) for key, name in names.items()}
    except (TypeError, ValueError, OverflowError):
        return None


def _channels(source: YamlFile) -> int:
    """The number of image channels, 3 unless given."""
    channels = source.values.get("channels", 3)
    if isinstance(channels, bool) or not isinstance(channels, int) or channels < 1:
        raise DataError(f"{at(source, 'channels')}: 'channels' must be a whole number from 1, not {shown(channels)}")
    return channels


def _kpt_shape(value: Any) -> tuple[int, int] | None:
    """`[keypoints, dimensions]` if it is what Ultralytics can use, else None."""
    if isinstance(value, list) and len(value) == 2 and all(type(v) is int for v in value):
        points, dims = value
        return (points, dims) if 0 < points <= MAX_KEYPOINTS and dims in (2, 3) else None
    return None
