"""An incident holds the label rows of its own images, also where Ultralytics dropped others from the dataset."""

from __future__ import annotations

from pathlib import Path

import lab
import pytest
from make_datasets import make_dataset, plant
from marks import matrix

import yolo_nanfix
from yolo_nanfix import incident


@pytest.mark.parametrize("dropped", [None, *matrix(2)])
def test_label_rows_belong_to_their_image(dropped, tmp_path, unpatched):
    data = make_dataset(tmp_path / "set", n_train=8, n_val=2, size=(64, 64), seed=3)
    plant(data.parent, "nan_pixels", index=5)
    if dropped is not None:
        plant(data.parent, "label_nan", index=dropped)  # Ultralytics drops that image
    with yolo_nanfix.patched():
        lab.train(data, tmp_path / "run", epochs=1, hsv_h=0.0, hsv_s=0.0, hsv_v=0.0)
    facts = incident.load_incident(incident.newest(tmp_path / "run")).facts
    assert any(source["suspect"] for source in facts["sources"])
    for source in facts["sources"]:
        own = Path(source["file"].replace("/images/", "/labels/")).with_suffix(".txt")
        assert source["labels"] == {"file": str(own), "rows": own.read_text().splitlines()}
