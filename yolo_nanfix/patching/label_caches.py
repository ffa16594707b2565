"""Ultralytics' label caches (`labels/train.cache`), read without running what they name.

Such a cache lies in the dataset, is a pickle, and Ultralytics loads it when a training starts; so a dataset from
somebody else could run code. What Ultralytics writes are arrays, numbers and texts, and these are read here, with the
very values. A cache that names anything else counts as unreadable, so that Ultralytics scans the labels and writes its
own. It is no patch with a card: training under yolo-nanfix has it, whatever is patched.
"""

from __future__ import annotations

import gc
import os
import pickle
import stat
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from typing import Any, BinaryIO

import numpy as np

from yolo_nanfix import upstream

READERS = ("ultralytics.data.utils:load_dataset_cache_file", "ultralytics.data.dataset:load_dataset_cache_file")
"""Where the function stands, in newer releases and in older ones; the oldest have none."""
NUMPY = frozenset(
    f"{package}.multiarray.{name}" for package in ("numpy.core", "numpy._core") for name in ("_reconstruct", "scalar")
) | {"numpy.ndarray"}
PATHS = frozenset(
    f"{module}.{name}"
    for module in ("pathlib", "pathlib._local")
    for name in ("Path", "PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath")
)
"""What the values of a cache are made of, beside `numpy.dtype`; none does anything but hold them."""
ARRAY_KINDS = "biufcUSO"
"""Of what kinds the types of its arrays may be."""
READ_FLAGS = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
_swaps: list[AbstractContextManager[None]] = []


class _Values(pickle.Unpickler):
    """Makes arrays, numbers and texts, and nothing else.

    A pickle may set attributes of what it names, so that it gets no class or function that Python code could change.
    """

    def find_class(self, module: str, name: str) -> Any:
        """What a pickle calls, if it is one of those.

        Raises:
            AttributeError: it is not; every release of Ultralytics takes that for a cache to be written anew.
        """
        named = f"{module}.{name}"
        if named in NUMPY:
            return super().find_class(module, name)
        if named == "numpy.dtype":
            return partial(_dtype)
        if named in PATHS:
            return partial(_path, pure="Pure" in name, windows="Windows" in name)
        raise AttributeError(f"it names {named}")


def _dtype(kind: str, align: bool = False, copy: bool = True) -> np.dtype[Any]:
    """A type of numbers, texts or objects: one of its own, for a pickle sets the order of its bytes afterwards.

    Raises:
        ValueError: it is another one, as of records.
    """
    made = np.dtype(str(kind), copy=True)
    if made.kind not in ARRAY_KINDS:
        raise ValueError(f"it holds an array of {made}")
    return made


def _path(*parts: str, pure: bool, windows: bool) -> PurePath:
    if not pure:
        return Path(*parts)
    return PureWindowsPath(*parts) if windows else PurePosixPath(*parts)


def read_cache(path: str | Path) -> Any:
    """The value in a label cache, as `numpy.load(path, allow_pickle=True).item()` gives it.

    Raises:
        AttributeError: it is none, or names what no cache holds.
        OSError: it cannot be read.
    """
    collecting = gc.isenabled()
    gc.disable()  # as Ultralytics does: it takes a third of the time
    try:
        with open(path, "rb", opener=lambda name, flags: os.open(name, READ_FLAGS)) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise AttributeError("it is no file")
            _header(file)
            return _Values(file).load().item()
    except OSError:
        raise
    except Exception as error:  # damage may make the unpickler and the arrays raise anything
        raise AttributeError(str(error) or type(error).__name__) from error
    finally:
        if collecting:
            gc.enable()


def _header(file: BinaryIO) -> None:
    """Read past the header of a `.npy` file.

    Raises:
        ValueError: it is none, or not of one Python object.
    """
    major, _ = np.lib.format.read_magic(file)
    header = np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
    shape, _, dtype = header(file)
    if shape or not dtype.hasobject:
        raise ValueError("it is no cache of labels")


def load_dataset_cache_file(path: Path) -> Any:
    """What stands in the place of Ultralytics' function of this name; raises as `read_cache` does."""
    try:
        return read_cache(path)
    except AttributeError as error:
        upstream.log(f"yolo-nanfix: {path} is not used: {error}; its labels are scanned again")
        raise


def read_as_values() -> None:
    """Let Ultralytics read its caches as values, until `take_back`; releases without the function stay as they are."""
    for target in READERS if not _swaps else ():
        with suppress(LookupError):
            upstream.resolve(target)
            swap = upstream.swapped(target, load_dataset_cache_file)
            swap.__enter__()
            _swaps.append(swap)
            return


def take_back() -> None:
    """Give Ultralytics its own function back."""
    while _swaps:
        _swaps.pop().__exit__(None, None, None)


def on() -> bool:
    """Whether Ultralytics reads its caches as values now."""
    return bool(_swaps)


@contextmanager
def as_values() -> Iterator[None]:
    """For the length of a `with` block, in this process and in those that it starts under the same patches."""
    if on():
        yield
        return
    read_as_values()
    try:
        yield
    finally:
        take_back()
