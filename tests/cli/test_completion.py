"""`yolo-nanfix completion`: the script is sourced by a real bash, which then asks the real command."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from surroundings import LIMIT

from yolo_nanfix.cards import load_all
from yolo_nanfix.cli.commands.completion import SHELLS
from yolo_nanfix.cli.main import main
from yolo_nanfix.cli.parsing import COMMANDS
from yolo_nanfix.findings import Severity

ASK = """
source ./completion
ask() {
  COMP_LINE=$1 COMP_POINT=${#1} COMP_TYPE=9 COMPREPLY=()
  read -ra COMP_WORDS <<< "$1"; COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
  _python_argcomplete yolo-nanfix
  printf '%s\\n' "${COMPREPLY[@]}"
}
complete -p yolo-nanfix > /dev/null && ask "$1"
"""


@pytest.fixture
def offered(tmp_path: Path, monkeypatch, capsys):
    """Asks bash what it would offer after a line, in a folder with a few files."""
    monkeypatch.chdir(tmp_path)
    assert main(["completion", "bash"]) == 0
    Path("completion").write_text(capsys.readouterr().out)
    for name in ("data.yaml", "drawing.png", "dot.pt", ".hidden.yaml"):
        Path(name).touch()
    Path("datasets").mkdir()
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}

    def ask(line: str) -> list[str]:
        done = subprocess.run(
            ["bash", "--norc", "-c", ASK, "bash", line], capture_output=True, text=True, env=environment, timeout=LIMIT
        )
        assert done.returncode == 0 and done.stderr == "", done.stderr
        return [word.strip() for word in done.stdout.splitlines() if word.strip()]

    return ask


def test_bash_offers_commands_options_and_values(offered):
    assert set(offered("yolo-nanfix ")) == set(COMMANDS)
    assert offered("yolo-nanfix lr") == ["lr-find"]
    assert offered("yolo-nanfix lint --extend") == ["--extend-select"]
    assert offered("yolo-nanfix train d.yaml --on-fatal q") == ["quarantine"]
    assert offered("yolo-nanfix doctor --q") == ["--quiet"]


def test_bash_offers_rules_patches_settings_and_files(offered):
    assert {"BX001", "BX004"} <= set(offered("yolo-nanfix lint --select BX00"))
    assert "BX001,SP002" in offered("yolo-nanfix lint --ignore BX001,SP")
    assert set(offered("yolo-nanfix lint --severity BX006=")) == {level.value for level in Severity}
    assert offered("yolo-nanfix explain rect") == [name for name in load_all() if name.startswith("rect")]
    assert "--max-bad-in-a-row" in offered("yolo-nanfix train d.yaml --max")
    assert {"epochs="} == set(offered("yolo-nanfix train data.yaml epo"))
    assert set(offered("yolo-nanfix train data.yaml model=d")) == {"data.yaml", "datasets/", "dot.pt"}
    assert set(offered("yolo-nanfix lint d")) == {"data.yaml", "datasets/"}
    assert set(offered("yolo-nanfix lint data.yaml --files d")) == {"data.yaml", "datasets/", "dot.pt", "drawing.png"}


@pytest.mark.parametrize("shell", SHELLS)
def test_there_is_a_script_for_each_shell(shell: str, capsys):
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert "yolo-nanfix" in script and "_ARGCOMPLETE" in script and script.endswith("\n")
    assert main(["completion", "tcsh"]) == 2
