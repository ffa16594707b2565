"""Every page in headless Chromium: no error, no request, legible on a phone, in the dark, without scripts."""

from __future__ import annotations

import chromium
import pytest
from axe_playwright_python.sync_playwright import Axe
from marks import matrix

MEGABYTE = 1_000_000
PAGES = {"healthy_run": 3, "faulty_run": 3, "small_lint": 3, "bccd_lint": 3, "large_lint": 15}
"""Fixture -> the size in MB that its page may have."""
QUICK = ("faulty_run", "small_lint")


@pytest.fixture(params=[*QUICK, *matrix(*(page for page in PAGES if page not in QUICK))])
def page_file(request):
    return request.getfixturevalue(request.param), PAGES[request.param]


@pytest.mark.parametrize("page_file", PAGES, indirect=True)
def test_size(page_file):
    file, limit = page_file
    assert file.stat().st_size < limit * MEGABYTE


@pytest.mark.parametrize(("size", "scheme"), [(chromium.DESKTOP, "light"), (chromium.PHONE, "dark")])
def test_opens_without_complaint_or_request(visit, page_file, size, scheme):
    with visit(page_file[0], size, color_scheme=scheme) as visited:
        page = visited.page
        page.mouse.wheel(0, 20_000)  # pictures that wait until they are seen
        page.wait_for_timeout(200)
        assert page.locator("h1").count() == 1
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), "scrolls sideways"
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == (
            "rgb(255, 255, 255)" if scheme == "light" else "rgb(20, 23, 27)"
        )
        assert (visited.complaints, visited.requests) == ([], [])


def test_a_screen_reader_finds_its_way(visit, page_file):
    with visit(page_file[0], color_scheme="light") as visited:
        found = Axe().run(visited.page)
        assert found.violations_count == 0, found.generate_report()
        visited.page.emulate_media(color_scheme="dark")
        found = Axe().run(visited.page, options={"runOnly": ["color-contrast"]})
        assert found.violations_count == 0, found.generate_report()


def test_says_what_matters_without_scripts_and_prints(visit, page_file, tmp_path):
    with visit(page_file[0]) as visited:
        told = visited.page.locator("h1").inner_text()
    with visit(page_file[0], java_script_enabled=False) as visited:
        assert visited.page.locator("h1").inner_text() == told
        assert visited.page.locator("main").inner_text().strip()
        assert visited.page.locator("button:visible").count() == 0, "a button that does nothing"
        paper = visited.page.pdf(format="A4")
        assert paper.startswith(b"%PDF") and len(paper) > 5000


def test_the_policy_stops_scripts_and_requests_that_are_not_ours(visit, small_lint, tmp_path):
    planted = '<script>window.hacked = 1</script><img src="https://example.org/x.png"></main>'
    attacked = tmp_path / "attacked.html"
    attacked.write_text(small_lint.read_text(encoding="utf-8").replace("</main>", planted), encoding="utf-8")
    with visit(attacked) as visited:
        assert visited.page.evaluate("window.hacked") is None
        assert len(visited.complaints) >= 2


def test_the_button_changes_the_colours_and_says_so(visit, healthy_run):
    with visit(healthy_run, color_scheme="light") as visited:
        button = visited.page.locator("#theme")
        assert button.inner_text() == "Dark"
        button.click()
        assert visited.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 27)"
        assert button.inner_text() == "Light"
