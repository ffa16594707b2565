"""What older releases expect of numpy, setuptools and torch, and newer ones no longer have."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import wraps
from importlib import metadata
from types import ModuleType
from typing import Any

import numpy
import torch
from packaging.requirements import Requirement
from packaging.version import parse

from yolo_nanfix import upstream
from yolo_nanfix.patching.fix import Fix, Params

PKG_RESOURCES = "pkg_resources"
WEIGHTS_ONLY_BY_DEFAULT = "2.6"


def _trapz_needed() -> str | None:
    return f"numpy {numpy.__version__} has trapz" if hasattr(numpy, "trapz") else None


def _install_trapz(params: Params) -> Callable[[], None]:
    module: Any = numpy
    module.trapz = module.trapezoid
    return lambda: delattr(module, "trapz")


class DistributionNotFound(Exception):  # noqa: N818 - the name that ultralytics catches
    """A required distribution is not installed."""


class VersionConflict(Exception):  # noqa: N818 - the name that ultralytics catches
    """A required distribution is installed in a version that does not satisfy the requirement."""


def parse_requirements(source: str | Iterable[str]) -> Iterator[Requirement]:
    """The requirements in a text or in lines; empty lines and comments are skipped."""
    lines = source.splitlines() if isinstance(source, str) else source
    for line in lines:
        if (text := line.partition(" #")[0].strip()) and not text.startswith(("#", "-")):
            yield Requirement(text)


def require(source: str) -> None:
    """Check that requirements are installed.

    Raises:
        DistributionNotFound: one is not.
        VersionConflict: one is, in another version.
    """
    for requirement in parse_requirements(source):
        try:
            installed = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            raise DistributionNotFound(str(requirement)) from None
        if not requirement.specifier.contains(installed, prereleases=True):
            raise VersionConflict(f"{requirement.name} {installed}, wanted {requirement}")


def _pkg_resources_needed() -> str | None:
    return "pkg_resources is installed" if importlib.util.find_spec(PKG_RESOURCES) else None


def _install_pkg_resources(params: Params) -> Callable[[], None]:
    module = ModuleType(PKG_RESOURCES, "The names of pkg_resources that ultralytics uses, by yolo-nanfix.")
    for value in (parse_requirements, require, DistributionNotFound, VersionConflict):
        setattr(module, value.__name__, value)
    module.__dict__["parse_version"] = parse
    sys.modules[PKG_RESOURCES] = module

    def undo() -> None:
        if sys.modules.get(PKG_RESOURCES) is module:
            del sys.modules[PKG_RESOURCES]

    return undo


def _torch_load_needed() -> str | None:
    if upstream.release(torch.__version__)[:2] >= upstream.release(WEIGHTS_ONLY_BY_DEFAULT):
        return None
    return f"torch {torch.__version__} loads whole checkpoints by default"


def _install_torch_load(params: Params) -> Callable[[], None]:
    stock: Any = torch.load

    @wraps(stock)
    def load(*args: Any, **kwargs: Any) -> Any:
        if str(sys._getframe(1).f_globals.get("__name__")).partition(".")[0] == "ultralytics":
            kwargs.setdefault("weights_only", False)
        return stock(*args, **kwargs)

    torch.load = load

    def undo() -> None:
        if torch.load is load:
            torch.load = stock

    return undo


FIXES = {
    "compat-numpy-trapz": Fix(install=_install_trapz, needed=_trapz_needed),
    "compat-pkg-resources": Fix(install=_install_pkg_resources, needed=_pkg_resources_needed),
    "compat-torch-load": Fix(install=_install_torch_load, needed=_torch_load_needed),
}
