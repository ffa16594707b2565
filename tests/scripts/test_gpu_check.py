"""scripts/gpu_check.py on the CPU: the same checks, small, and those that need a GPU say so."""

from __future__ import annotations

import json

import gpu_check
import gpu_checks
import pytest
from marks import matrix

DROPPED = "bad micro-batch dropped, float16"
OTHERS = [
    "healthy run bit for bit, bfloat16",
    "leaves float16",
    "rollback",
    "reads of a step, float16",
    "guard's share of a step",
    "out of memory",
]
"""What a CPU can show, too."""


@pytest.fixture(scope="module", params=[[DROPPED], *matrix([DROPPED, *OTHERS])], ids=["one", "all"])
def seen(request, tmp_path_factory):
    """The names of the checks that can be done here, what each gave, by name, and the folder of the files."""
    out = tmp_path_factory.mktemp("gpu")
    results = gpu_check.check_all(
        out, "cpu", 600, only=[*request.param, "AMP self-check", "memory of the GPU", "torch.compile"]
    )
    return request.param, {result["name"]: result for result in results}, out


def test_what_a_cpu_can_show_is_right_there(seen):
    names, results, _ = seen
    seen_there = {name: (results[name]["outcome"], results[name]["on"]) for name in names}
    assert set(seen_there.values()) == {("right", "cpu")}, results


def test_what_needs_a_gpu_says_that_it_was_not_run(seen):
    needing = {check.name for check in gpu_checks.CHECKS if check.gpu}
    assert needing == {"AMP self-check", "memory of the GPU", "torch.compile"}
    _, results, _ = seen
    assert {results[name]["outcome"] for name in needing} == {"not run: no GPU"}
    assert results["several GPUs (DDP)"]["outcome"] == "not run"


def test_the_files_hold_every_check(seen):
    names, results, out = seen
    saved = json.loads((out / "gpu_check.json").read_text())
    assert [check["name"] for check in saved["checks"]] == list(results)
    assert saved["device"] == "cpu" and "torch" in saved["machine"]
    rows = (out / "gpu_check.md").read_text().splitlines()
    assert rows[0].startswith("no GPU; ") and len(rows) == 4 + len(results)
    assert sum("| cpu | right |" in row for row in rows) == len(names)


def test_a_check_that_fails_or_raises_is_wrong_and_the_time_is_kept(tmp_path, monkeypatch):
    def raises(device):
        raise RuntimeError("no | such\nthing")

    wrong = gpu_checks.Check("wrong", lambda device: gpu_checks.Seen(False, "off by one"))
    monkeypatch.setattr(gpu_checks, "CHECKS", (gpu_checks.Check("raises", raises), wrong))
    assert [r["outcome"] for r in gpu_check.check_all(tmp_path, "cpu", 60)] == ["WRONG", "WRONG", "not run"]
    assert "| raises | cpu | WRONG | RuntimeError: no / such thing |" in (tmp_path / "gpu_check.md").read_text()
    assert {r["outcome"] for r in gpu_check.check_all(tmp_path, "cpu", -1)} == {gpu_check.NO_TIME, "not run"}
