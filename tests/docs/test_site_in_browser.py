"""The built site in Chromium: filter and search work without a server, and pages fit a phone, light and dark."""

from __future__ import annotations

import chromium
import pytest
from axe_playwright_python.sync_playwright import Axe
from marks import matrix

SHOWN = ("index", "rules/index", "rules/IM011", "patches/rect-validation", "commands/lint", "tutorials/write-a-patch")


def elsewhere(visited):
    return [address for address in visited.requests if not address.startswith("file:")]


def test_the_list_of_rules_can_be_filtered(running, site):
    with chromium.visit(running, site / "rules" / "index.html") as visited:
        page = visited.page
        whole = page.locator("tbody tr:visible td:first-child").count()
        page.get_by_label("Severity").select_option("fatal")
        page.get_by_label("Filter").fill("nan pixel")
        codes = page.locator("section section tbody tr:visible td:first-child").all_inner_texts()
        assert "IM011" in codes and len(codes) < whole / 10
        assert page.locator("#rule-filter [aria-live]").inner_text().startswith(f"{len(codes)} of ")
        assert page.locator("section section:visible").count() == len({code[:2] for code in codes})
        assert not visited.complaints and not elsewhere(visited)


def test_the_search_finds_a_rule_without_a_server(running, site):
    with chromium.visit(running, site / "search.html") as visited:
        visited.page.goto((site / "search.html").as_uri() + "?q=polygon-area-zero")
        visited.page.get_by_role("link", name="SG003").first.wait_for()
        assert not visited.complaints and not elsewhere(visited)


@pytest.mark.parametrize(
    ("size", "scheme", "shown"),
    [
        (chromium.DESKTOP, "light", SHOWN[::2]),
        (chromium.PHONE, "dark", SHOWN[1::2]),
        *matrix((chromium.DESKTOP, "light", SHOWN[1::2]), (chromium.PHONE, "dark", SHOWN[::2])),
    ],
)
def test_pages_fit_the_window_and_hold_the_rules_of_accessibility(running, site, size, scheme, shown):
    for name in shown:
        with chromium.visit(running, site / f"{name}.html", size, color_scheme=scheme) as visited:
            root = "document.documentElement"
            assert visited.page.evaluate(f"{root}.scrollWidth <= {root}.clientWidth"), name
            light = visited.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
            assert light == (scheme == "light"), name
            assert not visited.complaints and not elsewhere(visited), name
            found = Axe().run(visited.page).response["violations"]
            assert [(one["id"], one["nodes"][0]["html"]) for one in found] == [], name
