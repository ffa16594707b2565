"""`generate_ddp_command`: the launcher starts our worker, which puts the same patches before upstream's script runs."""

from __future__ import annotations

import inspect
from typing import Any

from yolo_nanfix import stopping
from yolo_nanfix.patching import children
from yolo_nanfix.patching.fix import Fix, wrapper

WORKER = "yolo_nanfix.ddp_worker"


@wrapper
def generate_ddp_command(wrapped: Any, instance: Any, *args: Any, **kwargs: Any) -> Any:
    """Upstream's command and file, the command with our worker in it."""
    command, file = wrapped(*args, **kwargs)
    stopping.break_off_waiting()  # the last that happens before the launcher is waited for
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
    """Nothing to compute: the command must still be a list that ends in the file which is returned beside it."""
    text = " ".join(inspect.getsource(inspect.unwrap(stock)).split())
    if "--master_port" not in text or "return cmd, file" not in text:
        return "the launch command is built in another way"
    return None


FIX = Fix(wrapper=generate_ddp_command, probe=_probe)
