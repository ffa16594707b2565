"""What a run without guard says of that, first and last; nothing else of it is otherwise."""

from __future__ import annotations

import os
from typing import Any

from yolo_nanfix import upstream
from yolo_nanfix.guard import distributed
from yolo_nanfix.overrides import ahead, behind


def announce(trainer: Any, off: str) -> None:
    """Let a trainer say at the start and at the end of its run that no step is guarded.

    Args:
        trainer: Ultralytics' trainer, just built.
        off: what switched the guard off.
    """
    if distributed.launched() and int(os.environ["RANK"]) > 0:
        return
    trainer.add_callback("on_pretrain_routine_end", lambda _: upstream.log(f"yolo-nanfix: {ahead(off)}"))
    trainer.add_callback("teardown", lambda _: upstream.log(f"yolo-nanfix: {behind(off)}"))
