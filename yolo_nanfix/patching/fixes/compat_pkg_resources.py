"""`pkg_resources`, which setuptools no longer has: the few names that ultralytics uses, based on `packaging`."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterable, Iterator
from importlib import metadata
from types import ModuleType

from packaging.requirements import Requirement
from packaging.version import parse

from yolo_nanfix.patching.fix import Fix, Params

NAME = "pkg_resources"


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


def _needed() -> str | None:
    return "pkg_resources is installed" if importlib.util.find_spec(NAME) else None


def _install(params: Params) -> Callable[[], None]:
    module = ModuleType(NAME, "The names of pkg_resources that ultralytics uses, by yolo-nanfix.")
    for value in (parse_requirements, require, DistributionNotFound, VersionConflict):
        setattr(module, value.__name__, value)
    module.__dict__["parse_version"] = parse
    sys.modules[NAME] = module

    def undo() -> None:
        if sys.modules.get(NAME) is module:
            del sys.modules[NAME]

    return undo


FIX = Fix(install=_install, needed=_needed)
