"""Files that are too large to be read are findings of their own; what is left is read as before, in bounded memory."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from linting.tiny_set import YAML, TinySet

from yolo_nanfix.dataset import bounded, label_parser
from yolo_nanfix.dataset.bounded import check_lines
from yolo_nanfix.dataset.label_parser import read_labels
from yolo_nanfix.errors import DataError, LabelsTooLarge, UsageError
from yolo_nanfix.linting.runner import run

TEXTS = [
    "0 0.5 0.5 0.2 0.2\n1 0.1 0.1 0.1 0.1\n",
    "\n0 0.1 0.1 0.5 0.1 0.3 0.4\n\n0 0.5 0.5 0.2 0.2\n# no\n0 x\n",
    "0 0.1 0.1 0.5 0.1 0.3 nan\r\n0 0_1 0.1 0.5 0.1 0.3 0.4 0.9\r\n0,1 2 3\n",
    "0 0.5 0.5 0.4 0.4 0.4 0.4 2 0.6 0.6 2\n0 0.5 0.5 0.4 0.4 inf 0.4 2 0.6 0.6 2\n0 0.5 0.5 0.4 0.4 0.4\n",
    "",
]


@pytest.mark.parametrize("task", ["detect", "segment", "pose", "obb"])
def test_large_files_are_read_as_small_ones(task: str, tmp_path: Path, monkeypatch):
    paths = [tmp_path / f"{i}.txt" for i in range(len(TEXTS))]
    for path, text in zip(paths, TEXTS, strict=True):
        path.write_text(text)
    asked = (list(map(str, paths)), range(len(paths)), task, (2, 3) if task == "pose" else None)
    small = read_labels(*asked)
    monkeypatch.setattr(label_parser, "PACKED_FROM", -1)
    large = read_labels(*asked)
    for field in dataclasses.fields(small):
        one, other = getattr(small, field.name), getattr(large, field.name)
        assert np.array_equal(one, other, equal_nan=True) if isinstance(one, np.ndarray) else one == other


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n", "\v", "\f", "\x1c", "\x1e", "\x85", "\u2028"])
def test_lines_are_counted_as_python_splits_them(end: str, monkeypatch):
    monkeypatch.setattr(bounded, "LABEL_ROWS", 3)
    monkeypatch.setattr(bounded, "LINE_BYTES", 8)
    for text in (f"a{end}b{end}c", f"a{end}b{end}c{end}", f"{end}12345678{end}", "12345678"):
        assert len(text.splitlines()) <= 3
        check_lines(text.encode())
    with pytest.raises(LabelsTooLarge) as many:
        check_lines(f"a{end}b{end}c{end}d".encode())
    assert many.value.args == ("many", 4, 4, None)
    with pytest.raises(LabelsTooLarge) as long:
        check_lines(f"a{end}123456789{end}".encode())
    assert long.value.args == ("long", 9, 2, 2)


@pytest.mark.parametrize("part", [1, 2, 3, 1 << 20])
def test_numbers_are_counted_as_python_splits_them(part: int, monkeypatch):
    monkeypatch.setattr(bounded, "NUMBERS", 6)
    monkeypatch.setattr(bounded, "LABEL_ROWS", 5)
    monkeypatch.setattr(bounded, "_PART", part)
    check_lines(b" 0 .1\t\t.2  \n0 .1   .2\n")
    with pytest.raises(LabelsTooLarge) as many:
        check_lines(b"0 .1\t\t.2  \n0 .1   .2\n0")
    assert many.value.args == ("numbers", 7, 3, None)


def test_a_file_among_many_is_left_out_alone(tmp_path: Path, monkeypatch):
    """The fast reader of many files and the careful one of few agree."""
    monkeypatch.setattr(bounded, "LABEL_ROWS", 50)
    monkeypatch.setattr("yolo_nanfix.dataset.label_parser.LABEL_ROWS", 50)
    paths = [tmp_path / f"{i}.txt" for i in range(70)]
    for path in paths:
        path.write_text("0 0.5 0.5 0.2 0.2\n" * 50)
    paths[7].write_text("0 0.5 0.5 0.2 0.2\n" * 51)
    sizes = [path.stat().st_size for path in paths]
    labels = read_labels(list(map(str, paths)), range(70), "detect", None, sizes)
    assert [(bad.file, bad.kind, bad.number) for bad in labels.bad] == [(7, "many", 51)]
    assert len(labels.cls) == 69 * 50 and labels.rows[7] == 51


def test_a_list_of_too_many_lines_is_a_finding(tmp_path: Path, monkeypatch):
    tiny = TinySet(tmp_path)
    tiny.put("train.txt", "./images/train/a.jpg\n" * 4)
    tiny.yaml(YAML.replace("images/train", "train.txt"))
    for name, most in (("LISTED", 3), ("LIST_BYTES", 50)):
        assert "FS062" not in run(tiny.root, cache=False).by_code()
        with monkeypatch.context() as patch:
            patch.setattr(bounded, "LISTED", 3)
            patch.setattr(bounded, name, most)
            (finding,) = [f for f in run(tiny.root, cache=False).findings if f.code == "FS062"]
        assert finding.place.file == str(tmp_path / "train.txt")


@pytest.mark.parametrize("name", ["data.yaml", "train.txt", "images/train/a.jpg", "labels/train/a.txt"])
@pytest.mark.parametrize("kind", ["pipe", "device", "system"])
def test_devices_and_pipes_are_refused_and_never_waited_for(name: str, kind: str, tmp_path: Path):
    tiny = TinySet(tmp_path)
    if name == "train.txt":
        tiny.yaml(YAML.replace("images/train", "train.txt"))
    place = tmp_path / name
    place.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(place)
    else:
        place.symlink_to("/dev/zero" if kind == "device" else "/proc/self/environ")
    if name in ("data.yaml", "train.txt"):
        with pytest.raises(DataError, match=r"not opened|cannot be used"):
            run(tmp_path / "data.yaml")
        return
    report = run(tiny.root, cache=False)
    assert report.exit_code == 1
    assert not any("environ" not in f.place.file and "=" in f.message for f in report.findings)


@pytest.mark.parametrize("name", ["set.json", "set.ndjson", "set.xml"])
def test_annotations_in_a_pipe_are_not_waited_for(name: str, tmp_path: Path):
    os.mkfifo(tmp_path / name)
    with pytest.raises(DataError):
        run(tmp_path / name)


def test_a_file_of_the_system_that_would_be_waited_for_is_none(tmp_path: Path):
    tiny = TinySet(tmp_path)
    for name in ("labels/train/a.txt", "labels/val/b.txt"):
        (tmp_path / name).unlink()
        (tmp_path / name).symlink_to("/proc/kmsg")  # a regular file of no bytes, as the system says
    assert run(tiny.root, cache=False).exit_code == 1


LINT = """
import resource, sys, time
from yolo_nanfix.linting.runner import run
codes = [finding.code for finding in run(sys.argv[1], cache=False).findings]
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(int(peak.split()[1]) // 1024, time.process_time(), *sorted(set(codes)))
"""


def test_twenty_megabytes_of_small_rows_take_no_memory(tmp_path: Path):
    """They took 3.2 GB, and minutes."""
    tiny = TinySet(tmp_path)
    tiny.put("labels/train/a.txt", "0 .5 .5 .1 .1\n" * 1_500_000)
    done = subprocess.run([sys.executable, "-c", LINT, str(tmp_path)], capture_output=True, text=True, check=True)
    megabytes, seconds, *codes = done.stdout.split()
    assert "TX031" in codes
    assert int(megabytes) < 250
    assert float(seconds) < 20


def test_annotations_of_more_than_memory_bears_are_refused(tmp_path: Path, monkeypatch):
    coco = tmp_path / "coco.json"
    coco.write_text('{"images": [], "annotations": [{}, {}, {}], "categories": []}' + " " * (2 << 20))
    assert run(coco).by_code().get("AN001", 0) == 0
    monkeypatch.setenv(bounded.ANNOTATIONS, "1")
    with pytest.raises(DataError, match=r"coco\.json: .* of 2 MB, more than the 1 MB .* YOLO_NANFIX_ANNOTATIONS_MB=3"):
        run(coco)
    monkeypatch.setenv(bounded.ANNOTATIONS, "3")
    monkeypatch.setattr("yolo_nanfix.dataset.formats.json_walk.ANNOTATION_ENTRIES", 2)
    (finding,) = [f for f in run(coco).findings if f.code == "AN001"]
    assert "more than 2 entries" in finding.message
    monkeypatch.setenv(bounded.ANNOTATIONS, "much")
    with pytest.raises(UsageError, match="whole number of MB"):
        run(coco)


def test_a_pipe_is_no_annotation_file(tmp_path: Path):
    os.mkfifo(tmp_path / "coco.json")
    with pytest.raises(DataError):
        run(tmp_path / "coco.json")
