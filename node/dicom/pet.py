"""The factor that turns a PET's rescaled values into SUVbw, or the reason why there is none."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from pydicom.dataset import Dataset

from inference.findings import Reason
from inference.petct import PatientFacts, PetFacts
from node.dicom import clock, decay, philips
from node.dicom.agreement import injection_zone, refuse_contradictions, refuse_uncorrected
from node.dicom.attributes import Attributes, codes, items, number, shared, text, texts
from node.dicom.reasons import unusable, warning
from node.dicom.tracer import F18_HALF_LIFE_S, Tracer, is_f18, is_f18_half_life, tracer_of

DOSE_BQ = (5e6, 2e9)
"""Injected activities that occur; a dose in MBq or mCi lies far below."""
WEIGHT_KG = (10.0, 400.0)
UPTAKE_USUAL_MIN = (30.0, 150.0)
UPTAKE_LONGEST_MIN = 360.0
"""Three half-lives and more: a wrong date or time."""
_G_PER_KG = 1000.0
_UCUM_UNITS = {"Bq/ml": "BQML", "g/ml": "GML", "g/ml{SUVbw}": "GML", "{SUVbw}g/ml": "GML"}


@dataclass(frozen=True, kw_only=True, slots=True)
class SuvRule:
    """How each plane's rescaled values become SUVbw."""

    factors: tuple[float, ...]
    """SUVbw per rescaled unit, one for each plane."""
    units: str
    decay_reference: str
    uptake_min: float | None
    tracer: str
    warnings: tuple[Reason, ...]

    @property
    def factor(self) -> float | None:
        """The one factor, or None where it differs from plane to plane."""
        return self.factors[0] if len(set(self.factors)) == 1 else None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Injection:
    dose_bq: float
    half_life_s: float
    moment: datetime


def suv_rule(headers: Sequence[Attributes], factors: philips.CountFactors) -> SuvRule:
    """Return the rule for a PET series, one header for each plane.

    BQML is divided by the dose at the decay reference per gram; GML is SUVbw already; CNTS needs
    Philips' factors, which nothing else may use. Real world value maps are never trusted. Raises
    UnusableStudy where weight, dose, times or units are absent, implausible or contradictory.
    """
    refuse_contradictions(headers)
    timings = tuple(map(_timing, headers))
    units = text(headers[0], "Units").upper() or _mapped_units(headers[0])
    tracer, notes = _tracer(headers[0])
    if units == "GML":
        known, kind = _stored_suv(headers), "NOT_NEEDED"
        return _facts(headers[0], timings, known, (units, kind, tracer), notes)
    if units == "CNTS" and factors.suvbw is not None:
        known = (factors.suvbw,) * len(headers)
        return _facts(headers[0], timings, known, (units, "VENDOR_FACTOR", tracer), notes)
    if units == "BQML":
        activity = 1.0
    elif units == "CNTS" and factors.activity is not None:
        activity = factors.activity
    else:
        raise unusable("SUV_UNITS", units or "absent")
    reference, per_activity, more = _by_activity(headers, timings)
    known = tuple(activity * factor for factor in per_activity)
    return _facts(headers[0], timings, known, (units, reference, tracer), (*notes, *more))


def patient_facts(header: Attributes) -> PatientFacts:
    """Return the covariates that headers hold; None where absent or impossible."""
    height = number(header, "PatientSize")
    sex = text(header, "PatientSex").upper()
    return PatientFacts(
        age_years=_age_years(header),
        sex=sex if sex in {"M", "F", "O"} else None,
        weight_kg=_weight_kg(header),
        height_m=height if height is not None and 0.5 <= height <= 2.5 else None,
    )


def pet_facts(rule: SuvRule, header: Attributes, series_instance_uid: str) -> PetFacts:
    """Return what is told of the PET beside its voxels."""
    return PetFacts(
        series_instance_uid=series_instance_uid,
        units=rule.units,
        suvbw_factor=rule.factor,
        decay_reference=rule.decay_reference,
        uptake_min=rule.uptake_min,
        tracer=rule.tracer,
        manufacturer=text(header, "Manufacturer"),
        model_name=text(header, "ManufacturerModelName"),
    )


def _by_activity(
    headers: Sequence[Attributes], timings: Sequence[decay.Timing]
) -> tuple[str, tuple[float, ...], tuple[Reason, ...]]:
    """Return the decay reference, SUVbw per Bq/ml for each plane, and warnings."""
    weight_kg = _weight_kg(headers[0])
    if weight_kg is None:
        raise unusable("SUV_NO_WEIGHT")
    dose_bq = _dose_bq(headers[0])
    half_life_s, notes = _half_life_s(headers[0])
    correction = _decay_correction(headers)
    if correction == "ADMIN":
        factor = weight_kg * _G_PER_KG / dose_bq
        return "ADMINISTRATION", (factor,) * len(headers), notes
    shifted = _shifted(headers, timings)
    reference = _reference(correction, headers, timings, half_life_s)
    injected, odd = _injection_moment(headers[0], min(reference.moments))
    if injected is None:
        raise unusable("SUV_NO_TIME", "no injection time")
    injection = _Injection(dose_bq=dose_bq, half_life_s=half_life_s, moment=injected)
    factors = tuple(_factor(weight_kg, injection, moment) for moment in reference.moments)
    warnings = (*notes, *shifted, *reference.warnings, *odd, *injection_zone(headers[0]))
    return reference.kind, factors, warnings


