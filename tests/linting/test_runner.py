"""A whole run: order, counts, no writes, no heavy imports, whatever the files hold."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from linting.tiny_set import YAML, TinySet

from yolo_nanfix.dataset.options import LintOptions
from yolo_nanfix.errors import DataError, UsageError
from yolo_nanfix.findings import Severity, Skip
from yolo_nanfix.linting.registry import LABELLED
from yolo_nanfix.linting.runner import run

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="no shared sample data beside this checkout")


def test_findings_are_sorted_and_counted(tmp_path: Path):
    tiny = TinySet(tmp_path)
    tiny.yaml(YAML.replace("dog", "dog, cow"))
    tiny.put("labels/val/b.txt", "0 0.5 0.5 0 0.2\n")
    tiny.rows("1 0.5 0.5 0.2 0.2\n0 0.5 0.5 0.2 0.2\n1 0.5 0.5 0 0.2\n0 0.5 0.5 0 0.2\n")
    report = run(tiny.root)
    places = [(f.split, f.place.line, f.code) for f in report.findings]
    assert places == [
        (None, 3, "CL004"),
        ("train", 2, "BX009"),
        ("train", 3, "BX004"),
        ("train", 4, "BX004"),
        ("train", 4, "BX009"),
        ("val", 1, "BX004"),
    ]
    assert report.by_code() == {"BX004": 3, "BX009": 2, "CL004": 1}
    assert report.counts == {
        "train": {"images": 1, "labels": 1, "rows": 4, "kept": 1, "dropped": 0, "background": 0, "rewritten": 0},
        "val": {"images": 1, "labels": 1, "rows": 1, "kept": 1, "dropped": 0, "background": 0, "rewritten": 0},
    }
    assert (report.exit_code, report.worst.value, report.task) == (1, "error", "detect")


def test_info_alone_exits_clean(tmp_path: Path):
    tiny = TinySet(tmp_path)
    tiny.yaml(YAML.replace("dog", "dog, cow"))
    report = run(tiny.root)
    assert report.by_code() == {"CL004": 1} and report.exit_code == 0


def test_rules_that_do_not_apply_are_skipped_with_a_reason(tmp_path: Path):
    tiny = TinySet(tmp_path)
    tiny.yaml(YAML + "kpt_shape: [2, 3]\n")
    skipped = dict(run(tiny.root, options=LintOptions("pose")).skipped)
    assert skipped["SG003"] is Skip.OTHER_TASK and "CL003" not in skipped


def test_an_unknown_task_is_refused(tmp_path: Path):
    with pytest.raises(UsageError, match="classify"):
        run(TinySet(tmp_path).root, options=LintOptions("depth"))


def test_progress_is_called_to_the_end(tmp_path: Path):
    calls: list[tuple[int, int, str]] = []
    run(TinySet(tmp_path).root, progress=lambda *call: calls.append(call))
    assert calls == [(0, 2, "images"), (2, 2, "images")]


def test_an_interruption_goes_through(tmp_path: Path):
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(TinySet(tmp_path).root, progress=interrupt)


@pytest.mark.parametrize("task", LABELLED)
def test_nothing_is_written(tmp_path: Path, task: str):
    tiny = TinySet(tmp_path)
    tiny.image(".jpg", (tmp_path / "images/val/b.jpg").read_bytes() + b"\0")
    before = tiny.state()
    run(tiny.root, options=LintOptions(task))
    assert tiny.state() == before


def test_neither_torch_nor_ultralytics_is_imported(tmp_path: Path):
    TinySet(tmp_path)
    code = (
        "import sys, yolo_nanfix.linting.runner as r; r.run(sys.argv[1]);"
        "print([m for m in sys.modules if m.split('.')[0] in ('torch', 'ultralytics')])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


_tokens = st.sampled_from(
    [
        "0",
        "1",
        "-1",
        "0.5",
        "1.5",
        "nan",
        "inf",
        "1e400",
        "1e39",
        "-0.0",
        "x",
        "#",
        ",",
        "1_0",
        "\u0661",
        "\u2028",
        "\x1c",
    ]
)
_texts = st.lists(st.lists(_tokens, max_size=12).map(" ".join), max_size=8).map(lambda r: "\n".join(r).encode())


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.one_of(st.binary(max_size=200), _texts), task=st.sampled_from(LABELLED))
def test_no_label_bytes_break_it(tmp_path: Path, content: bytes, task: str):
    tiny = TinySet(tmp_path)
    tiny.yaml(YAML + "kpt_shape: [2, 2]\n")
    tiny.rows(content)
    before = tiny.state()
    run(tiny.root, options=LintOptions(task))
    assert tiny.state() == before


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=_texts)
def test_an_image_is_dropped_exactly_when_a_rule_says_so(tmp_path: Path, content: bytes):
    import warnings

    from ultralytics.data.utils import verify_image_label

    tiny = TinySet(tmp_path)
    tiny.rows(content)
    image, label = tmp_path / "images/train/a.jpg", tmp_path / "labels/train/a.txt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kept = verify_image_label((str(image), str(label), "", False, 2, 0, 0, False))[0]
    said = [f for f in run(tiny.root).findings if f.effect.value == "drops" and f.split == "train"]
    assert (kept is None) == bool(said), said


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.binary(max_size=300),
    suffix=st.sampled_from(["jpg", "png", "tif", "webp", "bmp", "npy", "yaml"]),
)
def test_no_file_bytes_break_it(tmp_path: Path, content: bytes, suffix: str):
    tiny = TinySet(tmp_path / suffix)
    heads = {"png": b"\x89PNG\r\n\x1a\n", "jpg": b"\xff\xd8\xff", "tif": b"II*\0", "npy": b"\x93NUMPY\1\0"}
    content = heads.get(suffix, b"") + content
    if suffix == "yaml":
        tiny.put("data.yaml", content)
    elif suffix == "npy":
        tiny.put("images/train/a.npy", content)
    else:
        tiny.image(f".{suffix}", content)
    try:
        run(tiny.root)
    except DataError as error:
        assert suffix == "yaml" and "data.yaml" in str(error)


@pytest.mark.shared
@needs_shared
def test_bccd_has_two_boxes_without_sides():
    report = run(SHARED / "bccd")
    found = [(f.code, Path(f.place.file).stem) for f in report.findings if f.severity is not Severity.INFO]
    assert found == [("BX004", "BloodImage_00343"), ("BX004", "BloodImage_00338")]
    assert report.by_code() == {"BX004": 2, "BX019": 3, "BX020": 1}


@pytest.mark.shared
@needs_shared
def test_multispectral_nan_names_the_corner():
    report = run(SHARED / "multispectral_nan")
    (finding,) = [f for f in report.findings if f.split == "train"]
    assert (finding.code, finding.place.pixel) == ("IM011", (0, 0, 0))
    assert finding.values["count"] == 2400 and finding.place.file.endswith("BloodImage_00005.tiff")
    assert finding.image in report.fatal_images()


@pytest.mark.shared
@needs_shared
def test_paths_of_another_machine():
    report = run(SHARED / "cells_dense_clean")
    (fatal,) = (f for f in report.findings if f.severity is Severity.FATAL)
    assert fatal.code == "CF028"
    assert fatal.values["found"] == ("train: train/images", "val: valid/images", "test: test/images")
    assert {split: counts["images"] for split, counts in report.counts.items()} == {"train": 32, "val": 3, "test": 3}


@pytest.mark.shared
@needs_shared
def test_odd_images_never_abort(tmp_path: Path):
    (tmp_path / "data.yaml").write_text(f"path: {SHARED / 'odd_images'}\ntrain: .\nval: .\nnames: [a]\n")
    codes = run(tmp_path).by_code()
    assert {"IM001", "IM003", "IM005", "IM009", "IM017"} <= set(codes)
