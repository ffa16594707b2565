"""`generate_ddp_command` that starts our worker, which applies the same patches before upstream's script runs."""

from __future__ import annotations

import inspect
from typing import Any

from yolo_nanfix import stopping
from yolo_nanfix.patching import children
from yolo_nanfix.patching.fix import Fix, wrapper

WORKER = "yolo_nanfix.ddp_worker"


@wrapper
def generate_ddp_command(wrapped: Any, instance: Any, *args: Any, **kwargs: Any) -> Any:
    """Upstream's command with our worker in it, and its file."""
    command, file = wrapped(*args, **kwargs)
    stopping.break_off_waiting()  # after this upstream waits for the launcher
    return through_worker(command, str(file)), file


def through_worker(command: list[str], file: str) -> list[str]:
    """The launcher's command with our worker module in front of the script.

    Raises:
        RuntimeError: the command does not end in the script, so that the processes would train without patches.
    """
    if command[-1] != file:
        raise RuntimeError(f"yolo-nanfix: the launch command of this release has an unknown form: {command}")
    return [*command[:-1], "-m", WORKER, children.state(), file]


def _probe(stock: Any, patched: Any) -> str | None:
    """The function must still return a command with the port, and the file."""
    text = " ".join(inspect.getsource(inspect.unwrap(stock)).split())
    if "--master_port" not in text or "return cmd, file" not in text:
        return "the launch command is built in another way"
    return None


FIX = Fix(wrapper=generate_ddp_command, probe=_probe)
