"""A PET and a CT of one patient in one frame of reference, calibrated: what inference takes in."""

from dataclasses import dataclass, field
from enum import StrEnum

from inference.findings import Reason
from inference.volume import BlockMeans, Quantity, Region, Volume


class RegionSource(StrEnum):
    """Where a region comes from, in falling order of trust."""

    RTSTRUCT = "RTSTRUCT"
    SEG = "SEG"
    SR = "SR"
    BOX = "box"
    NETWORK = "network"
    PET_THRESHOLD = "pet-threshold"


@dataclass(frozen=True, kw_only=True, eq=False)
class GivenRegion:
    """A region that came with the study: a contour or a segment, on the PET's or the CT's grid."""

    region: Region
    source: RegionSource
    name: str
    series_instance_uid: str
    sop_instance_uid: str
    origin: str = ""
    """Who drew it and why it was taken, to stand behind a semicolon."""
    marks_only: bool = False
    """A point, a box or flat: it shows which focus is meant, not how large it is."""


@dataclass(frozen=True, kw_only=True)
class PetFacts:
    """What the headers told of the PET: how its SUV came about, and the tracer."""

    series_instance_uid: str
    units: str
    suvbw_factor: float | None
    """SUVbw per unit of ``units``; None where it differs from slice to slice."""
    decay_reference: str
    """What the activity is corrected to: SERIES_TIME, ACQUISITION_TIME, ADMINISTRATION ..."""
    uptake_min: float | None
    tracer: str
    manufacturer: str = ""
    model_name: str = ""


@dataclass(frozen=True, kw_only=True)
class CtFacts:
    """What the headers told of the CT."""

    series_instance_uid: str
    slice_thickness_mm: float | None = None
    convolution_kernel: str = ""
    contrast: bool = False


@dataclass(frozen=True, kw_only=True)
class PatientFacts:
    """The covariates that headers hold; None where absent."""

    age_years: float | None = None
    sex: str | None = None
    weight_kg: float | None = None
    height_m: float | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class PetCt:
    """SUVbw and HU on their own grids in one frame of reference, and what their headers told."""

    study_instance_uid: str
    pet: Volume
    ct: Volume
    pet_facts: PetFacts
    ct_facts: CtFacts
    patient: PatientFacts = field(default_factory=PatientFacts)
    given: tuple[GivenRegion, ...] = ()
    """Regions to be taken for the primary tumour, the most trusted first."""
    warnings: tuple[Reason, ...] = ()
    ct_means: BlockMeans | None = None
    """Of the CT's voxels, if whoever read them averaged blocks on the way."""

    def __post_init__(self) -> None:
        if self.pet.quantity is not Quantity.SUVBW:
            raise ValueError(f"the PET must hold {Quantity.SUVBW}, got {self.pet.quantity}")
        if self.ct.quantity is not Quantity.HU:
            raise ValueError(f"the CT must hold {Quantity.HU}, got {self.ct.quantity}")
        if self.pet.grid.frame_of_reference_uid != self.ct.grid.frame_of_reference_uid:
            raise ValueError("PET and CT lie in different frames of reference")
