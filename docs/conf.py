"""Sphinx: how the site is built. `make docs` builds it; nothing is fetched, and pages load nothing from elsewhere."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from yolo_nanfix import __version__

project = "yolo-nanfix"
author = "the authors of yolo-nanfix"
version = release = __version__

extensions = ["generator", "myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
exclude_patterns = ["_build", "generated", "notebooks", "screenshots", "README.md"]
myst_enable_extensions = ["attrs_inline", "colon_fence"]
myst_heading_anchors = 3
suppress_warnings: list[str] = []

nitpicky = True
# Types of other projects, whose documentation is on the network, and names of types that are no page of their own.
WHY = "yolo_nanfix.linting.autofix.reasons.Why"
nitpick_ignore = [("py:class", name) for name in ("Path", "Progress", "api.Progress", "Table", "Study", WHY)]
nitpick_ignore_regex = [(r"py:.*", r"(collections(\.abc)?|numpy|pathlib|polars|torch|typing|nn)\..*")]
smartquotes = False  # they would turn --fix into a dash
default_role = "literal"

autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_class_signature = "separated"
autodoc_default_options = {"exclude-members": "__init__, __new__"}
napoleon_use_ivar = True

html_theme = "furo"
html_title = "yolo-nanfix"
html_static_path = ["_static"]
html_css_files = ["nanfix.css"]
html_js_files = ["site.js"]
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
html_show_search_summary = False  # it would be fetched, which browsers refuse to pages that are files
html_theme_options = {"navigation_with_keys": True}
copybutton_prompt_text = "$ "
