"""Reports as text and JSON."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from yolo_nanfix import files
from yolo_nanfix.findings import Effect, Finding, Place, Report, Severity, Skip
from yolo_nanfix.report import text, text_forms, words


def _finding(file: str = "/data/a.txt", message: str = "bad", code: str = "BX004", **more) -> Finding:
    severity = more.pop("severity", Severity.ERROR)
    return Finding(code, "a-defect", severity, Effect.DROPS, Place(file, 3), message, "Fix it.", **more)


def _report(*findings: Finding) -> Report:
    counts = {"train": {"images": 2, "labels": 2, "rows": 5}, "val": {"images": 1, "labels": 1, "rows": 1}}
    return Report("/data/data.yaml", "detect", findings, (("TX009", Skip.DEEP),), counts)


def _rendered(report: Report, **more) -> str:
    page = io.StringIO()
    text.render(report, Console(file=page, width=100), **more)
    return page.getvalue()


def test_a_line_says_where_what_and_what_ultralytics_does():
    out = _rendered(_report(_finding()))
    assert "/data/a.txt:3: BX004 [error] bad\n" in out
    assert re.search(r"^BX004 +error +1 +a-defect: Ultralytics drops the image. Fix it.", out, re.MULTILINE)
    assert "Not checked: TX009 (images are decoded under --deep only)." in out
    assert out.endswith("Training runs, but not on the data that you see: fix the errors.\n")
    assert "Found 1 error in 3 images and 6 label rows in train, val." in out


def test_rules_of_other_tasks_are_one_line():
    skipped = [(code, Skip.OTHER_TASK) for code in ("KP001", *(f"SG{n:03d}" for n in range(30)))]
    lines = [
        line for line in _rendered(replace(_report(), skipped=tuple(skipped))).splitlines() if "Not checked" in line
    ]
    assert lines == ["Not checked: 31 rules (they read the labels of other tasks)."]


def test_quiet_leaves_the_findings():
    assert _rendered(_report(_finding()), quiet=True) == ("/data/a.txt:3: BX004 [error] bad\n")


def test_a_clean_report_says_so():
    assert _rendered(_report()).endswith("No findings in 3 images and 6 label rows in train, val.\n")


def test_paths_are_those_in_the_dataset_also_of_the_other_image_of_a_pair(tmp_path: Path, monkeypatch):
    pair = _finding(f"{tmp_path}/set/images/a.jpg", "the same bytes as {other} (train)")
    pair = replace(pair, values={"other": f"{tmp_path}/set/images/b.jpg"})
    report = replace(_report(pair), root=str(tmp_path / "set"))
    for folder in (tmp_path, Path("/")):
        monkeypatch.chdir(folder)
        assert _rendered(report).startswith("images/a.jpg:3: BX004 [error] the same bytes as images/b.jpg (train)\n")
    itself = replace(report, findings=(replace(_finding(), place=Place(str(tmp_path / "set"))),))
    assert _rendered(itself).startswith(".: BX004 ")
    outside = replace(report, findings=(_finding("/elsewhere/a.txt"),))
    assert _rendered(outside).startswith("/elsewhere/a.txt:3: ")
    monkeypatch.chdir(tmp_path)
    assert _rendered(report, root=tmp_path).startswith(
        "set/images/a.jpg:3: BX004 [error] the same bytes as set/images/b"
    )
    assert _rendered(replace(report, root="")).startswith("set/images/a.jpg:3: "), "of several datasets"


def test_the_worst_come_first_then_by_file():
    found = [
        _finding("/d/b.txt", severity=Severity.INFO),
        _finding("/d/b.txt", severity=Severity.ERROR, image="/d/b.jpg"),
        _finding("/d/a.txt", severity=Severity.WARNING),
        _finding("/d/a.txt", severity=Severity.ERROR, image="/d/a.jpg"),
        _finding("/d/z.yaml", severity=Severity.ERROR),
        _finding("/d/c.txt", severity=Severity.FATAL),
    ]
    lines = _rendered(_report(*found), quiet=True).splitlines()
    assert [line.split(":")[0] for line in lines] == [
        *("/d/c.txt", "/d/z.yaml", "/d/a.txt", "/d/b.txt", "/d/a.txt", "/d/b.txt")
    ]
    plainly = text_forms.TEXT_FORMS["concise"](_report(*found), ())
    assert [line.split(":")[0] for line in plainly.splitlines()] == [line.split(":")[0] for line in lines]


def test_a_rule_stands_in_the_table_with_its_worst_severity():
    found = [_finding(f"/d/{i}.txt", severity=s) for i, s in enumerate((Severity.WARNING, Severity.ERROR) * 2)]
    (row,) = [line for line in _rendered(_report(*found)).splitlines() if line.startswith("BX004 ")]
    assert row.split()[1:3] == ["error", "4"]


def test_what_can_be_fixed_is_marked_and_counted_with_the_command():
    one, other = _finding(), _finding("/data/b.txt")
    fixable = text.Fixable(frozenset([one]), 1, 3, (True, True), "yolo-nanfix lint 'my set'")
    out = _rendered(_report(one, other), fixable=fixable)
    assert "/data/a.txt:3: BX004 [error] [*] bad\n" in out and "/data/b.txt:3: BX004 [error] bad\n" in out
    assert "[*] 1 fixable with --fix, 3 more with --fix --unsafe-fixes: yolo-nanfix lint 'my set' --fix\n" in out
    out = _rendered(_report(one), fixable=replace(fixable, marked=frozenset(), safe=0, tried=(True, False)))
    assert "[*] up to 3 fixable with --fix --unsafe-fixes: yolo-nanfix lint 'my set' --fix --unsafe-fixes\n" in out
    out = _rendered(_report(one), fixable=text.Fixable(command="yolo-nanfix lint x", outside=2))
    assert (
        "Up to 2 fixable in files outside of the dataset" in out and "yolo-nanfix lint x --fix --fix-outside\n" in out
    )
    assert "[*]" not in _rendered(_report(one)) and "outside" not in _rendered(_report(one))


def test_what_stock_keeps_of_each_split_is_told():
    known = {
        "train": {"images": 9, "labels": 9, "rows": 9, "kept": 7, "dropped": 2, "background": 1, "rewritten": 3},
        "val": {"images": 4, "labels": 4, "rows": 9, "kept": 4, "dropped": 0, "background": 0, "rewritten": 0},
    }
    out = _rendered(replace(_report(), counts=known))
    assert "train: 9 images, Ultralytics keeps 7 (1 without objects, 3 rewritten) and drops 2.\n" in out
    assert "val: 4 images, Ultralytics keeps all.\n" in out
    assert "keeps" not in _rendered(_report())
    fatal = replace(_finding(severity=Severity.FATAL), effect=Effect.CRASHES)
    out = _rendered(replace(_report(fatal), counts=known))
    assert "train: 9 images, Ultralytics would keep 7 (1 without objects, 3 rewritten) and drop 2.\n" in out


@pytest.mark.parametrize(
    ("effect", "image", "said"),
    [
        (Effect.CRASHES, None, "Training does not start: fix the fatal findings first."),
        (Effect.CRASHES, "/d/a.jpg", "Training on this data breaks or is poisoned"),
        (Effect.POISONS, None, "Training on this data breaks or is poisoned"),
    ],
)
def test_whether_training_starts_is_told(effect: Effect, image: str | None, said: str):
    fatal = replace(_finding(image=image, severity=Severity.FATAL), effect=effect)
    out = _rendered(_report(fatal, _finding()))
    assert f"Found 1 fatal, 1 error in 3 images and 6 label rows in train, val. {said}" in " ".join(out.split())


def test_text_of_the_dataset_is_printed_literally():
    out = _rendered(_report(_finding("/d/[red]a[/red].txt", "'[bold]\x1b[31m\n:smile: \u202e \udcff'")))
    assert "/d/[red]a[/red].txt:3" in out
    assert r"'[bold]\x1b[31m\n:smile: \u202e \udcff'" in out
    assert "\x1b" not in out


def test_a_console_without_unicode_gets_escapes():
    raw = io.BytesIO()
    page = io.TextIOWrapper(raw, encoding="ascii")
    text.render(_report(_finding("/d/ä.txt")), Console(file=page, width=100), quiet=True)
    page.flush()
    assert raw.getvalue().startswith(rb"/d/\xe4.txt:3")


def test_long_lists_are_cut_by_code():
    out = _rendered(_report(*[_finding(f"/d/{i}.txt") for i in range(60)]))
    assert out.count(": BX004 [error] bad\n") == text.MAX_LINES_PER_CODE
    assert out.count("Ultralytics drops") == 1, "once a rule"
    assert "... and 10 more of BX004" in out


def test_colours_only_where_wanted(monkeypatch):
    for wanted in (True, False):
        page = io.StringIO()
        text.render(_report(_finding()), Console(file=page, force_terminal=True, no_color=not wanted, width=100))
        assert ("\x1b[31m" in page.getvalue()) == wanted


def test_every_severity_and_effect_has_words():
    assert set(words.EFFECT_WORDS) == set(Effect) and set(text.STYLES) == set(Severity)


def test_json_is_strict_and_whole():
    report = _report(_finding("/d/\udcff.txt", image="/d/a.jpg", split="train"))
    data = json.loads(text_forms.strict_json(report), parse_constant=pytest.fail)
    assert data["exit_code"] == 1 and data["counts"]["train"]["rows"] == 5
    assert data["skipped"] == [{"code": "TX009", "why": "deep"}]
    assert data["findings"][0]["severity"] == "error" and data["findings"][0]["place"]["line"] == 3


def test_report_views():
    poison, mild = (
        _finding(severity=Severity.FATAL, image="/d/a.jpg"),
        _finding(severity=Severity.INFO, code="CL004"),
    )
    assert _report(mild).exit_code == 0 and _report().worst is None
    report = _report(mild, poison)
    assert report.worst is Severity.FATAL and report.exit_code == 1
    assert report.fatal_images() == {"/d/a.jpg": (poison,)}
    assert report.by_code() == {"BX004": 1, "CL004": 1}


def test_the_name_of_an_open_file_is_written_to_and_a_link_is_replaced(tmp_path: Path):
    mine = tmp_path / "mine.txt"
    mine.write_text("of the user\n")
    (tmp_path / "report.json").symlink_to(mine)
    files.write_text(tmp_path / "report.json", "{}\n")
    assert mine.read_text() == "of the user\n" and (tmp_path / "report.json").read_text() == "{}\n"
    with mine.open("w") as stream:
        files.write_text(f"/proc/self/fd/{stream.fileno()}", "{}\n")  # what /dev/stdout leads to
    assert mine.read_text() == "{}\n" and sorted(f.name for f in tmp_path.iterdir()) == ["mine.txt", "report.json"]


def test_write_json_replaces_the_whole_file(tmp_path: Path):
    file = tmp_path / "a.json"
    files.write_json(file, {"x": [float("nan"), float("-inf"), 1.5], "e": Effect.DROPS, "p": Path("a")})
    assert json.loads(file.read_text()) == {"x": ["nan", "-inf", 1.5], "e": "drops", "p": "a"}
    with pytest.raises(TypeError):
        files.write_json(file, {"x": object()})
    with pytest.raises(OSError):
        files.write_json(tmp_path / "none" / "a.json", {})
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]
