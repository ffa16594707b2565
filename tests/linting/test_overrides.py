"""What settings leave out of a lint is said with its source; what came with a dataset hides no fatal finding."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from linting.tiny_set import TinySet

import yolo_nanfix
from yolo_nanfix import api, overrides
from yolo_nanfix.cli.main import main
from yolo_nanfix.dataset.discover import belongs
from yolo_nanfix.findings import Report
from yolo_nanfix.overrides import Overrides, What
from yolo_nanfix.report.text_forms import TEXT_FORMS

FAULTY = "0 0.5 0.5 0 0.2\n1 0.3 0.3 0.1 0.2\n0 0.5 0.9 0.2 0.5\n"
"""BX004 (error) on line 1, BX006 (warning) on line 3."""


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch) -> TinySet:
    """BX004, BX006, and an array with NaN in place of an image (IM011, fatal; FS011), below the current folder."""
    monkeypatch.chdir(tmp_path)
    tiny = TinySet(tmp_path / "set")
    tiny.rows(FAULTY)
    page = io.BytesIO()
    np.save(page, np.full((48, 64, 3), np.nan, np.float32))
    tiny.put("images/val/b.npy", page.getvalue())
    return tiny


def change(report: Report, what: What) -> overrides.Override:
    return next(one for one in report.overrides.changes if one.what is what)


def test_without_settings_nothing_is_said(tiny: TinySet, capsys):
    report = yolo_nanfix.lint(tiny.root)
    assert not report.overrides and list(report.overrides.lines()) == []
    assert report.exit_code == 1 and report.gravest is report.worst
    main(["lint", str(tiny.root), "--quiet"])
    assert "ettings" not in "".join(capsys.readouterr())


def test_a_file_of_the_user_hides_what_he_wants_and_is_named(tiny: TinySet):
    Path("nanfix.yaml").write_text("lint: {ignore: [IM, FS, BX]}")
    report = yolo_nanfix.lint(tiny.root)
    assert (report.findings, report.exit_code) == ((), 0)
    assert [(one.file, one.of_dataset, one.trusted) for one in report.overrides.files] == [
        (str(Path("nanfix.yaml").absolute()), False, True)
    ]
    off = change(report, What.RULES_OFF)
    assert (off.key, off.value, off.count, off.fatal) == ("lint.ignore", "IM, FS, BX", 4, 1)
    assert {"IM011", "BX004", "FS011"} <= set(off.names)


@pytest.mark.parametrize(
    ("text", "what", "count", "fatal"),
    [
        ("ignore: [IM011, BX004]", What.RULES_OFF, 2, 1),
        ("select: [BX]", What.RULES_OFF, 2, 1),
        ("per-path-ignores: {'images/**': [IM, FS]}", What.PATHS_OFF, 2, 1),
        ("severity: {IM011: info, FS011: info}", What.SEVERITY, 2, 1),
        ("baseline: known.json", What.BASELINE, 4, 1),
    ],
)
def test_what_came_with_the_dataset_narrows_and_hides_no_fatal_finding(
    tiny: TinySet, text: str, what: What, count: int, fatal: int
):
    (tiny.root / "nanfix.yaml").write_text("lint: {ignore: [CL]}")
    if what is What.BASELINE:
        main(["lint", "set", "--baseline", "set/known.json", "--write-baseline", "--isolated", "--quiet"])
    (tiny.root / "nanfix.yaml").write_text(f"lint: {{{text}}}")
    report = yolo_nanfix.lint(tiny.root)
    said = change(report, what)
    assert (said.source, said.count, said.fatal) == (str(tiny.root / "nanfix.yaml"), count, fatal)
    assert said.key == f"lint.{text.partition(':')[0]}"
    assert (report.overrides.fatal_hidden, report.exit_code) == (1, 1)
    assert main(["lint", "set", "--fail-on", "fatal", "--quiet"]) == 1
    assert main(["lint", "set", "--fail-on", "fatal", "--quiet", "--trust-dataset-settings"]) == 0
    assert yolo_nanfix.lint(tiny.root, settings=False).overrides == Overrides()
    again = Report.from_dict(json.loads(TEXT_FORMS["json"](report, ())))
    assert again.overrides == report.overrides and again.exit_code == 1


def test_the_users_own_settings_count_beside_those_of_the_dataset(tiny: TinySet, capsys):
    Path("nanfix.yaml").write_text("lint: {deep: true, severity: {BX: fatal}}")
    (tiny.root / "nanfix.yaml").write_text("lint: {deep: false, ignore: [CL], severity: {BX: info, FS: info}}")
    report = yolo_nanfix.lint(tiny.root)
    assert report.deep
    levels = {finding.code: finding.severity.value for finding in report.findings}
    assert levels == {"BX004": "fatal", "BX006": "fatal", "IM011": "fatal", "FS011": "info"}
    assert [one.of_dataset for one in report.overrides.files] == [True, False]
    assert main(["lint", "set", "--trust-dataset-settings"]) == 1
    assert "BX004 [info]" in capsys.readouterr().out, "trusted, the nearest file alone counts"


@pytest.mark.parametrize("text", ["severity: {ALL: info}", "ignore: [IM]", "ignore: [ALL]"])
def test_the_last_line_tells_of_fatal_findings_that_are_hidden(tiny: TinySet, text: str, capsys):
    (tiny.root / "nanfix.yaml").write_text(f"lint: {{{text}}}")
    assert main(["lint", "set"]) == 1
    last = capsys.readouterr().out.splitlines()[-1]
    assert "1 fatal that settings of the dataset leave out or make milder" in last and "--isolated" in last


def test_a_baseline_that_came_with_the_dataset_is_written_in_its_folder_alone(tiny: TinySet, tmp_path: Path, capsys):
    (tiny.root / "away").symlink_to(tmp_path)
    for place in ("../known.json", str(tmp_path / "known.json"), "away/known.json"):
        (tiny.root / "nanfix.yaml").write_text(f"lint: {{baseline: {place}}}")
        assert main(["lint", "set", "--write-baseline"]) == 2 and not (tmp_path / "known.json").exists()
        assert "outside of its folder" in " ".join(capsys.readouterr().err.split())
    assert main(["lint", "set", "--write-baseline", "--trust-dataset-settings"]) == 0
    assert (tmp_path / "known.json").exists()
    (tiny.root / "nanfix.yaml").write_text("lint: {baseline: known.json}")
    assert main(["lint", "set", "--write-baseline"]) == 0 and (tiny.root / "known.json").exists()


def test_every_form_says_it(tiny: TinySet, capsys):
    (tiny.root / "nanfix.yaml").write_text("lint: {ignore: [IM011], task: detect}")
    file, report = str(tiny.root / "nanfix.yaml"), yolo_nanfix.lint(tiny.root)
    sarif = json.loads(TEXT_FORMS["sarif"](report, api.rules()))["runs"][0]
    assert file in sarif["invocations"][0]["toolExecutionNotifications"][0]["message"]["text"]
    assert [one["descriptor"]["id"] for one in sarif["invocations"][0]["ruleConfigurationOverrides"]] == ["IM011"]
    junit = TEXT_FORMS["junit"](report, api.rules())
    assert f'<skipped message="left out by {file}: lint.ignore" />' in junit and 'name="settings" tests="1"' in junit
    assert '<failure type="fatal"' in junit.partition("CF001")[0]
    assert f"::error title=settings::Settings of {file}" in TEXT_FORMS["github"](report, api.rules())
    assert file in api.lint_page(report) and file in report._repr_html_()
    for words in ([], ["--quiet"], ["--output-format", "concise"], ["--json"], ["--statistics"]):
        capsys.readouterr()
        assert main(["lint", "set", *words]) == 1
        out, err = capsys.readouterr()
        assert "(with the dataset): lint.ignore: IM011" in " ".join((out if not words else err).split())
        assert bool(words) == bool(err)


def test_the_root_of_images_is_not_taken_from_the_dataset(tiny: TinySet, tmp_path: Path):
    clean = TinySet(tmp_path / "clean")
    (tiny.root / "nanfix.yaml").write_text(f"lint: {{root: {clean.root}}}")
    report = yolo_nanfix.lint(tiny.root)
    assert len(report.findings) == 4 and not change(report, What.OPTION).taken
    assert "not taken: lint.root=" in "".join(report.overrides.lines())
    assert yolo_nanfix.lint(tiny.root, trust_dataset_settings=True).findings == ()


def test_what_a_command_leaves_out_is_in_its_document(tiny: TinySet, capsys):
    main(["lint", "set", "--select", "BX", "--json"])
    out, err = capsys.readouterr()
    (said,) = json.loads(out)["settings"]["changes"]
    assert (said["what"], said["source"], said["key"], said["count"]) == ("rules-off", "", "--select", 2)
    assert err == ""


@pytest.mark.parametrize(
    ("file", "here", "came"),
    [
        ("project/set/nanfix.yaml", "project", True),
        ("project/set/nanfix.yaml", "project/set", True),
        ("project/set/images/nanfix.yaml", "project/set/images", True),
        ("project/nanfix.yaml", "project", False),
        ("project/nanfix.yaml", "project/set", False),
        ("project/nanfix.yaml", "elsewhere", True),
        ("elsewhere/nanfix.yaml", "elsewhere", False),
        ("nanfix.yaml", "elsewhere", False),
    ],
)
def test_which_files_came_with_a_dataset(tmp_path: Path, monkeypatch, file: str, here: str, came: bool):
    tiny = TinySet(tmp_path / "project/set")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / here)
    assert belongs(tiny.root / "data.yaml")(tmp_path / file) is came
    assert belongs(tiny.root)(tmp_path / file) is came


def test_a_dataset_reached_by_a_link_keeps_its_settings_to_itself(tmp_path: Path, monkeypatch):
    TinySet(tmp_path / "far/set")
    (tmp_path / "near").mkdir()
    (tmp_path / "near/set").symlink_to(tmp_path / "far/set")
    monkeypatch.chdir(tmp_path / "near")
    assert belongs("set/data.yaml")(Path("set/nanfix.yaml").absolute())
    assert belongs("set/data.yaml")(tmp_path / "far/set/nanfix.yaml")


@pytest.mark.parametrize("values", [None, [], {"files": 3}, {"changes": [{"what": "x"}]}, {"files": [{"file": 1}]}])
def test_damaged_facts_are_nothing(values):
    assert overrides.read_overrides({"settings": values}) == overrides.NO_OVERRIDES
