"""`yolo-nanfix handoff`: its options, its words, its exit codes."""

from __future__ import annotations

import json
from pathlib import Path

from linting.tiny_set import ROWS, TinySet

from yolo_nanfix.cli.main import main


def test_it_writes_the_folder_and_says_what_is_in_it(tmp_path: Path, capsys):
    tiny = TinySet(tmp_path / "set")
    tiny.rows(ROWS + "0 0.5 0.5 0 0.5\n0 0.5 0.5 1 1\n")
    before = tiny.state()
    words = ["handoff", str(tiny.root), str(tmp_path / "out"), "--to", "coco"]
    assert main([*words, "--severity", "error"]) == 0
    assert "1 images, 4 label rows, 1 findings" in capsys.readouterr().out
    whole = json.loads((tmp_path / "out/annotations.json").read_text())
    assert [d["code"] for a in whole["annotations"] for d in a["defects"]] == ["BX004"]
    assert main([*words, "--overwrite", "--severity", "info"]) == 0
    assert "1 images, 4 label rows, 2 findings" in capsys.readouterr().out
    assert main([*words, "--overwrite"]) == 0  # without the one about rounding
    assert "1 images, 4 label rows, 1 findings" in capsys.readouterr().out
    assert main(words) == 2 and "--overwrite" in capsys.readouterr().err
    assert main([*words, "--overwrite", "--select", "TX,CL003", "--quiet"]) == 0
    assert json.loads((tmp_path / "out/annotations.json").read_text())["images"] == []
    assert main([*words, "--overwrite", "--max", "0"]) == 2
    assert tiny.state() == before
