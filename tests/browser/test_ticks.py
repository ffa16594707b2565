"""The list to tick off, what can be copied, and pairs side by side."""

from __future__ import annotations

import shlex
import shutil

import chromium
import pytest
from make_datasets import make_dataset, paths, plant

import yolo_nanfix
from yolo_nanfix.cli.main import main

CLIPBOARD = {"permissions": ["clipboard-read", "clipboard-write"]}


@pytest.fixture(scope="module")
def pairs(folder):
    """A dataset whose path has a blank, with a copy across the splits, a faulty row, a note at info; and its page."""
    data = make_dataset(folder / "two of a kind", n_train=6, n_val=3, size=(64, 64), seed=5)
    plant(data.parent, "label_zero_box", index=2)
    for one, other in zip(paths(data.parent, "train", 4), paths(data.parent, "val", 90), strict=True):
        shutil.copy(one, other)
    paths(data.parent, "train", 1)[1].unlink()
    page = folder / "two.html"
    assert main(["lint", str(data), "--output-format", "html", "--output-file", str(page), "--quiet"]) == 1
    return data, page


def clipboard(page):
    return page.evaluate("navigator.clipboard.readText()")


@pytest.mark.parametrize("size", [chromium.DESKTOP, chromium.PHONE])
def test_both_images_of_a_pair_stand_side_by_side(visit, pairs, size):
    with visit(pairs[1], size) as visited:
        for place in ("#rule-SP002 .pair", "#list .pair"):
            boxes = [one.bounding_box() for one in visited.page.locator(f"{place} svg.thumbnail").all()]
            assert len(boxes) == 2 and abs(boxes[0]["y"] - boxes[1]["y"]) < 1
            assert boxes[0]["x"] + boxes[0]["width"] <= boxes[1]["x"]
            names = visited.page.locator(f"{place} figcaption").all_inner_texts()
            assert names == ["images/val/0090.jpg", "images/train/0004.jpg"]
        assert visited.clean()


def test_the_list_is_ticked_off_copied_and_remembered(visit, pairs):
    with visit(pairs[1], **CLIPBOARD) as visited:
        page = visited.page
        told = page.locator("#tick-list li").all_inner_texts()
        found = {f.image for f in yolo_nanfix.lint(pairs[0]).findings if f.severity.value != "info"}
        assert len(told) == len(found) == 2 and "BX004" in told[0] and "SP002" in told[1]
        assert page.locator("#tick-count").inner_text() == "0 of 2 ticked off"
        page.get_by_role("checkbox", name="images/train/0002.jpg").check()
        assert page.locator("#tick-count").inner_text() == "1 of 2 ticked off"
        page.get_by_role("button", name="Copy as a task list").click()
        page.get_by_role("button", name="Copied").wait_for()
        first, second = clipboard(page).splitlines()
        assert first.startswith("- [x] images/train/0002.jpg: BX004 labels/train/0002.txt:")
        assert second == "- [ ] images/val/0090.jpg: SP002 the same bytes as images/train/0004.jpg (train)"
        page.get_by_role("button", name="Copy the remaining names").click()
        page.get_by_role("button", name="Copied").first.wait_for()
        page.wait_for_function("navigator.clipboard.readText().then((text) => text === 'images/val/0090.jpg\\n')")
        page.reload()
        assert page.get_by_role("checkbox", name="images/train/0002.jpg").is_checked()
        assert visited.clean()


def test_commands_are_copied_whole_and_work_from_another_folder(visit, pairs):
    with visit(pairs[1], **CLIPBOARD) as visited:
        page = visited.page
        commands = page.locator(".steps pre").all_inner_texts()
        assert page.locator(".steps button.copy").count() == len(commands) > 3
        page.locator(".steps button.copy").first.click()
        page.get_by_text("Copied").wait_for()
        assert clipboard(page) == commands[0]
        for command in commands:
            words = shlex.split(command)
            assert words[2] == str(pairs[0]), "absolute, and one word"
        assert not [c for c in commands if "handoff" in c and not shlex.split(c)[3].startswith("/")]


def test_what_stock_keeps_stands_at_the_top(visit, pairs):
    with visit(pairs[1]) as visited:
        table = visited.page.locator("table.splits")
        assert table.count() == 1 and table.locator("tbody tr").count() == 2
        assert table.bounding_box()["y"] < visited.page.locator("#todo").bounding_box()["y"]
