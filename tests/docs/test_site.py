"""The documentation has a page or a row for all there is, shows it as it is, and loads nothing from elsewhere."""

from __future__ import annotations

import re
import subprocess
import sys

import cv2
import numpy as np
from exporters.facts import facts
from site_pages import DOCS, Page, words

from yolo_nanfix import api
from yolo_nanfix.cards import load_all
from yolo_nanfix.cli.parsing import COMMANDS, build_parser
from yolo_nanfix.events import Check
from yolo_nanfix.finetune.case import units
from yolo_nanfix.linting.registry import all_rules
from yolo_nanfix.linting.selection import KEYS


def test_every_rule_has_a_page_that_says_all_there_is_to_it(site):
    index = Page(site / "rules" / "index.html").cells
    for rule in all_rules():
        text = words(Page(site / "rules" / f"{rule.code}.html").text)
        for part in (rule.name, rule.title, rule.why, rule.upstream, rule.example, rule.fix):
            assert words(part) in text, rule.code
        assert rule.code in index and words(rule.title) in map(words, index), rule.code


def test_every_patch_has_a_page_that_says_all_there_is_to_it(site):
    index = Page(site / "patches" / "index.html").cells
    for card in load_all().values():
        text = words(Page(site / "patches" / f"{card.name}.html").text)
        for part in (card.symptom, card.cause, card.does, card.leaves, card.measured, *card.targets, *card.params):
            assert words(part) in text, card.name
        assert card.name in index


def test_every_advice_is_listed_with_its_evidence_and_its_thresholds(site, monkeypatch):
    page = Page(site / "advices" / "index.html")
    text = words(page.text)
    monkeypatch.syspath_prepend(str(DOCS))
    from generator.advices import thresholds

    for unit in units():
        for part in (unit.title, unit.why, unit.source.title):
            assert words(part) in text, unit.module
        for name, value, told in thresholds(unit):
            assert f"{name} {value} {words(told)}" in text, unit.module
    assert sum(len(thresholds(unit)) for unit in units()) > 20


def test_every_command_has_a_page_with_each_of_its_options(site):
    for name in COMMANDS:
        cells = " ".join(Page(site / "commands" / f"{name}.html").cells)
        commands = next(a for a in build_parser([name])._actions if a.dest == "command")
        for action in commands.choices[name]._actions:
            for word in action.option_strings:
                assert word in cells or word in ("-h", "--help"), f"{name} {word}"


def test_every_setting_and_sensor_has_a_row(site):
    settings = Page(site / "reference" / "settings.html").cells
    for name in (*(row[0] for row in api.guard_settings()), *KEYS, *(p for c in load_all().values() for p in c.params)):
        assert name in settings, name
    sensors = Page(site / "reference" / "guard.html").cells
    assert [check.value for check in Check if check.value not in sensors] == []


def test_every_public_name_is_in_the_python_reference(site):
    import yolo_nanfix
    from yolo_nanfix import errors

    text = (site / "reference" / "python.html").read_text(encoding="utf-8")
    for name in set(yolo_nanfix.__all__) - {"__version__", "errors"}:
        assert f'id="yolo_nanfix.{name}"' in text, name
    for name, value in vars(errors).items():
        if isinstance(value, type) and issubclass(value, errors.NanfixError):
            assert f'id="yolo_nanfix.errors.{name}"' in text, name


def test_every_export_that_is_tested_has_a_row_with_what_lint_says_of_it(site):
    page = Page(site / "tutorials" / "from-your-labelling-tool.html")
    rows = [list(map(words, page.cells[i : i + 4])) for i in range(len(page.cells))]
    for fact in facts():
        told = [words(fact.says[key]) for key in ("given", "written", "stock")]
        codes = fact.says.get("codes", ["stops, with the reason"])
        said = [row[3] for row in rows if row[:3] == told and all(code in row[3] for code in codes)]
        assert any(("nothing" in lint) == ("lost" in fact.says) for lint in said), fact.name
        assert fact.tool["version"] in page.text


def test_special_characters_come_out_as_they_are(site, monkeypatch):
    assert "With gamma < 1 the factor (1 - p)^gamma" in words(Page(site / "patches" / "focal-loss-edge.html").text)
    assert "above 65504 * 255" in Page(site / "rules" / "IM013.html").text
    assert "[1, inf, 2]: cls_loss inf in stock" in words(Page(site / "patches" / "class-weights-not-finite.html").text)
    assert "--unsafe-fixes" in Page(site / "commands" / "lint.html").text  # two hyphens, not a dash
    monkeypatch.syspath_prepend(str(DOCS))
    from generator.markup import block, cell, code, prose

    assert prose("a < b & *c* [d](e) _f_ $g$", links=False) == r"a \< b \& \*c\* \[d\](e) \_f\_ \$g\$"
    assert prose("- no list") == r"\- no list" and prose("1. none") == r"1\. none"
    assert code("a `b` c") == "``a `b` c``"
    assert cell("a | b\nc") == r"a \| b c"
    assert block("```\nx\n```").startswith("````text")


def test_pages_load_nothing_from_elsewhere(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 250
    for path in pages:
        assert not [load for load in Page(path).loads if "//" in load], path
    for style in site.rglob("*.css"):
        assert not re.search(r"(url\(|@import)\s*[\"']?(https?:)?//", style.read_text(encoding="utf-8")), style


CONF = """
import sys
sys.path.insert(0, {docs!r})
extensions = ["myst_parser"]
def setup(app):
    from generator.picture import Picture
    app.add_directive("picture", Picture)
"""


def test_a_picture_is_shown_as_soon_as_it_was_taken_for_light_and_for_dark(tmp_path):
    shots = tmp_path / "screenshots"
    shots.mkdir()
    for name in ("run", "run-dark", "lint"):
        cv2.imwrite(str(shots / f"{name}.png"), np.zeros((8, 8, 3), np.uint8))
    (tmp_path / "conf.py").write_text(CONF.format(docs=str(DOCS)))
    names = ("run", "lint", "compare")
    (tmp_path / "index.md").write_text("# A\n" + "".join(f"```{{picture}} {n}\n:alt: The {n}\n```\n" for n in names))
    command = [sys.executable, "-m", "sphinx", "-W", "-q", str(tmp_path), str(tmp_path / "out")]
    subprocess.run(command, check=True)
    html = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    shown = dict(re.findall(r'<img alt="The (?:run|lint)" class="([^"]*)" src="_images/([\w-]+).png"', html))
    assert shown == {"shot only-light": "run", "shot only-dark": "run-dark", "shot": "lint"}
    assert "compare" not in html
