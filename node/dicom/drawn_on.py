"""Which of a study's images a region was drawn on, and so the grid that it belongs to."""

from collections.abc import Mapping
from dataclasses import dataclass

from inference.findings import Reason
from inference.geometry import Grid
from node.dicom.reasons import warning
from node.dicom.rtstruct import References
from node.dicom.series import Choice, ImageSeries


@dataclass(frozen=True, kw_only=True, slots=True)
class Images:
    """The grids that regions can be drawn on, and which instances belong to each."""

    pet: Grid
    ct: Grid
    pet_uids: frozenset[str]
    """The series' own UID and those of its instances."""
    ct_uids: frozenset[str]
    study_uids: frozenset[str]
    slices: Mapping[str, tuple[tuple[int | None, int], ...]]
    """The frames of each instance, with the slices of its grid that they are."""

    def grid_of(self, referenced: References, frame_uid: str) -> Grid:
        """Return the grid to draw on: of the images referred to, else the CT's in the same frame.

        A reference to an instance says more than a frame of reference, which some tools make up. A
        copy of a series may have got new instance UIDs: then its series and its frame must be
        right. Raises Left where it is neither.
        """
        if referenced.instances & self.pet_uids:
            return self.pet
        if referenced.instances & self.ct_uids:
            return self.ct
        known = (referenced.instances | referenced.series) & (
            self.study_uids | self.pet_uids | self.ct_uids
        )
        if referenced.instances and not known:
            raise Left(warning("CONTOUR_NO_IMAGE"))
        if frame_uid != self.ct.frame_of_reference_uid:
            raise Left(warning("CONTOUR_FRAME"))
        return self.pet if referenced.series & self.pet_uids else self.ct

    def plane_of(self, sop_instance_uid: str, frame: int | None) -> tuple[Grid, int]:
        """Return the grid and the slice that one image plane is; raise Left where it is none.

        An instance of one plane may be named with or without its frame.
        """
        planes = self.slices.get(sop_instance_uid, ())
        found = [index for number, index in planes if len(planes) == 1 or number == frame]
        if not found:
            raise Left(warning("CONTOUR_NO_IMAGE"))
        return self.pet if sop_instance_uid in self.pet_uids else self.ct, found[0]


class Left(Exception):
    """A region is left aside; the study is not."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.meaning)
        self.reason = reason


def images_of(choice: Choice, *, pet: Grid, ct: Grid) -> Images:
    """Return the images of a choice, whose planes are the slices of the grids."""
    slices: dict[str, tuple[tuple[int | None, int], ...]] = {}
    for series in (choice.ct, choice.pet):
        for index, plane in enumerate(series.planes):
            known = slices.get(plane.sop_instance_uid, ())
            slices[plane.sop_instance_uid] = (*known, (plane.frame, index))
    return Images(
        pet=pet,
        ct=ct,
        pet_uids=_uids(choice.pet),
        ct_uids=_uids(choice.ct),
        study_uids=choice.sop_instance_uids,
        slices=slices,
    )


def _uids(series: ImageSeries) -> frozenset[str]:
    instances = (plane.sop_instance_uid for plane in series.planes)
    return frozenset((series.series_instance_uid, *instances))
