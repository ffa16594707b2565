"""CF: data.yaml: its keys, class names, keypoints and paths."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from yolo_nanfix.dataset.bounded import excess
from yolo_nanfix.dataset.config import KNOWN_KEYS, DataConfig, Layout, class_numbers
from yolo_nanfix.dataset.table import Table
from yolo_nanfix.findings import Effect, Place, Severity
from yolo_nanfix.linting.autofix.operations import Operation, unsafe
from yolo_nanfix.linting.registry import LABELLED, Hit, rule
from yolo_nanfix.wording import shown

POSE = ("pose",)
SETTINGS = frozenset((
    "epochs", "patience", "batch", "imgsz", "workers", "pretrained", "optimizer", "seed", "single_cls", "rect",
    "cos_lr", "close_mosaic", "resume", "amp", "fraction", "freeze", "multi_scale", "lr0", "lrf", "momentum",
    "weight_decay", "warmup_epochs", "dfl", "kobj", "hsv_h", "hsv_s", "hsv_v", "degrees", "translate", "scale",
    "shear", "perspective", "flipud", "fliplr", "bgr", "mosaic", "mixup", "cutmix", "copy_paste", "erasing",
    "dropout", "overlap_mask", "mask_ratio", "cls_pw", "nbs", "max_det",
))  # fmt: skip
"""Training arguments, which have no effect in data.yaml; none that may be just a note (`task`, `project`)."""
_SHOWN = 6
_ELSEWHERE = "its lines begin in another folder and lead nowhere"
_NAMES = {
    "empty": "the name of class {index} is empty: {name!r}",
    "spaces": "the name of class {index} has spaces around it: {name!r}",
    "control": "the name of class {index} holds control characters: {name!r}",
}


@rule("CF001", Severity.ERROR, Effect.ACCEPTS)
def duplicate_key(config: DataConfig) -> Iterator[Hit]:
    """A key occurs twice in one mapping of data.yaml.

    Why: the first value is silently lost: a second `train:` or a second class 3 hides the first one.
    Ultralytics: takes the last value; its YAML reader does not warn.
    Example: `names: {0: cat, 1: dog, 1: bird}`.
    Fix: remove or renumber one of the two keys.
    """
    for key, first, line in config.duplicate_keys:
        values, related = {"key": key, "at": first}, (Place(str(config.yaml_file), first),)
        says = "key {key!r} is on line {at} already; the later value wins"
        yield Hit(str(config.yaml_file), says, line, values=values, related=related)


@rule("CF002", Severity.FATAL, Effect.CRASHES)
def names_nc_mismatch(config: DataConfig) -> Iterator[Hit]:
    """`nc` is not the number of `names`.

    Why: one of the two is wrong, and training does not start.
    Ultralytics: raises SyntaxError ("'names' length 3 and 'nc: 5' must match").
    Example: `nc: 5` with three names.
    Fix: remove `nc` (it follows from `names`), or correct `names`.
    """
    names, nc = config.raw.get("names"), config.raw.get("nc")
    if names is not None and nc is not None and len(names) != int(float(nc)):
        yield key_hit(config, "nc", "'nc' is {nc}, but 'names' has {names:entry|entries}", nc=nc, names=len(names))


@rule("CF003", Severity.FATAL, Effect.CRASHES, autofix=unsafe(Operation.RENUMBER))
def class_index_gap(config: DataConfig, table: Table) -> Iterator[Hit]:
    """The keys of `names` are not 0 to the number of classes minus one.

    Why: training does not start. Lint reads the class numbers in the labels by these keys: those of COCO begin at 1.
    Ultralytics: raises KeyError ("2-class dataset requires class indices 0-1") before it looks at an image.
    Example: `names: {1: cat, 2: dog}`.
    Fix: number the names from 0 without gaps, and the classes in all label files with them.
    """
    names = config.raw.get("names")
    if not isinstance(names, dict):
        return
    numbers = class_numbers(names)
    if numbers is not None and sorted(numbers) == list(range(len(names))):
        return
    swapped = numbers is None and all(type(value) is int for value in names.values())
    used = np.unique(table.row_cls[np.isfinite(table.row_cls)])
    from_zero = not config.in_order and bool((used == 0).any()) and 0 not in config.names and used.max() < config.nc
    says = "class numbers must be 0 to {last}, but the keys are {keys:,}{more:more}"
    says += "; names and numbers have changed places" if swapped else ""
    says += "; the labels are numbered from 0, as the names should be" if from_zero else ""
    facts = {"numbers": tuple(sorted(config.names)), "by_keys": not from_zero, "swapped": swapped}
    keys = {"keys": tuple(map(str, islice(names, 8))), "more": max(0, len(names) - 8)}
    explains = ("CL003", "CL004", "CL005", "CL006") if from_zero else ()
    yield key_hit(config, "names", says, last=len(names) - 1, **keys, **facts)._replace(explains=explains)


@rule("CF004", Severity.WARNING, Effect.ACCEPTS)
def class_name_duplicate(config: DataConfig) -> Iterator[Hit]:
    """Two classes have the same name, apart from case, spaces, hyphens and underscores.

    Why: objects of one kind are split over two classes, which then compete in training and evaluation.
    Ultralytics: trains them as two classes.
    Example: `names: [car, bus, car]`.
    Fix: merge the two classes in the labels, or give them different names.
    """
    seen: dict[str, int] = {}
    for index, name in config.names.items():
        folded = re.sub(r"(?<=\w)[\s_-]+(?=\w)", " ", name.strip().casefold())  # one kind of gap between words
        first = seen.setdefault(folded, index)
        if first != index:
            other = config.names[first]
            says = "classes {classes[0]} and {classes[1]} are both named {name!r}"
            says = says if name == other else "classes {classes[0]} and {classes[1]} are named {other!r} and {name!r}"
            yield key_hit(config, "names", says, classes=(first, index), name=name, other=other)


@rule("CF005", Severity.WARNING, Effect.ACCEPTS)
def key_misspelt(config: DataConfig) -> Iterator[Hit]:
    """An unknown key looks like a known one.

    Why: a misspelt key has no effect: `chanels: 6` trains with 3 channels, `tset:` has no test split.
    Ultralytics: ignores it silently.
    Example: `nmaes: [cat, dog]` beside `nc: 2` trains classes named class_0 and class_1.
    Fix: correct the spelling of the key.
    """
    import difflib  # needed for mistakes only

    for key in config.raw:
        near = difflib.get_close_matches(key.lower(), KNOWN_KEYS, n=1, cutoff=0.75)
        if key not in KNOWN_KEYS and near and near[0] not in config.raw:
            yield key_hit(config, key, "unknown key {key!r}; did you mean {meant!r}?", key=key, meant=near[0])


@rule("CF006", Severity.INFO, Effect.ACCEPTS)
def download_entry(config: DataConfig) -> Iterator[Hit]:
    """data.yaml holds a download entry.

    Why: it may be a script that Ultralytics runs, with your rights, as soon as the val path is missing.
    Ultralytics: downloads the address or executes the text as Python when the images are not found.
    Example: `download: https://example.org/data.zip`.
    Fix: nothing if you trust the file; lint never executes it.
    """
    if config.raw.get("download"):
        yield key_hit(config, "download", "Ultralytics downloads or runs this entry if the val images are missing")


@rule("CF007", Severity.WARNING, Effect.ACCEPTS)
def class_name_not_text(config: DataConfig) -> Iterator[Hit]:
    """A class name is not text in YAML.

    Why: `yes`, `no`, `on`, `off`, `null` and bare numbers are values in YAML: the class is named True.
    Ultralytics: converts the value to text.
    Example: `names: [yes, no]` gives the classes True and False.
    Fix: put the name in quotes.
    """
    names = config.raw.get("names") or []
    if isinstance(names, dict) and class_numbers(names) is None:
        return  # names and numbers have changed places: CF003
    for index, name in names.items() if isinstance(names, dict) else enumerate(names):
        if not isinstance(name, str):
            says = "class {index} is read as {type} and becomes {name!r}"
            yield key_hit(config, "names", says, index=index, type=type(name).__name__, name=str(name)[:60])


@rule("CF008", Severity.FATAL, Effect.CRASHES)
def kpt_shape_unusable(config: DataConfig, task: str) -> Iterator[Hit]:
    """`kpt_shape` is malformed, or missing for the pose task.

    Why: it says how many columns a label row has; without it no pose label can be read.
    Ultralytics: raises ValueError when the dataset is built.
    Example: `kpt_shape: [17]`.
    Fix: write `kpt_shape: [keypoints, 2]` for x, y or `[keypoints, 3]` for x, y, visibility.
    """
    given = config.raw.get("kpt_shape")
    if config.kpt_shape is None and (given is not None or task == "pose"):
        says = "'kpt_shape' is {given}" if given is not None else "'kpt_shape' is missing"
        yield key_hit(config, "kpt_shape", says, given=shown(given))


@rule("CF009", Severity.WARNING, Effect.CRASHES)
def test_split_missing(config: DataConfig) -> Iterator[Hit]:
    """The path of the test split does not exist.

    Why: training runs, but the test split cannot be evaluated; often a sign of a yaml from another machine.
    Ultralytics: raises FileNotFoundError as soon as `split=test` is asked for.
    Example: `test: ../test/images` where there is no such folder.
    Fix: correct the path or remove the key.
    """
    elsewhere = next((one for one in config.astray if one.key == "test"), None)
    if config.missing_test is not None:
        says = "'test' names {named}, which does not exist; the split is not linted"
        yield key_hit(config, "test", says, named=str(config.missing_test))
    elif elsewhere is not None and all(one.key == "test" for one in config.astray):
        says = "'test' names {named}, which does not exist; linted in its place is {found}"
        yield key_hit(config, "test", says, named=str(elsewhere.looked), found=str(elsewhere.found))


@rule("CF010", Severity.WARNING, Effect.REWRITES, POSE)
def flip_idx_missing(config: DataConfig) -> Iterator[Hit]:
    """`flip_idx` is missing in a pose dataset.

    Why: images cannot be mirrored, which is one of the most useful augmentations.
    Ultralytics: sets `fliplr` and `flipud` to 0, with a warning in the log.
    Example: `kpt_shape: [17, 3]` and no `flip_idx`.
    Fix: list for each keypoint the one that it becomes when mirrored: left eye and right eye are swapped.
    """
    if config.kpt_shape and not config.raw.get("flip_idx"):
        says = "no 'flip_idx' for {keypoints:keypoint|keypoints}: images are not mirrored"
        yield key_hit(config, "kpt_shape", says, keypoints=config.kpt_shape[0])


@rule("CF011", Severity.FATAL, Effect.CRASHES, POSE)
def flip_idx_length(config: DataConfig) -> Iterator[Hit]:
    """`flip_idx` does not have one entry for each keypoint.

    Why: training does not start.
    Ultralytics: raises ValueError ("length must be equal to kpt_shape[0]").
    Example: `kpt_shape: [3, 3]` with `flip_idx: [1, 0]`.
    Fix: list for each keypoint the one that it becomes when mirrored.
    """
    flip = config.raw.get("flip_idx")
    if config.kpt_shape and flip and len(flip) != config.kpt_shape[0]:
        says = "'flip_idx' has {entries:entry|entries} for {keypoints:keypoint|keypoints}"
        yield key_hit(config, "flip_idx", says, entries=len(flip), keypoints=config.kpt_shape[0])


@rule("CF012", Severity.FATAL, Effect.CRASHES, POSE)
def flip_idx_unusable(config: DataConfig) -> Iterator[Hit]:
    """An entry of `flip_idx` is not the number of a keypoint.

    Why: training ends in the first batch with a mirrored image.
    Ultralytics: raises IndexError in the loader; a true or false leaves keypoints out instead.
    Example: `flip_idx: [1, 2]` for two keypoints, counted from 0.
    Fix: count keypoints from 0, and write whole numbers.
    """
    flip = _flip(config)
    wrong = [entry for entry in flip if type(entry) is not int or not -len(flip) <= entry < len(flip)]
    if wrong:
        says = "keypoints are numbered 0 to {last}; 'flip_idx' has {wrong:,}"
        yield key_hit(config, "flip_idx", says, last=len(flip) - 1, wrong=tuple(map(shown, wrong[:4])))


@rule("CF013", Severity.ERROR, Effect.GARBAGE, POSE)
def flip_idx_not_mutual(config: DataConfig) -> Iterator[Hit]:
    """`flip_idx` applied twice does not give back the keypoints.

    Why: in mirrored images keypoints get the positions of others, or one occurs twice.
    Ultralytics: takes the list as it is.
    Example: `flip_idx: [1, 2, 0]`, or `flip_idx: [0, 0]`.
    Fix: if a becomes b when mirrored, b becomes a: correct the pairs.
    """
    flip = _flip(config)
    usable = all(type(entry) is int and -len(flip) <= entry < len(flip) for entry in flip)
    wrong = [i for i, entry in enumerate(flip) if usable and (entry < 0 or flip[entry] != i)]
    if wrong:
        says = "{keypoints:,} mirrored is {mirrored:,}, but not the other way round"
        yield key_hit(config, "flip_idx", says, keypoints=tuple(wrong[:3]), mirrored=tuple(flip[i] for i in wrong[:3]))


@rule("CF014", Severity.WARNING, Effect.GARBAGE, POSE)
def flip_idx_against_names(config: DataConfig) -> Iterator[Hit]:
    """`flip_idx` does not swap a keypoint named left with the one named right.

    Why: in mirrored images left and right are confused.
    Ultralytics: takes `flip_idx` as it is; names are for display only.
    Example: `kpt_names: {0: [nose, left_eye, right_eye]}` with `flip_idx: [0, 1, 2]`.
    Fix: correct the list, or the names.
    """
    flip = _flip(config)
    for names in _kpt_names(config):
        if len(names) != len(flip):
            continue
        place = {name.lower(): i for i, name in enumerate(names)}
        for i, name in enumerate(names):
            other = place.get(re.sub("left", "right", name.lower()))
            if "left" in name.lower() and other is not None and flip[i] != other:
                says = "{left!r} ({number}) should become {right!r} ({wanted}), but 'flip_idx' has {given}"
                facts = {"left": name, "right": names[other], "number": i, "wanted": other, "given": shown(flip[i])}
                yield key_hit(config, "flip_idx", says, **facts)
                return


@rule("CF015", Severity.FATAL, Effect.CRASHES, POSE)
def kpt_sigmas_unusable(config: DataConfig) -> Iterator[Hit]:
    """`kpt_oks_sigmas` is not one positive number for each keypoint.

    Why: training ends at the first validation.
    Ultralytics: raises ValueError ("'kpt_oks_sigmas' must be 17 positive values").
    Example: `kpt_shape: [3, 3]` with `kpt_oks_sigmas: [0.1, 0.1]`.
    Fix: write one number above 0 for each keypoint, or remove the key.
    """
    given = config.raw.get("kpt_oks_sigmas")
    if not given or not config.kpt_shape:
        return
    sigmas = given if isinstance(given, list) else [given]
    fine = [s for s in sigmas if isinstance(s, (int, float)) and s > 0]
    if len(sigmas) != config.kpt_shape[0] or len(fine) != len(sigmas):
        says = "{usable} usable of {sigmas:value|values} for {keypoints:keypoint|keypoints}"
        facts = {"usable": len(fine), "sigmas": len(sigmas), "keypoints": config.kpt_shape[0]}
        yield key_hit(config, "kpt_oks_sigmas", says, **facts)


@rule("CF016", Severity.INFO, Effect.ACCEPTS, POSE)
def kpt_names_count(config: DataConfig) -> Iterator[Hit]:
    """`kpt_names` does not have one name for each keypoint.

    Why: the names go into the exported model, where they no longer fit the keypoints.
    Ultralytics: writes them as they are.
    Example: `kpt_shape: [3, 3]` with `kpt_names: {0: [nose, tail]}`.
    Fix: name all keypoints in their order.
    """
    for names in _kpt_names(config):
        if config.kpt_shape and len(names) != config.kpt_shape[0]:
            says = "{names:name|names} for {keypoints:keypoint|keypoints}"
            yield key_hit(config, "kpt_names", says, names=len(names), keypoints=config.kpt_shape[0])
            return


def _flip(config: DataConfig) -> list[Any]:
    """`flip_idx` if it has an entry for each keypoint, else an empty list."""
    flip = config.raw.get("flip_idx") or []
    return flip if config.kpt_shape and len(flip) == config.kpt_shape[0] else []


def _kpt_names(config: DataConfig) -> list[list[str]]:
    given = config.raw.get("kpt_names")
    lists = list(given.values()) if isinstance(given, dict) else [given]
    return [[str(name) for name in names] for names in lists if isinstance(names, list)]


@rule("CF017", Severity.INFO, Effect.REWRITES, LABELLED)
def nc_not_whole(config: DataConfig) -> Iterator[Hit]:
    """`nc` is written as text or with a decimal point.

    Why: other tools, and older releases of Ultralytics, compare it with a whole number and stop.
    Ultralytics: converts it to a whole number.
    Example: `nc: "2"` or `nc: 2.0`.
    Fix: write a whole number, or remove the key: it follows from `names`.
    """
    nc = config.raw.get("nc")
    if nc is not None and type(nc) is not int:
        yield key_hit(config, "nc", "'nc' is {nc!r} and is read as {read}", nc=nc, read=int(float(nc)))


@rule("CF018", Severity.INFO, Effect.ACCEPTS, LABELLED)
def path_absolute(config: DataConfig) -> Iterator[Hit]:
    """A path in data.yaml is absolute.

    Why: the dataset cannot be moved, nor used on another machine.
    Ultralytics: takes the path as it is.
    Example: `path: /home/ann/data/cats`.
    Fix: remove `path:` and write `train` and `val` relative to the yaml.
    """
    if config.astray:
        return  # CF028 is about these
    for key in ("path", "train", "val", "validation", "test"):
        given = config.raw.get(key)
        for entry in given if isinstance(given, list) else [given]:
            if isinstance(entry, str) and Path(entry).is_absolute():
                yield key_hit(config, key, "'{key}' is absolute: {path}", key=key, path=entry)
                return


@rule("CF019", Severity.WARNING, Effect.ACCEPTS, LABELLED)
def path_of_working_folder(config: DataConfig) -> Iterator[Hit]:
    """`path:` is relative, and exists in the folder in which the program was started.

    Why: started elsewhere, Ultralytics looks in its own datasets folder instead, or finds another set.
    Ultralytics: takes the path from the working folder, not from the folder of the yaml.
    Example: `path: ../cats`, which works in one terminal and fails in the next.
    Fix: remove `path:` and write `train` and `val` relative to the yaml.
    """
    given = config.raw.get("path")
    if isinstance(given, str) and given and not Path(given).is_absolute() and os.path.exists(given):  # noqa: PTH110
        says = "'path: {path}' is taken from the working folder {folder}"
        yield key_hit(config, "path", says, path=given, folder=str(Path.cwd()))


@rule("CF020", Severity.WARNING, Effect.ACCEPTS, LABELLED)
def training_key_in_data(config: DataConfig) -> Iterator[Hit]:
    """data.yaml holds training arguments.

    Why: they have no effect: training runs with the defaults.
    Ultralytics: ignores them silently.
    Example: `epochs: 300` or `imgsz: 1280` in data.yaml.
    Fix: give them to the command (`epochs=300`), or in a separate file with `cfg=`.
    """
    found = [key for key in config.raw if key in SETTINGS and key not in KNOWN_KEYS]
    if found:
        yield key_hit(config, found[0], "settings that have no effect here: {keys:,6}", keys=tuple(found))


@rule("CF021", Severity.WARNING, Effect.ACCEPTS, LABELLED)
def class_name_unprintable(config: DataConfig) -> Iterator[Hit]:
    """A class name is empty, has spaces around it or holds control characters.

    Why: names that look the same differ, and tables and files made from them break.
    Ultralytics: takes the name as it is.
    Example: `names: ["cat ", "dog"]`, or a name over two lines.
    Fix: correct the name.
    """
    for index, name in config.names.items():
        wrong = "empty" if not name.strip() else "spaces" if name != name.strip() else "control"
        if wrong != "control" or not name.isprintable():
            yield key_hit(config, "names", _NAMES[wrong], index=index, name=name[:60], wrong=wrong)


@rule("CF022", Severity.INFO, Effect.ACCEPTS, LABELLED)
def class_name_number(config: DataConfig) -> Iterator[Hit]:
    """All classes are named by numbers.

    Why: the names were lost in an export; nobody can tell whether a label is right.
    Ultralytics: shows the numbers.
    Example: `names: ['0', '1', '2']`.
    Fix: write the names.
    """
    names = list(((config.raw.get("names") and config.names) or {}).values())
    if names and all(re.fullmatch(r"\d+", name.strip()) for name in names):
        says = "the names of the {classes:class|classes} are numbers: {names:,}"
        yield key_hit(config, "names", says, classes=len(names), names=tuple(names[:_SHOWN]))


@rule("CF023", Severity.INFO, Effect.ACCEPTS, LABELLED)
def names_missing(config: DataConfig) -> Iterator[Hit]:
    """data.yaml gives the number of classes, but no names.

    Why: nobody can tell whether a label is right.
    Ultralytics: names the classes class_0, class_1 and so on.
    Example: `nc: 3` alone.
    Fix: write `names:`.
    """
    if config.raw.get("names") is None:
        yield key_hit(config, "nc", "'nc: {nc}' without 'names'", nc=config.raw.get("nc"))


@rule("CF024", Severity.ERROR, Effect.ACCEPTS, LABELLED)
def val_inside_train(config: DataConfig) -> Iterator[Hit]:
    """`train` is the same path as `val` or `test`, or a folder that holds it.

    Why: folders are read with all subfolders, so images of the evaluation are trained on.
    Ultralytics: trains and evaluates as configured.
    Example: `train: images` with `val: images/val`.
    Fix: give each split its own folder, side by side.
    """
    train = [path.resolve() for path in config.splits.get("train", ())]
    for split, paths in config.splits.items():
        for path in paths if split != "train" else ():
            holder = next((t for t in train if path.resolve() == t or t in path.resolve().parents), None)
            if holder is not None:
                same = path.resolve() == holder
                says = (
                    "'{split}' is the same path as 'train': {path}" if same else "'{split}' lies inside 'train': {path}"
                )
                yield key_hit(config, split, says, split=split, path=str(path), same=same)
                break


@rule("CF025", Severity.INFO, Effect.REWRITES, LABELLED)
def validation_key(config: DataConfig) -> Iterator[Hit]:
    """data.yaml has the key `validation`.

    Why: beside `val` it has no effect; alone it is another name for `val` that other tools do not know.
    Ultralytics: ignores it if `val` exists, else renames it with a warning.
    Example: `validation: images/val`.
    Fix: write `val`.
    """
    if "validation" in config.raw:
        ignored = "val" in config.raw
        says = "'validation' is ignored, since 'val' exists" if ignored else "'validation' is taken as 'val'"
        yield key_hit(config, "validation", says)


@rule("CF026", Severity.INFO, Effect.REWRITES, LABELLED)
def key_overwritten(config: DataConfig) -> Iterator[Hit]:
    """data.yaml holds the key `yaml_file`.

    Why: it has no effect; a tool wrote the file back from memory, perhaps with other changes.
    Ultralytics: overwrites it with the path of the file that it read.
    Example: `yaml_file: /content/data.yaml`.
    Fix: remove the key.
    """
    if "yaml_file" in config.raw:
        yield key_hit(config, "yaml_file", "'yaml_file' is overwritten when the file is read")


@rule("CF027", Severity.INFO, Effect.ACCEPTS, LABELLED)
def class_name_slash(config: DataConfig) -> Iterator[Hit]:
    """A class name holds a slash.

    Why: crops of objects are saved in folders named after the class: a slash makes a folder in a folder.
    Ultralytics: saves crops of the class `a/b` under `crops/a/b`.
    Example: `names: [car/van, bus]`.
    Fix: use another character: `car or van`.
    """
    for index, name in config.names.items():
        if "/" in name or "\\" in name:
            yield key_hit(config, "names", "class {index} is named {name!r}", index=index, name=name[:60])


@rule("CF028", Severity.FATAL, Effect.CRASHES, LABELLED)
def path_nowhere(config: DataConfig) -> Iterator[Hit]:
    """The paths of the splits lead nowhere; the images lie elsewhere, most often beside the yaml.

    Why: training does not start; a yaml with a download entry may even fetch another copy of the set.
    Ultralytics: raises FileNotFoundError ("images not found, missing path"), or runs the download entry.
    Example: `train: C:\\Users\\ann\\cells\\train\\images` in a yaml that was downloaded with the images.
    Fix: remove `path:` and write the paths relative to the folder of the yaml, as the finding names them.
    """
    needed = [one for one in config.astray if one.key != "test"]
    if not needed:
        return
    first = needed[0]
    says = "'{split}' leads to {path}"
    says += ", a path of another machine" if first.foreign else ""
    says += ", which does not exist; linted in its place is {found:,}"
    key = "path" if config.raw.get("path") and not first.looked.is_relative_to(config.yaml_file.parent) else first.key
    found = tuple(f"{one.key}: {_from(config, one.found)}" for one in config.astray)
    yield key_hit(config, key, says, split=first.key, path=str(first.looked), found=found, foreign=first.foreign)


@rule("CF029", Severity.FATAL, Effect.CRASHES, LABELLED)
def val_empty(config: DataConfig) -> Iterator[Hit]:
    """`val` is empty.

    Why: training does not start.
    Ultralytics: raises RuntimeError ("'val:' images not found"); a test split does not replace it.
    Example: `val: ''`, as some tools write it when they are given no split.
    Fix: put a fifth of the images into a separate split, and write its path.
    """
    key = "validation" if "val" not in config.raw else "val"
    if key in config.raw and not config.raw[key]:
        yield key_hit(config, key, "'{key}' is empty: {given!r}", key=key, given=config.raw[key])


@rule("CF030", Severity.FATAL, Effect.CRASHES, LABELLED)
def data_yaml_missing(config: DataConfig) -> Iterator[Hit]:
    """There are images and labels, but no data.yaml.

    Why: training needs one; lint takes splits and classes from the folders and a list of classes beside them.
    Ultralytics: raises an error ("No YAML file found"); it reads neither `obj.data` nor `classes.txt`.
    Example: a YOLO export of Label Studio or CVAT as it was unpacked.
    Fix: write a data.yaml as the finding says, with a split for validation that shares no image with train.
    """
    if config.layout not in (Layout.FOLDERS, Layout.DARKNET):
        return
    source = _from(config, config.source) if config.source is not None else ""
    splits = {split: tuple(_from(config, path) for path in config.splits[split]) for split in ("train", "val")}
    named = source.lower().endswith((".yaml", ".yml"))
    says = "{source} names no splits" if named else "there is no data.yaml"
    says += "; linted is train: {train:,}, val: {val:,}" if splits["val"] else "; linted is train: {train:,}, val: none"
    says += ", with the class names of {source}" if source else ", with no names of classes"
    says += "; write them into one, with names: [{names:,}"
    says += ", ...]" if config.nc > _SHOWN else "]"
    names = tuple(islice(config.names.values(), _SHOWN))
    yield Hit(str(config.yaml_file), says, values={**splits, "source": source, "names": names})


@rule("FS062", Severity.ERROR, Effect.ACCEPTS, LABELLED)
def image_list_too_long(config: DataConfig) -> Iterator[Hit]:
    """A list of images has more than 10 million lines, or 256 MB.

    Why: no set has so many images: something else was written, or one list over and over. Lint does not read it, so
        these images are not checked.
    Ultralytics: reads it whole, and looks for a label file for each line.
    Example: a script that appends to train.txt, started again and again.
    Fix: write the list again, each image once.
    """
    for path in (path for paths in config.splits.values() for path in paths if path.is_file()):
        with contextlib.suppress(OSError):  # unreadable lists are reported elsewhere
            if (size := excess(path)) is not None:
                says = "{size}: it is not read, and none of its images was looked at"
                yield Hit(str(path), says, values={"size": size})


@rule("CF031", Severity.FATAL, Effect.CRASHES, LABELLED)
def list_paths_nowhere(config: DataConfig) -> Iterator[Hit]:
    """The lines of a list of images lead nowhere; the images lie beside the list, or in the folder of the dataset.

    Why: no image is found, and training does not start.
    Ultralytics: takes lines from the folder in which it is started, except those that begin with `./`; then it raises
        RuntimeError ("No valid images found").
    Example: `/home/ann/cats/images/1.jpg` in a train.txt, or `data/obj_train_data/1.jpg` in one of CVAT.
    Fix: write the paths relative to the folder of the list, with `./` before each.
    """
    for path, (start, place, _) in config.lists.items() if config.layout is Layout.YAML else ():
        folder = _from(config, Path(place))
        says = "its lines begin with {start!r} and lead nowhere" if start else _ELSEWHERE
        says += "; linted in their place are the images from "
        says += "the folder of the dataset on" if folder == "." else "{folder} on"
        yield Hit(path, says, values={"start": start, "folder": folder})


def _from(config: DataConfig, path: Path) -> str:
    """A path relative to the folder of the yaml if it is below or beside that, else absolute."""
    home = config.home.resolve()
    near = path.is_relative_to(home) or path.is_relative_to(home.parent)
    return os.path.relpath(path, home).replace(os.sep, "/") if near else str(path)


def key_hit(config: DataConfig, key: str, says: str, /, **values: Any) -> Hit:
    """A hit on a key of data.yaml; on the file if it has no such key."""
    return Hit(str(config.yaml_file), says, config.key_lines.get(key), values=values)
