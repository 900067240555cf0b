"""Lesions as one binary Segmentation on the grid of a source series (PS3.3 A.51)."""

from collections.abc import Sequence
from typing import Final

import highdicom as hd
from highdicom.color import CIELabColor
from highdicom.seg import SegmentAlgorithmTypeValues, SegmentDescription
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from inference.findings import Lesion
from inference.volume import Region
from node.dicom import codes as ours
from node.dicom.provenance import Provenance, algorithm_sequence, finish
from node.dicom.seg_head import Head
from node.dicom.series import ImageSeries
from node.instance import ResultKind, ResultObject

# Bold hues that stay apart for readers who see red and green alike (after Wong).
_COLOURS: Final = ((213, 94, 0), (0, 114, 178), (240, 228, 66), (0, 158, 115), (204, 121, 167))
_LATERALITY: Final = {"left": codes.SCT.Left, "right": codes.SCT.Right}
_GIVEN: Final = ("RTSTRUCT", "SEG", "SR")


def finding_site(lesion: Lesion) -> Code | None:
    """Return lung or mediastinum, thorax for what lies in its midline, None outside of it."""
    if lesion.site != "thorax":
        return None
    if lesion.place == "mediastinum":
        return ours.MEDIASTINUM
    return ours.THORAX if lesion.laterality == "midline" else ours.LUNG


def finding(lesion: Lesion) -> Code:
    """Return what the lesion is taken for, in report and Segmentation alike.

    Uptake in the mediastinum may be a node, a vessel or the oesophagus: no more than a lesion.
    """
    if lesion.label == "primary":
        return ours.PRIMARY_NEOPLASM
    return ours.LESION if lesion.place == "mediastinum" else ours.NEOPLASM


def laterality(lesion: Lesion) -> Code | None:
    """Return the coded side (CID 244), or None where there is none to tell."""
    if lesion.place == "mediastinum":
        return None
    return _LATERALITY.get(lesion.laterality or "")


def tracking_identifier(lesion: Lesion, number: int) -> str:
    """Return the human-readable identifier that Segmentation and report share."""
    return f"{lesion.label} {number}"


def tracking_uid(provenance: Provenance, number: int) -> str:
    """Return the Tracking UID of lesion ``number`` (from 1), the same in all result objects."""
    return provenance.uid(f"lesion {number}")


def segmentation(
    lesions: Sequence[Lesion],
    regions: Sequence[Region],
    *,
    series: ImageSeries,
    subject: Dataset,
    provenance: Provenance,
    head: Head | None = None,
) -> ResultObject:
    """Return a Segmentation with one segment a lesion, numbered from 1 in the order given.

    ``regions`` hold the lesions' voxels on the grid of ``series``. Planes without a lesion are
    left out. Refuses regions that do not fit the planes of the series, or are empty. ``head`` is
    what it says of the series in any case, if somebody has made it.
    """
    if any(region.mask.shape[0] != len(series.planes) for region in regions):
        raise ValueError(f"regions do not fit the {len(series.planes)} planes of the series")
    if any(region.is_empty for region in regions):
        raise ValueError("a lesion without voxels cannot be a segment")
    head = head or Head.of(series, regions[0].grid, subject, provenance)
    dataset, encoded = head.with_segments(
        regions,
        [_description(lesion, number, provenance) for number, lesion in enumerate(lesions, 1)],
    )
    return finish(
        dataset, ResultKind.SEGMENTATION, subject=subject, provenance=provenance, among=encoded
    )


def _description(lesion: Lesion, number: int, provenance: Provenance) -> SegmentDescription:
    given = lesion.source in _GIVEN
    site = finding_site(lesion)
    description = SegmentDescription(
        segment_number=number,
        segment_label=tracking_identifier(lesion, number),
        segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
        segmented_property_type=finding(lesion),
        # A contour that came with the study was drawn by somebody; we only rasterised it.
        algorithm_type=SegmentAlgorithmTypeValues.SEMIAUTOMATIC
        if given
        else SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=algorithm_sequence(provenance),
        tracking_uid=tracking_uid(provenance, number),
        tracking_id=tracking_identifier(lesion, number),
        anatomic_regions=None if site is None else [site],
        display_color=CIELabColor.from_rgb(*_COLOURS[(number - 1) % len(_COLOURS)]),
    )
    if lesion.explanation:
        description.SegmentDescription = lesion.explanation[:1024]
    side = laterality(lesion)
    if side is not None and site is not None:
        description.AnatomicRegionSequence[0].AnatomicRegionModifierSequence = [
            hd.sr.CodedConcept.from_code(side)
        ]
    return description
