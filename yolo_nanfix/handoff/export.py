"""Writes a handoff: built aside and renamed, so that it is there whole or not at all."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from yolo_nanfix.errors import UsageError
from yolo_nanfix.findings import Finding
from yolo_nanfix.handoff import coco, cvat, label_studio, overlay, sheet
from yolo_nanfix.handoff.scene import Album, Scene, below, plain, scenes, unlabelled_scenes

FORMATS = ("cvat", "label-studio", "coco", "csv")
MARK = "handoff.json"
"""What is in the folder; only a folder that holds it is ever overwritten."""
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Unlabelled:
    """The images without labels.

    Attributes:
        images: those worth labelling.
        unsound: so many are dropped by Ultralytics, or damaged.
        copies: so many of the others are copies of another image.
    """

    images: tuple[str, ...]
    unsound: int = 0
    copies: int = 0


@dataclass(frozen=True)
class Options:
    """How a handoff is made.

    Attributes:
        form: one of `FORMATS`.
        most: hand over at most so many images, the ones with the worst findings; None for all.
        images: `copy` or `link` them into the folder `images`; None to leave them where they are.
        overwrite: replace a folder that an earlier handoff wrote.
        unlabelled: hand over the images that have no labels yet, not those with findings.
    """

    form: str
    most: int | None = None
    images: str | None = "copy"
    overwrite: bool = False
    unlabelled: Unlabelled | None = None


@dataclass(frozen=True)
class HandedOver:
    """What was written.

    Attributes:
        folder: where.
        images: images in it: those with findings, and the other one of each pair; or those to be labelled.
        boxes: rows of their labels.
        findings: findings about them.
        unreadable: images that cannot be opened; they are in the CSV and have an overlay, but no format takes them.
        whole_set: findings about no single image, which are not handed over.
        explained: findings that follow from one about the whole set, which are not handed over either.
        unsound: images without labels that are left out since Ultralytics drops them, or they are damaged.
        copies: images without labels that are left out since they are copies of others.
        renamed: images whose name cannot be written; they have another in what is handed over.
        brought: `copy` or `link` if the images are in the folder `images`; None if they lie where they were.
        root: the folder in which the dataset's images lie: names start there.
        served: the folder that a labelling tool must serve to find the images; empty where it asks for none.
        files: the files to import, and the ones that they need.
    """

    folder: str
    images: int
    boxes: int
    findings: int
    unreadable: tuple[str, ...]
    whole_set: int
    explained: int
    unsound: int
    copies: int
    renamed: tuple[str, ...]
    brought: str | None
    root: str
    served: str
    files: tuple[str, ...]


def hand_over(
    findings: Iterable[Finding], album: Album, out: Path, options: Options, progress: Progress | None = None
) -> HandedOver:
    """Write the images with findings, or those without labels, for labellers.

    Args:
        findings: what was found.
        album: the dataset.
        out: the folder to write; its parent must exist.
        options: how.
        progress: called with (done, total, what) while images are drawn.

    Raises:
        UsageError: `out` is there already, is not ours to overwrite, or cannot be written; then nothing was changed.
    """
    out, findings = Path(os.path.abspath(out)), tuple(findings)  # noqa: PTH100 - without following links
    _refuse(out, options)
    if options.unlabelled is None:
        shown = scenes(findings, album, options.most)
    else:
        shown, findings = unlabelled_scenes(options.unlabelled.images, album, options.most), ()
    aside = out.with_name(f".{out.name[:100]}.{os.getpid()}.tmp")
    try:
        aside.mkdir()
        names = _fill(aside, out, shown, album, options, progress)
        result = HandedOver(
            folder=str(out),
            images=len(shown),
            boxes=sum(len(scene.shapes) for scene in shown),
            findings=sum(len(scene.findings) for scene in shown),
            unreadable=tuple(scene.file for scene in shown if not scene.width),
            whole_set=sum(f.image is None for f in findings),
            explained=sum(f.image is not None and f.because is not None for f in findings),
            unsound=options.unlabelled.unsound if options.unlabelled else 0,
            copies=options.unlabelled.copies if options.unlabelled else 0,
            renamed=tuple(scene.original for scene in shown if not scene.is_exact),
            brought=options.images,
            root=album.root,
            served=str(_served(out, album, options)) if options.form == "label-studio" else "",
            files=tuple(names),
        )
        summary = {"format": options.form, "data": plain(album.data), "task": album.task, "root": plain(album.root)}
        counts = {"images": result.images, "boxes": result.boxes, "findings": result.findings}
        (aside / MARK).write_text(json.dumps({**summary, **counts}, indent=1) + "\n", encoding="utf-8")
        _put(aside, out)
    except OSError as error:
        raise UsageError(f"{out} cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return result


def _refuse(out: Path, options: Options) -> None:
    """Refuse a folder that is there, unless it is an earlier handoff and may be replaced."""
    if not out.parent.is_dir():
        raise UsageError(f"the folder {out.parent} does not exist")
    if not os.path.lexists(out):
        return
    if not options.overwrite:
        raise UsageError(f"{out} is there already; --overwrite replaces an earlier handoff")
    if out.is_symlink() or not (out / MARK).is_file():
        raise UsageError(f"{out} was not written by handoff (no {MARK} in it), so it is not overwritten")


def _fill(
    folder: Path, out: Path, shown: list[Scene], album: Album, options: Options, progress: Progress | None
) -> list[str]:
    """Write everything into a folder that will be `out`; gives the names of the files to import."""
    pictures = folder / "overlays"
    if options.unlabelled is None:
        pictures.mkdir()
    for number, scene in enumerate(shown):
        if progress is not None:
            progress(number, len(shown), "images")
        if options.unlabelled is None:
            (pictures / overlay.name_of(scene, number)).write_bytes(overlay.draw(scene))
        if options.images is not None:
            _bring(scene, folder / "images" / scene.name, options.images)
    if progress is not None:
        progress(len(shown), len(shown), "images")
    served = str(_served(out, album, options))

    def place(scene: Scene) -> str:
        return below(scene.file if options.images is None else str(out / "images" / scene.name), served)

    if options.form == "cvat":
        files = cvat.write(shown, album)
    elif options.form == "label-studio":
        files = label_studio.write(shown, album, place)
    else:
        files = coco.write(shown, album) if options.form == "coco" else {}
    for name, content in {**files, **sheet.write(shown)}.items():
        (folder / name).write_bytes(content)
    return [*files] or [sheet.FILE]


def _served(out: Path, album: Album, options: Options) -> Path:
    """The folder that Label Studio must serve: the one around the images, which may not be the images' own."""
    return out.parent if options.images is not None else Path(album.root).parent


def _bring(scene: Scene, target: Path, how: str) -> None:
    """Copy or link an image; one that is not there, or cannot be read, is left out."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if how == "link":
        target.symlink_to(os.path.abspath(scene.file))  # noqa: PTH100 - without following links
    elif os.access(scene.file, os.R_OK):
        with contextlib.suppress(FileNotFoundError, IsADirectoryError):
            shutil.copyfile(scene.file, target)


def _put(fresh: Path, out: Path) -> None:
    """Give the new folder its name; an earlier one goes only after that."""
    old = out.with_name(f".{out.name[:100]}.{os.getpid()}.old")
    if os.path.lexists(out):
        out.rename(old)
    try:
        fresh.rename(out)
    except OSError:
        if old.exists():
            old.rename(out)
        raise
    shutil.rmtree(old, ignore_errors=True)
