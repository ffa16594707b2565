"""An incident file that may come from anybody, read and looked at before anything of it is used."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from yolo_nanfix.diagnosis.incident_checks import check
from yolo_nanfix.errors import DataError, UsageError
from yolo_nanfix.incident import Incident, NotReadable, load, newest

NOT_REPLAYED = ("compat-torch-load",)
"""Patches of a run that no replay needs: they let checkpoints be loaded whole, and a replay loads none."""


@contextmanager
def read(path: str | Path) -> Iterator[Incident]:
    """The incident at a path, checked; what is found wrong with it later, inside the block, names the file, too.

    Args:
        path: an incident file, or a run folder for its newest incident.

    Raises:
        DataError: there is none, or it cannot be replayed here.
        NotReadable: it is not of the form that an incident has.
    """
    file = newest(path)
    incident = load(file)
    try:
        check(incident)
        yield incident
    except NotReadable as error:
        raise NotReadable(error.what, file) from error
    except UsageError as error:
        raise DataError(f"{file}: {error}") from error


def patches(incident: Incident) -> tuple[str, ...] | None:
    """The patches under which its run trained, without those that a replay has no use for; None if nobody wrote it."""
    names = incident.facts.get("patches")
    return None if names is None else tuple(name for name in names if name not in NOT_REPLAYED)
