"""Cards: each shipped one is whole; a malformed one gets one clear error naming file and key."""

from __future__ import annotations

from pathlib import Path

import pytest

from yolo_nanfix import cards
from yolo_nanfix.errors import CardError

GOOD = (cards.directory() / "mask-area-zero.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", cards.load_all())
def test_shipped_cards_say_everything(name):
    card = cards.load_all()[name]
    assert card.symptom and card.cause and card.does and card.leaves and card.measured
    assert card.references and all(r.startswith("https://") for r in card.references)
    assert all(param.help for param in card.params.values())


def test_every_card_is_tested_by_name():
    here = Path(__file__).parent
    text = "".join(
        p.read_text(encoding="utf-8") for folder in ("patching", "processes") for p in here.glob(f"{folder}/*.py")
    )
    assert [n for n in cards.load_all() if n not in text and n.replace("-", "_") not in text] == []


def written(tmp_path, text, name="mask-area-zero"):
    path = tmp_path / f"{name}.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("symptom:", "symptoms:", "no key 'symptoms'"),
        ("default: \"on\"", "default: 'yes'", "'default' must be one of on, off, auto"),
        ("default: \"on\"\n", "", "no 'default'"),
        ("name: mask-area-zero", "name: other", "the file is named 'mask-area-zero'"),
        ("target: ultralytics", "target: ultra lytics", "'target' must read"),
        ("affected: [", "affected: [{introduced: 1}, ", "Affected.introduced"),
        ("  \"sha256:", "  \"md5:", "'fingerprints' must map"),
        ("    default: 0.2", "    defalt: 0.2", "'defalt'"),
        ("references:\n", "references: none\nparams_: \n", "no key 'params_'"),
        ("cause: The", "cause: [The", "not valid YAML"),
    ],
)  # fmt: skip
def test_a_malformed_card_is_refused_by_file_and_key(old, new, says, tmp_path):
    assert old in GOOD
    path = written(tmp_path, GOOD.replace(old, new, 1))
    with pytest.raises(CardError, match=says) as error:
        cards.load_card(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("text", ("", "- a list", "just text"))
def test_a_card_is_a_mapping(text, tmp_path):
    with pytest.raises(CardError, match="a card is a mapping"):
        cards.load_card(written(tmp_path, text))
