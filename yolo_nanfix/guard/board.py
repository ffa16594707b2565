"""Small facts that the ranks of a run leave for each other, without a collective: nobody waits for anybody.

They lie in the key-value store (TCPStore) by which the ranks found each other, which under torchrun their launcher
keeps; each rank has a connection of its own to it for this. Values are JSON: nothing is unpickled.
"""

from __future__ import annotations

import json
import os
from datetime import timedelta
from typing import Any

import torch.distributed as dist

PREFIX = "yolo-nanfix"
LARGEST = 1 << 20
"""Bytes; what is larger is not left there."""
PATIENCE = timedelta(seconds=10)
"""How long one question to the store may take."""


class Board:
    """The facts of one run."""

    def __init__(self, store: Any, rank: int, world: int) -> None:
        """Nothing is left there yet."""
        self.store, self.rank, self.world = store, rank, world

    @property
    def others(self) -> tuple[int, ...]:
        """The other ranks."""
        return tuple(rank for rank in range(self.world) if rank != self.rank)

    def put(self, name: str, value: Any) -> None:
        """Leave a fact under this rank, in place of the last one of that name.

        Raises:
            RuntimeError: the store does not answer.
        """
        text = json.dumps(value)
        if len(text) <= LARGEST:
            self.store.set(f"{PREFIX}/{self.rank}/{name}", text)

    def read(self, rank: int, name: str) -> Any:
        """What a rank left under a name last; None where it left nothing yet.

        Raises:
            RuntimeError: the store does not answer.
            ValueError: something else wrote there.
        """
        key = f"{PREFIX}/{rank}/{name}"
        return json.loads(self.store.get(key)) if self.store.check([key]) else None


def connect() -> Board | None:
    """The board of the run that this process takes part in; None where its ranks did not find each other by a store."""
    address, port = os.getenv("MASTER_ADDR"), os.getenv("MASTER_PORT", "")
    if not address or not port.isdecimal():
        return None
    try:
        store = _stores().TCPStore(address, int(port), None, False, PATIENCE, wait_for_workers=False)
    except (RuntimeError, ValueError, OSError):
        return None
    attempt = os.getenv("TORCHELASTIC_RESTART_COUNT", "0")
    prefixed = _stores().PrefixStore(attempt, store)
    return Board(prefixed, dist.get_rank(), dist.get_world_size())


def _stores() -> Any:
    """torch's stores, which its own `__init__` gives on without naming them."""
    return dist
