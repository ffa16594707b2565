"""Folders with a dataset, but without a data.yaml: images and labels as tools export them, Darknet's, bare images."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from yolo_nanfix.dataset import bounded, class_lists
from yolo_nanfix.dataset.bounded import read_label
from yolo_nanfix.dataset.config import DataConfig, Layout
from yolo_nanfix.dataset.grounds import too_wide
from yolo_nanfix.dataset.paths import NO_LABELS, is_image, label_path, labels_beside
from yolo_nanfix.dataset.split_paths import Moved, moved
from yolo_nanfix.errors import DataError, LabelsTooLarge
from yolo_nanfix.files import ANYWHERE, Within

SPLIT_FOLDERS: Mapping[str, tuple[str, ...]] = {
    "train": ("train", "training", "obj_train_data"),
    "val": ("val", "valid", "validation", "obj_valid_data", "obj_validation_data"),
    "test": ("test", "testing", "obj_test_data"),
}
"""What folders of splits are called, in lowercase."""
IMAGE_FOLDERS = ("images", "jpegimages", "img", "imgs", "image", "data", "obj_train_data")
"""What a folder of images is called."""
LABEL_FOLDERS = ("labels", "label", "annotations", "obj_train_data")
NAMES = frozenset((*IMAGE_FOLDERS, *LABEL_FOLDERS, *(name for names in SPLIT_FOLDERS.values() for name in names))) - {
    "annotations",
    "data",
}
"""Names of folders of images, labels or splits."""
LOOKED_AT = 2000
"""How many files are listed to tell whether a folder holds images, or label files."""
MOST_LABELS = 20_000
"""Label files that are read for the largest class number where no list names the classes."""


def read_layout(folder: Path) -> DataConfig | None:
    """The dataset in a folder without a yaml; None if there is no image in it.

    Raises:
        DataError: there are label files, but no images.
    """
    if (darknet := _darknet_file(folder)) is not None:
        return read_darknet(darknet)
    splits = _pools(folder)
    if splits is None:
        if any(name.endswith(".txt") and name not in NO_LABELS for _, name in _first_files(folder)):
            raise DataError(f"'{folder}' holds text files, but no image; put the images beside the labels")
        return None
    if not _labelled(folder, splits):
        return _config(folder, splits, {}, Layout.IMAGES)
    homes = {folder, *(path for paths in splits.values() for path in paths)}
    homes |= {Path(label_path(f"{home}{os.sep}x.jpg")).parent for home in homes} | {
        folder / name for name in LABEL_FOLDERS
    }
    source, names = class_lists.first(sorted(map(str, homes), key=len), Within([folder])) or (None, {})
    names = names or {i: f"class_{i}" for i in range(_classes(splits))}
    return _config(folder, splits, names, Layout.FOLDERS, source)


def read_darknet(file: Path) -> DataConfig:
    """The dataset of a Darknet data file, as CVAT's YOLO 1.1 archives hold one, too.

    Raises:
        DataError: it cannot be read, or names no list of images that exists.
    """
    try:
        lines = bounded.read_bytes(file).decode("utf-8-sig", "replace").splitlines()
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error}") from error
    said = {key.strip().lower(): value.strip() for line in lines for key, is_, value in [line.partition("=")] if is_}
    folder = file.absolute().parent
    bases = [folder, folder.parent]
    splits: dict[str, tuple[Path, ...]] = {"train": (), "val": ()}
    lists: dict[str, Moved] = {}
    for split, key in (("train", "train"), ("val", "valid"), ("test", "test")):
        path = _near(said.get(key, ""), bases)
        if path is None:
            continue
        splits[split] = (path,)
        if (how := moved(path, (path.parent, *bases))) is not None:
            lists[str(path)] = how
    if not splits["train"]:
        pools = _pools(folder)
        if pools is None or not _labelled(folder, pools):
            named = f"names {said['train']!r}, which is not there" if "train" in said else "has no line train = ..."
            raise DataError(f"{file} {named}, and there are no images with labels beside it; export with the images")
        splits |= pools
    listed = _near(said.get("names", ""), bases)
    ours = Within(base for base in bases if base == folder or not too_wide(os.path.realpath(base)))
    names = class_lists.names_in(listed) if listed is not None and ours.holds(listed) else {}
    if not names:
        _, names = class_lists.first([str(folder)], ours) or (None, {})
    names = names or {i: f"class_{i}" for i in range(_whole(said.get("classes")))}
    return _config(folder, splits, names or {0: "class_0"}, Layout.DARKNET, file, lists)


def _config(
    folder: Path,
    splits: Mapping[str, tuple[Path, ...]],
    names: Mapping[int, str],
    layout: Layout,
    source: Path | None = None,
    lists: Mapping[str, Moved] | None = None,
) -> DataConfig:
    return DataConfig(
        yaml_file=folder,
        root=folder,
        splits={"train": (), "val": (), **splits},
        names=dict(names),
        nc=len(names),
        raw={"names": dict(names)},
        layout=layout,
        source=source,
        lists=lists or {},
    )


def _darknet_file(folder: Path) -> Path | None:
    """Darknet's data file in a folder, `obj.data` first."""
    files = sorted(folder.glob("*.data"), key=lambda file: (file.name != "obj.data", file.name))
    for file in files:
        try:
            if not file.is_file():
                continue
            text = ANYWHERE.read(file, 4096).decode("utf-8", "replace")
        except OSError:
            continue
        keys = {line.partition("=")[0].strip().lower() for line in text.splitlines() if "=" in line}
        if keys & {"train", "valid"} and keys & {"names", "classes"}:
            return file
    return None


