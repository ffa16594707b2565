"""Label caches that come with a dataset are read as data; whole ones give the very values that stock reads."""

from __future__ import annotations

import codecs
import io
import os
import pickle
import warnings
from pathlib import Path

import lab
import numpy as np
import pytest
from make_datasets import make_dataset
from markers import Marker

import yolo_nanfix
from yolo_nanfix import switching, training
from yolo_nanfix.patching import children, label_caches

pytestmark = pytest.mark.usefixtures("unpatched")


def as_cache(value, file):
    with open(file, "wb") as stream:
        np.save(stream, np.array(value, dtype=object))


@pytest.fixture
def data(tmp_path):
    return make_dataset(tmp_path / "data", n_train=4, n_val=2, size=(64, 64), seed=3)


def same(a, b):
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and np.array_equal(a, b)


def test_a_cache_of_ultralytics_own_has_the_same_values(data, tmp_path):
    lab.train(data, tmp_path / "run", epochs=1)
    (cache,) = (Path(data).parent / "labels").glob("train.cache")
    stock = np.load(str(cache), allow_pickle=True).item()
    assert stock["labels"] and same(label_caches.read_cache(cache), stock)


def test_a_cache_that_names_code_is_scanned_anew_and_nothing_runs(data, tmp_path):
    from ultralytics import YOLO
    from ultralytics.data import utils

    stock = utils.load_dataset_cache_file
    marker, cache = tmp_path / "marker", Path(data).parent / "labels" / "train.cache"
    as_cache({"labels": Marker(marker)}, cache)
    assert pickle.loads(pickle.dumps(Marker(tmp_path / "other"))) is None  # noqa: S301 - the marker works
    assert (tmp_path / "other").exists()
    arguments = {"epochs": 1, "imgsz": 64, "workers": 0, "device": "cpu", "plots": False, "project": str(tmp_path)}
    with yolo_nanfix.patched("torchvision-operators-missing", guard=False), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        training.start(YOLO(lab.TINY), {**arguments, "data": str(data)})
    assert not marker.exists() and utils.load_dataset_cache_file is stock
    assert len(label_caches.read_cache(cache)["labels"]) == 4  # written anew


def test_what_is_no_cache_is_refused(tmp_path):
    file = tmp_path / "a.cache"
    as_cache({"version": "1", "when": Path("a")}, file)
    whole = file.read_bytes()
    assert label_caches.read_cache(file) == {"version": "1", "when": Path("a")}
    for content in (b"", b"x" * 100, whole[:-5], whole[:60], whole.replace(b"pathlib", b"os.path")):
        file.write_bytes(content)
        with pytest.raises(AttributeError):
            label_caches.read_cache(file)
    np.save(tmp_path / "b.npy", np.zeros(3))
    with pytest.raises(AttributeError):
        label_caches.read_cache(tmp_path / "b.npy")
    with pytest.raises(FileNotFoundError):
        label_caches.read_cache(tmp_path / "missing")


class Calls:
    """Pickled as a call, and then as a change of what was made or named."""

    def __init__(self, *reduced):
        self.reduced = reduced

    def __reduce_ex__(self, protocol):
        return self.reduced


def test_what_a_pickle_names_cannot_be_changed_or_made_huge(tmp_path):
    file, usual = tmp_path / "a.cache", Path.exists

    def named(module, name):  # a class itself, to be changed
        return f"c{module}\n{name}\n".encode()

    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "|O", "fortran_order": False, "shape": ()})
    change = b"\x80\x02" + named("pathlib", "PosixPath") + b"(N}X\x06\x00\x00\x00existsI7\nstb."
    file.write_bytes(head.getvalue() + change)
    with pytest.raises(AttributeError):
        label_caches.read_cache(file)
    assert Path.exists is usual and Path(tmp_path).exists()
    for made in ((bytearray, (1 << 40,)), (codecs.encode, ("a", "hex")), (np.dtype, ("V8",)), (np.dtype, ("f4,O",))):
        as_cache({"labels": Calls(*made)}, file)
        with pytest.raises(AttributeError):
            label_caches.read_cache(file)
    swapped = np.arange(3, dtype=">f4")
    as_cache({"labels": [swapped, np.array(["ab"]), np.float32(2)]}, file)
    assert same(label_caches.read_cache(file), np.load(str(file), allow_pickle=True).item())
    assert np.dtype("f4").isnative


def test_a_pipe_in_the_place_of_a_cache_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.cache")
    with pytest.raises(AttributeError, match="no file"):
        label_caches.read_cache(tmp_path / "a.cache")


def test_processes_that_a_training_starts_read_them_so_too():
    from ultralytics.data import utils

    stock = utils.load_dataset_cache_file
    with label_caches.as_values():
        state = children.state()
    assert utils.load_dataset_cache_file is stock and not label_caches.on()
    try:
        switching.restore(state)
        assert label_caches.on() and utils.load_dataset_cache_file is not stock
    finally:
        label_caches.take_back()
        yolo_nanfix.unpatch()
    assert utils.load_dataset_cache_file is stock
