"""What is generated from the code is up to date, and the fingerprint script hashes what Python reads."""

from __future__ import annotations

import importlib.metadata
import zipfile
from pathlib import Path

import fingerprint
import pytest
import readme

from yolo_nanfix import cards, upstream


def test_the_readme_tables_are_up_to_date():
    text = readme.README.read_text(encoding="utf-8")
    assert readme.filled(text) == text, "run: python scripts/readme.py"
    assert "IM011" in text and "rect-validation" in text


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The installed ultralytics packed as its wheel is."""
    path = tmp_path_factory.mktemp("wheel") / "ultralytics.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for file in importlib.metadata.files("ultralytics") or ():
            if file.suffix == ".py":
                archive.write(Path(str(file.locate())), str(file))
    return zipfile.ZipFile(path)


@pytest.mark.parametrize("name", [c.name for c in cards.load_all().values() if c.target.startswith("ultralytics.")])
def test_the_hash_of_a_wheel_is_the_hash_of_the_imported_function(name, wheel):
    target = cards.load_all()[name].target
    text = fingerprint.function_text(wheel, target)
    assert text is not None
    assert upstream.text_fingerprint(text) == upstream.fingerprint(upstream.resolve(target).raw)


def test_what_a_wheel_lacks_is_none(wheel):
    assert fingerprint.function_text(wheel, "ultralytics.gone:f") is None
    assert fingerprint.function_text(wheel, "ultralytics.utils.loss:v8SegmentationLoss.gone") is None


def test_ranges_cover_the_releases_looked_at():
    marks = {"8.0.1": None, "8.0.2": "a", "8.0.3": "a", "8.0.4": "b", "8.0.5": "a"}
    assert fingerprint.ranges(marks) == {"a": "8.0.2-8.0.3, 8.0.5", "b": "8.0.4"}


def test_rewrite_replaces_the_fingerprints_alone(tmp_path, monkeypatch):
    card = cards.load_all()["mask-area-zero"]
    source = (cards.directory() / "mask-area-zero.yaml").read_text(encoding="utf-8")
    (tmp_path / "mask-area-zero.yaml").write_text(source, encoding="utf-8")
    monkeypatch.setattr(cards, "directory", lambda: tmp_path)
    mark = "sha256:" + "0" * 64
    fingerprint.rewrite(card, {mark: "9.9.9"})
    changed = cards.load(tmp_path / "mask-area-zero.yaml")
    assert dict(changed.fingerprints) == {mark: "9.9.9"}
    assert changed.symptom == card.symptom and changed.params == card.params
