"""Which files belong to a dataset: what came with it, and what is the user's own."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from yolo_nanfix.dataset.discover import dataset
from yolo_nanfix.dataset.find_yaml import find_yaml
from yolo_nanfix.dataset.grounds import ground
from yolo_nanfix.dataset.options import LintOptions
from yolo_nanfix.errors import DataError, UsageError
from yolo_nanfix.files import Within


def home(data: str | Path) -> Path:
    """The folder from which settings are looked for: that of data.yaml, or of what stands in its place."""
    path = Path(data)
    try:
        if path.exists():
            return path if path.is_dir() else path.absolute().parent
        return find_yaml(data).parent
    except (DataError, ValueError, OSError):
        return Path.cwd()


class Belongs:
    """Whether a settings file came with a dataset, or is the user's own."""

    def __init__(self, data: str | Path) -> None:
        """`data`: data.yaml, a folder, a name, a file of annotations; it is looked at when the first file is judged."""
        self._data = data

    def __call__(self, file: Path) -> bool:
        """Whether the file came with the dataset.

        So does what lies in its folders (`grounds.ground`), and what lies neither in the current folder nor in one
        above it: it can only have been found from data.yaml upward.
        """
        try:
            here = Path.cwd().resolve()
            stands = file.parent.resolve() in (here, *here.parents)
        except (OSError, RuntimeError):  # of a loop of links
            return True
        return not stands or self._folders.holds(file.parent)

    @cached_property
    def _folders(self) -> Within:
        place = home(self._data)
        try:
            return Within((place, *ground(dataset(self._data, LintOptions())).folders))
        except (DataError, UsageError, OSError, ValueError):
            return Within((place,))
