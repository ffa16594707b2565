"""What the settings of lint mean for a training: a poisonous image is left out unless its rule is ignored by name."""

from __future__ import annotations

from pathlib import Path

import lab
import pytest
from make_datasets import make_dataset, plant

import yolo_nanfix
from yolo_nanfix.errors import UsageError

pytestmark = pytest.mark.usefixtures("unpatched")


@pytest.fixture
def sick(tmp_path: Path, monkeypatch) -> Path:
    """Four train images, one of them shadowed by an array with NaN pixels; every box is a small one."""
    monkeypatch.chdir(tmp_path)
    data = make_dataset(tmp_path / "set", n_train=4, n_val=2, size=(64, 64), seed=1)
    plant(data.parent, "nan_pixels", index=1)
    return data


def dry_run(data: Path) -> yolo_nanfix.runs.Run:
    return yolo_nanfix.train(data, model=lab.TINY, dry_run=True, imgsz=64)


def test_a_poisonous_image_is_left_out_unless_its_rule_is_ignored_by_name(sick: Path):
    Path("nanfix.yaml").write_text("lint: {ignore: [IM, ALL]}")
    summary = dry_run(sick).summary
    assert [[f["code"] for f in found] for found in summary["quarantined"].values()] == [["IM011"]]
    assert {f["code"] for f in summary["lint"]["findings"]} == {"IM011"}
    Path("nanfix.yaml").write_text("lint: {per-path-ignores: {'set/images/**': [pixel-nan]}}")
    assert dry_run(sick).summary["quarantined"] == {}


def test_a_wrong_setting_is_said_before_a_model_is_loaded(sick: Path):
    Path("nanfix.yaml").write_text("lint: {ignor: [IM011]}")
    with pytest.raises(UsageError, match="did you mean 'ignore'"):
        yolo_nanfix.train(sick, model="nowhere.pt", dry_run=True)
