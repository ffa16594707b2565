"""Thirty hostile names, of files and of classes: none runs, none breaks a page, all are shown as they are."""

from __future__ import annotations

import cv2
import lab
import numpy as np
import pytest
import yaml
from hostile import CLASS_NAMES, FILE_NAMES, as_shown
from playwright.sync_api import expect

import yolo_nanfix
from yolo_nanfix.cli.main import main

TAGS = "script, style, iframe, object, embed, base, form, link, meta, [onload], [onerror], [onmouseover], [onfocus]"


@pytest.fixture(scope="module")
def attack(tmp_path_factory):
    """A dataset of hostile names: an image and a bad row for each file name, and all the class names."""
    root = tmp_path_factory.mktemp("attack")
    for split in ("train", "val"):
        for number, name in enumerate(FILE_NAMES):
            image, label = root / "images" / split / f"{name}.png", root / "labels" / split / f"{name}.txt"
            image.parent.mkdir(parents=True, exist_ok=True)
            label.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.random.default_rng((number, split == "val")).integers(0, 256, (64, 64, 3), dtype=np.uint8)
            image.write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
            label.write_text(f"{number} 0.5 0.5 0.4 0.4\n{number} 0.9 0.5 0.4 0.3\n")
    names = dict(enumerate(CLASS_NAMES))
    text = yaml.safe_dump({"train": "images/train", "val": "images/val", "names": names}, allow_unicode=True)
    (root / "data.yaml").write_text(text, encoding="utf-8")
    return root / "data.yaml"


@pytest.fixture(scope="module")
def attack_lint(attack):
    page = attack.parent / "lint.html"
    main(["lint", str(attack), "--output-format", "html", "--output-file", str(page), "--quiet"])
    return page


@pytest.fixture(scope="module")
def attack_run(attack):
    """The page of a run on it whose every micro-batch of the first epoch is lost, so that incidents name all files."""
    faulty = {(0, number) for number in range(1, 4)}
    with yolo_nanfix.patched(max_bad_in_a_row=9):
        result = lab.train(attack, attack.parent / "run", trainer=lab.poisoned("detect", faulty))
    assert result.error is None
    return attack.parent / "run" / "yolo-nanfix.html"


@pytest.fixture(params=["attack_lint", "attack_run"])
def page_file(request):
    return request.getfixturevalue(request.param)


def test_there_are_thirty():
    assert len({*CLASS_NAMES, *FILE_NAMES}) == 30


def test_no_name_runs(visit, page_file, small_lint, faulty_run):
    """Also after every part was opened and every list was used."""
    usual = small_lint if page_file.name == "lint.html" else faulty_run
    with visit(usual) as visited:
        allowed = visited.page.locator(TAGS).count()
    with visit(page_file) as visited:
        page = visited.page
        page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
        for select in page.locator("select").all():
            for value in select.locator("option").all():
                select.select_option(value.get_attribute("value"))
            select.select_option(index=0)
        page.mouse.wheel(0, 50_000)
        page.wait_for_timeout(300)
        assert page.evaluate("window.hacked") is None
        assert page.locator(TAGS).count() == allowed, "a name became an element"
        assert (visited.complaints, visited.requests) == ([], [])


def test_file_names_are_found_and_shown(visit, attack_lint):
    with visit(attack_lint) as visited:
        for name in FILE_NAMES:
            visited.page.locator("#search").fill(as_shown(name))
            expect(visited.page.locator("#count")).to_contain_text("in 2 images")  # train and val
            for text in visited.page.locator(".finding").all_inner_texts():
                assert as_shown(name) in " ".join(text.split())


def test_class_names_are_shown(visit, attack_lint):
    with visit(attack_lint) as visited:
        options = {" ".join(o.inner_text().split()) for o in visited.page.locator("#class option").all()}
        assert {as_shown(name) for name in CLASS_NAMES} <= options
