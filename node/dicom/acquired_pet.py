"""The PT series that a scanner of a given habit would send."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.sr.codedict import codes
from pydicom.uid import UID, PositronEmissionTomographyImageStorage

from inference.petct import PetCt
from inference.volume import Voxels
from node.dicom.acquisition import (
    Habit,
    Study,
    bed_of,
    coded,
    date,
    decimal,
    equipment,
    image_plane,
    instance,
    patient_position,
    pixels,
    time,
)

F18_HALF_LIFE_S = 6586.2
DOSE_BQ_PER_KG = 5e6
"""What is taken to be injected where the PetCt does not tell."""
PHILIPS_BQML_PER_COUNT = 1.602563


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """How SUVbw becomes the numbers of the file, from values as they stand in the header."""

    habit: Habit
    units: str
    suv_per_unit: float
    dose_bq: str
    injected_at: datetime
    reference_at: datetime
    """Series Date and Time, to which START corrects."""
    philips_suv: str = ""
    philips_bqml: str = ""


def calibration(petct: PetCt, habit: Habit, study: Study) -> Calibration:
    """Return the calibration; ValueError where the weight that it needs is absent."""
    weight_kg = petct.patient.weight_kg
    if weight_kg is None:
        raise ValueError("without the patient's weight the injected activity cannot be stated")
    facts = petct.pet_facts
    uptake_s = 60.0 * (60.0 if facts.uptake_min is None else facts.uptake_min)
    reference_at = study.started_at
    if habit is Habit.PHILIPS:  # whole seconds
        reference_at, uptake_s = reference_at.replace(microsecond=0), float(round(uptake_s))
    remaining = 2 ** (-uptake_s / F18_HALF_LIFE_S)
    dose = weight_kg * DOSE_BQ_PER_KG
    if facts.units == "BQML" and facts.suvbw_factor is not None:
        dose = 1000.0 * weight_kg / (facts.suvbw_factor * remaining)
    dose_bq = decimal(dose)
    suv_per_bqml = 1000.0 * float(decimal(weight_kg)) / (float(dose_bq) * remaining)
    philips_suv = decimal(suv_per_bqml * PHILIPS_BQML_PER_COUNT)
    units, suv_per_unit = {
        Habit.PHILIPS: ("CNTS", float(philips_suv)),
        Habit.GML: ("GML", 1.0),
    }.get(habit, ("BQML", suv_per_bqml))
    return Calibration(
        habit=habit,
        units=units,
        suv_per_unit=suv_per_unit,
        dose_bq=dose_bq,
        injected_at=reference_at - timedelta(seconds=uptake_s),
        reference_at=reference_at,
        philips_suv=philips_suv,
        philips_bqml=decimal(PHILIPS_BQML_PER_COUNT),
    )


def pet_series(
    petct: PetCt, known: Calibration, study: Study, transfer_syntax_uid: UID
) -> Iterator[Dataset]:
    """Yield the slices in their order, each with the timing of its bed."""
    uid = petct.pet_facts.series_instance_uid
    highest = float(petct.pet.voxels.max())
    for index, plane in enumerate(petct.pet.voxels):
        ds = instance(
            petct,
            study,
            sop_class_uid=PositronEmissionTomographyImageStorage,
            series_instance_uid=uid,
            index=index,
        )
        ds.file_meta.TransferSyntaxUID = transfer_syntax_uid
        equipment(ds, petct)
        image_plane(ds, petct.pet.grid, index)
        _series(ds, petct, known)
        _isotope(ds, known)
        _orientation(ds, patient_position(petct.pet.grid))
        _timing(ds, study, known, bed=bed_of(index, petct.pet.grid.shape[0], study.beds))
        ds.ImageIndex = index + 1
        _private(ds, known)
        _store(ds, plane, highest, known)
        yield ds


def _series(ds: Dataset, petct: PetCt, known: Calibration) -> None:
    """PET Series and the corrections (PS3.3 C.8.9.1)."""
    ds.Modality = "PT"
    ds.SeriesNumber = 4
    ds.SeriesDescription = "PET AC"
    ds.SeriesDate, ds.SeriesTime = date(known.reference_at), time(known.reference_at)
    ds.ImageType = ["ORIGINAL", "PRIMARY"]
    ds.SeriesType = ["WHOLE BODY", "IMAGE"]
    ds.Units = known.units
    if known.habit is Habit.GML:
        ds.SUVType = "BW"
    ds.CountsSource = "EMISSION"
    ds.NumberOfSlices = petct.pet.grid.shape[0]
    ds.CorrectedImage = ["NORM", "DTIM", "ATTN", "SCAT", "DECY", "RAN"]
    ds.DecayCorrection = "ADMIN" if known.habit is Habit.GML else "START"
    ds.RandomsCorrectionMethod = "DLYD"
    ds.AttenuationCorrectionMethod = "measured,CT"
    ds.ScatterCorrectionMethod = "Model-based"
    ds.ReconstructionMethod = "OSEM"
    ds.CollimatorType = "NONE"


def _isotope(ds: Dataset, known: Calibration) -> None:
    """PET Isotope (PS3.3 C.8.9.2); Philips leaves the date of the injection out."""
    injection = Dataset()
    injection.Radiopharmaceutical = "Fluorodeoxyglucose"
    injection.RadiopharmaceuticalStartTime = time(known.injected_at)
    if known.habit is Habit.PHILIPS:
        injection.RadiopharmaceuticalStartTime = known.injected_at.strftime("%H%M%S")
    else:
        injection.RadiopharmaceuticalStartDateTime = known.injected_at.strftime("%Y%m%d%H%M%S.%f")
    injection.RadionuclideTotalDose = known.dose_bq
    injection.RadionuclideHalfLife = decimal(F18_HALF_LIFE_S)
    injection.RadionuclidePositronFraction = "0.967"
    injection.RadionuclideCodeSequence = Sequence([coded(codes.SCT._18Fluorine)])
    injection.RadiopharmaceuticalCodeSequence = Sequence([coded(codes.SCT.FluorodeoxyglucoseF18)])
    ds.RadiopharmaceuticalInformationSequence = Sequence([injection])


def _orientation(ds: Dataset, position: str) -> None:
    """NM/PET Patient Orientation (PS3.3 C.8.4.6), which stands in for Patient Position."""
    recumbent = coded(codes.SCT.Recumbent)
    facing = codes.SCT.Supine if position.endswith("S") else codes.SCT.Prone
    recumbent.PatientOrientationModifierCodeSequence = Sequence([coded(facing)])
    ds.PatientOrientationCodeSequence = Sequence([recumbent])
    gantry = codes.SCT.Headfirst if position.startswith("HF") else codes.SCT.FeetFirst
    ds.PatientGantryRelationshipCodeSequence = Sequence([coded(gantry)])


def _timing(ds: Dataset, study: Study, known: Calibration, *, bed: int) -> None:
    """Bed by bed: when it began, its mean time, and the decay up to there (PS3.3 C.8.9.4)."""
    begun_s = bed * (study.bed_s + 2.0)
    acquired_at = known.reference_at + timedelta(seconds=begun_s)
    decay_per_s = math.log(2) / F18_HALF_LIFE_S
    over_bed = decay_per_s * study.bed_s
    mean_s = begun_s + math.log(over_bed / -math.expm1(-over_bed)) / decay_per_s
    since_s = mean_s
    if known.habit is Habit.GML:  # corrected to the injection
        since_s += (known.reference_at - known.injected_at).total_seconds()
    ds.AcquisitionDate, ds.AcquisitionTime = date(acquired_at), time(acquired_at)
    ds.ContentDate, ds.ContentTime = date(acquired_at), time(acquired_at)
    ds.ActualFrameDuration = round(1000 * study.bed_s)
    ds.FrameReferenceTime = decimal(1000 * mean_s)
    ds.DecayFactor = decimal(2 ** (since_s / F18_HALF_LIFE_S))
    ds.ScatterFractionFactor = "0.3"
    ds.DoseCalibrationFactor = "1"
    ds.AcquisitionNumber = bed + 1


def _private(ds: Dataset, known: Calibration) -> None:
    """Add what Philips and GE keep outside the standard and readers depend on."""
    if known.habit is Habit.PHILIPS:
        block = ds.private_block(0x7053, "Philips PET Private Group", create=True)
        block.add_new(0x00, "DS", known.philips_suv)
        block.add_new(0x09, "DS", known.philips_bqml)
    if known.habit is Habit.GE:
        block = ds.private_block(0x0009, "GEMS_PETD_01", create=True)
        block.add_new(0x0D, "DT", known.reference_at.strftime("%Y%m%d%H%M%S.%f"))


def _store(ds: Dataset, plane: Voxels, highest: float, known: Calibration) -> None:
    """Quantise one slice; the slope that divides is the slope as it is written."""
    signed = known.habit is Habit.GE
    top = float(plane.max()) if known.habit is Habit.GE else highest
    limit = 32767 if signed else 65535
    slope = decimal(max(top / known.suv_per_unit / limit, 1e-9) * (1 + 1e-9))
    stored = np.rint(plane.astype(np.float64) / (float(slope) * known.suv_per_unit))
    ds.RescaleIntercept = "0"
    ds.RescaleSlope = slope
    if known.habit is Habit.SIEMENS:
        ds.RescaleType = known.units
    suv_window = 10.0
    ds.WindowCenter = decimal(suv_window / 2 / known.suv_per_unit)
    ds.WindowWidth = decimal(suv_window / known.suv_per_unit)
    pixels(ds, np.clip(stored, 0, limit).astype(np.int16 if signed else np.uint16))
