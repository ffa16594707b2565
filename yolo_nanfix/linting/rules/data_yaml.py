"""CF: data.yaml."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from yolo_nanfix.dataset.config import KNOWN_KEYS, DataConfig, class_numbers
from yolo_nanfix.dataset.table import Table
from yolo_nanfix.findings import Effect, Severity
from yolo_nanfix.linting.causes import Explains
from yolo_nanfix.linting.registry import Hit, rule


@rule("CF001", "duplicate-key", Severity.ERROR, Effect.ACCEPTS)
def duplicate_key(config: DataConfig) -> Iterator[Hit]:
    """A key stands twice in one mapping of data.yaml.

    Why: the first value is lost without a word: a second `train:` or a second class 3 hides the first one.
    Ultralytics: takes the last value; its YAML reader does not notice.
    Example: `names: {0: cat, 1: dog, 1: bird}`.
    Fix: remove or renumber one of the two keys.
    """
    for key, first, line in config.duplicate_keys:
        yield Hit(str(config.yaml_file), f"key {key!r} stands on line {first} already; the later value wins", line)


@rule("CF002", "names-nc-mismatch", Severity.FATAL, Effect.CRASHES)
def names_nc_mismatch(config: DataConfig) -> Iterator[Hit]:
    """`nc` is not the number of `names`.

    Why: one of the two is wrong, and training does not start.
    Ultralytics: raises SyntaxError ("'names' length 3 and 'nc: 5' must match").
    Example: `nc: 5` with three names.
    Fix: remove `nc` (it follows from `names`), or complete `names`.
    """
    names, nc = config.raw.get("names"), config.raw.get("nc")
    if names is not None and nc is not None and len(names) != int(float(nc)):
        message = f"'nc' is {nc}, but 'names' has {len(names)} entries"
        yield Hit(str(config.yaml_file), message, config.key_lines.get("nc"))


@rule("CF003", "class-index-gap", Severity.FATAL, Effect.CRASHES)
def class_index_gap(config: DataConfig, table: Table) -> Iterator[Hit]:
    """The keys of `names` are not 0 to the number of classes minus one.

    Why: training does not start. The numbers in the labels are read by these keys here: those of COCO begin at 1.
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
    shown = ", ".join(str(key) for key in list(names)[:8]) + (", ..." if len(names) > 8 else "")
    message = f"class numbers must be 0 to {len(names) - 1}, but the keys are {shown}"
    message += "; names and numbers have changed places" if swapped else ""
    message += "; the labels are numbered from 0, as the names should be" if from_zero else ""
    values = {"numbers": tuple(sorted(config.names)), "by_keys": not from_zero, "swapped": swapped}
    explains = Explains(("CL003", "CL004", "CL005", "CL006")) if from_zero else None
    yield Hit(str(config.yaml_file), message, config.key_lines.get("names"), values=values, explains=explains)


@rule("CF004", "class-name-duplicate", Severity.WARNING, Effect.ACCEPTS)
def class_name_duplicate(config: DataConfig) -> Iterator[Hit]:
    """Two classes have the same name, but for capitals, blanks, hyphens and underscores.

    Why: objects of one kind are split over two classes, which then compete in training and evaluation.
    Ultralytics: trains them as two classes.
    Example: `names: [car, bus, car]`.
    Fix: merge the two classes in the labels, or give each a name of its own.
    """
    seen: dict[str, int] = {}
    for index, name in config.names.items():
        first = seen.setdefault(_key(name), index)
        if first != index:
            other = config.names[first]
            both = f"both named {name!r}" if name == other else f"named {other!r} and {name!r}"
            message = f"classes {first} and {index} are {both}"
            yield Hit(str(config.yaml_file), message, config.key_lines.get("names"))


