"""Writes a handoff: into a temporary folder that is renamed at the end, so that it exists whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yolo_nanfix import files as unfinished
from yolo_nanfix import stopping
from yolo_nanfix.errors import UsageError
from yolo_nanfix.findings import Finding
from yolo_nanfix.handoff import coco_export, cvat, label_studio, overlay, sheet
from yolo_nanfix.scene import Album, Scene, below, called, plain, scenes, taken, unlabelled_scenes

MARK = "handoff.json"
"""The summary in the folder of a handoff; only a folder with this file is overwritten."""


@dataclass(frozen=True)
class Unlabelled:
    """The images without labels.

    Attributes:
        images: those worth labelling.
        unsound: how many Ultralytics drops, or are damaged.
        copies: how many of the others are copies of another image.
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
        follow_links: also open images and labels that links or lists name outside of the dataset's folders.
    """

    form: str
    most: int | None = None
    images: str | None = "copy"
    overwrite: bool = False
    unlabelled: Unlabelled | None = None
    follow_links: bool = False


@dataclass(frozen=True)
class HandedOver:
    """What was written.

    Attributes:
        folder: where.
        images: images in it: those with findings, and the other one of each pair; or those to be labelled.
        boxes: rows of their labels.
        findings: findings about them.
        unreadable: images that do not exist or cannot be decoded; they are in the CSV and have an overlay, but no other
            format takes them, and they are not copied.
        left_out: image and label files that were not opened, each with what it is: a link that leads elsewhere, a
            pipe, a device ...; such images are handled as unreadable ones.
        whole_set: findings about no single image, which are not handed over.
        explained: findings that follow from one about the whole set, which are not handed over either.
        unsound: images without labels that are left out because Ultralytics drops them, or they are damaged.
        copies: images without labels that are left out because they are copies of others.
        renamed: images whose name cannot be written; they have another one in the handoff.
        brought: `copy` or `link` if the images are in the folder `images`; None if they stay where they are.
        root: the folder of the dataset's images, from which their names start.
        served: the folder that a labelling tool must serve to find the images; empty where it asks for none.
        files: the files to import, and the ones that they need.
    """

    folder: str
    images: int
    boxes: int
    findings: int
    unreadable: tuple[str, ...]
    left_out: Mapping[str, str]
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
    findings: Iterable[Finding],
    album: Album,
    out: Path,
    options: Options,
    progress: Callable[[int, int, str], None] | None = None,
) -> HandedOver:
    """Write the images with findings, or those without labels, for labellers.

    Args:
        findings: what was found.
        album: the dataset.
        out: the folder to write; its parent must exist.
        options: how.
        progress: called with (done, total, what) while images are drawn.

    Raises:
        UsageError: `out` exists, is no handoff to overwrite, or cannot be written; then nothing was changed.
    """
    out, findings = Path(os.path.abspath(out)), tuple(findings)  # noqa: PTH100 - without following links
    if (earlier := unfinished.waiting(out)) is not None:  # a handoff was killed between two renames
        with suppress(OSError):
            earlier.rename(out)
    _refuse(out, options)
    if options.unlabelled is None:
        shown = scenes(findings, album, options.most)
    else:
        shown, findings = unlabelled_scenes(options.unlabelled.images, album, options.most), ()
    try:
        with unfinished.folder(out) as aside:
            shown, names = _fill(aside, out, shown, album, options, progress)
            refused = {file: refusal.value for scene in shown for file, refusal in scene.refused}
            result = HandedOver(
                folder=str(out),
                images=len(shown),
                boxes=sum(len(scene.shapes) for scene in shown),
                findings=sum(len(scene.findings) for scene in shown),
                unreadable=tuple(scene.file for scene in shown if not scene.width and scene.file not in refused),
                left_out=refused,
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
            (aside / MARK).write_text(json.dumps(_summary(result, album, options), indent=1) + "\n", encoding="utf-8")
            with unfinished.moved_away(out):  # an earlier handoff goes once the new one has its name
                aside.rename(out)
    except OSError as error:
        raise UsageError(f"{out} cannot be written: {error.strerror or error}") from error
    return result


def _summary(done: HandedOver, album: Album, options: Options) -> dict[str, Any]:
    """The summary for the folder; it is passed on, so it holds no path of this machine above the dataset."""
    about = {"format": options.form, "data": plain(called(album)), "task": album.task}
    counts = {"images": done.images, "boxes": done.boxes, "findings": done.findings}
    left = {plain(below(file, album.root)): why for file, why in done.left_out.items()}
    return {**about, **counts, **({"left_out": left} if left else {})}


def _refuse(out: Path, options: Options) -> None:
    """Refuse a folder that exists, unless it is an earlier handoff and may be replaced."""
    if not out.parent.is_dir():
        raise UsageError(f"the folder {out.parent} does not exist")
    if not os.path.lexists(out):
        return
    if not options.overwrite:
        raise UsageError(f"{out} exists already; --overwrite replaces an earlier handoff")
    if out.is_symlink() or not (out / MARK).is_file():
        raise UsageError(f"{out} was not written by handoff (no {MARK} in it), so it is not overwritten")


def _fill(
    folder: Path,
    out: Path,
    scenes: list[Scene],
    album: Album,
    options: Options,
    progress: Callable[[int, int, str], None] | None,
) -> tuple[list[Scene], list[str]]:
    """Fill the folder that will be `out`; return the scenes in it and the names of the files to import."""
    if options.unlabelled is None:
        (folder / "overlays").mkdir()
    shown = []
    for number, scene in enumerate(scenes):
        stopping.raise_if_stopped()
        if progress is not None:
            progress(number, len(scenes), "images")
        shown.append(_one(folder, number, scene, album, options))
    if progress is not None:
        progress(len(shown), len(shown), "images")
    served = str(_served(out, album, options))

    def place(scene: Scene) -> str:
        return below(scene.file if options.images is None else str(out / "images" / scene.name), served)

    if options.form == "cvat":
        files = cvat.cvat_files(shown, album)
    elif options.form == "label-studio":
        files = label_studio.studio_files(shown, album, place)
    else:
        files = coco_export.coco_files(shown, album) if options.form == "coco" else {}
    for name, content in {**files, **sheet.csv_file(shown)}.items():
        (folder / name).write_bytes(content)
    return shown, [*files] or [sheet.FILE]


def _one(folder: Path, number: int, scene: Scene, album: Album, options: Options) -> Scene:
    """Draw and copy one image; return its scene, without a size if the file is no image."""
    with taken(scene.file, album.within, scene.width * scene.height, overlay.LONGEST_SIDE) as image:
        if image is None or not scene.width or not image.is_image:
            scene = scene._replace(width=0, height=0, shapes=(), defects=scene.findings)
        elif options.images is not None:
            target = folder / "images" / scene.name
            target.parent.mkdir(parents=True, exist_ok=True)
            if options.images == "link":
                target.symlink_to(os.path.abspath(scene.file))  # noqa: PTH100 - without following links
            else:
                image.copy(target)
        if options.unlabelled is None:
            drawn = overlay.draw_overlay(scene, None if image is None else image.pixels)
            (folder / "overlays" / overlay.name_of(scene, number)).write_bytes(drawn)
    return scene


def _served(out: Path, album: Album, options: Options) -> Path:
    """The folder that Label Studio must serve: the one above that of the images, which it does not accept itself."""
    return out.parent if options.images is not None else Path(album.root).parent
