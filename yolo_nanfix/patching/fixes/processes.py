"""The same patches in the processes that Ultralytics starts: DDP ranks, dataloader workers, trials of `model.tune()`.

The methods that start trials are wrapped when their modules are imported, as the card is applied before ultralytics is
imported.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any

import wrapt

from yolo_nanfix import stopping
from yolo_nanfix.patching import children
from yolo_nanfix.patching.fix import Fix, Params, wrapper

WORKER = "yolo_nanfix.ddp_worker"
TUNERS = (("ultralytics.engine.tuner", "Tuner", "__call__"), ("ultralytics.engine.trainer", "MultiTrainer", "train"))


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


def _command_probe(stock: Any, patched: Any) -> str | None:
    """The function must still return a command with the port, and the file."""
    text = " ".join(inspect.getsource(inspect.unwrap(stock)).split())
    if "--master_port" not in text or "return cmd, file" not in text:
        return "the launch command is built in another way"
    return None


@wrapper
def seed_worker(wrapped: Any, instance: Any, *args: Any, **kwargs: Any) -> Any:
    """Upstream's function; its pickle applies the patches: see `stack.Patched.__reduce_ex__`."""
    return wrapped(*args, **kwargs)


def _seed_worker_probe(stock: Any, patched: Any) -> str | None:
    """A function in its module must still pass it to the dataloader."""
    scope = inspect.unwrap(stock).__globals__
    builders = [
        f for f in scope.values() if inspect.isfunction(inspect.unwrap(f)) and f.__module__ == scope["__name__"]
    ]
    if not any("seed_worker" in inspect.unwrap(f).__code__.co_names for f in builders):
        return "no dataloader of this release is given seed_worker"
    return None


class _Wrapped:
    """The methods that were wrapped since the card was applied."""

    def __init__(self) -> None:
        self.on = True
        self._before: list[tuple[type, str, Any]] = []

    def wrap(self, class_name: str, name: str, module: ModuleType) -> None:
        """Wrap a method of a class, if this release has it."""
        owner = vars(module).get(class_name)
        if self.on and owner is not None and name in vars(owner):
            self._before.append((owner, name, vars(owner)[name]))
            setattr(owner, name, wrapt.FunctionWrapper(vars(owner)[name], _with_children))

    def undo(self) -> None:
        """Restore the very same methods, and wrap none that are imported later."""
        self.on = False
        for owner, name, before in self._before:
            setattr(owner, name, before)


def _with_children(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    with children.patched_children():
        return wrapped(*args, **kwargs)


def _install(params: Params) -> Callable[[], None]:
    wrapped = _Wrapped()
    for module, class_name, name in TUNERS:
        wrapt.register_post_import_hook(partial(wrapped.wrap, class_name, name), module)
    return wrapped.undo


FIXES = {
    "ddp-workers-unpatched": Fix(generate_ddp_command, _command_probe),
    "spawn-workers-unpatched": Fix(seed_worker, _seed_worker_probe),
    "tune-children-unpatched": Fix(install=_install),
}
