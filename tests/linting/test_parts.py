"""Parts, processes and memory: each way of reading gives the same report, and what is unchanged stays unread."""

from __future__ import annotations

import gc
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from linting.tiny_set import ROWS, YAML, TinySet, encode, picture

from yolo_nanfix.dataset import label_parser, scanning
from yolo_nanfix.dataset.config import read_config
from yolo_nanfix.dataset.label_parser import LabelReader
from yolo_nanfix.dataset.labels import Labels
from yolo_nanfix.dataset.options import LintOptions
from yolo_nanfix.errors import DataError
from yolo_nanfix.findings import Report
from yolo_nanfix.linting import cache as store
from yolo_nanfix.linting import pipeline, pool
from yolo_nanfix.linting.runner import run

ODD = ("nan", "inf", "1e400", "1.2.3", "abc", "-0.5", "1e-3", "+0.5", ".5", "5.", "1_0", "1-2", "--1", "e5", "\u0660")


@pytest.fixture(autouse=True)
def memory(tmp_path_factory, monkeypatch):
    """A memory of the test's own."""
    monkeypatch.setenv(store.ENVIRONMENT, str(tmp_path_factory.mktemp("memory")))


def many(root: Path, count: int = 12) -> TinySet:
    """A set with a few images of each kind of trouble."""
    tiny = TinySet(root)
    for i in range(count):
        tiny.put(f"images/train/{i:02d}.jpg", encode(".jpg", picture()) if i % 5 else b"no image")
        tiny.put(f"labels/train/{i:02d}.txt", ROWS if i % 3 else "0 0.5 0.5 0 0.2\n7 0.5 0.5 0.1 0.1\n")
    return tiny


def same(one: Report, other: Report) -> bool:
    return one.as_dict() == other.as_dict()


def in_place(path: Path, content: bytes) -> None:
    """Change a file as who unpacks an archive may: same size, same time, same place on the disk."""
    stamp = path.stat()
    assert len(content) == stamp.st_size
    with path.open("r+b") as stream:
        stream.write(content)
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))


_opened: list[str] | None = None


def _note(event: str, args: tuple[object, ...]) -> None:
    if event == "open" and _opened is not None and isinstance(args[0], (str, bytes)):
        _opened.append(os.fsdecode(args[0]))


sys.addaudithook(_note)


def opened(act: Callable[[], object], root: Path) -> set[str]:
    """The stems of the label files that are opened meanwhile, in this process."""
    global _opened
    _opened = []
    try:
        act()
        return {Path(p).stem for p in _opened if p.startswith(f"{root}{os.sep}labels") and p.endswith(".txt")}
    finally:
        _opened = None


def test_parts_and_processes_change_nothing(tmp_path, monkeypatch):
    tiny = many(tmp_path / "set")
    whole = run(tiny.root, jobs=1, cache=False)
    assert len(whole.findings) > 8
    monkeypatch.setattr(pool, "PART", 3)
    assert same(run(tiny.root, jobs=1, cache=False), whole)
    assert same(run(tiny.root, jobs=2, cache=False), whole)


def test_a_file_that_kills_the_process_costs_that_file_alone(tmp_path, monkeypatch):
    tiny = many(tmp_path / "set")
    dies = "p.read_part=lambda part, c: os._exit(9) if any('07.jpg' in f for f in part.files) else real(part, c); "
    code = pool._START.replace("import serve;", f"import serve; import os; import {pool.__name__} as p; ")
    monkeypatch.setattr(pool, "_START", code.replace("serve()", f"real = p.read_part; {dies}serve()"))
    monkeypatch.setattr(pool, "PART", 4)
    report = run(tiny.root, jobs=2, cache=False)
    (killed,) = [f for f in report.findings if "ended with 9" in f.message]
    assert killed.code == pool.CRASHED and killed.place.file.endswith("07.jpg")
    healthy = run(tiny.root, jobs=1, cache=False)
    assert {f for f in healthy.findings if "07" not in f.place.file} <= set(report.findings)


def test_a_fault_of_our_own_in_a_process_is_shown(tmp_path, monkeypatch):
    tiny = many(tmp_path / "set")
    code = pool._START.replace("import serve;", f"import serve; import {pool.__name__} as p; ")
    monkeypatch.setattr(pool, "_START", code.replace("serve()", "p.read_part = lambda part, c: 1 / 0; serve()"))
    monkeypatch.setattr(pool, "PART", 4)
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        run(tiny.root, jobs=2, cache=False)


