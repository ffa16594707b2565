"""CVAT for images 1.1: one XML file; defects are attributes of boxes, and tags on images."""

from __future__ import annotations

from collections.abc import Iterable
from xml.etree import ElementTree as ET

from yolo_nanfix.findings import Finding
from yolo_nanfix.scene import Album, Scene, Shape, called, describe, plain

CVAT_FILE = "annotations.xml"
ATTRIBUTE = "defect"


def cvat_files(scenes: list[Scene], album: Album) -> dict[str, bytes]:
    """The files of the export by name: `annotations.xml`. Images that cannot be opened are left out."""
    root = ET.Element("annotations")
    ET.SubElement(root, "version").text = "1.1"
    shown = [scene for scene in scenes if scene.width]
    tag = tag_of(album, shown)
    task = ET.SubElement(ET.SubElement(root, "meta"), "task")
    ET.SubElement(task, "name").text = plain(f"yolo-nanfix {called(album)}")
    ET.SubElement(task, "size").text = str(len(shown))
    ET.SubElement(task, "mode").text = "annotation"
    labels = ET.SubElement(task, "labels")
    for name in labels_of(album, shown):
        _label(labels, name)
    _label(labels, tag)
    for number, scene in enumerate(shown):
        size = {"width": str(scene.width), "height": str(scene.height)}
        about = {"id": str(number), "name": scene.name, **size}
        image = ET.SubElement(root, "image", about)
        for group, shape in enumerate(scene.shapes, 1):
            _shape(image, shape, group)
        for finding in scene.defects:
            _defect(ET.SubElement(image, "tag", label=tag, source="manual"), (finding,))
    ET.indent(root)
    return {CVAT_FILE: ET.tostring(root, encoding="utf-8", xml_declaration=True)}


def labels_of(album: Album, scenes: list[Scene]) -> list[str]:
    """The classes by number, then those in labels that data.yaml does not have."""
    known = [plain(name) for _, name in sorted(album.names.items())]
    met = sorted({shape.label for scene in scenes for shape in scene.shapes})
    return list(dict.fromkeys((*known, *met)))


def tag_of(album: Album, scenes: list[Scene]) -> str:
    """A name for the tag of defects that is no class name."""
    name = "lint-defect"
    while name in labels_of(album, scenes):
        name += "_"
    return name


def _label(parent: ET.Element, name: str) -> None:
    label = ET.SubElement(parent, "label")
    ET.SubElement(label, "name").text = name
    attribute = ET.SubElement(ET.SubElement(label, "attributes"), "attribute")
    content = {"name": ATTRIBUTE, "mutable": "False", "input_type": "text", "default_value": "", "values": ""}
    for key, text in content.items():
        ET.SubElement(attribute, key).text = text


def _shape(image: ET.Element, shape: Shape, group: int) -> None:
    """One row: a box or polygon; keypoints as points of the same group."""
    common = {"label": shape.label, "source": "manual", "occluded": "0", "z_order": "0"}
    if shape.keypoints:
        common["group_id"] = str(group)
    if len(shape.polygon) > 2:
        drawn = ET.SubElement(image, "polygon", {**common, "points": _point_text(shape.polygon)})
    else:
        sides = zip(("xtl", "ytl", "xbr", "ybr"), shape.box, strict=True)
        drawn = ET.SubElement(image, "box", {**common, **{name: f"{value:.2f}" for name, value in sides}})
    _defect(drawn, shape.defects)
    seen = [(x, y) for x, y, visible in shape.keypoints if visible]
    if seen:
        _defect(ET.SubElement(image, "points", {**common, "points": _point_text(seen)}), ())


def _point_text(points: Iterable[tuple[float, float]]) -> str:
    return ";".join(f"{x:.2f},{y:.2f}" for x, y in points)


def _defect(parent: ET.Element, findings: Iterable[Finding]) -> None:
    """The attribute with the findings; empty without any."""
    ET.SubElement(parent, "attribute", name=ATTRIBUTE).text = "; ".join(map(describe, findings))
