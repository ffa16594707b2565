"""The documentation: it builds without a warning, has a page for all there is, and what it shows can be run."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple

import pytest

from yolo_nanfix import api
from yolo_nanfix.cards import load_all
from yolo_nanfix.cli.main import COMMANDS, build_parser
from yolo_nanfix.errors import UsageError
from yolo_nanfix.guard.catalogue import SENSORS
from yolo_nanfix.linting.rule import all_rules
from yolo_nanfix.linting.selection import KEYS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
WRITTEN = [*DOCS.glob("*.md"), *(p for part in ("tutorials", "ideas", "reference") for p in (DOCS / part).glob("*.md"))]
FENCE = re.compile(
    r"^(`{3,})(\{code-block\} )?(\w+)\n(?::class: \w+\n\n)?(?::caption: ([^\n]+)\n\n)?(.*?)^\1$",
    re.MULTILINE | re.DOTALL,
)


class Block(NamedTuple):
    """One block of code of a page."""

    language: str
    caption: str
    text: str


def blocks(page: Path) -> list[Block]:
    return [Block(*match.group(3, 4, 5)) for match in FENCE.finditer(page.read_text(encoding="utf-8"))]


class Page(HTMLParser):
    """What of a page leads elsewhere, the texts of its cells, and its whole text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.cells: list[str] = []
        self.text = ""
        self._in_cell = False
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        if tag in ("td", "th"):
            self.cells.append("")
            self._in_cell = True
        if tag in ("script", "img", "iframe", "source") and given.get("src"):
            self.loads.append(given["src"])
        if tag == "link" and given.get("rel") in ("stylesheet", "preload", "icon", "prefetch"):
            self.loads.append(given["href"])

    def handle_endtag(self, tag):
        self._in_cell = self._in_cell and tag not in ("td", "th")

    def handle_data(self, data):
        self.text += data
        if self._in_cell:
            self.cells[-1] += data


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The site, built anew with warnings as errors."""
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-n", "-q", "-E", "-d", str(out / "tree")]
    done = subprocess.run([*command, str(DOCS), str(out / "html")], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return out / "html"


def words(text: str) -> str:
    return " ".join(text.replace("`", "").split())


def test_every_rule_has_a_page_that_says_all_there_is_to_it(site):
    index = Page(site / "rules" / "index.html").cells
    for rule in all_rules():
        text = words(Page(site / "rules" / f"{rule.code}.html").text)
        for part in (rule.name, rule.title, rule.why, rule.upstream, rule.example, rule.mend):
            assert words(part) in text, rule.code
        assert rule.code in index and words(rule.title) in map(words, index), rule.code


def test_every_patch_has_a_page_that_says_all_there_is_to_it(site):
    index = Page(site / "patches" / "index.html").cells
    for card in load_all().values():
        text = words(Page(site / "patches" / f"{card.name}.html").text)
        for part in (card.symptom, card.cause, card.cures, card.cures_not, card.measured, *card.targets, *card.params):
            assert words(part) in text, card.name
        assert card.name in index


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
    assert [sensor.name for sensor in SENSORS if sensor.name not in sensors] == []


def test_every_public_name_is_in_the_python_reference(site):
    import yolo_nanfix
    from yolo_nanfix import errors

    text = (site / "reference" / "python.html").read_text(encoding="utf-8")
    for name in set(yolo_nanfix.__all__) - {"__version__", "errors"}:
        assert f'id="yolo_nanfix.{name}"' in text, name
    for name, value in vars(errors).items():
        if isinstance(value, type) and issubclass(value, errors.NanfixError):
            assert f'id="yolo_nanfix.errors.{name}"' in text, name


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


def console_lines() -> list[tuple[str, str]]:
    """Each command line of the pages, with the page that shows it."""
    lines = []
    for page in WRITTEN:
        for block in blocks(page):
            if block.language == "console":
                shown = block.text.replace("\\\n", " ")
                lines += [(page.name, line[2:]) for line in shown.splitlines() if line.startswith("$ ")]
    return lines


def test_each_command_of_the_pages_is_one(capsys):
    ours = [(page, shlex.split(line, comments=True)) for page, line in console_lines() if "yolo-nanfix " in line]
    assert len(ours) > 20
    for page, line in ours:
        if line[0].removeprefix(".venv/bin/") == "yolo-nanfix":
            try:
                args, rest = build_parser(line[1:]).parse_known_args(line[1:])
            except (SystemExit, UsageError) as error:
                pytest.fail(f"{page}: {shlex.join(line)}: {error} {capsys.readouterr().err}")
            assert args.command and not [word for word in rest if "=" not in word], f"{page}: {shlex.join(line)}"


def test_each_script_of_the_pages_is_there():
    for page, line in console_lines():
        for script in re.findall(r"\bscripts/\w+\.py", line):
            assert (ROOT / script).is_file(), f"{page}: {line}"
        if line.startswith("make "):
            assert f"\n{line.split()[1]}:" in (ROOT / "Makefile").read_text(), f"{page}: {line}"


@pytest.mark.parametrize("page", WRITTEN, ids=lambda p: p.stem)
def test_python_blocks_compile(page):
    for block in blocks(page):
        if block.language == "python":
            compile(block.text, str(page), "exec")


@pytest.fixture
def clone(tmp_path) -> Path:
    """A copy of what a contributor works on."""
    for folder in ("yolo_nanfix", "patches", "tests", "scripts"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def follow(page: str, clone: Path) -> None:
    """Write the files of a tutorial, as their captions say."""
    done = 0
    for block in blocks(DOCS / "tutorials" / page):
        if block.caption:
            path = clone / block.caption.removeprefix("append to ")
            appended = block.caption.startswith("append to ")
            assert path.is_file() == appended, block.caption
            with path.open("a" if appended else "w", encoding="utf-8") as file:
                file.write(f"\n\n{block.text}" if appended else block.text)
            done += 1
    assert done > 1


def run(clone: Path, line: str) -> str:
    """What a command of a tutorial prints in the copy."""
    words = shlex.split(line)
    module = {".venv/bin/yolo-nanfix": ["-m", "yolo_nanfix"], ".venv/bin/python": []}[words[0]]
    env = {**os.environ, "PYTHONPATH": str(clone), "YOLO_NANFIX_CACHE": str(clone / "cache"), "COLUMNS": "100"}
    command = [sys.executable, *module, *words[1:]]
    done = subprocess.run(command, cwd=clone, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def lines_of(page: str) -> list[str]:
    shown = [line for name, line in console_lines() if name == page]
    return [line for line in shown if line.startswith(".venv/")]


def outputs_of(page: str) -> list[str]:
    return [block.text for block in blocks(DOCS / "tutorials" / page) if block.language == "text"]


def test_the_rule_of_the_tutorial_works(clone):
    follow("write-a-rule.md", clone)
    test, rule = lines_of("write-a-rule.md")
    told, of_rule = outputs_of("write-a-rule.md")
    (passed,) = re.findall(r"\d+ passed", told)
    assert f"\n{passed}" in run(clone, test)
    assert run(clone, rule) == of_rule


def test_the_patch_of_the_tutorial_works(clone):
    follow("write-a-patch.md", clone)
    test, patches = lines_of("write-a-patch.md")
    assert "3 passed" in run(clone, test)
    shown = outputs_of("write-a-patch.md")[0]
    assert shown.replace("8.4.190", "") in re.sub(r"ultralytics \d[\d.]+", "ultralytics ", run(clone, patches))
