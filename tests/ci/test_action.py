"""The GitHub action: its file against GitHub's schema, and its scripts run by bash as the runner runs them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import checkout
import pytest
import yaml
from linting.tiny_set import TinySet
from surroundings import LIMIT

ACTION = yaml.safe_load((checkout.ROOT / "action.yml").read_text(encoding="utf-8"))
STEPS = {step["name"]: step for step in ACTION["runs"]["steps"] if "name" in step}
WORKFLOWS = sorted((checkout.ROOT / ".github" / "workflows").glob("*.yml"))
Step = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.mark.parametrize(
    ("schema", "file"),
    [("actions", checkout.ROOT / "action.yml"), *(("workflows", file) for file in WORKFLOWS)],
    ids=lambda value: getattr(value, "name", value),
)
def test_the_files_fit_the_schemas_of_github(schema: str, file: Path):
    words = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.github-{schema}", str(file)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=LIMIT)
    assert done.returncode == 0, done.stdout


def test_no_text_from_outside_is_put_into_a_script():
    scripts = [step["run"] for step in ACTION["runs"]["steps"] if "run" in step]
    assert scripts and not any("${{" in script for script in scripts)
    for file in WORKFLOWS:
        for job in yaml.safe_load(file.read_text(encoding="utf-8"))["jobs"].values():
            assert not any("${{" in step.get("run", "") for step in job["steps"]), file


def test_the_workflow_that_uses_the_action_gives_inputs_and_reads_outputs_that_it_has():
    jobs = yaml.safe_load((checkout.ROOT / ".github/workflows/test.yml").read_text(encoding="utf-8"))["jobs"]
    steps = jobs["action"]["steps"]
    (given,) = (step["with"] for step in steps if step.get("uses") == "./")
    read = re.findall(r"steps\.lint\.outputs\.([\w-]+)", json.dumps(steps))
    assert set(given) <= set(ACTION["inputs"]) and read and set(read) <= set(ACTION["outputs"])


def resolved(expression: str, inputs: dict[str, str], context: dict[str, str]) -> str:
    """What the runner makes of `${{ inputs.x }}` and of the few other expressions that the action uses."""
    known = {**{f"inputs.{name}": value for name, value in inputs.items()}, **context}
    return re.sub(r"\$\{\{ (.*?) \}\}", lambda found: known[found[1]], expression)


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A runner's variables; what the tests themselves have stands in place of what the first step installs."""
    home = tmp_path_factory.mktemp("home")
    (home / "temp/yolo-nanfix").mkdir(parents=True)
    (home / "temp/yolo-nanfix/bin").symlink_to(Path(sys.executable).parent)
    return checkout.environment(home) | {"RUNNER_TEMP": str(home / "temp")}


def run_step(step: dict, inputs: dict[str, str], context: dict[str, str], env: dict[str, str], cwd: Path):
    """One step with a script, started as GitHub starts `shell: bash`."""
    inputs = {name: str(given["default"]) for name, given in ACTION["inputs"].items()} | inputs
    variables = {name: resolved(text, inputs, context) for name, text in step["env"].items()}
    words = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
    return subprocess.run(words, cwd=cwd, env={**env, **variables}, capture_output=True, text=True, timeout=LIMIT)


@pytest.fixture
def lint(tmp_path: Path, runner: dict[str, str]) -> Step:
    """Runs the step that lints, in a folder with a dataset of one error and one warning."""
    TinySet(tmp_path / "my set").rows("0 0.5 0.5 0 0.2\n1 0.3 0.3 0.1 0.2\n0 0.5 0.9 0.2 0.5\n")
    files = {name: str(tmp_path / name) for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}

    def lint(**inputs: str) -> subprocess.CompletedProcess[str]:
        for file in files.values():
            Path(file).write_text("")
        given = {name.replace("_", "-"): value for name, value in inputs.items()}
        return run_step(STEPS["Lint"], {"data": "my set", **given}, {}, {**runner, **files}, tmp_path)

    return lint


def outputs(folder: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in (folder / "GITHUB_OUTPUT").read_text().splitlines())


@pytest.mark.slow
def test_the_install_step_installs_the_actions_own_source(tmp_path: Path):
    """By pip for real, but for the network; then the command runs from there."""
    env = checkout.environment(tmp_path) | {"RUNNER_TEMP": str(tmp_path)}
    source = checkout.copy(tmp_path / "action")
    given = {"github.action_path": str(source), "steps.python.outputs.python-path": sys.executable}
    done = run_step(STEPS["Install yolo-nanfix"], {}, given, env, tmp_path)
    assert done.returncode == 0, done.stderr
    (cards,) = tmp_path.glob("yolo-nanfix/lib/python*/site-packages/yolo_nanfix/_cards")
    command = [str(tmp_path / "yolo-nanfix/bin/yolo-nanfix"), "rule", "BX004"]
    told = subprocess.run(command, env=env, capture_output=True, text=True, timeout=LIMIT)
    assert cards.is_dir() and "box-side-zero" in told.stdout


def test_findings_become_annotations_a_summary_outputs_and_sarif(lint: Step, tmp_path: Path):
    done = lint()
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("::error file=my set/labels/train/a.txt,line=1,title=BX004 box-side-zero::")
    assert lines[1].startswith("::warning file=my set/labels/train/a.txt,line=3,title=BX006") and len(lines) == 2
    found = outputs(tmp_path)
    assert found["findings"] == "2" and found["exit-code"] == "1" and set(found) == set(ACTION["outputs"])
    results = json.loads(Path(found["sarif"]).read_text())["runs"][0]["results"]
    assert [result["ruleId"] for result in results] == ["BX004", "BX006"]
    summary = (tmp_path / "GITHUB_STEP_SUMMARY").read_text()
    assert "2 findings" in summary and "1  BX004  [error]" in summary
    end = run_step(STEPS["Outcome"], {}, {"steps.lint.outputs.exit-code": "1"}, dict(os.environ), tmp_path)
    assert end.returncode == 1


@pytest.mark.parametrize(
    ("inputs", "findings", "code"),
    [
        ({"fail_on": "fatal"}, "2", "0"),
        ({"args": "--ignore BX004 --severity 'BX006=info'"}, "1", "0"),
        ({"args": "  --select\n  BX006 "}, "1", "1"),
    ],
)
def test_inputs_reach_the_command(lint: Step, tmp_path: Path, inputs: dict[str, str], findings: str, code: str):
    assert lint(**inputs).returncode == 0
    assert (outputs(tmp_path)["findings"], outputs(tmp_path)["exit-code"]) == (findings, code)


@pytest.mark.parametrize(
    "inputs",
    [
        {"data": "$(touch broken)"},
        {"data": "--output-file=broken"},
        {"data": '"; touch broken; "'},
        {"args": "; touch broken"},
        {"args": "`touch broken` $(touch broken)"},
        {"fail_on": "$(touch broken)"},
        {"data": "::error::x\n::add-path::/tmp"},
    ],
)
def test_inputs_never_run_and_wrong_ones_fail_the_step(lint: Step, tmp_path: Path, inputs: dict[str, str]):
    done = lint(**inputs)
    assert done.returncode == 2 and "yolo-nanfix: error: " in done.stderr
    assert not (tmp_path / "broken").exists() and not outputs(tmp_path)
    assert not [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("::")]
