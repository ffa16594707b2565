"""Which findings a user gets: selection, severities, paths, settings files, baseline, single files."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from linting.tiny_set import TinySet, encode, picture

import yolo_nanfix
from yolo_nanfix.errors import DataError, UsageError
from yolo_nanfix.findings import Effect, Finding, Place, Report, Severity
from yolo_nanfix.linting import request
from yolo_nanfix.linting.registry import all_rules
from yolo_nanfix.linting.selection import KEYS, Selection, read_settings

FAULTY = "0 0.5 0.5 0 0.2\n1 0.3 0.3 0.1 0.2\n0 0.5 0.9 0.2 0.5\n"
"""BX004 (error) on line 1, BX006 (warning) on line 3."""


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch) -> TinySet:
    """A set with two findings, away from the current folder."""
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    tiny = TinySet(tmp_path / "project" / "set")
    tiny.rows(FAULTY)
    return tiny


def found(tiny: TinySet, **more: object) -> list[str]:
    return [f.code for f in yolo_nanfix.lint(tiny.root, **more).findings]


def layer(folder: Path = Path(), **values: object):
    return read_settings({key.replace("_", "-"): value for key, value in values.items()}, "x: ", folder)


def codes(*layers) -> set[str]:
    return set(Selection(layers).codes)


def family(prefix: str) -> set[str]:
    return {rule.code for rule in all_rules() if rule.code.startswith(prefix)}


def test_closest_word_wins_and_ignore_wins_a_tie():
    every = {rule.code for rule in all_rules()}
    assert codes() == codes(layer()) == codes(layer(select=["ALL"])) == every
    assert codes(layer(select=["BX"])) == family("BX")
    assert codes(layer(select=["bx004", "class-negative"])) == {"BX004", "CL002"}
    assert codes(layer(select=["BX"], ignore=["BX00"], extend_select=["BX004"])) == family("BX") - family("BX00") | {
        "BX004"
    }
    assert codes(layer(select=["BX004"], ignore=["box-side-zero"])) == set()
    assert codes(layer(ignore=["ALL"], extend_select=["BX004"])) == {"BX004"}
    assert codes(layer(select=[])) == set()


def test_a_later_layer_with_select_starts_anew_and_without_one_changes():
    file = layer(select=["BX", "CL"], ignore=["BX004"])
    assert codes(file, layer(select=["BX"])) == family("BX")
    assert codes(file, layer(ignore=["CL"])) == family("BX") - {"BX004"}
    assert codes(file, layer(extend_select=["BX004"])) == family("BX") | family("CL")


@pytest.mark.parametrize(
    ("glob", "fits"),
    [
        ("labels/train/a.txt", True),
        ("./labels/train/a.txt", True),
        ("labels", True),
        ("labels/", True),
        ("labels/**", True),
        ("labels/*/a.txt", True),
        ("**/a.txt", True),
        ("a.txt", True),
        ("?.txt", True),
        ("images/train/a.jpg", True),
        ("labels/*.txt", False),
        ("labels/trai", False),
        ("label", False),
        ("labels/train/b.txt", False),
        ("train/a.txt", False),
        ("labels/train/a[.]txt", False),
    ],
)
def test_globs(tiny: TinySet, glob: str, fits: bool):
    (tiny.root / "nanfix.yaml").write_text(f"lint: {{per-path-ignores: {{'{glob}': [BX]}}}}")
    assert found(tiny) == ([] if fits else ["BX004", "BX006"])


def test_globs_of_a_call_start_at_the_current_folder(tiny: TinySet, monkeypatch):
    monkeypatch.chdir(tiny.root.parent)
    assert found(tiny, per_path_ignores={"set/labels/**": ["BX004"]}) == ["BX006"]
    assert found(tiny, per_path_ignores={f"{tiny.root}/labels/**": ["BX004"]}) == ["BX006"]


def test_severity_of_the_closest_word_of_the_last_layer(tiny: TinySet):
    (tiny.root / "nanfix.yaml").write_text("lint: {severity: {BX: info, BX004: warning}}")
    report = yolo_nanfix.lint(tiny.root)
    assert [f.severity.value for f in report.findings] == ["warning", "info"] and report.exit_code == 1
    report = yolo_nanfix.lint(tiny.root, severity={"all": "info"})
    assert report.exit_code == 0 and len(report.findings) == 2


@pytest.mark.parametrize("name", ["pyproject.toml", "nanfix.yaml"])
@pytest.mark.parametrize("where", ["beside", "above", "cwd", "above cwd"])
def test_settings_are_found(tiny: TinySet, tmp_path: Path, name: str, where: str):
    folder = {"beside": tiny.root, "above": tiny.root.parent, "cwd": Path.cwd(), "above cwd": tmp_path}[where]
    text = {"pyproject.toml": "[tool.yolo-nanfix.lint]\nselect = ['BX006']\n", "nanfix.yaml": "lint: {select: [BX006]}"}
    (folder / name).write_text(text[name])
    assert found(tiny) == found(tiny, files=[tiny.root / "labels/train/a.txt"]) == ["BX006"]
    assert found(tiny, settings=False) == ["BX004", "BX006"]
    assert found(tiny, select=["BX004"]) == ["BX004"]


def test_the_nearest_file_with_a_lint_table_counts(tiny: TinySet):
    (tiny.root.parent / "pyproject.toml").write_text("[tool.yolo-nanfix.lint]\nselect = ['BX006']\n")
    (tiny.root / "nanfix.yaml").write_text("rect: stock\n")
    assert found(tiny) == ["BX006"]
    (Path.cwd() / "nanfix.yaml").write_text("lint: {select: [BX004]}")
    assert found(tiny) == ["BX004"], "the user's own wins over what came with the dataset"
    assert found(tiny, trust_dataset_settings=True) == ["BX006"]


def test_all_settings_hold(tiny: TinySet):
    text = "lint: {task: segment, imgsz: 320, deep: true, baseline: known.json, extend-select: [BX]}"
    (tiny.root.parent / "nanfix.yaml").write_text(text)
    (tiny.root.parent / "known.json").write_text('{"version": 1, "datasets": {}}')
    report = yolo_nanfix.lint(tiny.root)
    assert report.task == "segment" and report.deep
    assert yolo_nanfix.lint(tiny.root, task="detect").task == "detect"
    assert request.selection(tiny.root, request.asked({"deep": False}))[0].options.deep is False
    chosen, _ = request.selection(tiny.root)
    assert (chosen.options.deep, chosen.options.imgsz) == (True, 320)
    assert chosen.says("baseline").baseline == tiny.root.parent / "known.json"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("lint: {selec: [BX]}", "nanfix.yaml: lint.selec is not a setting of lint; did you mean 'select'?"),
        ("lint: {select: [BX0044]}", "lint.select: 'BX0044' names no rule; did you mean 'BX004'?"),
        ("lint: {ignore: [box-side-zer]}", "lint.ignore: 'box-side-zer' names no rule; did you mean 'box-side-zero'?"),
        ("lint: {ignore: [zzz]}", "'yolo-nanfix rule --all' lists them"),
        ("lint: {ignore: ['']}", "lint.ignore: '' names no rule"),
        ("lint: {select: BX}", "lint.select must be a list of rule codes, not 'BX'"),
        ("lint: {select: [4]}", "lint.select must be a list of rule codes"),
        ("lint: {severity: {BX004: eror}}", "lint.severity 'BX004': 'eror' is no severity; did you mean 'error'?"),
        ("lint: {severity: {BX999: error}}", "lint.severity: 'BX999' names no rule"),
        ("lint: {severity: [BX004]}", "lint.severity must be a mapping"),
        ("lint: {per-path-ignores: {'a/*': [ZZ]}}", "lint.per-path-ignores 'a/*': 'ZZ' names no rule"),
        ("lint: {task: segmnt}", "lint.task: 'segmnt' is unknown; did you mean 'segment'?"),
        ("lint: {imgsz: 640.5}", "lint.imgsz must be a whole number of pixels"),
        ("lint: {imgsz: true}", "lint.imgsz must be a whole number of pixels"),
        ("lint: {deep: 1}", "lint.deep must be true or false"),
        ("lint: {baseline: [a]}", "lint.baseline must be the path of a file"),
        ("lint: [BX]", "nanfix.yaml: the settings must be a mapping"),
        ("lint: {select: [BX", "nanfix.yaml cannot be read"),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_refused_by_file_and_key(tiny: TinySet, text: str, says: str):
    (tiny.root / "nanfix.yaml").write_text(text)
    with pytest.raises(UsageError) as error:
        found(tiny)
    assert says in str(error.value) and str(tiny.root / "nanfix.yaml") in str(error.value)


def test_a_wrong_setting_in_pyproject(tiny: TinySet):
    (tiny.root / "pyproject.toml").write_text("[tool.yolo-nanfix.lint]\nselec = ['BX']\n")
    with pytest.raises(UsageError, match=r"pyproject.toml \[tool.yolo-nanfix.lint\]: selec is not a setting of lint"):
        found(tiny)


def test_every_key_is_read():
    """A key that `KEYS` names and nothing reads would be accepted and do nothing."""
    given = {"task": "pose", "imgsz": 1, "deep": True, "baseline": "b", "root": ".", "severity": {"BX": "info"},
             "per-path-ignores": {"a": ["BX"]}}  # fmt: skip
    for key in KEYS:
        assert vars(read_settings({key: given.get(key, ["BX"])}, "", Path())) != vars(read_settings({}, "", Path())), (
            key
        )


# Baseline


def test_only_new_findings_are_left(tiny: TinySet, tmp_path: Path):
    file = tmp_path / "known.json"
    whole = yolo_nanfix.lint(tiny.root, baseline=file, write_baseline=True)
    assert len(whole.findings) == 2 and whole.known == 0
    report = yolo_nanfix.lint(tiny.root, baseline=file)
    assert (report.findings, report.known, report.exit_code) == ((), 2, 0)
    tiny.rows("1 0.3 0.3 0.1 0.1\n" + FAULTY + "0 0.7 0.7 0 0.1\n")  # the old ones one line further down, and a new one
    report = yolo_nanfix.lint(tiny.root, baseline=file)
    assert [(f.code, f.place.line) for f in report.findings] == [("BX004", 5)] and report.known == 2


def test_equal_findings_are_counted(tiny: TinySet, tmp_path: Path):
    file = tmp_path / "known.json"
    tiny.rows("0 0.5 0.5 0 0.2\n1 0.3 0.3 0.1 0.2\n0 0.6 0.5 0 0.2\n")
    yolo_nanfix.lint(tiny.root, baseline=file, write_baseline=True)
    tiny.rows("0 0.5 0.5 0 0.2\n1 0.3 0.3 0.1 0.2\n0 0.6 0.5 0 0.2\n0 0.7 0.5 0 0.2\n")
    assert found(tiny, baseline=file) == ["BX004"]


def test_a_baseline_survives_a_move_and_serves_several_datasets(tiny: TinySet, tmp_path: Path):
    other = TinySet(tiny.root.parent / "other")
    other.rows(FAULTY)
    file = tiny.root.parent / "known.json"
    for root in (tiny.root, other.root):
        yolo_nanfix.lint(root, baseline=file, write_baseline=True)
    assert str(tmp_path) not in file.read_text() and list(json.loads(file.read_text())["datasets"]) == [
        "other/data.yaml", "set/data.yaml",
    ]  # fmt: skip
    moved = tiny.root.parent.rename(tmp_path / "elsewhere")
    for name in ("set", "other"):
        assert yolo_nanfix.lint(moved / name, baseline=moved / "known.json").known == 2


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "does not exist; --write-baseline makes it"),
        ("{", "cannot be read"),
        ("[]", "is no baseline"),
        ('{"version": 1, "datasets": {"a": 3}}', "is no baseline"),
        ('{"version": 9, "datasets": {}}', "version 9"),
        ("[" * 100_000, "cannot be read"),
    ],
)
def test_an_unusable_baseline_is_refused(tiny: TinySet, tmp_path: Path, content: str | None, says: str):
    file = tmp_path / "known.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(UsageError, match=says):
        found(tiny, baseline=file)


@pytest.mark.parametrize("kind", ["pipe", "device", "huge"])
def test_a_baseline_that_would_be_waited_for_or_fill_the_memory_is_refused(tiny: TinySet, tmp_path: Path, kind: str):
    file = tmp_path / "known.json"
    if kind == "pipe":
        os.mkfifo(file)
    elif kind == "device":
        file.symlink_to("/dev/zero")
    else:
        with file.open("wb") as stream:
            stream.truncate(5 << 30)
    with pytest.raises(UsageError, match="cannot be read"):
        found(tiny, baseline=file)


def test_no_dataset_and_unusable_targets(tiny: TinySet, tmp_path: Path):
    with pytest.raises(UsageError, match="say which dataset"):
        yolo_nanfix.lint()
    with pytest.raises(UsageError, match=r"nothing.txt does not exist"):
        yolo_nanfix.lint(files=[tmp_path / "nothing.txt"])
    with pytest.raises(UsageError, match="needs --baseline FILE"):
        yolo_nanfix.lint(tiny.root, write_baseline=True)
    with pytest.raises(UsageError, match="cannot be written"):
        yolo_nanfix.lint(tiny.root, baseline=tmp_path / "no" / "b.json", write_baseline=True)


# Single files


def test_findings_about_the_given_files(tiny: TinySet):
    root = tiny.root
    tiny.put("labels/val/b.txt", FAULTY)
    tiny.put("images/val/c.jpg", b"")
    assert len(found(tiny)) >= 5
    assert found(tiny, files=[root / "labels/train/a.txt"]) == ["BX004", "BX006"]
    assert found(tiny, files=[root / "images/train/a.jpg"]) == ["BX004", "BX006"]
    assert set(found(tiny, files=[root / "images/val/c.jpg"])) >= {"IM002"}
    assert found(tiny, files=[root / "data.yaml"]) == []


def test_the_dataset_is_found_above_the_file(tiny: TinySet, tmp_path: Path, monkeypatch):
    other = TinySet(tmp_path / "project" / "other")
    other.rows(FAULTY)
    (tmp_path / "project" / "compose.yaml").write_text("services: {}\n")
    stray = tmp_path / "notes.txt"
    stray.write_text("nothing\n")
    monkeypatch.chdir(tiny.root / "labels")
    report = yolo_nanfix.lint(files=["train/a.txt", other.root / "labels/train/a.txt", stray])
    assert [f.code for f in report.findings] == ["BX004", "BX006"] * 2
    assert report.counts["train"]["images"] == 2 and report.exit_code == 1
    assert yolo_nanfix.lint(files=[stray]).exit_code == 0


def test_the_way_up_ends_at_the_top_of_a_repository(tiny: TinySet):
    (tiny.root / "labels" / ".git").mkdir()
    assert yolo_nanfix.lint(files=[tiny.root / "labels/train/a.txt"]).findings == ()


def test_a_link_to_a_file_means_the_file(tiny: TinySet, tmp_path: Path):
    link = tmp_path / "link.txt"
    link.symlink_to(tiny.root / "labels/train/a.txt")
    assert found(tiny, files=[link]) == ["BX004", "BX006"]


def test_a_broken_data_yaml_above_a_file_is_said(tiny: TinySet):
    tiny.yaml("train: [\n")
    with pytest.raises(DataError, match="not valid YAML"):
        yolo_nanfix.lint(files=[tiny.root / "labels/train/a.txt"])


def test_classify_takes_a_folder(tmp_path: Path):
    for split in ("train", "val"):
        for name in ("cat", "dog"):
            file = tmp_path / split / name / "a.jpg"
            file.parent.mkdir(parents=True)
            file.write_bytes(encode(".jpg", picture()))
    (tmp_path / "nanfix.yaml").write_text("lint: {task: classify, ignore: [FS]}")
    assert yolo_nanfix.lint(tmp_path).task == "classify"


# Before a training


def poison(code: str = "IM011", name: str = "pixel-nan", severity: Severity = Severity.FATAL) -> Finding:
    return Finding(code, name, severity, Effect.POISONS, Place("/d/a.npy"), "NaN", "Fix it.", "train", "/d/a.jpg")


@pytest.mark.parametrize(
    ("settings", "left"),
    [
        ("", ["BX004", "IM011"]),
        ("ignore: [IM011]", ["BX004"]),
        ("ignore: [pixel-nan]", ["BX004"]),
        ("ignore: [IM]", ["BX004", "IM011"]),
        ("ignore: [ALL]", ["IM011"]),
        ("select: [CL]", ["IM011"]),
        ("severity: {IM011: info}", ["BX004", "IM011"]),
        ("baseline: b.json", ["BX004", "IM011"]),
        ("per-path-ignores: {'*.npy': [IM011]}", ["BX004"]),
        ("per-path-ignores: {'*.npy': [ALL]}", ["IM011"]),
        ("per-path-ignores: {'b.npy': [IM011]}", ["BX004", "IM011"]),
    ],
)
def test_a_fatal_image_is_trained_on_only_if_its_rule_is_ignored_by_name(tiny: TinySet, settings: str, left: list[str]):
    file, text = Path.cwd() / "nanfix.yaml", f"lint: {{{settings}}}"
    file.write_text(text)
    report = Report("d", "detect", (poison("BX004", "box-side-zero", Severity.ERROR), poison()))
    kept = request.for_training(report, tiny.root)
    assert [f.code for f in kept.findings] == left
    assert [f.severity for f in kept.findings if f.code == "IM011"] in ([], [Severity.FATAL])
    file.rename(tiny.root / "nanfix.yaml")  # what came with the dataset lets nothing in
    kept = request.for_training(report, tiny.root)
    assert [f.code for f in kept.findings] == [*(code for code in left if code == "BX004"), "IM011"]
    kept = request.for_training(report, tiny.root, trust=True)
    assert [f.code for f in kept.findings] == left


def test_a_setting_of_any_length_is_shown_cut(tiny: TinySet):
    for values in ({"root": ["x" * 70_000]}, {"select": "x" * 70_000}, {"imgsz": "x" * 70_000}):
        with pytest.raises(UsageError) as error:
            yolo_nanfix.lint(tiny.root, **values)
        assert len(str(error.value)) < 1000
