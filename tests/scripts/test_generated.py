"""What is generated from the code is up to date, and the fingerprint script hashes what Python reads."""

from __future__ import annotations

import fingerprint
import matrix
import readme

from yolo_nanfix import cards, upstream


def test_the_readme_tables_are_up_to_date():
    text = readme.README.read_text(encoding="utf-8")
    assert readme.filled(text) == text, "run: python scripts/readme.py"
    assert "IM011" in text and "rect-validation" in text


def test_the_hash_of_a_wheel_is_the_hash_of_the_imported_function():
    found = fingerprint.marks(upstream.version(), fingerprint.targets())
    assert len(found) > 20
    for path, mark in found.items():
        assert upstream.fingerprint(upstream.resolve(path).raw) == mark, path


def test_what_a_source_lacks_is_none():
    source = "class A:\n    def f(self):\n        return 1\n"
    assert fingerprint.function_text(source, "A.f") == "    def f(self):\n        return 1\n"
    assert fingerprint.function_text(source, "A.gone") is None
    assert fingerprint.function_text(source, "gone") is None


def test_a_changed_text_and_a_target_that_went_are_drift():
    path = "ultralytics.utils.metrics:bbox_iou"
    known = next(iter(cards.load_all()["box-iou-half-precision"].fingerprints))
    told = fingerprint.drift({"9.0.0": {path: "sha256:other"}, "9.0.1": {path: known}})
    ours = [line for line in told if "box-iou" in line]
    assert ours == [f"DRIFT 9.0.0: {path} has a text that card 'box-iou-half-precision' does not know"]
    assert "DRIFT 9.0.1: no target of card 'mask-area-zero' exists" in told


def test_a_card_of_several_targets_names_them_in_its_ranges():
    card = cards.load_all()["rect-validation"]
    first, second = card.targets[:2]
    entry = fingerprint.of_card(card, {"8.4.1": {first: "a", second: "a"}, "8.4.2": {first: "b", second: "a"}})
    assert entry == {
        "a": "DetectionTrainer.build_dataset 8.4.1; WorldTrainer.build_dataset 8.4.1-8.4.2",
        "b": "DetectionTrainer.build_dataset 8.4.2",
    }


def test_the_matrix_table_tells_good_from_bad():
    ours = {"release": "8.4.9", "states": {"a": "on", "b": "fixed"}, "reasons": {}, "identical": True}
    ends = {"stock_survives": False, "survives": True, "command": True}
    failed = {"release": "8.4.10", "error": "RuntimeError: no"}
    rows = matrix.table([failed, {**ours, **ends}]).splitlines()[2:]
    assert rows[0] == "| 8.4.9 | 1 | 1 | none | yes, bit for bit | **dies** | survives | healthy, image left out |"
    assert "RuntimeError: no" in rows[1]
    assert matrix.good({**ours, **ends}) and not matrix.good(failed)
    assert not matrix.good({**ours, **ends, "identical": False})
    assert not matrix.good({**ours, **ends, "command": False})


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
    changed = cards.load_card(tmp_path / "mask-area-zero.yaml")
    assert dict(changed.fingerprints) == {mark: "9.9.9"}
    assert changed.symptom == card.symptom and changed.params == card.params
