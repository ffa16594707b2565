"""The page of a run, from the folders of real trainings: what it says, shows and draws."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path
from types import SimpleNamespace

import lab
import numpy as np
import pytest
import reading
from safetensors import safe_open

import yolo_nanfix
from yolo_nanfix import runs
from yolo_nanfix.cli.main import main
from yolo_nanfix.report.html import run_page as page
from yolo_nanfix.report.html.incident_list import TINT
from yolo_nanfix.run_folder.read import read_run
from yolo_nanfix.run_folder.summary import RunContext


def built(folder) -> reading.Read:
    found = reading.read(page.page(read_run(folder)))
    assert found.wrong == []
    return found


def test_a_healthy_run_needs_nothing(trained):
    found = built(trained / "healthy")
    assert "None of 6 micro-batches dropped, the model finds nothing yet in validation" in found.text
    assert (
        "; too early to tell whether it learns, mAP50 0.00." in found.text and "the model is healthy" not in found.text
    )
    assert "The guard saw nothing that it had to act on." in found.text
    assert "No incident was written." in found.text
    assert "Missing or damaged" not in found.text and found.of("img") == []


def test_a_faulty_run_says_how_it_went_and_what_to_do_in_order(trained):
    found = built(trained / "faulty")
    assert "2 of 6 micro-batches dropped because of 1 image, left out from then on, the model finds" in found.text
    assert "; the run is degraded, mAP50 0.00." in found.text
    todo = found.text.partition("What to do")[2].partition("The run")[0]
    first, second = todo.index("fix or remove images/train/0005.jpg"), todo.index("Lint found 1 fatal")
    assert first < second
    assert todo.count("yolo-nanfix lint") == 2  # once alone, once with --fix


def test_each_event_is_marked_on_each_curve_and_says_what_stock_does(trained):
    found = built(trained / "faulty")
    assert "stock Ultralytics writes zeros to last.pt and best.pt, reloads them three times" in found.text
    charts = [a for a in found.of("figure") if a.get("class") == "chart"]
    assert [a["id"] for a in charts] == [
        "chart-losses", "chart-total", "chart-grad-norm", "chart-lr", "chart-metrics", "chart-val-losses",
    ]  # fmt: skip
    flags = [a for tag, a in found.elements if "flag" in (a.get("class") or "")]
    assert len(flags) == 2 * len(charts)
    assert {a["href"] for a in flags if "href" in a} == {"#event-1", "#event-2"}


def test_curves_hold_the_readings_and_show_where_they_were_not_finite(trained):
    found = built(trained / "faulty")
    losses = found.readings()["charts"][0]
    assert [curve["name"] for curve in losses["curves"]] == ["box_loss", "cls_loss", "dfl_loss"]
    rows = [line.split(",") for line in (trained / "faulty" / "yolo-nanfix.csv").read_text().split()]
    box = [row[rows[0].index("box_loss")] for row in rows[1:]]
    shown = losses["curves"][0]["y"]
    assert [v == "NaN" for v in shown] == [v == "NaN" for v in box]
    assert [v for v in shown if v != "NaN"] == pytest.approx([float(v) for v in box if v != "NaN"], rel=1e-4)
    gaps = [a for a in found.of("span") if a.get("class") == "lost"]
    assert len(gaps) == 2  # steps 3 and 4 as one, in the chart of terms and in that of the total
    assert "box_loss NaN" in (gaps[0]["title"] or "")


def test_val_metrics_stand_at_the_last_step_of_their_epoch(trained):
    found = built(trained / "faulty")
    metrics = next(c for c in found.readings()["charts"] if c["key"] == "metrics")
    assert metrics["curves"][0]["x"] == [3, 6]
    assert found.readings()["epochs"] == [[3, 1], [6, 2]]


def test_an_incident_shows_the_suspect_image_with_its_boxes_and_tinted_pixels(trained):
    found = built(trained / "faulty")
    files = sorted((trained / "faulty" / "incidents").iterdir())
    with safe_open(files[0], framework="np") as stream:
        images = stream.get_tensor("batch.img")
        boxes = stream.get_tensor("batch.batch_idx")
    suspect = next(i for i, image in enumerate(images) if not np.isfinite(image).all())
    bad = ~np.isfinite(images[suspect]).all(axis=0)
    drawn_image = found.pictures()[0]
    assert drawn_image.shape == (64, 64, 3)
    tint, other = drawn_image[bad].mean(axis=0), drawn_image[~bad].mean(axis=0)
    assert np.abs(tint - TINT).max() < 60 < np.abs(other - TINT).max()
    shown = np.clip(images[suspect].transpose(1, 2, 0)[..., ::-1] * 255, 0, 255)[~bad]
    assert np.abs(drawn_image[~bad].astype(float) - shown).mean() < 8
    first = next(i for i, (_, a) in enumerate(found.elements) if a.get("class") == "sample suspect")
    later = [a for tag, a in found.elements[first:] if tag == "figure"]
    drawn = found.elements[first : found.elements.index(("figure", later[1]))]
    assert sum(a.get("class") == "box" for _, a in drawn) == int((boxes == suspect).sum())
    assert len(found.pictures()) == 2 * 4  # all images of both micro-batches


def test_an_incident_says_what_was_found_out(trained):
    text = built(trained / "faulty").text.partition("Incidents")[2]
    verdict = json.loads((trained / "faulty" / "yolo-nanfix.json").read_text())["guard"]["verdicts"][0]
    for words in (verdict["op"], verdict["module"], verdict["code"], "loss terms bit-identical", "BatchNorm put back"):
        assert words in text
    files = sorted((trained / "faulty" / "incidents").iterdir())
    assert all(f"yolo-nanfix diagnose {shlex.quote(str(file))}" in text for file in files)


def test_the_command_of_the_page_trains_the_same(trained, tmp_path, capsys, unpatched):
    command = shlex.split(page.context(read_run(trained / "faulty"))["command"])
    assert command[:5] == ["yolo-nanfix", "train", str(trained / "set" / "data.yaml"), "--on-fatal", "ignore"]
    assert {"imgsz=64", "epochs=2"} <= set(command) and len(command) < 25  # what is at its default is left out
    assert main([*command[1:], f"project={tmp_path}", "name=again"]) == 0
    capsys.readouterr()
    assert (tmp_path / "again" / "yolo-nanfix.csv").read_text() == (trained / "faulty" / "yolo-nanfix.csv").read_text()


def test_without_what_is_default_all_arguments_stand_in_the_command(faulty, tmp_path, capsys, unpatched):
    report = json.loads((faulty / "yolo-nanfix.json").read_text())
    del report["arguments"], report["guard"]["changed"]
    (faulty / "yolo-nanfix.json").write_text(json.dumps(report))
    command = shlex.split(page.context(read_run(faulty))["command"])
    assert "--max-bad-in-a-row" in command and "momentum=0.937" in command
    assert main([*command[1:], f"project={tmp_path}", "--dry-run"]) == 0
    assert "training would start" in capsys.readouterr().out


def test_a_stock_run_shows_what_there_is_and_says_so(trained):
    found = built(trained / "stock")
    assert "A run without a report of yolo-nanfix" in found.text and "losses were not finite in" in found.text
    assert "There is no yolo-nanfix.json: the run was not guarded" in found.text
    assert any(a["id"] == "chart-val-losses" for a in found.of("figure") if a.get("class") == "chart")


def test_every_run_gets_its_page_and_names_it(trained, tmp_path, unpatched):
    for name in ("healthy", "faulty"):
        summary = json.loads((trained / name / "yolo-nanfix.json").read_text())
        assert summary["paths"]["page"] == str(trained / name / "yolo-nanfix.html")
        assert (trained / name / "yolo-nanfix.html").read_text(encoding="utf-8").endswith("</html>")
    with yolo_nanfix.patched():  # started by Ultralytics itself
        lab.train(trained / "set" / "data.yaml", tmp_path / "run", epochs=1, fraction=0.4)
    assert "micro-batches dropped" in built(tmp_path / "run").text
    assert (tmp_path / "run" / "yolo-nanfix.html").is_file()


def test_a_page_that_cannot_be_written_does_not_hurt_the_run(trained, tmp_path, unpatched):
    (tmp_path / "run" / "yolo-nanfix.html" / "in the way").mkdir(parents=True)
    with yolo_nanfix.patched():
        result = lab.train(trained / "set" / "data.yaml", tmp_path / "run", epochs=1, fraction=0.4)
    assert result.error is None
    summary = json.loads((tmp_path / "run" / "yolo-nanfix.json").read_text())
    assert summary["outcome"] == "finished" and "page" not in summary["paths"]
    assert not list((tmp_path / "run").glob(".*.tmp"))


def test_the_report_of_several_processes_gets_what_the_launcher_knows(faulty, trained):
    """Rank 0 draws the page without lint; the process that started the ranks completes the report, and draws again."""
    report = json.loads((faulty / "yolo-nanfix.json").read_text())
    (faulty / "yolo-nanfix.json").write_text(json.dumps({**report, "lint": None}))
    assert "Lint found" not in built(faulty).text
    linted = yolo_nanfix.lint(trained / "set" / "data.yaml", settings=False)
    context = RunContext(lint=linted, on_fatal="quarantine", quarantined=linted.fatal_images())
    model = SimpleNamespace(trainer=SimpleNamespace(save_dir=str(faulty)))
    runs._of_workers(model, context)
    written = reading.read((faulty / "yolo-nanfix.html").read_text(encoding="utf-8"))
    assert "Lint found 1 fatal" in written.text and "left out of this run before it began" in written.text


def test_train_gives_back_what_a_notebook_shows(trained):
    summary = json.loads((trained / "faulty" / "yolo-nanfix.json").read_text())
    html = runs.Run("finished", True, (), summary)._repr_html_()
    assert "2 of 6 micro-batches dropped because of 1 image" in html
    assert (trained / "faulty" / "yolo-nanfix.html").as_uri() in html
    assert "<script" not in html and "<style" not in html


def test_more_pictures_than_there_is_room_for_are_counted(faulty, monkeypatch):
    monkeypatch.setattr("yolo_nanfix.report.html.incident_list.THUMBNAILS", 3)
    found = built(faulty)
    assert len(found.of("img")) == 2 + 3  # the suspect ones come first
    assert "3 of 4 images of the micro-batch have no picture here" in found.text


def test_old_incidents_are_counted_when_there_are_too_many(faulty):
    folder = faulty / "incidents"
    first = sorted(folder.iterdir())[0]
    for number in range(20):
        shutil.copy(first, folder / f"0000-{number:05d}-loss.safetensors")
    found = built(faulty)
    assert "2 older incidents are not shown." in found.text
    assert sum("incident card" in (a.get("class") or "") for a in found.of("article")) == 20
    assert len(page.page(read_run(faulty))) < 3_000_000


def test_the_folder_may_have_moved(trained, tmp_path):
    moved = Path(shutil.copytree(trained / "faulty", tmp_path / "moved & <away>"))
    assert "moved &amp; &lt;away&gt;" in page.page(read_run(moved))
    assert built(moved).of("img")