@rule("CF005", "key-misspelt", Severity.WARNING, Effect.ACCEPTS)
def key_misspelt(config: DataConfig) -> Iterator[Hit]:
    """An unknown key looks like a known one.

    Why: a misspelt key has no effect: `chanels: 6` trains with 3 channels, `tset:` has no test split.
    Ultralytics: ignores it silently.
    Example: `nmaes: [cat, dog]` beside `nc: 2` trains classes named class_0 and class_1.
    Fix: correct the spelling of the key.
    """
    import difflib  # for mistakes alone

    for key in config.raw:
        near = difflib.get_close_matches(key.lower(), KNOWN_KEYS, n=1, cutoff=0.75)
        if key not in KNOWN_KEYS and near and near[0] not in config.raw:
            message = f"unknown key {key!r}; did you mean '{near[0]}'?"
            yield Hit(str(config.yaml_file), message, config.key_lines.get(key))


@rule("CF006", "download-entry", Severity.INFO, Effect.ACCEPTS)
def download_entry(config: DataConfig) -> Iterator[Hit]:
    """data.yaml holds a download entry.

    Why: it may be a script that Ultralytics runs, as you, as soon as the val path is missing.
    Ultralytics: downloads the address or executes the text as Python when the images are not found.
    Example: `download: https://example.org/data.zip`.
    Fix: nothing if you trust the file; lint never executes it.
    """
    if config.raw.get("download"):
        message = "Ultralytics downloads or runs this entry if the val images are missing"
        yield Hit(str(config.yaml_file), message, config.key_lines.get("download"))


@rule("CF007", "class-name-not-text", Severity.WARNING, Effect.ACCEPTS)
def class_name_not_text(config: DataConfig) -> Iterator[Hit]:
    """YAML does not read a class name as text.

    Why: `yes`, `no`, `on`, `off`, `null` and bare numbers are values in YAML: the class is named True.
    Ultralytics: turns the value into text and goes on.
    Example: `names: [yes, no]` gives the classes True and False.
    Fix: put the name in quotes.
    """
    names = config.raw.get("names") or []
    if isinstance(names, dict) and class_numbers(names) is None:
        return  # names and numbers have changed places: CF003
    for index, name in names.items() if isinstance(names, dict) else enumerate(names):
        if not isinstance(name, str):
            message = f"class {index} is read as {type(name).__name__} and becomes {str(name)[:60]!r}"
            yield Hit(str(config.yaml_file), message, config.key_lines.get("names"))


@rule("CF008", "kpt-shape-unusable", Severity.FATAL, Effect.CRASHES)
def kpt_shape_unusable(config: DataConfig, task: str) -> Iterator[Hit]:
    """`kpt_shape` is malformed, or missing for the pose task.

    Why: it says how many columns a label row has; without it no pose label can be read.
    Ultralytics: raises ValueError when the dataset is built.
    Example: `kpt_shape: [17]`.
    Fix: write `kpt_shape: [keypoints, 2]` for x, y or `[keypoints, 3]` for x, y, visibility.
    """
    given = config.raw.get("kpt_shape")
    if config.kpt_shape is None and (given is not None or task == "pose"):
        message = f"'kpt_shape' is {given!r}" if given is not None else "'kpt_shape' is missing"
        yield Hit(str(config.yaml_file), message, config.key_lines.get("kpt_shape"))


@rule("CF009", "test-split-missing", Severity.WARNING, Effect.CRASHES)
def test_split_missing(config: DataConfig) -> Iterator[Hit]:
    """The path of the test split does not exist.

    Why: training runs, but the test split cannot be evaluated; often a sign of a yaml from another machine.
    Ultralytics: raises FileNotFoundError as soon as `split=test` is asked for.
    Example: `test: ../test/images` where there is no such folder.
    Fix: correct the path or remove the key.
    """
    elsewhere = next((one for one in config.astray if one.key == "test"), None)
    if config.missing_test is not None:
        message = f"'test' names {config.missing_test}, which does not exist; the split is not linted"
        yield Hit(str(config.yaml_file), message, config.key_lines.get("test"))
    elif elsewhere is not None and all(one.key == "test" for one in config.astray):
        message = f"'test' names {elsewhere.looked}, which does not exist; linted in its place is {elsewhere.found}"
        yield Hit(str(config.yaml_file), message, config.key_lines.get("test"))


def _key(name: str) -> str:
    """What is left of a class name without capitals, outer blanks and the kind of gap between words."""
    return re.sub(r"(?<=\w)[\s_-]+(?=\w)", " ", name.strip().casefold())
