"""Names are read by their numbers; where these do not start at 0, that alone is reported."""

from __future__ import annotations

from pathlib import Path

import pytest
from linting.tiny_set import YAML, TinySet

from yolo_nanfix.dataset.config import read_config
from yolo_nanfix.linting.runner import run


@pytest.mark.parametrize(
    ("names", "numbers"),
    [
        ("{1: cat, 2: dog}", {1: "cat", 2: "dog"}),
        ("{'3': cat, 1: dog}", {1: "dog", 3: "cat"}),
        ("{0: cat, 2: dog}", {0: "cat", 2: "dog"}),
        ("{cat: 1, dog: 0}", {0: "dog", 1: "cat"}),
        ("{cat: a, dog: b}", {0: "a", 1: "b"}),
        ("{1: cat, '1': dog}", {0: "cat", 1: "dog"}),
    ],
)
def test_names_have_the_numbers_of_their_keys(tmp_path: Path, names: str, numbers: dict[int, str]):
    tiny = TinySet(tmp_path)
    tiny.yaml(YAML.replace("[cat, dog]", names))
    assert read_config(tmp_path).names == numbers


def test_rows_whose_class_is_a_key_are_right(tmp_path: Path):
    tiny = TinySet(tmp_path)
    tiny.yaml(YAML.replace("[cat, dog]", "{1: cat, 2: dog}"))
    for name in ("train/a", "val/b"):
        tiny.put(f"labels/{name}.txt", "1 0.5 0.5 0.2 0.2\n2 0.3 0.3 0.1 0.2\n")
    (finding,) = run(tmp_path).findings
    facts = {"numbers": (1, 2), "keys": ("1", "2"), "by_keys": True, "swapped": False, "last": 1}
    assert finding.code == "CF003" and facts.items() <= finding.values.items()
    tiny.rows("0 0.5 0.5 0.2 0.2\n3 0.3 0.3 0.1 0.2\n2 0.6 0.6 0.2 0.2\n")
    rows = [(f.code, f.place.line) for f in run(tmp_path).findings if f.code[:2] == "CL" and f.place.line and f.image]
    assert rows == [("CL003", 1), ("CL003", 2)]


def test_a_list_of_the_same_names_beside_the_set_agrees(tmp_path: Path):
    tiny = TinySet(tmp_path)
    tiny.yaml(YAML.replace("[cat, dog]", "{2: dog, 1: cat}"))
    for name in ("train/a", "val/b"):
        tiny.put(f"labels/{name}.txt", "1 0.5 0.5 0.2 0.2\n2 0.3 0.3 0.1 0.2\n")
    tiny.put("classes.txt", "cat\ndog\n")
    assert [f.code for f in run(tmp_path).findings] == ["CF003"]
    tiny.put("classes.txt", "dog\ncat\n")
    assert {f.code for f in run(tmp_path).findings} == {"CF003", "CL050"}


def test_names_and_numbers_that_changed_places(tmp_path: Path):
    tiny = TinySet(tmp_path)
    tiny.yaml(YAML.replace("[cat, dog]", "{cat: 0, dog: 1}"))
    (finding,) = run(tmp_path).findings
    assert finding.code == "CF003" and finding.values["swapped"]


def test_ultralytics_does_not_start_with_such_numbers(tmp_path: Path):
    from ultralytics.data.utils import check_det_dataset

    tiny = TinySet(tmp_path)
    for names, error in (("{1: cat, 2: dog}", KeyError), ("{0: cat, 2: dog}", KeyError), ("{cat: 0}", ValueError)):
        tiny.yaml(YAML.replace("[cat, dog]", names))
        with pytest.raises(error):
            check_det_dataset(str(tmp_path / "data.yaml"))


@pytest.mark.parametrize("names", ["5", "true", "[]", "cat", "1.5", "2024-01-01"])
def test_a_yaml_beside_the_set_whose_names_are_none_is_passed_over(tmp_path: Path, names: str):
    tiny = TinySet(tmp_path)
    tiny.put("other.yaml", YAML.replace("[cat, dog]", names))
    assert run(tmp_path / "data.yaml").findings == ()
