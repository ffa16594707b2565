"""The filters and the search of a lint page, at 10 000 findings."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

import yolo_nanfix


@pytest.fixture(scope="module")
def report(large_lint):
    return yolo_nanfix.lint(large_lint.parent / "many" / "data.yaml")


def shown(page):
    """The number of findings that the page says it shows."""
    return int(re.sub(r"[^0-9]", "", page.locator("#count").inner_text().split(" of ")[0]))


def shows(page, number):
    expect(page.locator("#count")).to_have_attribute("data-shown", str(number))


@pytest.mark.parametrize("code", ["BX004", "SP001", "TX010"])
def test_by_code(visit, large_lint, report, code):
    with visit(large_lint) as visited:
        visited.page.locator("#code").select_option(code)
        shows(visited.page, report.by_code()[code])
        assert all(code in text for text in visited.page.locator(".finding").all_inner_texts())


def test_by_severity_and_split_together(visit, large_lint, report):
    with visit(large_lint) as visited:
        visited.page.locator("#severity").select_option("warning")
        visited.page.locator("#split").select_option("val")
        wanted = [f for f in report.findings if f.severity.value == "warning" and f.split == "val"]
        shows(visited.page, len(wanted))
        visited.page.locator("#severity").select_option("")
        shows(visited.page, sum(f.split == "val" for f in report.findings))


def test_by_file_name_and_class(visit, large_lint):
    with visit(large_lint) as visited:
        page = visited.page
        page.locator("#search").fill("00042")
        expect(page.locator(".finding").first).to_contain_text("00042")
        assert all("00042" in text for text in page.locator(".finding").all_inner_texts())
        page.locator("#search").fill("no such file")
        shows(page, 0)
        assert not visited.complaints
        page.locator("#search").fill("")
        everything = shown(page)
        page.locator("#class").select_option(label="nut")
        expect(page.locator("#count")).not_to_have_attribute("data-shown", str(everything))
        assert 0 < shown(page) < everything


def test_by_keyboard_alone(visit, large_lint, report):
    with visit(large_lint) as visited:
        page = visited.page
        page.locator("#search").focus()
        page.keyboard.type("01999")
        expect(page.locator(".finding").first).to_contain_text("01999")
        assert page.locator("[aria-live]").count() >= 1


def test_says_how_much_is_left_out(large_lint, report):
    text = large_lint.read_text(encoding="utf-8")
    assert "left out" in text
    assert f"{len(report.findings):,}".replace(",", " ") in text or f"{len(report.findings)}" in text
