"""Overhears `torch.nn.utils.clip_grad_norm_` while one trainer takes a step, whichever thread it trains in.

The function is shared by all threads, so it cannot be swapped for one of them. While any step is under way a
dispatcher stands in its place, which asks the present context who listens; when no step is, the very function that
stood there before stands there again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from threading import Lock
from typing import Any

import torch

Clip = Callable[..., Any]
Listener = Callable[..., Any]
"""Called with torch's function and the arguments of the call; what it returns is what the caller gets."""

_listener: ContextVar[Listener | None] = ContextVar("clip_grad_norm_", default=None)
_lock = Lock()
_steps = 0
_original: Clip | None = None


def overheard() -> bool:
    """Whether somebody listens in the present context."""
    return _listener.get() is not None


@contextmanager
def listen(listener: Listener) -> Iterator[None]:
    """While this is active, calls from the present context go through `listener`; those of others are as ever."""
    _begin()
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)
        _end()


def _begin() -> None:
    global _steps, _original
    with _lock:
        _steps += 1
        if _steps == 1:
            _original = torch.nn.utils.clip_grad_norm_
            torch.nn.utils.clip_grad_norm_ = _dispatcher(_original)


def _end() -> None:
    global _steps, _original
    with _lock:
        _steps -= 1
        if _steps == 0 and _original is not None:
            torch.nn.utils.clip_grad_norm_ = _original
            _original = None


def _dispatcher(clip: Clip) -> Clip:
    @wraps(clip)
    def clip_grad_norm_(*args: Any, **kwargs: Any) -> Any:
        listener = _listener.get()
        return clip(*args, **kwargs) if listener is None else listener(clip, *args, **kwargs)

    return clip_grad_norm_
