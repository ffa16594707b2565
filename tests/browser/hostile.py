"""Names that try to run as code, to break out of an attribute or a script, or to upset a page's layout."""

from __future__ import annotations

CALL = "window.hacked=1"
CLASS_NAMES = (
    f"<script>{CALL}</script>",
    f"</script><script>{CALL}</script>",
    f"<img src=x onerror={CALL}>",
    f'"><img src=x onerror={CALL}>',
    f"'><svg onload={CALL}>",
    f"{{{{ cycler.__init__.__globals__.os }}}}{{% for x in [1] %}}{CALL}{{% endfor %}}",
    "<!--",
    "]]>",
    "<style>*{display:none}</style>",
    f"javascript:{CALL}",
    "new\nline",
    "tab\tand\rreturn",
    "\u2028line\u2029separators",
    "\u202eright to left",
    "ünï—çødé 猫 🐈",
)
FILE_NAMES = (
    f"<audio src=x onerror={CALL}>",
    f'"onmouseover="{CALL}',
    f"'onfocus='{CALL}' autofocus='",
    f"<svg onload={CALL}>",
    f"<body onload={CALL}>",
    f"`;{CALL};`",
    f"${{{CALL}}}",
    f"\\u003cscript\\u003e{CALL}",
    "&lt;b&gt;&quot;&amp;",
    "{{ 7*7 }}",
    "two\nlines",
    "percent%22%3E",
    "\u202egnp.exe",
    "猫 🐈 with spaces",
    "[bold red]markup[/]",
)
"""Without slashes, as file names are; 15 and 15 make 30."""


def as_shown(name: str) -> str:
    """A name as pages show it: what would hide, turn or break text becomes visible escapes, runs of blanks one."""
    hidden = {char: char.encode("unicode_escape").decode() for char in "\n\r\t\u2028\u2029\u202e"}
    return " ".join("".join(hidden.get(char, char) for char in name).split())
