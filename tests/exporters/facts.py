"""The facts of `docs/exporters.yaml`, and how each of its cases is made."""

from __future__ import annotations

import importlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from exporters.heavy import Heavy, replay

HERE = Path(__file__).parent
FILE = HERE.parents[1] / "docs" / "exporters.yaml"


@dataclass(frozen=True)
class Fact:
    """One case of one exporter; `says` is its entry."""

    tool: dict[str, Any]
    says: dict[str, Any]

    @property
    def name(self) -> str:
        """Unique, for the test's name."""
        return f"{self.tool['module']}-{self.says['case']}"

    @property
    def recorded(self) -> bool:
        """Whether the exporter itself is too heavy to be run here."""
        return bool(self.tool["run"] == "recorded")

    def make(self, root: Path) -> Path:
        """Valid input, exported; returns what is linted."""
        if self.recorded:
            return replay(heavy(self.tool["module"])[self.says["case"]], root, self.texts())
        made: Path = getattr(importlib.import_module(f"exporters.cases_{self.tool['module']}"), self.says["case"])(root)
        return made

    def texts(self) -> dict[str, str]:
        """What the exporter wrote when it was recorded."""
        texts: dict[str, str] = recorded(self.tool["module"])["cases"][self.says["case"]]
        return texts


def facts() -> list[Fact]:
    """All cases, in the order of the file."""
    tools = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return [Fact(tool, case) for tool in tools for case in tool["cases"]]


def heavy(module: str) -> dict[str, Heavy]:
    """The cases of an exporter that is not run here."""
    cases: dict[str, Heavy] = importlib.import_module(f"exporters.heavy_{module}").CASES
    return cases


def recorded(module: str) -> dict[str, Any]:
    """`exporter`, `version`, and by case the texts that it wrote."""
    found: dict[str, Any] = json.loads((HERE / "recorded" / f"{module}.json").read_text(encoding="utf-8"))
    return found
