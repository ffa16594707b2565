"""How the results of Ultralytics' own tests are compared: what passes in stock must pass under ours."""

from __future__ import annotations

import tarfile
import xml.etree.ElementTree as ElementTree

import pytest
import releases
import upstream_tests

XML = """<testsuites><testsuite>
<testcase classname="tests.test_engine" name="test_a[x]"/>
<testcase classname="tests.test_engine" name="test_b"><failure message="RuntimeError: no&#10;x">t</failure></testcase>
<testcase classname="tests.test_engine" name="test_c"><skipped message="no GPU"/></testcase>
</testsuite></testsuites>"""


def test_the_end_of_each_test_is_read():
    ends = dict(map(upstream_tests.ended, ElementTree.fromstring(XML).iter("testcase")))
    assert ends == {
        "test_engine::test_a[x]": "passed",
        "test_engine::test_b": "RuntimeError: no",
        "test_engine::test_c": "skipped",
    }


def test_only_what_passes_in_stock_counts():
    stock = {"a": "passed", "b": "passed", "c": "ConnectionError", "d": "skipped"}
    ours = {"a": "passed", "b": "RuntimeError: x", "c": "passed", "d": "skipped"}
    results = {"stock": stock, "patch()": ours, "patch(guard=False)": {"a": "passed"}}
    assert upstream_tests.differences(results) == ["patch(): b: RuntimeError: x", "patch(guard=False): b: not run"]


@pytest.mark.parametrize("holds", [True, False])
def test_the_tests_are_taken_from_the_source_distribution(holds, tmp_path, monkeypatch):
    kept = tmp_path / "wheels"
    kept.mkdir()
    monkeypatch.setenv(releases.WHEELS, str(kept))
    (tmp_path / "test_x.py").write_text("x = 1\n")
    with tarfile.open(kept / "ultralytics-9.9.9.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "test_x.py", f"ultralytics-9.9.9/{'tests' if holds else 'docs'}/test_x.py")
    (tmp_path / "to").mkdir()
    if holds:
        assert (upstream_tests.unpacked("9.9.9", tmp_path / "to") / "tests" / "test_x.py").read_text() == "x = 1\n"
    else:
        with pytest.raises(releases.ReleaseError, match="holds no tests"):
            upstream_tests.unpacked("9.9.9", tmp_path / "to")
