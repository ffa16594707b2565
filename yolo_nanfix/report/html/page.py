"""Renders a page: templates with autoescape, inlined style and scripts, and a policy that blocks everything else."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from yolo_nanfix._version import __version__

POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src {hashes}; "
    "base-uri 'none'; form-action 'none'"
)
"""The Content-Security-Policy of each page: embedded pictures, its own scripts by their hashes, no requests."""


@dataclass(frozen=True)
class Advice:
    """One thing to do, at the top of a page: why, what, and commands to copy."""

    why: str
    what: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()


def render_page(template: str, scripts: tuple[str, ...] = (), styles: tuple[str, ...] = (), **context: Any) -> str:
    """The HTML text of a page: of a template that extends `base.html.j2`, with files of `static/`, in this order.

    Text of the context is escaped, `Markup` is not.

    Raises:
        jinja2.UndefinedError: the template uses a value that the context does not have.
    """
    codes = [_static(name) for name in ("base.js", *scripts)]
    digests = (base64.b64encode(hashlib.sha256(code.encode()).digest()).decode() for code in codes)
    hashes = " ".join(f"'sha256-{digest}'" for digest in digests)
    page = (
        _environment()
        .get_template(template)
        .render(
            **context,
            style=Markup("\n".join(_static(name) for name in ("page.css", *styles))),  # our own files
            scripts=[Markup(code) for code in codes],
            policy=POLICY.format(hashes=hashes),
            version=__version__,
        )
    )
    return page.encode("utf-8", "replace").decode()


def fragment(template: str, **context: Any) -> str:
    """A part of a page, for notebooks: a template with autoescape, without head, style or scripts."""
    return _environment().get_template(template).render(**context).encode("utf-8", "replace").decode()


def embedded(value: Any) -> Markup:
    """A value as JSON inside `<script type="application/json">`: no text in it can end the element or begin a comment.

    Non-finite numbers raise ValueError. A page reads it by `JSON.parse(element.textContent)`.
    """
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))  # ASCII: line separators are escaped, too
    return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("yolo_nanfix.report.html"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["embedded"] = embedded
    return environment


@cache
def _static(name: str) -> str:
    return (files("yolo_nanfix.report.html") / "static" / name).read_text(encoding="utf-8")