def _factor(weight_kg: float, injection: _Injection, moment: datetime) -> float:
    """Return grams of body per Bq that is left of the dose at ``moment``."""
    elapsed_s = (moment - injection.moment).total_seconds()
    if not 0 <= elapsed_s <= UPTAKE_LONGEST_MIN * 60:
        raise unusable("SUV_NO_TIME", f"{elapsed_s / 60:.0f} min from injection to reference")
    left_bq: float = injection.dose_bq * 2 ** (-elapsed_s / injection.half_life_s)
    return weight_kg * _G_PER_KG / left_bq


def _facts(
    header: Attributes,
    timings: Sequence[decay.Timing],
    factors: tuple[float, ...],
    names: tuple[str, str, str],
    warnings: tuple[Reason, ...],
) -> SuvRule:
    uptake_min = _uptake_min(header, timings)
    units, decay_reference, tracer = names
    return SuvRule(
        factors=factors,
        units=units,
        decay_reference=decay_reference,
        uptake_min=uptake_min,
        tracer=tracer,
        warnings=(*warnings, *_uptake_warnings(uptake_min)),
    )


def _mapped_units(header: Attributes) -> str:
    """Return the units that an enhanced PET names in a map whose slope is the rescale slope."""
    for mapped in items(header, "RealWorldValueMappingSequence"):
        slopes = number(mapped, "RealWorldValueSlope"), number(header, "RescaleSlope")
        if slopes[0] is not None and slopes[0] == slopes[1]:
            for unit in codes(mapped, "MeasurementUnitsCodeSequence"):
                return _UCUM_UNITS.get(unit.value, "")
    return ""


def _stored_suv(headers: Sequence[Attributes]) -> tuple[float, ...]:
    kind = text(headers[0], "SUVType").upper()
    if kind not in {"", "BW"}:
        raise unusable("SUV_NOT_BW", kind)
    return (1.0,) * len(headers)


def _tracer(header: Attributes) -> tuple[str, tuple[Reason, ...]]:
    if tracer_of(header) is Tracer.FDG:
        return "FDG", ()
    return "FDG (assumed)", (warning("TRACER_ASSUMED"),)


def _weight_kg(header: Attributes) -> float | None:
    weight_kg = number(header, "PatientWeight")
    low, high = WEIGHT_KG
    return weight_kg if weight_kg is not None and low <= weight_kg <= high else None


def _radiopharmaceutical(header: Attributes) -> Dataset:
    found = items(header, "RadiopharmaceuticalInformationSequence")
    return found[0] if found else Dataset()


def _dose_bq(header: Attributes) -> float:
    dose_bq = number(_radiopharmaceutical(header), "RadionuclideTotalDose")
    if dose_bq is None:
        raise unusable("SUV_NO_DOSE", "absent")
    if not DOSE_BQ[0] <= dose_bq <= DOSE_BQ[1]:
        raise unusable("SUV_NO_DOSE", f"{dose_bq:g} Bq")
    return dose_bq


def _half_life_s(header: Attributes) -> tuple[float, tuple[Reason, ...]]:
    """Return the stated half-life if it is F-18's, else F-18's where the radionuclide is coded."""
    half_life_s = number(_radiopharmaceutical(header), "RadionuclideHalfLife")
    if half_life_s is not None and is_f18_half_life(half_life_s):
        return half_life_s, ()
    if half_life_s or is_f18(header) is False:
        stated = "radionuclide" if half_life_s is None else f"{half_life_s:g} s"
        raise unusable("SUV_HALF_LIFE", stated)
    return F18_HALF_LIFE_S, (warning("HALF_LIFE_SET"),)


def _decay_correction(headers: Sequence[Attributes]) -> str:
    stated = text(headers[0], "DecayCorrection").upper()
    refuse_uncorrected(headers, stated)
    if stated:
        return stated
    return {"YES": "DATETIME", "NO": "NONE"}.get(text(headers[0], "DecayCorrected").upper(), "")


def _reference(
    correction: str,
    headers: Sequence[Attributes],
    timings: Sequence[decay.Timing],
    half_life_s: float,
) -> decay.Reference:
    if correction == "START":
        return decay.start_reference(timings, half_life_s)
    if correction == "DATETIME":
        return _stated_reference(headers)
    listed = {name.upper() for name in texts(headers[0], "CorrectedImage")}
    if correction == "NONE" and "DECY" not in listed:
        return decay.frame_average(timings, half_life_s)
    raise unusable("SUV_DECAY", f"Decay Correction is {correction or 'absent'}")