def _near(entry: str, bases: Iterable[Path]) -> Path | None:
    """Where the last parts of a path lead from one of these folders."""
    parts = [part for part in entry.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    for base in bases:
        for cut in range(len(parts)):
            path = base.joinpath(*parts[cut:])
            if path.exists():
                return path
    return None


def _pools(folder: Path) -> Mapping[str, tuple[Path, ...]] | None:
    """The images of each split in a folder; None if it holds none."""
    below = {path.name.lower(): path for path in sorted(folder.iterdir()) if path.is_dir()}
    pool = next((below[name] for name in IMAGE_FOLDERS if name in below and _holds_images(below[name])), None)
    inner = {path.name.lower(): path for path in sorted(pool.iterdir()) if path.is_dir()} if pool is not None else {}
    splits: dict[str, tuple[Path, ...]] = {}
    for split, words in SPLIT_FOLDERS.items():
        for word in words:
            places = [below[word] / name for name in ("images", "Images")] if word in below else []
            places += [found[word] for found in (inner, below) if word in found]
            path = next((place for place in places if place.is_dir() and _holds_images(place)), None)
            if path is not None:
                splits[split] = (path,)
                break
    if "train" not in splits:
        whole = pool if pool is not None else folder if _holds_images(folder) else None
        if whole is None:
            return None
        splits = {"train": (whole,)}
    return splits


def _first_files(folder: Path) -> Iterator[tuple[str, str]]:
    """Folder and name of the first files in a folder and below it."""
    count = 0
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            yield place, name
            count += 1
            if count == LOOKED_AT:
                return


def _holds_images(folder: Path) -> bool:
    return any(is_image(name) for _, name in _first_files(folder))


def _labelled(folder: Path, splits: Mapping[str, tuple[Path, ...]]) -> bool:
    """Whether there is a label file of an image, or a folder of labels with text files in it."""
    for paths in splits.values():
        if any(_has_label(place, names) for path in paths for place, _, names in os.walk(path)):
            return True
    tops = [folder, *(path.parent for paths in splits.values() for path in paths)]
    places = {path for top in tops for path in top.iterdir() if path.name.lower() in LABEL_FOLDERS and path.is_dir()}
    return any(name.endswith(".txt") and name not in NO_LABELS for place in places for _, name in _first_files(place))


def _has_label(place: str, names: Sequence[str]) -> bool:
    """Whether an image in a folder has a label file where Ultralytics looks for it."""
    images = {name.rpartition(".")[0] for name in names if is_image(name)}
    beside = labels_beside(place)
    try:
        texts = names if beside == place else os.listdir(beside) if images else ()  # noqa: PTH208 - names alone
    except OSError:
        return False
    return any(name[-4:] == ".txt" and name[:-4] in images and name not in NO_LABELS for name in texts)


def _classes(splits: Mapping[str, Sequence[Path]]) -> int:
    """One more than the largest class number in label rows."""
    most = 0
    for paths in splits.values():
        for place, name in (found for path in paths for found in _first_files(path)):
            if is_image(name):
                most = max(most, _largest(label_path(f"{place}{os.sep}{name}")))
    return most + 1


def _largest(file: str) -> int:
    """The largest class number in a label file; 0 without any."""
    try:
        data = read_label(file) or b""
    except (OSError, LabelsTooLarge):
        return 0
    lines = data.decode("utf-8", "replace").splitlines()
    return max((_whole(words[0]) for line in lines if (words := line.split(maxsplit=1))), default=0)


def _whole(word: str | None) -> int:
    """A class number or a count; 0 for what is none."""
    return int(word) if word is not None and word.isascii() and word.isdigit() and len(word) < 7 else 0
