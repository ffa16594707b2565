"""CF: what data.yaml says about places, and what it says in vain."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from yolo_nanfix.dataset.bounded import excess
from yolo_nanfix.dataset.config import KNOWN_KEYS, DataConfig, Layout
from yolo_nanfix.findings import Effect, Severity
from yolo_nanfix.linting.registry import LABELLED, Hit, rule

SETTINGS = frozenset((
    "epochs", "patience", "batch", "imgsz", "workers", "pretrained", "optimizer", "seed", "single_cls", "rect",
    "cos_lr", "close_mosaic", "resume", "amp", "fraction", "freeze", "multi_scale", "lr0", "lrf", "momentum",
    "weight_decay", "warmup_epochs", "dfl", "kobj", "hsv_h", "hsv_s", "hsv_v", "degrees", "translate", "scale",
    "shear", "perspective", "flipud", "fliplr", "bgr", "mosaic", "mixup", "cutmix", "copy_paste", "erasing",
    "dropout", "overlap_mask", "mask_ratio", "cls_pw", "nbs", "max_det",
))  # fmt: skip
"""Settings of a training, which have no effect in data.yaml; none that may as well be a note (`task`, `project`)."""
_SHOWN = 6


@rule("CF017", "nc-not-whole", Severity.INFO, Effect.REWRITES, LABELLED)
def nc_not_whole(config: DataConfig) -> Iterator[Hit]:
    """`nc` is written as text or with a decimal point.

    Why: other tools, and older releases of Ultralytics, compare it with a whole number and stop.
    Ultralytics: turns it into a whole number.
    Example: `nc: "2"` or `nc: 2.0`.
    Fix: write a whole number, or remove the key: it follows from `names`.
    """
    nc = config.raw.get("nc")
    if nc is not None and type(nc) is not int:
        yield _hit(config, "nc", f"'nc' is {nc!r} and is read as {int(float(nc))}")


@rule("CF018", "path-absolute", Severity.INFO, Effect.ACCEPTS, LABELLED)
def path_absolute(config: DataConfig) -> Iterator[Hit]:
    """A path in data.yaml is absolute.

    Why: the dataset cannot be moved, nor used on another machine.
    Ultralytics: takes the path as it is.
    Example: `path: /home/ann/data/cats`.
    Fix: remove `path:` and write `train` and `val` relative to the yaml.
    """
    if config.astray:
        return  # CF028 is about it
    for key in ("path", "train", "val", "validation", "test"):
        given = config.raw.get(key)
        for entry in given if isinstance(given, list) else [given]:
            if isinstance(entry, str) and Path(entry).is_absolute():
                yield _hit(config, key, f"'{key}' is absolute: {entry}")
                return


@rule("CF019", "path-of-working-folder", Severity.WARNING, Effect.ACCEPTS, LABELLED)
def path_of_working_folder(config: DataConfig) -> Iterator[Hit]:
    """`path:` is relative, and is found from the folder in which the program was started.

    Why: started elsewhere, Ultralytics looks in its own folder for datasets instead, or finds another set.
    Ultralytics: starts from the working folder, not from the folder of the yaml.
    Example: `path: ../cats`, which works in one terminal and not in the next.
    Fix: remove `path:` and write `train` and `val` relative to the yaml.
    """
    given = config.raw.get("path")
    if isinstance(given, str) and given and not Path(given).is_absolute() and _exists(given):
        yield _hit(config, "path", f"'path: {given}' is taken from the working folder {Path.cwd()}")


@rule("CF020", "training-key-in-data", Severity.WARNING, Effect.ACCEPTS, LABELLED)
def training_key_in_data(config: DataConfig) -> Iterator[Hit]:
    """data.yaml holds settings of a training.

    Why: they have no effect: the training runs with the defaults.
    Ultralytics: ignores them silently.
    Example: `epochs: 300` or `imgsz: 1280` in data.yaml.
    Fix: give them to the command (`epochs=300`), or in a file of their own with `cfg=`.
    """
    found = [key for key in config.raw if key in SETTINGS and key not in KNOWN_KEYS]
    if found:
        shown = ", ".join(found[:_SHOWN]) + (", ..." if len(found) > _SHOWN else "")
        yield _hit(config, found[0], f"settings that have no effect here: {shown}")


@rule("CF021", "class-name-unprintable", Severity.WARNING, Effect.ACCEPTS, LABELLED)
def class_name_unprintable(config: DataConfig) -> Iterator[Hit]:
    """A class name is empty, has blanks around it or holds control characters.

    Why: names that look alike differ, and tables and files made from them break.
    Ultralytics: takes the name as it is.
    Example: `names: ["cat ", "dog"]`, or a name over two lines.
    Fix: correct the name.
    """
    for index, name in config.names.items():
        if not name.strip():
            what = "is empty"
        elif name != name.strip():
            what = "has blanks around it"
        elif not name.isprintable():
            what = "holds control characters"
        else:
            continue
        yield _hit(config, "names", f"the name of class {index} {what}: {name[:60]!r}")


@rule("CF022", "class-name-number", Severity.INFO, Effect.ACCEPTS, LABELLED)
def class_name_number(config: DataConfig) -> Iterator[Hit]:
    """All classes are named by numbers.

    Why: the names were lost in an export; nobody can tell whether a label is right.
    Ultralytics: shows the numbers.
    Example: `names: ['0', '1', '2']`.
    Fix: write the names.
    """
    names = list(((config.raw.get("names") and config.names) or {}).values())
    if names and all(re.fullmatch(r"\d+", name.strip()) for name in names):
        yield _hit(config, "names", f"the names of the {len(names)} classes are numbers: {', '.join(names[:_SHOWN])}")


@rule("CF023", "names-missing", Severity.INFO, Effect.ACCEPTS, LABELLED)
def names_missing(config: DataConfig) -> Iterator[Hit]:
    """data.yaml gives the number of classes, but no names.

    Why: nobody can tell whether a label is right.
    Ultralytics: names the classes class_0, class_1 and so on.
    Example: `nc: 3` alone.
    Fix: write `names:`.
    """
    if config.raw.get("names") is None:
        yield _hit(config, "nc", f"'nc: {config.raw.get('nc')}' without 'names'")


@rule("CF024", "val-inside-train", Severity.ERROR, Effect.ACCEPTS, LABELLED)
def val_inside_train(config: DataConfig) -> Iterator[Hit]:
    """`train` is the same path as `val` or `test`, or a folder that holds it.

    Why: folders are read with all that is below them: the images of evaluation are trained on.
    Ultralytics: trains and evaluates as told.
    Example: `train: images` with `val: images/val`.
    Fix: give each split a folder of its own, side by side.
    """
    train = [path.resolve() for path in config.splits.get("train", ())]
    for split, paths in config.splits.items():
        for path in paths if split != "train" else ():
            holder = next((t for t in train if path.resolve() == t or t in path.resolve().parents), None)
            if holder is not None:
                how = "is the same path as" if path.resolve() == holder else "lies inside"
                yield _hit(config, split, f"'{split}' {how} 'train': {path}")
                break


@rule("CF025", "validation-key", Severity.INFO, Effect.REWRITES, LABELLED)
def validation_key(config: DataConfig) -> Iterator[Hit]:
    """data.yaml has the key `validation`.

    Why: beside `val` it has no effect; alone it is another name for it that other tools do not know.
    Ultralytics: ignores it if there is `val`, else renames it with a warning.
    Example: `validation: images/val`.
    Fix: write `val`.
    """
    if "validation" in config.raw:
        both = "val" in config.raw
        message = "'validation' is ignored, for there is 'val'" if both else "'validation' is taken as 'val'"
        yield _hit(config, "validation", message)


@rule("CF026", "key-overwritten", Severity.INFO, Effect.REWRITES, LABELLED)
def key_overwritten(config: DataConfig) -> Iterator[Hit]:
    """data.yaml holds the key `yaml_file`.

    Why: it has no effect; the file was written back from memory by a tool, perhaps with other changes.
    Ultralytics: overwrites it with the path of the file that it read.
    Example: `yaml_file: /content/data.yaml`.
    Fix: remove the key.
    """
    if "yaml_file" in config.raw:
        yield _hit(config, "yaml_file", "'yaml_file' is overwritten when the file is read")


@rule("CF027", "class-name-slash", Severity.INFO, Effect.ACCEPTS, LABELLED)
def class_name_slash(config: DataConfig) -> Iterator[Hit]:
    """A class name holds a slash.

    Why: cut-outs of objects are saved in folders named after the class: a slash makes a folder in a folder.
    Ultralytics: saves crops of the class `a/b` under `crops/a/b`.
    Example: `names: [car/van, bus]`.
    Fix: take another sign: `car or van`.
    """
    for index, name in config.names.items():
        if "/" in name or "\\" in name:
            yield _hit(config, "names", f"class {index} is named {name[:60]!r}")


@rule("CF028", "path-nowhere", Severity.FATAL, Effect.CRASHES, LABELLED)
def path_nowhere(config: DataConfig) -> Iterator[Hit]:
    """The paths of the splits lead nowhere; the images lie elsewhere, most often beside the yaml.

    Why: training does not start; a yaml with a download entry may even fetch another copy of the set.
    Ultralytics: raises FileNotFoundError ("images not found, missing path"), or runs the download entry.
    Example: `train: C:\\Users\\ann\\cells\\train\\images` in a yaml that was downloaded with the images.
    Fix: remove `path:` and write the paths from the folder of the yaml on, as the finding names them.
    """
    needed = [one for one in config.astray if one.key != "test"]
    if not needed:
        return
    first = needed[0]
    machine = ", a path of another machine" if first.foreign else ""
    there = ", ".join(f"{one.key}: {_from(config, one.found)}" for one in config.astray)
    key = "path" if config.raw.get("path") and not first.looked.is_relative_to(config.yaml_file.parent) else first.key
    message = f"'{first.key}' leads to {first.looked}{machine}, and nothing is there; linted in its place is {there}"
    yield _hit(config, key, message)


@rule("CF029", "val-empty", Severity.FATAL, Effect.CRASHES, LABELLED)
def val_empty(config: DataConfig) -> Iterator[Hit]:
    """`val` is there, but empty.

    Why: training does not start.
    Ultralytics: raises RuntimeError ("'val:' images not found"); a test split does not stand in for it.
    Example: `val: ''`, as some tools write it when they are given no split.
    Fix: put a fifth of the images into a split of their own, and write its path.
    """
    key = "validation" if "val" not in config.raw else "val"
    if key in config.raw and not config.raw[key]:
        yield _hit(config, key, f"'{key}' is empty: {config.raw[key]!r}")


@rule("CF030", "data-yaml-missing", Severity.FATAL, Effect.CRASHES, LABELLED)
def data_yaml_missing(config: DataConfig) -> Iterator[Hit]:
    """Images and labels are there, but no data.yaml.

    Why: training needs one; lint takes splits and classes from the folders and the list of classes beside them.
    Ultralytics: raises an error ("No YAML file found"); it reads no `obj.data` nor `classes.txt`.
    Example: a YOLO export of Label Studio or CVAT as it was unpacked.
    Fix: write a data.yaml as the finding says, with a split for validation that shares no image with train.
    """
    if config.layout not in (Layout.FOLDERS, Layout.DARKNET):
        return
    source = _from(config, config.source) if config.source is not None else ""
    said = f"the class names of {source}" if source else "no names of classes"
    train, val = (", ".join(_from(config, path) for path in config.splits[split]) for split in ("train", "val"))
    names = ", ".join(list(config.names.values())[:_SHOWN]) + (", ..." if config.nc > _SHOWN else "")
    lacks = f"{source} names no splits" if source.lower().endswith((".yaml", ".yml")) else "there is no data.yaml"
    message = f"{lacks}; linted is train: {train}, val: {val or 'none'}, with {said}"
    yield Hit(str(config.yaml_file), f"{message}; write them into one, with names: [{names}]")


@rule("FS062", "image-list-too-long", Severity.ERROR, Effect.ACCEPTS, LABELLED, lasting=True)
def image_list_too_long(config: DataConfig) -> Iterator[Hit]:
    """A list of images has more than 10 million lines, or 256 MB.

    Why: no set has so many images; something else was written there, or one list over and over. Lint does not read it:
        nothing is known of these images.
    Ultralytics: reads it whole, and looks for a label file for each line.
    Example: a script that appends to train.txt, started again and again.
    Fix: write the list anew, each image once.
    """
    for path in (path for paths in config.splits.values() for path in paths if path.is_file()):
        if (more := _excess(path)) is not None:
            yield Hit(str(path), f"{more}: it is not read, and none of its images was looked at")


def _excess(path: Path) -> str | None:
    try:
        return excess(path)
    except OSError:  # that it cannot be read is told elsewhere
        return None


@rule("CF031", "list-paths-nowhere", Severity.FATAL, Effect.CRASHES, LABELLED)
def list_paths_nowhere(config: DataConfig) -> Iterator[Hit]:
    """The lines of a list of images lead nowhere; the images lie beside the list, or in the folder of the dataset.

    Why: no image is found, and training does not start.
    Ultralytics: takes lines from the folder that it is started in, but for those that begin with `./`; then it raises
        RuntimeError ("No valid images found").
    Example: `/home/ann/cats/images/1.jpg` in a train.txt, or `data/obj_train_data/1.jpg` in one of CVAT.
    Fix: write the paths from the folder of the list on, with `./` before each.
    """
    for path, how in config.lists.items() if config.layout is Layout.YAML else ():
        start = f"begin with {how.start!r}" if how.start else "begin in another folder"
        place = _from(config, Path(how.place))
        where = "the folder of the dataset" if place == "." else place
        message = f"its lines {start} and lead nowhere; linted in their place are the images from {where} on"
        yield Hit(path, message)


def _from(config: DataConfig, path: Path) -> str:
    """A path from the folder of the yaml on, where it is below or beside it."""
    home = config.home.resolve()
    near = path.is_relative_to(home) or path.is_relative_to(home.parent)
    return os.path.relpath(path, home).replace(os.sep, "/") if near else str(path)


def _exists(path: str) -> bool:
    """Whether a path leads anywhere from the working folder."""
    try:
        return Path(path).exists()
    except (OSError, ValueError):
        return False


def _hit(config: DataConfig, key: str, message: str) -> Hit:
    """A hit on a key of data.yaml."""
    return Hit(str(config.yaml_file), message, config.key_lines.get(key))
