"""What the page says of stock Ultralytics is what the zoo saw it do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from yolo_nanfix.events import Check
from yolo_nanfix.report.html.event_list import StockCase, stock_would

ZOO = Path(__file__).parents[2] / "datasets" / "zoo"
FORWARD = frozenset({Check.LOSS, Check.BATCHNORM, Check.PIXELS, Check.OUTPUTS})
WORDS = {
    "raises": "RuntimeError",
    "map-zero": ("mAP 0", "zeros"),
    "nan-loss": "NaN validation losses",
    "survives": ("survives, too", "trains on"),
}
CASES = {
    "pixel-nan-first-epoch": StockCase(FORWARD, "data", False, 1, 3),
    "pixel-nan-accumulation": StockCase(FORWARD, "data", False, 2, 3),
    "pixel-nan-last-window": StockCase(FORWARD, "data", False, 3, 3, last_window=True),
    "pixel-nan-one-epoch": StockCase(FORWARD, "data", False, 1, 1),
    "pixel-nan-middle-scaler": StockCase(FORWARD, "data", True, 2, 3),
    "pixel-nan-last-batch": StockCase(FORWARD, "data", True, 3, 3, last_in_epoch=True, last_window=True),
    "activation-half-once": StockCase(frozenset({Check.LOSS, Check.BATCHNORM, Check.OUTPUTS}), "precision", True, 2, 3),
    "loss-divided-by-zero": StockCase(frozenset({Check.LOSS}), "definition", True, 2, 3),
    "loss-log-negative": StockCase(frozenset({Check.LOSS}), "definition", False, 2, 3),
    "gradient-nan-scaler": StockCase(frozenset({Check.GRADIENT}), "", True, 2, 3),
    "gradient-nan-accumulation": StockCase(frozenset({Check.GRADIENT}), "definition", False, 2, 3),
    "gradient-nan-last-step": StockCase(frozenset({Check.GRADIENT}), "definition", False, 3, 3, last_window=True),
    "gradient-huge": StockCase(frozenset({Check.GRADIENT}), "gradient", False, 2, 3),
    "learning-rate-sgd": StockCase(frozenset({Check.DIVERGENCE}), "learning-rate", False, 1, 3),
    "target-nan-centre": StockCase(frozenset({Check.TARGETS}), "label", False, 2, 3),
    "val-image-nan": StockCase(frozenset({Check.VAL_BATCH}), "", False, 1, 3),
    "live-batchnorm-nan": StockCase(FORWARD, "state", False, 2, 3),
    "live-ema-nan": StockCase(frozenset({Check.EMA}), "", False, 2, 3),
    "live-weights-nan": StockCase(frozenset({Check.WEIGHTS}), "state", False, 2, 3),
    "loss-scale-collapse-half": StockCase(frozenset({Check.LOSS_SCALE}), "", True, 1, 3),
    "checkpoint-nan-batchnorm": StockCase(frozenset({Check.BATCHNORM}), before_start=True),
    "checkpoint-nan-weights": StockCase(frozenset({Check.WEIGHTS}), "state", before_start=True),
    "resume-nan-optimizer": StockCase(frozenset({Check.OPTIMIZER}), before_start=True),
    "resume-scale-zero": StockCase(frozenset({Check.LOSS_SCALE}), before_start=True),
}


@pytest.mark.parametrize("name", CASES)
def test_the_words_are_what_the_zoo_measured(name):
    outcome = yaml.safe_load((ZOO / f"{name}.yaml").read_text(encoding="utf-8"))["stock"]["outcome"]
    said, wanted = stock_would(CASES[name]), WORDS[outcome]
    assert any(word in said for word in ([wanted] if isinstance(wanted, str) else wanted)), said


@pytest.mark.parametrize(
    "situation",
    [
        StockCase(FORWARD, "data", None, 1, 3),  # with or without a GradScaler?
        StockCase(frozenset({Check.DIVERGENCE}), severe=False),
        StockCase(frozenset({Check.SAMPLES})),
        StockCase(FORWARD, "data", True, 2, 3, last_in_epoch=True),
    ],
)
def test_nothing_is_said_where_nothing_was_measured(situation):
    assert stock_would(situation) == ""


NAMES = ("stroller_0040.jpg", "bus_stopped/a.jpg", "dropped/a.jpg", "reported/a.jpg", "not started.jpg", "0001.jpg")


@pytest.mark.parametrize("name", NAMES)
def test_names_of_images_change_nothing_that_a_page_says(name, tmp_path):
    from yolo_nanfix.events import Action, Check, Did, Event, Point, Source
    from yolo_nanfix.report.html import charts, event_list, run_advice
    from yolo_nanfix.run_folder.read import read_run

    image = f"/data/{name}"
    left_out = (Action(Did.SAMPLES_LEFT_OUT), Action(Did.QUARANTINED, images=(image,)))
    event = Event(Point.BATCH, (Check.SAMPLES,), 1, 3, (Source(image, "nan"),), "{file}", {"file": image}, left_out)
    for backs in (0, 1):
        guard = {"micro_batches": 100, "rollbacks": backs, "quarantined": [image], "events": [event.as_dict()]}
        report = {"outcome": "finished", "healthy": True, "guard": guard}
        (tmp_path / "yolo-nanfix.json").write_text(json.dumps(report))
        run = read_run(tmp_path)
        assert ("rolled back once" in run_advice.headline(run)) == bool(backs)
        (listed,) = event_list.grouped_events(run, charts.axis(run))
        assert listed.level == "warning" and not event_list.dropped(guard["events"][0])
        assert not event_list.RunFacts(run).case(guard["events"][0]).severe
