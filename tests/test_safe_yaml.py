"""YAML within bounds: what is loaded is what PyYAML loads, and what would take for ever is refused at once."""

from __future__ import annotations

import re
import time

import pytest
import yaml

from yolo_nanfix import safe_yaml

LAUGHS = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
MERGES = "a: &a {k0: 0, k1: 1}\n" + "".join(
    f"{name}: &{name}\n  <<: [{','.join([f'*{before}'] * 9)}]\n"
    for before, name in zip("abcdefg", "bcdefgh", strict=True)
)
BEYOND = {
    "aliases": (LAUGHS, "more than 500000 values"),
    "merges": (MERGES, "more than 500000 values"),
    "merge keys": ("a: &a {b: 1}\nc:\n" + "  <<: *a\n" * 100_000, "more than 500000 values"),
    "an alias inside itself": ("a: &a [*a]", "*a stands inside"),
    "flow lists": ("[" * 100_000, "within each other"),
    "block lists": ("- " * 5_000, "within each other"),
    "digits": ("a: " + "9" * 5_000, "5000 digits"),
    "hexadecimal": ("a: 0x" + "f" * 5_000, "5002 digits"),
    "base 60": ("a: 1" + ":59" * 100_000, "300001 digits"),
    "keys with one hash": ("".join(f"{n * (2**61 - 1)}: 1\n" for n in range(1, 30_000)), "a key of 19 digits"),
    "text": ("#" * (safe_yaml.LARGEST_TEXT + 1), "16 MB"),
}
"""By name: the text, and what is said of it."""


@pytest.mark.parametrize("name", BEYOND)
def test_what_is_beyond_the_bounds_is_refused_at_once(name):
    text, said = BEYOND[name]
    started = time.process_time()
    with pytest.raises(safe_yaml.TooMuch, match=re.escape(said)):
        safe_yaml.load_yaml(text)
    assert time.process_time() - started < 2


def test_more_values_than_the_bound(monkeypatch):
    text = "names: [a, b, c]\nmore: &m [1, 2]\nagain: *m\n"
    monkeypatch.setattr(safe_yaml, "VALUES", 14)
    assert safe_yaml.load_yaml(text) == {"names": ["a", "b", "c"], "more": [1, 2], "again": [1, 2]}
    monkeypatch.setattr(safe_yaml, "VALUES", 13)
    with pytest.raises(safe_yaml.TooMuch) as caught:
        safe_yaml.load_yaml(text)
    assert caught.value.line == 3


TEXTS = [
    "path: .\ntrain: images/train\nval: images/val\nnames:\n  0: größe\n  1: 'on'\n",
    "a: &a {b: 1, c: 2}\nd:\n  <<: *a\n  c: 3\ne: *a\n",
    "a: [1, 2.5, 0x1f, 1:30, yes, ~, 2020-01-02, !!binary aGk=, !!set {x}, !!omap [y: 1]]",
    *("", "# nothing\n", "[]", "--- |\n  x\n   y\n", "? a\n: b\n", "a: 1\nb: {c: 1}\n", f"a: {'9' * 99}"),
]


@pytest.mark.parametrize("loader", safe_yaml._LOADERS)
@pytest.mark.parametrize("text", TEXTS)
def test_it_is_what_pyyaml_loads(text, loader):
    assert (
        repr(safe_yaml._parsed_by(text, loader).value) == repr(yaml.safe_load(text)) == repr(safe_yaml.load_yaml(text))
    )


@pytest.mark.parametrize("loader", safe_yaml._LOADERS)
def test_keys_that_stand_twice_and_lines(loader):
    document = safe_yaml._parsed_by("a: 1\nb: {c: 1,\n  c: 2}\na: 2\nd: &d {x: 1}\ne:\n  <<: *d\n  x: 2\n", loader)
    assert document.repeated == (("c", 2, 3), ("a", 1, 4))
    assert [key.start_mark.line for key, _ in document.node.value] == [0, 1, 3, 4, 5]


@pytest.mark.parametrize("loader", safe_yaml._LOADERS)
def test_nodes_know_their_characters(loader):
    text = "größe: 1\nnames: {0: 'ü', 1: \U0001f600, 2: x}\n"
    _, value = safe_yaml._parsed_by(text, loader, values=False).node.value[1]
    spans = [(node.start_mark.index, node.end_mark.index) for pair in value.value for node in pair]
    assert [text[start:end] for start, end in spans] == ["0", "'ü'", "1", "\U0001f600", "2", "x"]


@pytest.mark.parametrize(
    "text",
    [
        *(
            "a: b: c",
            "a: *b",
            "a: &b 1\nc: &b 2",
            "- a\nb: 1",
            "a: 1\n---\nb: 2",
            "a:\n\t- b",
            "a: \x01",
            "a: 2020-99-99",
        ),
        *("? [1]\n: 2", "a: !!python/object/apply:os.system [echo]", "a: !own b", "{a: [1, 2", "a: 'b"),
    ],
)
def test_what_pyyaml_refuses_is_refused_with_its_place(text):
    with pytest.raises((yaml.YAMLError, ValueError)) as theirs:
        yaml.safe_load(text)
    with pytest.raises(safe_yaml.NotYaml) as ours:
        safe_yaml.load_yaml(text)
    mark = getattr(theirs.value, "problem_mark", None)
    assert (ours.value.line, ours.value.column) == ((mark.line + 1, mark.column + 1) if mark else (None, None))
    assert not isinstance(ours.value, safe_yaml.TooMuch)
