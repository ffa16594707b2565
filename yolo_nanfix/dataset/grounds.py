"""The folders of a dataset: those that its data.yaml or the command names, and nothing that links lead to.

A dataset from elsewhere may hold links to anything on this machine. So files that are passed on or changed must lie
within `ground`: the folder of data.yaml, and those that it names as text (`path:`, the splits, with the folders of
labels beside them). A link is followed if it stays in these folders. A folder that holds the user's home folder, or the
root of the disk, does not count.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from yolo_nanfix.dataset.config import DataConfig, Layout
from yolo_nanfix.dataset.paths import labels_beside
from yolo_nanfix.files import SYSTEM, Within, is_inside


def ground(config: DataConfig, root: str | Path | None = None, *, follow_links: bool = False) -> Within:
    """The folders in which the files of a dataset may lie.

    Args:
        config: the dataset.
        root: the folder that the command names for its images.
        follow_links: regular files elsewhere may be opened, too.
    """
    home = config.home if config.layout is not Layout.YAML or _is_yaml(config.yaml_file) else config.root
    real: list[str] = []  # the folders that count, links resolved
    known: dict[str, str] = {}  # paths of folders, each with the path without links; also of those that do not count
    for one in (os.path.abspath(one) for one in (home, root) if one):  # noqa: PTH100 - links are judged
        place = os.path.realpath(one)  # named by the command, wherever links on the way lead
        known |= {one: place, place: place}
        real += _with_labels(place, real)
    if home is not config.home:  # annotations, whose images are looked for around them
        above = os.path.dirname(os.path.abspath(home))  # noqa: PTH100, PTH120
        known[above] = os.path.realpath(above)
    for named in dict.fromkeys(map(str, config.named or (path for paths in config.splits.values() for path in paths))):
        place = os.path.realpath(named)
        if place != named:
            above, last = os.path.split(named)
            spots = (named, os.path.join(os.path.realpath(above), last))  # noqa: PTH118
            if any(_leads_out(spot, place, real, known) for spot in spots):
                continue
        if any(is_inside(place, one) for one in real):
            known[named] = place
            continue
        if not too_wide(place):
            known |= {named: place, place: place}
        real += _with_labels(place if os.path.isdir(place) else os.path.dirname(place), real)  # noqa: PTH112, PTH120
    return Within(real, follow_links=follow_links)


def _is_yaml(file: Path) -> bool:
    return file.suffix.lower() in (".yaml", ".yml")


def _leads_out(spot: str, place: str, real: Sequence[str], known: Mapping[str, str]) -> bool:
    """Whether a path in one of the folders leads out of them, or through a folder of the system."""
    if any(is_inside(spot, folder) for folder in SYSTEM):
        return True
    straight = [target + spot[len(text) :] for text, target in known.items() if is_inside(spot, text)]
    return bool(straight) and place not in straight and not any(is_inside(place, folder) for folder in real)


def _with_labels(folder: str, real: Sequence[str]) -> list[str]:
    """A folder and that of the labels beside it, unless they are links, too wide, or inside of those before."""
    found: list[str] = []
    for one in (folder, labels_beside(folder)):
        inside = any(is_inside(one, other) for other in (*real, *found))
        if not inside and not too_wide(one) and os.path.realpath(one) == one:
            found.append(one)
    return found


def too_wide(folder: str) -> bool:
    """Whether a folder, links resolved, holds far more than a dataset: the home folder of the user, or everything."""
    home = _home(os.path.expanduser("~"))  # noqa: PTH111 - raises nothing where there is no home
    root = os.path.dirname(folder) == folder  # noqa: PTH120
    return root or is_inside(home, folder) or any(is_inside(folder, one) for one in SYSTEM)


@lru_cache(maxsize=4)
def _home(path: str) -> str:
    return os.path.realpath(path)