def test_what_has_not_changed_is_not_read_again(tmp_path):
    tiny = many(tmp_path / "set")
    assert len(opened(lambda: run(tiny.root, jobs=1), tiny.root)) == 14
    first = run(tiny.root, cache=False)
    assert opened(lambda: run(tiny.root, jobs=1), tiny.root) == set() and same(run(tiny.root), first)


def test_one_changed_file_alone_is_read(tmp_path):
    tiny = many(tmp_path / "set")
    first = run(tiny.root)
    tiny.put("labels/train/02.txt", "0 0.5 0.5 0.2 3\n")
    assert opened(lambda: run(tiny.root, jobs=1), tiny.root) == {"02"}
    second = run(tiny.root)
    new = set(second.findings) - set(first.findings)
    assert {Path(f.place.file).stem for f in new} == {"02"}
    assert same(run(tiny.root), second)


@pytest.mark.parametrize("name", ["labels/train/01.txt", "images/train/01.jpg"])
def test_a_changed_file_is_found_though_size_and_time_are_the_same(tmp_path, name: str):
    tiny = many(tmp_path / "set")
    first = run(tiny.root)
    content = (tiny.root / name).read_bytes()
    in_place(tiny.root / name, content.replace(b"0.5 0.5", b"5.5 5.5") if name.endswith("txt") else b"x" * len(content))
    second = run(tiny.root)
    assert same(second, run(tiny.root, cache=False)) and not same(second, first)


@pytest.mark.parametrize(
    "change",
    ["image gone", "image new", "label gone", "label new", "npy new", "link broken", "hidden folder", "hidden image"],
)
def test_after_any_change_the_report_is_that_of_a_first_run(change, tmp_path):
    tiny = many(tmp_path / "set")
    tiny.drop("labels/train/04.txt")
    (tiny.root / "images/train/ln.jpg").symlink_to(tiny.root / "images/train/01.jpg")
    (tiny.root / "images/train/.empty").mkdir()
    run(tiny.root)
    if change == "image gone":
        tiny.drop("images/train/07.jpg")
    if change == "image new":
        tiny.put("images/train/00000.jpg", b"")
    if change == "label gone":
        tiny.drop("labels/train/08.txt")
    if change == "label new":
        tiny.put("labels/train/04.txt", "9 9 9 9 9\n")
    if change == "npy new":
        np.save(tiny.root / "images/train/02.npy", picture(20, 20))
    if change == "link broken":
        (tiny.root / "images/train/ln.jpg").unlink()
        (tiny.root / "images/train/ln.jpg").symlink_to(tiny.root / "nowhere.jpg")
    if change == "hidden folder":
        tiny.put("images/train/.extra/a.jpg", encode(".jpg", picture()))
    if change == "hidden image":
        tiny.put("images/train/.empty/a.jpg", encode(".jpg", picture()))
    assert same(run(tiny.root), run(tiny.root, cache=False))


def test_another_data_yaml_task_or_depth_is_another_memory(tmp_path):
    tiny = many(tmp_path / "set")
    run(tiny.root)
    assert run(tiny.root, options=LintOptions("segment")).by_code() != run(tiny.root).by_code()
    tiny.yaml(YAML.replace("[cat, dog]", "[a, b, c, d, e, f, g, h]"))
    assert same(run(tiny.root), run(tiny.root, cache=False))


def test_a_list_beside_its_images_is_looked_at_anew(tmp_path):
    tiny = many(tmp_path / "set")
    tiny.put("images/train/list.txt", "\n./01.jpg\n./02.jpg\n")
    tiny.yaml(YAML.replace("train: images/train", "train: images/train/list.txt"))
    first = run(tiny.root)
    tiny.put("labels/train/01.txt", "0 0.5 0.5 0.2 3\n")
    assert same(run(tiny.root), run(tiny.root, cache=False)) and not same(run(tiny.root), first)


def test_rows_of_many_changed_files_are_woven_in(tmp_path, monkeypatch):
    monkeypatch.setattr(pool, "PART", 3)
    tiny = many(tmp_path / "set", 30)
    run(tiny.root)
    for i in (0, 1, 7, 8, 15, 28, 29):
        tiny.put(f"labels/train/{i:02d}.txt", "0 0.5 0.5 0.2 3\n" * (i % 3))
    tiny.drop("labels/train/20.txt")
    assert same(run(tiny.root), run(tiny.root, cache=False))
    tables = []
    for cache in (True, False):
        run(tiny.root, cache=cache, study=tables.append)
    for name in ("row_image", "row_line", "row_cls", "row_box", "lines", "content"):
        np.testing.assert_array_equal(*(getattr(table, name) for table in tables), err_msg=name)


