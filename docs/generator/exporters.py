"""What exporters write, by tool: the body of the page "From your labelling tool to YOLO", from `exporters.yaml`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from generator.markup import prose, table

FACTS = Path(__file__).resolve().parents[1] / "exporters.yaml"
HEADS = ("you drew", "it writes", "Ultralytics", "lint")
RECORDED = " What it wrote was recorded; the tests read the record."


def fragment() -> str:
    """One section a tool."""
    tools = yaml.safe_load(FACTS.read_text(encoding="utf-8"))
    return "\n".join(_section(tool) for tool in tools)


def _section(tool: Mapping[str, Any]) -> str:
    of = f"`{tool['exporter']}` {tool['version']}."
    rows = [(prose(case["given"]), prose(case["written"]), prose(case["stock"]), _lint(case)) for case in tool["cases"]]
    told = prose(of + (RECORDED if tool["run"] == "recorded" else ""))
    return f"## {tool['tool']}\n\n{told}\n\n**Export right.** {prose(tool['right'])}\n\n{table(HEADS, rows)}"


def _lint(case: Mapping[str, Any]) -> str:
    """The codes, and whether something went of which they say nothing."""
    if "error" in case:
        return "stops, with the reason"
    told = ", ".join(case["codes"])
    if case.get("lost"):
        return f"{prose(told)}; of the loss **nothing**" if told else "**nothing**: it is not in the files"
    asked = f" with `--task {case['task']}`" if "guess" in case else ""
    return prose((told or "no finding") + asked)
