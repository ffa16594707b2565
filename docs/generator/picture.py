"""The directive `picture`: a screenshot, for a light and a dark page, or nothing as long as it was not taken."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.util.docutils import SphinxDirective


class Picture(SphinxDirective):
    """`screenshots/NAME.png`, and `NAME-dark.png` where the page is dark, if there is one."""

    required_arguments = 1
    option_spec: ClassVar = {"alt": directives.unchanged_required, "width": directives.unchanged}

    def run(self) -> list[nodes.Node]:
        """The pictures that there are."""
        name = self.arguments[0]
        light, dark = (f"screenshots/{name}{end}.png" for end in ("", "-dark"))
        there = [file for file in (light, dark) if (Path(self.env.srcdir) / file).is_file()]
        shown: list[nodes.Node] = []
        for file in there:
            classes = ["shot", *(["only-light" if file == light else "only-dark"] if len(there) > 1 else [])]
            picture = nodes.image(uri=f"/{file}", alt=self.options["alt"], classes=classes)
            if "width" in self.options:
                picture["width"] = self.options["width"]
            shown.append(picture)
        return shown
