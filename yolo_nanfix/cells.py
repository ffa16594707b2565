"""Text in CSV files: a spreadsheet that opens them runs nothing of it."""

from __future__ import annotations

import re

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
_INSIDE = re.compile(r"([;\t]\s*)(?=[=@]|[+-]\s*[A-Za-z(@=])")
"""Where a cell is cut by spreadsheets that part cells by semicolons or tabs, and what follows would be a formula."""


def text_cell(text: str) -> str:
    """Text for one cell of a CSV file, after OWASP: what a spreadsheet would take for a formula gets an apostrophe.

    For text alone, such as names of files and classes; numbers are written as they are, also negative ones.
    """
    guarded = _INSIDE.sub(r"\1'", text)
    return f"'{guarded}" if text.lstrip().startswith(_FORMULA) or text.startswith(_FORMULA) else guarded
