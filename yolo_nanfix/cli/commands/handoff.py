"""`yolo-nanfix handoff`: export the images with findings, their labels and defects to a labelling tool."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from yolo_nanfix import api
from yolo_nanfix.cli.output import Answer, bar, say
from yolo_nanfix.cli.parsing import add_dataset, add_reading, add_trust, words_of
from yolo_nanfix.errors import UsageError
from yolo_nanfix.findings import Severity

if TYPE_CHECKING:
    from yolo_nanfix.api import HandedOver
    from yolo_nanfix.overrides import Overrides

EXAMPLES = (
    ("to CVAT", "yolo-nanfix handoff data.yaml OUT --to cvat"),
    ("the 100 worst images to Label Studio", "yolo-nanfix handoff data.yaml OUT --to label-studio --max 100"),
    ("what is worth labelling", "yolo-nanfix handoff data.yaml OUT --to cvat --unlabelled"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_dataset(parser)
    parser.add_argument("out", metavar="OUT", type=Path, help="the folder to write; it must not exist")
    parser.add_argument(
        "--to", choices=api.HANDOFF_FORMATS, required=True, help="the format that the labelling tool imports"
    )
    parser.add_argument(
        "--unlabelled",
        action="store_true",
        help="instead images worth labelling: no label file, undamaged, no copies of others (decodes every image)",
    )
    add_reading(parser)
    parser.add_argument("--select", metavar="RULES", action="append", help="only findings of these rules")
    parser.add_argument("--ignore", metavar="RULES", action="append", help="no findings of these rules")
    levels = [severity.value for severity in Severity]
    parser.add_argument(
        "--severity", choices=levels, default="warning", help="only findings at least so severe (default: warning)"
    )
    parser.add_argument("--max", type=int, metavar="N", help="at most N images, those with the worst findings")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--copy-images", action="store_true", help="copy the images to OUT/images (the default)")
    how.add_argument("--link", action="store_true", help="link them from OUT/images")
    how.add_argument("--no-images", action="store_true", help="leave them where they are")
    parser.add_argument(
        "--follow-links",
        action="store_true",
        help="also bring images and labels that links or lists name outside of the dataset's folders",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier handoff")
    add_trust(parser)


def run(args: argparse.Namespace) -> Answer:
    """Lint, write OUT, and print what is in it; 0 also without findings."""
    if args.max is not None and args.max < 1:
        raise UsageError(f"--max must be at least 1, not {args.max}")
    if args.unlabelled and (args.select or args.ignore):
        raise UsageError("--unlabelled is about images without labels; --select and --ignore choose findings")
    deep = args.unlabelled if args.deep is None else args.deep
    with bar(args.quiet) as progress:
        trust = args.trust_dataset_settings
        report = api.lint(
            args.data, task=args.task, root=args.root, deep=deep, trust_dataset_settings=trust, progress=progress
        )
        chosen = report.select(*words_of(args.select), ignore=words_of(args.ignore))
        done = api.handoff(
            report if args.unlabelled else chosen,
            args.out,
            to=args.to,
            max_images=args.max,
            images=None if args.no_images else "link" if args.link else "copy",
            unlabelled=args.unlabelled,
            overwrite=args.overwrite,
            severity=args.severity,
            follow_links=args.follow_links,
            progress=progress,
        )
    values = {**vars(done), "settings": report.overrides.as_dict()}
    return Answer(0, values, partial(_print_handoff, done, report.overrides, args.quiet))


def _print_handoff(done: HandedOver, overrides: Overrides, quiet: bool) -> None:
    """Print what was written, and what was not; if `quiet` only what settings leave out, on stderr."""
    for line in overrides.lines(off=True) if quiet else ():
        say(f"yolo-nanfix: {line}")
    for line in () if quiet else (*_handoff_lines(done), *overrides.lines()):
        say(line, sys.stdout)


def _handoff_lines(done: HandedOver) -> Iterator[str]:
    """The result of a handoff, line by line."""
    yield f"{done.folder}: {done.images} images, {done.boxes} label rows, {done.findings} findings"
    drawn = ", overlays/ shows it" if done.findings else ""
    yield f"import {' and '.join(done.files)}; handoff.csv lists everything{drawn}"
    if len(done.files) > 2 and done.served:
        yield (
            "each file of tasks is for a project of its own: images of different folders have the same names, and what "
            "Label Studio exports as YOLO is named without folders"
        )
    if done.images and done.brought is None:
        yield f"the images stay in {done.root}; give them to the tool from there, with their folders"
    elif (Path(done.folder) / "images").is_dir():
        yield f"the images are in {Path(done.folder) / 'images'}; give them to the tool with their folders"
    if done.served:
        yield f"Label Studio finds them with LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT={shlex.quote(done.served)}"
    if done.unsound + done.copies:
        yield (
            f"left out: {done.unsound} images that Ultralytics drops or that are damaged, {done.copies} copies of "
            "others (yolo-nanfix lint --deep says which)"
        )
    if done.unreadable:
        some = ", ".join(Path(file).name for file in done.unreadable[:3])
        yield f"{len(done.unreadable)} images cannot be opened and are in handoff.csv alone: {some}"
    if done.left_out:
        files = "1 file is" if len(done.left_out) == 1 else f"{len(done.left_out)} files are"
        some = "; ".join(f"{file}: {what}" for file, what in [*done.left_out.items()][:3])
        yield (
            f"{files} not opened, for only the dataset's own files are handed over ({some}); --follow-links allows "
            "regular files elsewhere"
        )
    if done.renamed:
        yield (
            f"{len(done.renamed)} names cannot be written in these files and are changed; in handoff.csv `file` is "
            f"what they are: {', '.join(done.renamed[:3])}"
        )
    if done.explained:
        yield f"{done.explained} findings follow from one about the whole set and are left out: fix that one first"
    if done.whole_set:
        about = "1 finding is" if done.whole_set == 1 else f"{done.whole_set} findings are"
        yield f"{about} about no single image; yolo-nanfix lint shows all findings"
