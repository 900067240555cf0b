"""Long and short axis of each lesion as a report whose lines a reader can take over and move.

OHIF makes its own, editable measurement of a group whose Tracking Identifier names one of its
tools and whose numbers each bring their coordinates (TID 300 by TID 1501). Such groups stand apart
from the main report, where TID 1411 and TID 1501 in one tree would break the template.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from highdicom.sr import (
    ContainerContentItem,
    CoordinatesForMeasurement,
    FindingSite,
    GraphicTypeValues,
    Measurement,
    MeasurementsAndQualitativeEvaluations,
    SourceImageForRegion,
    TrackingIdentifier,
)
from numpy.typing import NDArray
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from node.dicom import codes as ours
from node.dicom import evaluations, sr
from node.dicom.axes import Axes, axes, carried, slice_of_longest_axis
from node.dicom.lesion_groups import Segmented
from node.dicom.provenance import RESEARCH_USE, Provenance
from node.dicom.seg import finding, finding_site, laterality, tracking_identifier
from node.dicom.series import Plane
from node.instance import ResultKind, ResultObject

SERIES_NUMBER: Final = 9904
TOOL: Final = "Cornerstone3DTools@^0.1.0:Bidirectional"
"""The Tracking Identifier by which OHIF knows which of its tools drew the lines."""
_SAME_MM: Final = 0.01
# The same codes as codes.SCT.LongAxis and .ShortAxis, whose meanings end in a small "axis": OHIF
# finds the numbers of its tool by their meaning, letter by letter.
_LONG_AXIS: Final = Code("103339001", "SCT", "Long Axis")
_SHORT_AXIS: Final = Code("103340004", "SCT", "Short Axis")


def editable_report(
    segmented: Sequence[Segmented], *, evidence: sr.Evidence, provenance: Provenance
) -> ResultObject:
    """Return a report with one bidirectional measurement for each lesion, on the series segmented.

    The lines are those of the main report's long axis, in the slice where the lesion is longest;
    the numbers are the lines' own lengths, as a viewer measures them. Tracking UIDs are not those
    of the main report: a viewer that loads both would take one for the other.
    """
    names = [tracking_identifier(one.lesion, one.number) for one in segmented]
    document = sr.Document(
        kind=ResultKind.EDITABLE,
        title=codes.DCM.ImagingMeasurementReport,
        procedure=codes.SCT.PETCTFDGImagingOfWholeBody,
        containers=[
            sr.imaging_measurements([_group(one, provenance) for one in segmented], provenance),
            evaluations.container(
                [
                    evaluations.code(ours.OUTCOME, ours.ANALYZED),
                    *evaluations.version(replaces=bool(evidence.predecessors)),
                    *(evaluations.text(ours.AXES_OF, name) for name in names),
                    evaluations.text(ours.INTENDED_USE, RESEARCH_USE),
                ]
            ),
        ],
        series_number=SERIES_NUMBER,
        series_description="PET/CT lesion axes, editable (research)",
    )
    return sr.write(document, evidence=evidence, provenance=provenance)


def _group(one: Segmented, provenance: Provenance) -> ContainerContentItem:
    """Return TID 1501 with the two axes."""
    index, lines = _lines(one)
    plane = one.on.planes[index]
    site = finding_site(one.lesion)
    group = MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(
            uid=provenance.uid(f"lesion {one.number} axes"), identifier=TOOL
        ),
        finding_type=finding(one.lesion),
        finding_sites=None
        if site is None
        else [FindingSite(anatomic_location=site, laterality=laterality(one.lesion))],
        measurements=_measurements(lines, plane),
    )[0]
    assert isinstance(group, ContainerContentItem)
    return group


def _lines(one: Segmented) -> tuple[int, Axes]:
    """Return a slice of the series segmented and the lesion's axes, as drawn there.

    A lesion found on the PET is as long as it is there. Its axes are drawn on the CT with that
    length, not measured anew on what the CT's voxels make of it.
    """
    for region in (one.region, one.also_region):
        if region.is_empty:
            continue
        index = slice_of_longest_axis(region)
        found = axes(region, index)
        if abs(found.long_mm - one.lesion.longest_axial_diameter_mm) < _SAME_MM:
            drawn = carried(found, index, region.grid, one.region.grid)
            if drawn is not None:
                return drawn
    index = slice_of_longest_axis(one.region)
    return index, axes(one.region, index)


def _measurements(lines: Axes, plane: Plane) -> list[Measurement]:
    return [
        _measurement(_LONG_AXIS, lines.long_mm, lines.long, plane),
        _measurement(_SHORT_AXIS, lines.short_mm, lines.short, plane),
    ]


def _measurement(
    name: Code, length_mm: float, line: NDArray[np.float64], plane: Plane
) -> Measurement:
    return Measurement(
        name=name,
        value=round(length_mm, 1),
        unit=ours.MILLIMETER,
        referenced_coordinates=[
            CoordinatesForMeasurement(
                graphic_type=GraphicTypeValues.POLYLINE,
                graphic_data=line,
                source_image=SourceImageForRegion(
                    referenced_sop_class_uid=plane.sop_class_uid,
                    referenced_sop_instance_uid=plane.sop_instance_uid,
                    referenced_frame_numbers=None if plane.frame is None else [plane.frame],
                ),
            )
        ],
    )
