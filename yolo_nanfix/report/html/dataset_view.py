"""What a page shows of a dataset besides what lint found in it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from yolo_nanfix.dataset.grounds import ground
from yolo_nanfix.dataset.options import LintOptions
from yolo_nanfix.dataset.paths import label_path
from yolo_nanfix.dataset.table import Studied
from yolo_nanfix.errors import NanfixError
from yolo_nanfix.files import Within
from yolo_nanfix.findings import Finding, Report
from yolo_nanfix.handoff.scene import Album, Scene, scene_of
from yolo_nanfix.handoff.source_images import size_of
from yolo_nanfix.linting.autofix.fix_table import FIXES
from yolo_nanfix.linting.registry import all_rules
from yolo_nanfix.linting.runner import run
from yolo_nanfix.report.html.dataset_facts import About, Counted, Picture, Show
from yolo_nanfix.report.html.distributions import charts
from yolo_nanfix.report.html.label_rows import Rows, about_all, is_yolo
from yolo_nanfix.report.html.thumbnails import picture, within

Progress = Callable[[int, int, str], None]
MOST_PICTURES = 800
LEAST_ROOM, MOST_ROOM, ROOM_EACH = 1_800_000, 6_000_000, 600
"""Characters of a page for pictures: so many, or so many for each finding, but no more than so many."""


def gather(
    report: Report, studied: Sequence[Studied], progress: Progress | None = None, *, follow_links: bool = False
) -> Show:
    """What a page shows besides a report.

    Args:
        report: what lint found.
        studied: the datasets that it is about, as lint knows them; without them there are pictures of nothing.
        progress: called with (done, total, what) as pictures are made.
        follow_links: also show images that links or lists name outside of a dataset's folders.
    """
    studied = list({str(one.config.yaml_file): one for one in studied}.values())  # each as it was read last
    sets = [Rows(one) for one in studied]
    about = about_all(report.findings, sets)
    data = Path(report.data)
    places = [ground(one.config, report.given_root, follow_links=follow_links) for one in studied]
    pictures, refused = _pictures(report, list(zip(sets, places, strict=True)), about, progress)
    return Show(
        root=str(_folder(studied, data)),
        rules=all_rules(),
        fixes={code: (fixer.safety, fixer.text) for code, fixer in FIXES.items()},
        mendable=len(studied) == 1 and (is_yolo(studied[0]) or studied[0].task == "classify") and data.exists(),
        about=about,
        pictures=pictures,
        refused=refused,
        charts=_charts(studied),
    )


def study(report: Report, progress: Progress | None = None) -> list[Studied]:
    """Read the dataset of a report again, as far as lint does not remember it; nothing if that cannot be done."""
    studied: list[Studied] = []
    deep = not any("--deep" in reason for _, reason in report.skipped)
    try:
        run(
            report.data,
            options=LintOptions(report.asked, deep, root=Path(report.given_root) if report.given_root else None),
            progress=progress,
            study=studied.append,
        )
    except NanfixError:
        return []
    return studied


def _folder(studied: Sequence[Studied], data: Path) -> Path:
    """The folder from which file names are shown."""
    return studied[0].config.root if len(studied) == 1 else data if data.is_dir() else data.parent


def _charts(studied: Sequence[Studied]) -> tuple[Counted, ...]:
    """The distributions of one dataset; those of several at once would say nothing."""
    return charts(studied[0]) if len(studied) == 1 else ()


def wanted(findings: Iterable[Finding]) -> list[str]:
    """The images to show in order: of each rule the first, then of each the second ..., the worst rules first."""
    by_code: dict[str, dict[str, None]] = {}
    for finding in sorted(findings, key=lambda f: f.severity.rank):
        images = by_code.setdefault(finding.code, {})
        for image in (finding.image, finding.partner):
            if image is not None:
                images[image] = None
    order: dict[str, None] = {}
    queues = [iter(images) for images in by_code.values()]
    while queues and len(order) < MOST_PICTURES:
        left = []
        for queue in queues:
            if (image := next(queue, None)) is not None:
                order[image] = None
                left.append(queue)
        queues = left
    return list(order)[:MOST_PICTURES]


def _pictures(
    report: Report, sets: Sequence[tuple[Rows, Within]], about: Sequence[About], progress: Progress | None
) -> tuple[dict[str, Picture], dict[str, str]]:
    """Pictures of the images that are wanted, as many as there is room for; and the files that are not opened."""
    by_image: dict[str, list[tuple[Finding, int]]] = {}
    for finding, what in zip(report.findings, about, strict=True):
        if finding.image is not None:
            by_image.setdefault(finding.image, []).append((finding, what.row))
    room = min(MOST_ROOM, max(LEAST_ROOM, ROOM_EACH * len(report.findings)))
    order = wanted(report.findings)
    pictures: dict[str, Picture] = {}
    refused: dict[str, str] = {}
    for number, image in enumerate(order):
        if progress is not None:
            progress(number, len(order), "pictures")
        known = next((one for one in sets if image in one[0].image), None)
        if known is None:
            continue
        rows, place = known
        found = by_image.get(image, [])
        scene = _scene(image, [f for f, _ in found], rows, place)
        refused |= {file: refusal.value for file, refusal in scene.refused}
        shown = picture(scene, {row for _, row in found}, place)
        room -= within({image: shown})
        if room < 0:
            break
        pictures[image] = shown
    if progress is not None:
        progress(len(order), len(order), "pictures")
    return pictures, refused


def _scene(image: str, found: Sequence[Finding], rows: Rows, place: Within) -> Scene:
    """An image with its label rows."""
    studied = rows.studied
    config = studied.config
    label_of = label_path if is_yolo(studied) and studied.task != "classify" else lambda image: ""
    data, root = str(config.yaml_file), str(config.root)
    album = Album(data, studied.task, root, place, config.names, config.kpt_shape, label_of)
    scene = scene_of(image, found, album)
    if is_yolo(studied) or not scene.width:
        return scene
    return scene._replace(shapes=tuple(rows.shapes(rows.image[image], size_of(image, place))))
