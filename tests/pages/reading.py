"""Reads a page as a browser's parser would, and says what is wrong with it."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from html.parser import HTMLParser
from itertools import pairwise

import cv2
import numpy as np

VOID = {"meta", "link", "img", "br", "input", "hr"}


@dataclass
class Read(HTMLParser):
    """A page: its elements, text, scripts, and what is not as it must be."""

    elements: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    scripts: list[tuple[dict[str, str | None], str]] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self._open: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if len(dict(attrs)) != len(attrs):
            self.wrong.append(f"<{tag}> has an attribute twice")
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if not self._open or self._open.pop() != tag:
            self.wrong.append(f"</{tag}> closes something else")

    def handle_data(self, data):
        if self._open[-1:] == ["script"]:
            self.scripts.append((self.elements[-1][1], data))
        elif self._open[-1:] != ["style"]:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def readings(self) -> dict:
        return next(json.loads(text) for attributes, text in self.scripts if attributes.get("id") == "readings")

    def pictures(self) -> list[np.ndarray]:
        uris = [image["src"] for image in self.of("img")]
        return [cv2.imdecode(np.frombuffer(base64.b64decode(u.split(",")[1]), np.uint8), 1) for u in uris]


def read(page: str) -> Read:
    """Parse a page, and look whether it keeps what all pages promise."""
    found = Read()
    found.feed(page)
    found.close()
    ids = [a["id"] for _, a in found.elements if "id" in a]
    found.wrong += [f"id {i} twice" for i in {i for i in ids if ids.count(i) > 1}]
    for tag, attributes in found.elements:
        found.wrong += [f"<{tag} {name}>" for name in attributes if name.startswith("on")]
        for name in ("src", "href", "srcset", "action", "poster"):
            address = attributes.get(name) or "#"
            if not address.startswith(("#", "data:")):
                found.wrong.append(f"{tag} leads to {address}")
            if address.startswith("#") and len(address) > 1 and address[1:] not in ids:
                found.wrong.append(f"nothing has the id {address}")
        if tag == "img" and not attributes.get("alt"):
            found.wrong.append("a picture without a text")
    headings = [int(tag[1]) for tag, _ in found.elements if tag in ("h1", "h2", "h3", "h4")]
    if headings[:1] != [1] or any(b > a + 1 for a, b in pairwise(headings)):
        found.wrong.append(f"headings {headings}")
    return found
