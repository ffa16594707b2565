"""Globs of whole paths: `*` and `?` match within a folder, `**` across folders; a folder matches all that is in it.

A regular expression backtracks over all ways to divide a path among many `*`, so a glob from a received settings file
could take forever. Globs are matched token by token instead, in time linear in path and glob.
"""

from __future__ import annotations

import os
import re
from functools import lru_cache

_TOKENS = re.compile(r"(\*\*/|\*\*|\*|\?)")


@lru_cache(maxsize=1 << 16)
def matches(glob: str, path: str) -> bool:
    """Whether a glob matches a path, or a folder above it; both with `/` between folders."""
    places = {0}
    for token in _tokens(glob):
        places = _after(token, places, path)
        if not places:
            return False
    return any(place == len(path) or path[place] == "/" for place in places)


@lru_cache(maxsize=256)
def _tokens(glob: str) -> tuple[str, ...]:
    """The wildcards of a glob and the texts between them."""
    parts = _TOKENS.split(glob.replace(os.sep, "/").removeprefix("./").rstrip("/"))
    return tuple(filter(None, parts))


def _after(token: str, places: set[int], path: str) -> set[int]:
    """Where a token can end in a path that begins at one of some places."""
    size, first = len(path), min(places)
    if token == "**":
        return set(range(first, size + 1))
    if token == "**/":
        return places | {at + 1 for at in range(first, size) if path[at] == "/"}
    if token == "?":
        return {at + 1 for at in places if at < size and path[at] != "/"}
    if token != "*":
        return {at + len(token) for at in places if path.startswith(token, at)}
    ends: set[int] = set()
    for at in sorted(places):
        while at not in ends:
            ends.add(at)
            if at == size or path[at] == "/":
                break
            at += 1
    return ends
