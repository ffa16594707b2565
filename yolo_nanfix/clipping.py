"""Intercepts `torch.nn.utils.clip_grad_norm_` while one trainer takes a step, whichever thread it trains in.

All threads share the function, so it cannot be replaced for one of them. While any step is under way a dispatcher
replaces it, which calls the listener of the present context; afterwards the original function is restored.
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
"""Called with torch's function and the arguments of the call; its result goes to the caller."""

_listener: ContextVar[Listener | None] = ContextVar("clip_grad_norm_", default=None)
_lock = Lock()
_open_steps = 0
_original: Clip | None = None


def overheard() -> bool:
    """Whether the present context has a listener."""
    return _listener.get() is not None


@contextmanager
def listen(listener: Listener) -> Iterator[None]:
    """While this is active, calls from the present context go through `listener`; all others to torch's function."""
    global _open_steps, _original
    with _lock:
        _open_steps += 1
        if _open_steps == 1:
            _original = torch.nn.utils.clip_grad_norm_
            torch.nn.utils.clip_grad_norm_ = _dispatcher(_original)
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)
        with _lock:
            _open_steps -= 1
            if _open_steps == 0 and _original is not None:
                torch.nn.utils.clip_grad_norm_ = _original
                _original = None


def _dispatcher(clip: Clip) -> Clip:
    @wraps(clip)
    def clip_grad_norm_(*args: Any, **kwargs: Any) -> Any:
        listener = _listener.get()
        return clip(*args, **kwargs) if listener is None else listener(clip, *args, **kwargs)

    return clip_grad_norm_
