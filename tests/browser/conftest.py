"""Pages of real runs and real lints, made once, and Chromium to open them in."""

from __future__ import annotations

import shutil

import chromium
import lab
import many_findings
import pytest
from make_datasets import make_dataset, plant

import yolo_nanfix
from yolo_nanfix.cli.main import main


@pytest.fixture
def visit(running):
    """Opens a file: `with visit(path, size, **options) as visited`."""
    return lambda file, size=chromium.DESKTOP, **options: chromium.visit(running, file, size, **options)


def lint_page(data, out, *options):
    """The file that `lint --output-format html` writes."""
    main(["lint", str(data), "--output-format", "html", "--output-file", str(out), "--quiet", *options])
    return out


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("pages")


@pytest.fixture(scope="session")
def dataset(folder):
    """A small drawn dataset with faults in two images."""
    data = make_dataset(folder / "data", n_train=8, n_val=4, size=(64, 64), seed=3)
    plant(data.parent, "label_zero_box", index=2)
    plant(data.parent, "label_spill", index=5)
    return data


@pytest.fixture(scope="session")
def healthy_run(folder, dataset):
    """The page of a run in which nothing happened."""
    with yolo_nanfix.patched():
        result = lab.train(dataset, folder / "healthy", epochs=2)
    assert result.error is None
    return folder / "healthy" / "yolo-nanfix.html"


@pytest.fixture(scope="session")
def faulty_run(folder, dataset):
    """The page of a run that lost two micro-batches to NaN pixels."""
    with yolo_nanfix.patched():
        result = lab.train(dataset, folder / "faulty", epochs=3, trainer=lab.poisoned("detect", {(0, 1), (1, 0)}))
    assert result.error is None
    return folder / "faulty" / "yolo-nanfix.html"


@pytest.fixture(scope="session")
def small_lint(folder, dataset):
    """The lint page of the small dataset."""
    return lint_page(dataset, folder / "small.html")


@pytest.fixture(scope="session")
def large_lint(folder):
    """The lint page of 10 000 findings."""
    return lint_page(many_findings.draw(folder / "many"), folder / "many.html")


@pytest.fixture(scope="session")
def bccd_lint(folder, shared):
    """The lint page of a real dataset of blood cells."""
    shutil.copytree(shared / "data" / "bccd", folder / "bccd")
    return lint_page(next((folder / "bccd").rglob("data.yaml")), folder / "bccd.html", "--deep")