@pytest.mark.parametrize("content", [b"", b"torn", "half", "shorter", "of another kind", b"\xff" * 400, b"[1]"])
def test_a_broken_memory_is_as_good_as_none(content, tmp_path):
    tiny = many(tmp_path / "set")
    first = run(tiny.root)
    kept = {file: file.read_bytes() for file in store.folder().iterdir()}
    assert {file.suffix for file in kept} == {store.COLUMNS, store.LATEST}
    for file, whole in kept.items():
        broken = {
            "half": whole[: len(whole) // 2],
            "shorter": whole[:-1],
            "of another kind": whole.replace(b"I32", b"C32").replace(b"tree", b"free"),
        }
        file.write_bytes(broken[content] if isinstance(content, str) else content)
    assert same(run(tiny.root), first)
    assert {file: file.read_bytes() for file in store.folder().iterdir()} == kept


def loaded(root: Path, heavy: tuple[str, ...]) -> tuple[int, set[str]]:
    """How much a lint in a process of its own finds, and what of these packages it loads."""
    code = f"""
import json, sys
from yolo_nanfix.linting.runner import run
count = len(run({str(root)!r}).findings)
print(json.dumps([count, *({set(heavy)!r} & {{module.partition(".")[0] for module in sys.modules}})]))
"""
    count, *found = json.loads(subprocess.check_output([sys.executable, "-c", code], text=True))
    return count, set(found)


def test_a_second_lint_loads_what_it_needs(tmp_path):
    tiny = many(tmp_path / "set")
    first = run(tiny.root)
    heavy = ("PIL", "cv2", "numpy", "polars", "simplejpeg")
    assert loaded(tiny.root, heavy) == (len(first.findings), set())
    tiny.put("labels/train/01.txt", ROWS)
    assert loaded(tiny.root, heavy) == (len(first.findings), {"numpy"})


def test_garbage_collection_goes_on_after_a_lint(tmp_path):
    tiny = many(tmp_path / "set")
    seen = []
    run(tiny.root, progress=lambda *_: seen.append(gc.isenabled()))
    assert gc.isenabled() and not any(seen)
    tiny.yaml(YAML.replace("val: images/val", "val: empty"))
    (tiny.root / "empty").mkdir()
    with pytest.raises(DataError):
        run(tiny.root)
    assert gc.isenabled()


@pytest.mark.parametrize("findings", [None, [1], [["ZZ999", "info", "drops", ["a", None, None], "m"]], [["BX004"]]])
def test_findings_that_cannot_be_understood_are_found_anew(findings, tmp_path):
    tiny = many(tmp_path / "set")
    first = run(tiny.root)
    (latest,) = store.folder().glob(f"*{store.LATEST}")
    known = store.load_latest(latest)
    store.write_whole(latest, json.dumps({**known, "findings": findings}).encode())
    assert same(run(tiny.root), first)


def test_the_columns_stay_while_few_files_change(tmp_path, monkeypatch):
    tiny = many(tmp_path / "set")
    run(tiny.root)
    (columns,) = store.folder().glob(f"*{store.COLUMNS}")
    before = columns.read_bytes()
    monkeypatch.setattr(pipeline, "FEW_CHANGED", 0.2)
    for text in ("0 0.5 0.5 0.2 3\n", "0 0.5 0.5 0 0\n"):
        tiny.put("labels/train/02.txt", text)
        assert same(run(tiny.root), run(tiny.root, cache=False)) and columns.read_bytes() == before
    for i in range(6):
        tiny.put(f"labels/train/{i:02d}.txt", "0 0.5 0.5 0.1 0.1\n")
    assert same(run(tiny.root), run(tiny.root, cache=False)) and columns.read_bytes() != before


def test_a_large_folder_is_listed_by_another_process(tmp_path, monkeypatch):
    folder = tmp_path / "x"
    folder.mkdir()
    for name in ("a.txt", "b \n.txt", "\udcff.txt"):
        (folder / name).write_text("0")
    (folder / "lost.txt").symlink_to(folder / "nowhere")
    (folder / "below").mkdir()
    (folder / ".hidden").mkdir()
    found = scanning.scanned(scanning.scan_aside(str(folder)))
    assert found == scanning.scan(str(folder)) and found is not None
    packed, odd, below, hidden, stamps = found
    names = scanning.unpack_names(packed)
    assert sorted(names) == sorted(["a.txt", "b \n.txt", "\udcff.txt", "lost.txt"])
    assert odd == b"lost.txt\0" and [name for name, _ in scanning.unpack_folders(below)] == ["below"]
    assert hidden.endswith(b":.hidden\0") and hidden.count(b"\0") == 1
    at = names.index("a.txt") * scanning.STAMP.size
    there = (folder / "a.txt").stat()
    stamp = (there.st_size, there.st_mtime_ns, there.st_dev, there.st_ino, there.st_ctime_ns)
    assert scanning.STAMP.unpack_from(stamps, at) == stamp
    assert scanning.scanned(scanning.scan_aside(str(tmp_path / "none"))) == (b"",) * 5
    tiny = many(tmp_path / "set")
    first = run(tiny.root, cache=False)
    monkeypatch.setattr(scanning, "LARGE", 0)
    assert same(run(tiny.root, cache=False), first)


def test_a_memory_that_cannot_be_kept_is_no_fault(tmp_path, monkeypatch):
    tiny = many(tmp_path / "set")
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv(store.ENVIRONMENT, str(tmp_path / "file"))
    assert same(run(tiny.root), run(tiny.root, cache=False))


def test_several_runs_at_once_leave_one_whole_memory(tmp_path):
    tiny = many(tmp_path / "set")
    code = f"from yolo_nanfix.linting.runner import run; print(len(run({str(tiny.root)!r}).findings))"
    running = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(3)]
    counts = {process.communicate()[0] for process in running}
    assert counts == {f"{len(run(tiny.root, cache=False).findings)}\n"}
    (kept,) = store.folder().glob(f"*{store.COLUMNS}")
    assert store.load_columns(kept) is not None


