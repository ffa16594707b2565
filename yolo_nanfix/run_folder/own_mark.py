"""Tells the runs of this user from those of others: a run folder from elsewhere may name any dataset.

Each report of a run has a mark (HMAC-SHA256), made with a key in the user's data folder. Nobody without the key can
make a mark, and each is valid for one run folder and one dataset only.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import stat
from pathlib import Path

_BYTES = 32


def mark(*what: str) -> str:
    """The mark of some texts; empty if no key can be stored."""
    key = _user_key(make=True)
    return _keyed_digest(key, what) if key else ""


def holds(marked: object, *what: str) -> bool:
    """Whether a mark was made with the key of this user, for the same texts."""
    key = _user_key(make=False)
    return (
        bool(key)
        and isinstance(marked, str)
        and hmac.compare_digest(_keyed_digest(key, what).encode(), marked.encode())
    )


def _keyed_digest(key: bytes, what: tuple[str, ...]) -> str:
    text = b"".join(b"%d:%b" % (len(part), part) for part in (one.encode("utf-8", "surrogatepass") for one in what))
    return hmac.new(key, text, hashlib.sha256).hexdigest()


def _user_key(make: bool) -> bytes:
    """The key of this user; with `make` created if there is none. Empty if there is none, or others can read it."""
    from platformdirs import user_data_path

    file = user_data_path("yolo-nanfix", appauthor=False) / "key"
    try:
        return _read_key(file)
    except (OSError, ValueError):
        pass
    try:
        return _made(file) if make else b""
    except (OSError, ValueError):
        return b""


def _made(file: Path) -> bytes:
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = file.with_name(f".key.{os.getpid()}.tmp")
    fresh.unlink(missing_ok=True)
    try:
        with open(fresh, "xb", opener=lambda name, flags: os.open(name, flags, 0o600)) as stream:
            stream.write(secrets.token_bytes(_BYTES))
        os.link(fresh, file)  # of two processes at once, one makes the key
    finally:
        fresh.unlink(missing_ok=True)
    return _read_key(file)


def _read_key(file: Path) -> bytes:
    number = os.open(file, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0))
    with os.fdopen(number, "rb") as stream:
        status = os.fstat(number)
        own = not hasattr(os, "getuid") or (status.st_uid == os.getuid() and not status.st_mode & 0o077)
        key = stream.read(_BYTES + 1) if stat.S_ISREG(status.st_mode) and own else b""
    if len(key) != _BYTES:
        raise ValueError("no key of this user")
    return key
