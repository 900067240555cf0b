"""Whether OHIF would take over the lines of an editable report, with the lengths that are told."""

from collections.abc import Iterator
from typing import Final

import numpy as np
from pydicom.sr.codedict import codes

from node.dicom.lint.faults import Found, Rule
from node.dicom.lint.images import Source
from node.dicom.lint.items import numbers, whole
from node.dicom.lint.report import GROUP
from node.dicom.lint.tree import Node, key

_TOOL: Final = "Cornerstone3DTools@^0.1.0:Bidirectional"
_IDENTIFIER: Final = key(codes.DCM.TrackingIdentifier)
# OHIF compares these meanings letter by letter.
_SPELT: Final = {
    key(codes.DCM.ImagingMeasurements): "Imaging Measurements",
    GROUP: "Measurement Group",
    _IDENTIFIER: "Tracking Identifier",
    key(codes.SCT.LongAxis): "Long Axis",
    key(codes.SCT.ShortAxis): "Short Axis",
}
_TOLERANCE_MM: Final = 0.1


def not_taken_over(root: Node, source: Source) -> Iterator[Found]:
    """Yield what keeps a line from being taken over, or makes it another than is told."""
    for node in root:
        if node.name in _SPELT:
            meaning = node.dataset["ConceptNameCodeSequence"][0].get("CodeMeaning")
            if meaning != _SPELT[node.name]:
                yield Rule.VIEWER, f"the meaning of {node.name[0]} is not spelt as OHIF compares it"
    for group in root.below(GROUP):
        if [node.text for node in group.named(_IDENTIFIER)] != [_TOOL]:
            yield Rule.VIEWER, "a group does not name the tool that would take it over"
        lines = [node for node in group.children if node.value_type == "NUM"]
        if len(lines) != 2:
            yield Rule.VIEWER, "a group has not two axes"
        for node in lines:
            yield from _wrong_line(node, source)


def _wrong_line(node: Node, source: Source) -> Iterator[Found]:
    drawn = [child for child in node.children if child.value_type == "SCOORD"]
    points = numbers(drawn[0].dataset, "GraphicData") if len(drawn) == 1 else ()
    spacing = _spacing(drawn[0], source) if len(drawn) == 1 else None
    if len(points) != 4 or spacing is None:
        yield Rule.VIEWER, "an axis has not one line of two points on an image"
        return
    (x, y), (u, v) = np.reshape(points, (2, 2))
    length_mm = float(np.hypot((u - x) * spacing[1], (v - y) * spacing[0]))
    if node.number is None or abs(node.number - length_mm) > _TOLERANCE_MM:
        yield Rule.NUMBER, "an axis is not as long as its line"


def _spacing(line: Node, source: Source) -> tuple[float, float] | None:
    """Return the spacing of rows and of columns of the image that a line is drawn on."""
    for item in (one for child in line.children for one in child.references):
        plane = (str(item.get("ReferencedSOPInstanceUID")), whole(item, "ReferencedFrameNumber"))
        for series in source.series.values():
            if plane in series.planes:
                return series.grid.spacing[1], series.grid.spacing[2]
    return None
