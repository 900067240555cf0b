"""The regions of interest of an RT Structure Set, as polygons in the patient."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from inference.geometry import Points
from node.dicom.attributes import codes, items, number, numbers, text


@dataclass(frozen=True, kw_only=True, slots=True)
class References:
    """The images that something was drawn on, by instance and by series."""

    instances: frozenset[str] = frozenset()
    series: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Roi:
    """One region of interest: what it is called and the items that hold its contours."""

    name: str
    label: str
    """ROI Observation Label, where the name is only a number."""
    codes: tuple[Code, ...]
    frame_of_reference_uid: str
    contours: tuple[Dataset, ...]
    series_of: Mapping[str, str]
    """The series of each instance that the structure set refers to."""
    automatic: bool = False
    """Drawn by an algorithm alone (ROI Generation Algorithm)."""

    @property
    def known_as(self) -> str:
        """The name; or, where that is only a number, the label if there is one."""
        named = any(letter.isalpha() for letter in self.name)
        return self.name if named else self.label or self.name

    def polygons(self) -> tuple[Points, ...]:
        """Return the closed planar contours, ``(n, 3)`` LPS mm each."""
        return tuple(_polygons(self.contours))

    def references(self) -> References:
        """Return the images that the contours were drawn on, and the series these belong to."""
        instances = frozenset(
            text(image, "ReferencedSOPInstanceUID")
            for contour in self.contours
            for image in items(contour, "ContourImageSequence")
        )
        series = (self.series_of[uid] for uid in instances if uid in self.series_of)
        return References(instances=instances, series=frozenset(series))


def rois(dataset: Dataset) -> tuple[Roi, ...]:
    """Return the regions of a structure set that have contours."""
    drawn = {
        number(roi, "ReferencedROINumber"): items(roi, "ContourSequence")
        for roi in items(dataset, "ROIContourSequence")
    }
    observed = {
        number(item, "ReferencedROINumber"): item
        for item in items(dataset, "RTROIObservationsSequence")
    }
    series_of = dict(_series_of(dataset))
    found = []
    for roi in items(dataset, "StructureSetROISequence"):
        key = number(roi, "ROINumber")
        observation = observed.get(key, Dataset())
        if drawn.get(key):
            found.append(
                Roi(
                    name=text(roi, "ROIName"),
                    label=text(observation, "ROIObservationLabel"),
                    codes=codes(observation, "RTROIIdentificationCodeSequence"),
                    frame_of_reference_uid=text(roi, "ReferencedFrameOfReferenceUID"),
                    contours=drawn[key],
                    series_of=series_of,
                    automatic=text(roi, "ROIGenerationAlgorithm").upper() == "AUTOMATIC",
                )
            )
    return tuple(found)


def _series_of(dataset: Dataset) -> Iterator[tuple[str, str]]:
    for frame in items(dataset, "ReferencedFrameOfReferenceSequence"):
        for study in items(frame, "RTReferencedStudySequence"):
            for series in items(study, "RTReferencedSeriesSequence"):
                for image in items(series, "ContourImageSequence"):
                    uid = text(image, "ReferencedSOPInstanceUID")
                    yield uid, text(series, "SeriesInstanceUID")


def _polygons(contours: tuple[Dataset, ...]) -> Iterator[Points]:
    for contour in contours:
        if text(contour, "ContourGeometricType") in {"CLOSED_PLANAR", "CLOSEDPLANAR_XOR"}:
            coordinates = _coordinates(contour)
            if coordinates.size and coordinates.size % 3 == 0:
                yield coordinates.reshape(-1, 3)


def _coordinates(contour: Dataset) -> Points:
    """Return Contour Data as numbers, straight from its bytes: there can be a million of them."""
    raw: object = contour.get_item("ContourData")
    found: Points
    if isinstance(raw, RawDataElement) and isinstance(raw.value, bytes):
        try:
            found = np.asarray(raw.value.strip(b" \0").split(b"\\"), dtype=np.float64)
        except ValueError:
            found = np.zeros(0)
    else:
        found = np.asarray(numbers(contour, "ContourData"), dtype=np.float64)
    return found if np.all(np.isfinite(found)) else np.zeros(0)
