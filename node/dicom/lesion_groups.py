"""One lesion as measurement groups: its volume by TID 1411 and a contour by TID 1410."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from highdicom.sr import (
    AlgorithmIdentification,
    ContainerContentItem,
    ContentSequence,
    FindingSite,
    GraphicTypeValues,
    ImageRegion,
    Measurement,
    PlanarROIMeasurementsAndQualitativeEvaluations,
    QualitativeEvaluation,
    ReferencedSegment,
    RelationshipTypeValues,
    SourceImageForRegion,
    SourceSeriesForSegmentation,
    TrackingIdentifier,
    VolumetricROIMeasurementsAndQualitativeEvaluations,
)
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from inference.findings import Lesion
from inference.volume import Region
from node.dicom import codes as ours
from node.dicom.outline import key_slice, outline
from node.dicom.provenance import Provenance
from node.dicom.seg import finding, finding_site, laterality, tracking_identifier, tracking_uid
from node.dicom.series import ImageSeries
from node.instance import ResultObject

SUV_UNIT: Final = codes.UCUM.StandardizedUptakeValueBodyWeight


@dataclass(frozen=True, kw_only=True)
class Segmented:
    """A lesion with its number (from 1) and its segment in a Segmentation."""

    lesion: Lesion
    number: int
    segmentation: ResultObject
    on: ImageSeries
    region: Region
    """The lesion on ``on``, the series that the Segmentation was made on."""
    also_on: ImageSeries
    also_region: Region
    """The lesion on ``also_on``, the other of PET and CT."""


def groups(segmented: Segmented, provenance: Provenance) -> list[ContainerContentItem]:
    """Return the volumetric group, with the numbers, and a contour on either series.

    A viewer that draws no segments finds the lesion by the contour: a Tracking UID that has only
    a Referenced Segment leaves OHIF's viewport black, and one that has contours on two series is
    drawn on the wrong one. So the contour on the other series is tracked as a finding of its own.
    It also keeps PixelMed's validator from taking TID 1411 groups for TID 1410, as it does in a
    report with exactly one contour; so a lesion between the voxels of a series is drawn there, too.
    """
    number, lesion = segmented.number, segmented.lesion
    found = [
        volumetric(
            segmented,
            provenance,
            method=ours.REGION_METHODS.get(lesion.source),
            measurements=_measurements(lesion),
        ),
        _planar(lesion, segmented.region, segmented.on, tracking(segmented, provenance)),
    ]
    elsewhere = _elsewhere(segmented)
    if elsewhere is not None:
        modality = segmented.also_on.modality
        also = TrackingIdentifier(
            uid=provenance.uid(f"lesion {number} on {modality}"),
            identifier=f"{tracking_identifier(lesion, number)} on {modality}",
        )
        found.append(_planar(lesion, elsewhere, segmented.also_on, also))
    return found


def _elsewhere(segmented: Segmented) -> Region | None:
    """Return the lesion on the other series, if only as the voxel that holds its middle."""
    region = segmented.also_region
    if not region.is_empty:
        return region
    centre = np.asarray(segmented.lesion.centroid_lps_mm)
    if not region.grid.contains(centre):
        return None
    mask = np.zeros_like(region.mask)
    mask[tuple(np.rint(region.grid.to_indices(centre)).astype(int))] = True
    return replace(region, mask=mask)


def tracking(segmented: Segmented, provenance: Provenance) -> TrackingIdentifier:
    """Return what a lesion's groups and its segment are known by."""
    return TrackingIdentifier(
        uid=tracking_uid(provenance, segmented.number),
        identifier=tracking_identifier(segmented.lesion, segmented.number),
    )


