"""Ultralytics' label caches (`labels/train.cache`), read without running what they name.

Such a cache lies in the dataset, is a pickle, and Ultralytics loads it when a training starts; so a dataset from
somebody else could run code. What Ultralytics writes are arrays, numbers and texts, and these are read here, with the
very values. A cache that names anything else counts as unreadable, so that Ultralytics scans the labels and writes its
own. It is no patch with a card: training under yolo-nanfix has it, whatever is patched.
"""

from __future__ import annotations

import gc
import pickle
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from yolo_nanfix import upstream

TARGETS = ("ultralytics.data.utils:load_dataset_cache_file", "ultralytics.data.dataset:load_dataset_cache_file")
"""Where the function stands, in newer releases and in older ones; the oldest have none."""
NUMPY = frozenset(
    f"{package}.{name}"
    for package in ("numpy.core", "numpy._core")
    for name in ("multiarray._reconstruct", "multiarray.scalar", "numeric._frombuffer")
) | {"numpy.ndarray", "numpy.dtype"}
PATHS = ("Path", "PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath")
PYTHON = frozenset(
    [
        *(f"{module}.{name}" for module in ("pathlib", "pathlib._local") for name in PATHS),
        *("collections.OrderedDict", "builtins.set", "builtins.frozenset", "builtins.bytearray", "builtins.complex"),
        "_codecs.encode",
    ]
)
"""What the values of a cache are made of; none does anything but hold them."""
_put: list[tuple[Any, str, Any]] = []


class _Values(pickle.Unpickler):
    """Makes arrays, numbers and texts, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        """What a pickle calls, if it is one of those.

        Raises:
            AttributeError: it is not; every release of Ultralytics takes that for a cache to be written anew.
        """
        of_numpy = f"{module}.{name}" in NUMPY or (module == "numpy.dtypes" and re.fullmatch(r"[A-Z]\w*DType", name))
        if of_numpy or f"{module}.{name}" in PYTHON:
            return super().find_class(module, name)
        raise AttributeError(f"it names {module}.{name}")


def read(path: str | Path) -> Any:
    """The value in a label cache, as `numpy.load(path, allow_pickle=True).item()` gives it.

    Raises:
        AttributeError: it is none, or names what no cache holds.
        OSError: it cannot be read.
    """
    collecting = gc.isenabled()
    gc.disable()  # as Ultralytics does: it takes a third of the time
    try:
        with open(path, "rb") as file:
            _header(file)
            return _Values(file).load().item()
    except (pickle.UnpicklingError, ValueError, TypeError, EOFError, LookupError, ImportError, MemoryError) as error:
        raise AttributeError(str(error)) from error
    finally:
        if collecting:
            gc.enable()


def _header(file: BinaryIO) -> None:
    """Go past the header of a `.npy` file.

    Raises:
        ValueError: it is none, or not of one Python object.
    """
    major, _ = np.lib.format.read_magic(file)
    header = np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
    shape, _, dtype = header(file)
    if shape or not dtype.hasobject:
        raise ValueError("it is no cache of labels")


def put() -> None:
    """Let Ultralytics read its caches so. Twice is once; where a release has no function for it, nothing is put."""
    if _put:
        return
    for target in TARGETS:
        try:
            stock = upstream.resolve(target).raw
        except LookupError:
            continue

        def load_dataset_cache_file(path: Path) -> Any:
            try:
                return read(path)
            except AttributeError as error:
                upstream.log(f"yolo-nanfix: {path} is not used: {error}; its labels are scanned again")
                raise

        for module, name in list(upstream.holders(stock, "load_dataset_cache_file")):
            setattr(module, name, load_dataset_cache_file)
            _put.append((module, name, stock))
        return


def take_back() -> None:
    """Let Ultralytics read them as it does."""
    while _put:
        module, name, stock = _put.pop()
        setattr(module, name, stock)


def on() -> bool:
    """Whether caches are read so."""
    return bool(_put)


@contextmanager
def as_values() -> Iterator[None]:
    """For the length of a `with` block, in this process and in those that it starts under the same patches."""
    if on():
        yield
        return
    put()
    try:
        yield
    finally:
        take_back()
