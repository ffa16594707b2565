"""Writes a handoff: built aside and renamed, so that it is there whole or not at all."""

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
from yolo_nanfix.dataset.scene import Album, Scene, below, called, plain, scenes, taken, unlabelled_scenes
from yolo_nanfix.errors import UsageError
from yolo_nanfix.findings import Finding
from yolo_nanfix.handoff import coco_export, cvat, label_studio, overlay, sheet

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
        unreadable: images that are not there or do not open as images; they are in the CSV and have an overlay, but no
            format takes them, and they are not copied.
        left_out: image and label files that were not opened, each with what it is: a link that leads elsewhere, a
            pipe, a device ...; of such an image there is what an unreadable one has.
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
    """What the folder says of itself; it is passed on, so it holds no path of this machine above the dataset."""
    about = {"format": options.form, "data": plain(called(album)), "task": album.task}
    counts = {"images": done.images, "boxes": done.boxes, "findings": done.findings}
    left = {plain(below(file, album.root)): why for file, why in done.left_out.items()}
    return {**about, **counts, **({"left_out": left} if left else {})}


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
    folder: Path, out: Path, scenes: list[Scene], album: Album, options: Options, progress: Progress | None
) -> tuple[list[Scene], list[str]]:
    """Write everything into a folder that will be `out`; gives what is in it, and the names of the files to import."""
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
        files = cvat.write(shown, album)
    elif options.form == "label-studio":
        files = label_studio.write(shown, album, place)
    else:
        files = coco_export.write(shown, album) if options.form == "coco" else {}
    for name, content in {**files, **sheet.write(shown)}.items():
        (folder / name).write_bytes(content)
    return shown, [*files] or [sheet.FILE]


def _one(folder: Path, number: int, scene: Scene, album: Album, options: Options) -> Scene:
    """Draw and bring one image; gives the scene as it is then, without a size if the file is no image."""
    with taken(scene.file, album.within, scene.width * scene.height, overlay.LONGEST) as image:
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
            drawn = overlay.draw(scene, None if image is None else image.pixels)
            (folder / "overlays" / overlay.name_of(scene, number)).write_bytes(drawn)
    return scene


def _served(out: Path, album: Album, options: Options) -> Path:
    """The folder that Label Studio must serve: the one around the images, which may not be the images' own."""
    return out.parent if options.images is not None else Path(album.root).parent