def volumetric(
    segmented: Segmented,
    provenance: Provenance,
    *,
    measurements: Sequence[Measurement],
    method: Code | None = None,
    algorithm: AlgorithmIdentification | None = None,
    evaluations: Sequence[QualitativeEvaluation] = (),
) -> ContainerContentItem:
    """Return TID 1411 about the lesion's segment, tracked as the lesion."""
    lesion = segmented.lesion
    group = VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=tracking(segmented, provenance),
        referenced_segment=ReferencedSegment(
            sop_class_uid=segmented.segmentation.sop_class_uid,
            sop_instance_uid=segmented.segmentation.sop_instance_uid,
            segment_number=segmented.number,
            source_series=SourceSeriesForSegmentation(segmented.on.series_instance_uid),
        ),
        finding_type=finding(lesion),
        finding_sites=_sites(lesion),
        method=method,
        algorithm_id=algorithm,
        measurements=measurements,
        qualitative_evaluations=evaluations,
    )
    for item in group[0].ContentSequence:
        if item.name == codes.SCT.MeasurementMethod:
            # highdicom writes CONTAINS; TID 1419 row 1 asks HAS CONCEPT MOD.
            item.RelationshipType = RelationshipTypeValues.HAS_CONCEPT_MOD.value
    return _container(group)


def _planar(
    lesion: Lesion, region: Region, series: ImageSeries, tracking: TrackingIdentifier
) -> ContainerContentItem:
    """Return TID 1410: the outline in the plane where the region is largest."""
    assert region.box is not None  # a lesion has a voxel on either series
    index = region.box[0].start + key_slice(region.mask[region.box])
    plane = series.planes[index]
    return _container(
        PlanarROIMeasurementsAndQualitativeEvaluations(
            tracking_identifier=tracking,
            referenced_region=ImageRegion(
                graphic_type=GraphicTypeValues.POLYLINE,
                graphic_data=outline(region.mask[index]),
                source_image=SourceImageForRegion(
                    referenced_sop_class_uid=plane.sop_class_uid,
                    referenced_sop_instance_uid=plane.sop_instance_uid,
                    referenced_frame_numbers=None if plane.frame is None else [plane.frame],
                ),
            ),
            finding_type=finding(lesion),
            finding_sites=_sites(lesion),
            measurements=_on_plane(lesion, series.modality),
        )
    )


def _container(group: ContentSequence) -> ContainerContentItem:
    container = group[0]
    assert isinstance(container, ContainerContentItem)
    return container


def _sites(lesion: Lesion) -> list[FindingSite] | None:
    site = finding_site(lesion)
    if site is None:
        return None
    return [FindingSite(anatomic_location=site, laterality=laterality(lesion))]


def _measurements(lesion: Lesion) -> list[Measurement]:
    """Return uptake and size; first what people read, since OHIF shows few numbers."""
    longest = lesion.longest_diameter_mm
    return _numbers(
        (codes.DCM.Suvbw, lesion.suv_max, SUV_UNIT, codes.SCT.Maximum, 2),
        (codes.DCM.MetabolicVolume, lesion.mtv_ml, ours.MILLILITER, None, 2),
        (codes.DCM.TotalLesionGlycolysis, lesion.tlg_g, ours.GRAM, None, 2),
        (codes.DCM.Suvbw, lesion.suv_mean, SUV_UNIT, codes.SCT.Mean, 2),
        (codes.DCM.Suvbw, lesion.suv_peak, SUV_UNIT, codes.DCM.PeakValueWithinROI, 2),
        (codes.SCT.Volume, lesion.volume_ml, ours.MILLILITER, None, 2),
        (codes.SCT.Diameter, longest, ours.MILLIMETER, codes.SCT.Maximum, 1),
    )


def _on_plane(lesion: Lesion, modality: str) -> list[Measurement]:
    """Return the number that belongs to a contour: extent on the CT, uptake on the PET."""
    if modality == "CT":
        axis = lesion.longest_axial_diameter_mm
        return _numbers((codes.SCT.LongAxis, axis, ours.MILLIMETER, None, 1))
    return _numbers((codes.DCM.Suvbw, lesion.suv_max, SUV_UNIT, codes.SCT.Maximum, 2))


def _numbers(
    *rows: tuple[Code, float | None, Code, Code | None, int],
) -> list[Measurement]:
    """Return a measurement for each finite (name, value, unit, derivation, decimals)."""
    return [
        Measurement(name=name, value=round(value, decimals), unit=unit, derivation=derivation)
        for name, value, unit, derivation, decimals in rows
        if value is not None and math.isfinite(value)
    ]