def _stated_reference(headers: Sequence[Attributes]) -> decay.Reference:
    """Return Decay Correction DateTime of an enhanced PET (PS3.3 C.8.22.4)."""
    zone = text(headers[0], "TimezoneOffsetFromUTC")
    moment = clock.parse_datetime(text(headers[0], "DecayCorrectionDateTime"), zone=zone)
    if moment is None:
        raise unusable("SUV_DECAY", "Decay Correction DateTime is absent")
    return decay.Reference(kind="DECAY_CORRECTION_DATETIME", moments=(moment,) * len(headers))


def _shifted(headers: Sequence[Attributes], timings: Sequence[decay.Timing]) -> tuple[Reason, ...]:
    acquired = [shared(header, _acquired) for header in headers]
    shifted = any(_far(t.series, moment) for t, moment in zip(timings, acquired, strict=True))
    return (warning("DATES_SHIFTED"),) if shifted else ()


def _timing(header: Attributes) -> decay.Timing:
    series, acquired = shared(header, _series_moment), shared(header, _acquired)
    if series is not None and acquired is not None:
        acquired = clock.nearest(acquired, series)
    duration_ms = number(header, "ActualFrameDuration") or number(
        header, "FrameAcquisitionDuration"
    )
    reference_ms = number(header, "FrameReferenceTime")
    return decay.Timing(
        series=series,
        acquisition=acquired,
        frame_duration_s=None if not duration_ms else duration_ms / 1000,
        frame_reference_s=None if reference_ms is None else reference_ms / 1000,
        decay_factor=number(header, "DecayFactor"),
    )


def _series_moment(header: Attributes) -> datetime | None:
    return clock.moment_of(header, "Series", dates=("AcquisitionDate", "StudyDate"))


def _acquired(header: Attributes) -> datetime | None:
    """Return when a frame began: of an enhanced PET its own date-time, else the instance's."""
    zone = text(header, "TimezoneOffsetFromUTC")
    own = clock.parse_datetime(text(header, "FrameAcquisitionDateTime"), zone=zone)
    return (
        own
        or clock.moment_of(header, "Acquisition", dates=("SeriesDate", "StudyDate"))
        or clock.parse_datetime(text(header, "AcquisitionDateTime"), zone=zone)
    )


def _far(series: datetime | None, acquired: datetime | None) -> bool:
    if series is None or acquired is None:
        return False
    return abs((clock.nearest(acquired, series) - acquired).days) > 1


def _injection_moment(
    header: Attributes, anchor: datetime
) -> tuple[datetime | None, tuple[Reason, ...]]:
    """Return when the tracer was given: within the 24 hours before ``anchor``.

    A time without a date may lie before midnight. A date that contradicts the scan's, as after
    de-identification, is left aside with a warning.
    """
    item = _radiopharmaceutical(header)
    zone = text(header, "TimezoneOffsetFromUTC")
    stated = clock.parse_datetime(text(item, "RadiopharmaceuticalStartDateTime"), zone=zone)
    if stated is not None:
        moment = clock.before(stated, anchor)
        return moment, () if moment == stated else (warning("INJECTION_DATE"),)
    time = clock.parse_time(text(item, "RadiopharmaceuticalStartTime"))
    if time is None:
        return None, ()
    midnight = anchor.replace(hour=0, minute=0, second=0, microsecond=0)
    return clock.before(midnight + time, anchor), ()


def _uptake_min(header: Attributes, timings: Sequence[decay.Timing]) -> float | None:
    """Return minutes from injection to the first acquisition, else to the series time."""
    began = min((t.acquisition for t in timings if t.acquisition is not None), default=None)
    began = began or timings[0].series
    if began is None:
        return None
    injected, _ = _injection_moment(header, began)
    if injected is None:
        return None
    uptake_min = (began - injected).total_seconds() / 60
    return uptake_min if uptake_min <= UPTAKE_LONGEST_MIN else None


def _uptake_warnings(uptake_min: float | None) -> tuple[Reason, ...]:
    if uptake_min is None:
        return (warning("UPTAKE_UNKNOWN"),)
    low, high = UPTAKE_USUAL_MIN
    if uptake_min < low:
        return (warning("UPTAKE_SHORT", f"{uptake_min:.1f} min"),)
    return (warning("UPTAKE_LONG", f"{uptake_min:.0f} min"),) if uptake_min > high else ()


def _age_years(header: Attributes) -> float | None:
    written = text(header, "PatientAge")
    years = {"D": 1 / 365.25, "W": 7 / 365.25, "M": 1 / 12, "Y": 1.0}.get(written[3:].upper())
    if years is not None and written[:3].isdecimal():
        return int(written[:3]) * years
    born = clock.parse_date(text(header, "PatientBirthDate"))
    scanned = clock.parse_date(text(header, "StudyDate"))
    if born is None or scanned is None or scanned < born:
        return None
    return round((scanned - born).days / 365.25, 1)
