"""Reads Ultralytics' label caches (`labels/train.cache`) without executing code from them.

Such a cache is a pickle inside the dataset, and Ultralytics loads it when training starts: a dataset from somebody else
could run code. Ultralytics writes arrays, numbers and text, which are read here with the same values. A cache that
names anything else counts as unreadable, so that Ultralytics scans the labels and writes a new one. This has no card:
training under yolo-nanfix always does it.
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
"""Where the function is, in newer and in older releases; the oldest have none."""
NUMPY = frozenset(
    f"{package}.multiarray.{name}" for package in ("numpy.core", "numpy._core") for name in ("_reconstruct", "scalar")
) | {"numpy.ndarray"}
PATHS = frozenset(
    f"{module}.{name}"
    for module in ("pathlib", "pathlib._local")
    for name in ("Path", "PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath")
)
"""What a cache may name besides `numpy.dtype`; these only hold values."""
ARRAY_KINDS = "biufcUSO"
"""The `dtype.kind` that its arrays may have."""
READ_FLAGS = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
_swaps: list[AbstractContextManager[None]] = []


class _Values(pickle.Unpickler):
    """Loads arrays, numbers and text, and nothing else.

    A pickle may set attributes of what it names, so it gets no class or function whose attributes Python code can set.
    """

    def find_class(self, module: str, name: str) -> Any:
        """The class or function that a pickle names, if it is allowed.

        Raises:
            AttributeError: it is not; every release of Ultralytics then writes a new cache.
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
    """A new dtype of numbers, text or objects, and no structured one; a pickle sets its byte order afterwards."""
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
    gc.disable()  # as Ultralytics does: a third of the time
    try:
        with open(path, "rb", opener=lambda name, flags: os.open(name, READ_FLAGS)) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise AttributeError("it is no file")
            _skip_npy_header(file)
            return _Values(file).load().item()
    except OSError:
        raise
    except Exception as error:  # damage may make the unpickler and the arrays raise anything
        raise AttributeError(str(error) or type(error).__name__) from error
    finally:
        if collecting:
            gc.enable()


def _skip_npy_header(file: BinaryIO) -> None:
    """Read past the header of a `.npy` file."""
    major, _ = np.lib.format.read_magic(file)
    header = np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
    shape, _, dtype = header(file)
    if shape or not dtype.hasobject:
        raise ValueError("it is no cache of labels")


def load_dataset_cache_file(path: Path) -> Any:
    """Replaces Ultralytics' function of this name; raises as `read_cache` does."""
    try:
        return read_cache(path)
    except AttributeError as error:
        upstream.log(f"yolo-nanfix: {path} is not used: {error}; its labels are scanned again")
        raise


def read_as_values() -> None:
    """Let Ultralytics read its caches with `read_cache` until `take_back`; releases without the function stay stock."""
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
    """Whether Ultralytics reads its caches with `read_cache` now."""
    return bool(_swaps)


@contextmanager
def as_values() -> Iterator[None]:
    """`read_as_values` for a `with` block, in this process and in those that it starts with the same patches."""
    if on():
        yield
        return
    read_as_values()
    try:
        yield
    finally:
        take_back()
