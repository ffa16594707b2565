"""The table of defects is of the rules that there are, and its rows come out of Ultralytics itself."""

from __future__ import annotations

import lint_defects
import pytest

from yolo_nanfix.linting.registry import all_rules


def test_every_rule_that_ultralytics_can_meet_has_a_row():
    lines = lint_defects.OUT.read_text(encoding="utf-8").splitlines()
    codes = [line.split(" | ")[0].strip("| ") for line in lines if line.startswith("| ")][1:]
    assert codes == [rule.code for rule in all_rules() if not rule.code.startswith("AN")]
    assert len(codes) >= 60


@pytest.mark.parametrize(
    ("code", "what"),
    [
        ("BX004", "accepts"),
        ("CF002", "crashes"),
        ("CL003", "drops"),
        ("FS020", "passes over"),
        ("IM004", "rewrites"),
    ],
)
def test_what_ultralytics_is_seen_to_do_is_in_the_table(code, what, capfd):
    (row,) = lint_defects.rows([code])
    assert row[2].startswith(f"**{what}**")
    table = lint_defects.OUT.read_text(encoding="utf-8")
    assert lint_defects.text([row]).splitlines()[-1] in table.splitlines()