def test_old_memories_make_room(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "MOST_FILES", 2)
    for name in ("a", "b", "c"):
        run(TinySet(tmp_path / name).root)
    assert len(list(store.folder().iterdir())) == 4
    config = read_config(tmp_path / "c")
    assert store.place(config, LintOptions("detect")).exists()
    assert store.has_latest(store.place(config, LintOptions()))


def table(texts: list[str], task: str, kpt: tuple[int, int] | None, folder: Path) -> tuple[Labels, Labels]:
    """The same files by the fast way and one by one."""
    paths = [folder / f"{i}.txt" for i in range(len(texts))]
    for path, text in zip(paths, texts, strict=True):
        path.write_text(text, newline="", encoding="utf-8")
    names, numbers = [str(path) for path in paths], list(range(len(paths)))
    careful = LabelReader(task, kpt)
    for name, number in zip(names, numbers, strict=True):
        careful.read(name, number)
    return label_parser.read_labels(names, numbers, task, kpt), careful.finish()


@pytest.mark.parametrize(("task", "kpt", "width"), [("detect", None, 5), ("obb", None, 9), ("pose", (2, 3), 11)])
@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_label_files_read_at_once_are_as_read_one_by_one(task, kpt, width, seed, tmp_path_factory):
    rng = random.Random(seed)

    def row() -> str:
        columns = rng.choice([width] * 40 + [width - 1, width + 1, 5, 7])
        numbers = [rng.choice([f"{rng.random():.6f}"] * 60 + list(ODD)) for _ in range(columns - 1)]
        return rng.choice([" "] * 60 + ["\t", "  "]).join([str(rng.randrange(3)), *numbers])

    def text() -> str:
        end = rng.choice(["\n"] * 20 + ["\r\n"])
        return end.join(row() for _ in range(rng.randrange(5))) + rng.choice(["", "\n", "\n\n", " \n"])

    folder = tmp_path_factory.mktemp("labels")
    fast, careful = table([text() for _ in range(80)], task, kpt, folder)
    shutil.rmtree(folder)
    assert fast.paths == careful.paths
    assert sorted(fast.bad, key=repr) == sorted(careful.bad, key=repr)
    whole = np.isfinite(careful.extra)  # a hash of NaN is a number of its own
    for name in (
        "image",
        "rows",
        "polygons",
        "file",
        "line",
        "cls",
        "box",
        "columns",
        "extra",
        "points",
        "visible",
        "first",
    ):
        np.testing.assert_array_equal(getattr(fast, name), getattr(careful, name), err_msg=name)
        assert getattr(fast, name).dtype == getattr(careful, name).dtype
    np.testing.assert_array_equal(fast.shape[whole], careful.shape[whole])
