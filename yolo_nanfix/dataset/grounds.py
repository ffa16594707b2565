"""Where a dataset lies: the folders that its data.yaml or the command names, and nothing that links lead to.

What somebody else made may hold links to anything on this machine. So what is passed on, or changed, is looked for
through `ground`: in the folder of data.yaml, and in those that it names as text (`path:`, the splits, with the folders
of labels beside them). A link is followed as long as it stays in these folders. A folder that holds the user's home
folder, or everything, counts as none of them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
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
        follow_links: files elsewhere may be opened, too, as long as they are regular.
    """
    home = config.home if config.layout is not Layout.YAML or _is_yaml(config.yaml_file) else config.root
    found = _Folders([os.path.abspath(one) for one in (home, root) if one])  # noqa: PTH100 - links are judged
    if home is not config.home:  # annotations, whose images are looked for around them
        above = os.path.dirname(os.path.abspath(home))  # noqa: PTH100, PTH120
        found.known[above] = os.path.realpath(above)
    found.name(map(str, config.named or (path for paths in config.splits.values() for path in paths)))
    return Within(found.real, follow_links=follow_links)


def _is_yaml(file: Path) -> bool:
    return file.suffix.lower() in (".yaml", ".yml")


class _Folders:
    """The folders of a dataset, one after the other.

    Attributes:
        real: those that count, links resolved.
        known: what folders are called, each with what it is called without links; also those that do not count.
    """

    def __init__(self, given: Iterable[str]) -> None:
        """Begin with those that the command names, wherever links on the way to them lead."""
        self.real: list[str] = []
        self.known: dict[str, str] = {}
        for one in given:
            place = os.path.realpath(one)
            self.known |= {one: place, place: place}
            self._add(place)

    def name(self, paths: Iterable[str]) -> None:
        """Add those that data.yaml names, but not what links in the ones before lead out to."""
        for named in dict.fromkeys(paths):
            place = os.path.realpath(named)
            if place != named:
                above, last = os.path.split(named)
                spots = (named, os.path.join(os.path.realpath(above), last))  # noqa: PTH118
                if any(self._led_out(spot, place) for spot in spots):
                    continue
            if any(is_inside(place, one) for one in self.real):
                self.known[named] = place
                continue
            if not too_wide(place):
                self.known |= {named: place, place: place}
            self._add(place if os.path.isdir(place) else os.path.dirname(place))  # noqa: PTH112, PTH120

    def _led_out(self, spot: str, place: str) -> bool:
        """Whether a path in one of the folders leads out of them, or through a folder of the system."""
        if any(is_inside(spot, folder) for folder in SYSTEM):
            return True
        straight = [real + spot[len(text) :] for text, real in self.known.items() if is_inside(spot, text)]
        return bool(straight) and place not in straight and not any(is_inside(place, folder) for folder in self.real)

    def _add(self, folder: str) -> None:
        """Add a folder, and the one of the labels beside it unless that is a link."""
        for one in (folder, labels_beside(folder)):
            known = any(is_inside(one, other) for other in self.real)
            if not known and not too_wide(one) and os.path.realpath(one) == one:
                self.real.append(one)


def too_wide(folder: str) -> bool:
    """Whether a folder, links resolved, holds far more than a dataset: the home folder of the user, or everything."""
    home = _home(os.path.expanduser("~"))  # noqa: PTH111 - raises nothing where there is no home
    root = os.path.dirname(folder) == folder  # noqa: PTH120
    return root or is_inside(home, folder) or any(is_inside(folder, one) for one in SYSTEM)


@lru_cache(maxsize=4)
def _home(path: str) -> str:
    return os.path.realpath(path)
