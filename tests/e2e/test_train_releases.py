"""`yolo-nanfix train` starts on the oldest supported releases, which alone do not import beside today's packages."""

from __future__ import annotations

import json

import pytest
from marks import matrix
from releases import run

from yolo_nanfix.training import parse_pairs

COMMAND = """
import json, pathlib, sys, matrix_case
print(json.dumps(matrix_case.command(pathlib.Path.cwd())))
"""
REFUSED = """
import pathlib, sys
from make_datasets import make_dataset
from yolo_nanfix.cli.main import main
data = make_dataset(pathlib.Path("set").resolve(), n_train=2, n_val=1, size=(64, 64), seed=1)
sys.stderr = sys.stdout
print(main(["train", str(data), "model=yolov8n.yaml"]))
"""


@pytest.mark.parametrize("release", ["8.0.136", *matrix("8.0.186", "8.1.47", "8.4.60")])
def test_the_command_leaves_the_image_out_and_ends_healthy(release):
    assert json.loads(run(release, COMMAND).splitlines()[-1]) is True


def test_a_release_whose_trainers_are_not_known_is_refused_by_name():
    *_, said, code = run("8.0.60", REFUSED).splitlines()
    assert said == "yolo-nanfix: error: training under the guard needs ultralytics 8.0.136 or newer; this is 8.0.60"
    assert code == "2"


WORDS = (
    "100",
    "1e-3",
    "None",
    "TRUE",
    "false",
    "0,1",
    "[0, 2]",
    "cpu",
    "a/b.pt",
    "'x'",
    "nan",
    "1e39",
    "-1",
    "08",
    "a b",
)


@pytest.mark.parametrize("word", WORDS)
def test_values_are_read_as_ultralytics_reads_them(word):
    from ultralytics.cfg import smart_value

    assert parse_pairs([f"key={word}"])["key"] == smart_value(word)
