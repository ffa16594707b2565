"""The campaign of links: it sees what gets out, and nothing does in a few rounds of it."""

from __future__ import annotations

import base64
import random
from pathlib import Path

import fuzz_links


def test_it_sees_what_gets_out(tmp_path: Path):
    secrets = fuzz_links.outside(tmp_path, random.Random(0))
    picture = next(file for file in secrets if file.suffix == ".jpg").read_bytes()
    uri = f"data:image/jpeg;base64,{base64.b64encode(picture).decode()}"
    assert fuzz_links.leaks(f"'{fuzz_links.SECRET}' is not a number", secrets) == ["text"]
    assert fuzz_links.leaks(f'<image href="{uri}"/>', secrets) == ["a picture"]
    assert "bytes of a.jpg" in fuzz_links.leaks(picture, secrets) and not fuzz_links.leaks("nothing", secrets)


def test_a_few_rounds_let_nothing_out(capsys):
    assert fuzz_links.main(["--rounds", "3", "--seed", "7"]) == 0
    assert "3 rounds, 0 with something wrong" in capsys.readouterr().out
